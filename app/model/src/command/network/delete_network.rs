//! Deletes a network.

use super::{About, Fault, HostInventory, Network, Verb, unless, verb};
use crate::network::attached;

verb! {
    /// Stop and undefine the network (`virNetworkUndefine`).
    pub struct DeleteNetwork {}
}

impl Verb for DeleteNetwork {
    type On = Network;

    const ABOUT: About = About {
        kind: "deleteNetwork",
        label: "Delete network",
        done: "is deleted",
        loses: Some("The network and its configuration are deleted."),
        ..About::DEFAULT
    };

    fn check(&self, on: &Network, host: &HostInventory) -> Result<(), Fault> {
        let plugged: Vec<&str> = attached(host, on).map(|domain| domain.name.as_str()).collect();
        unless(on, (!plugged.is_empty()).then(|| format!("is in use by {}", some_of(&plugged))))
    }

    fn evidence(&self, on: Option<&Network>) -> Option<bool> {
        Some(on.is_none())
    }
}

/// Up to three names in a sentence.
fn some_of(names: &[&str]) -> String {
    let shown = names.iter().take(3).copied().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(3) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
