//! The definition of a network.

use serde::Deserialize;

use super::{About, Query};
use crate::ObjectKind;

/// The network XML (`virNetworkGetXMLDesc`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NetworkDefinition {}

impl Query for NetworkDefinition {
    type Answer = String;

    const ABOUT: About = About {
        on: ObjectKind::Network,
        name: "definition",
        summary: "The XML of a network",
        text: true,
        ..About::DEFAULT
    };
}
