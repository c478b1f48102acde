//! Watchdogs (formatdomain, "Watchdog devices").

use serde::{Deserialize, Serialize};

use super::{Kind, words};

/// A watchdog device: if the guest does not reset its timer, the host acts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Watchdog {
    /// The emulated model.
    pub model: WatchdogModel,
    /// The action on the host when the guest hangs.
    pub action: WatchdogAction,
}

words! {
    /// The model of a watchdog.
    WatchdogModel {
        /// PCI.
        I6300esb = "i6300esb",
        /// Part of the q35 chipset.
        Itco = "itco",
        /// ISA.
        Ib700 = "ib700",
        /// s390.
        Diag288 = "diag288",
    }
}

words! {
    /// The action on the host when a guest hangs.
    WatchdogAction {
        /// The machine is reset.
        Reset = "reset",
        /// The guest is asked to shut down, which a hung guest may ignore.
        Shutdown = "shutdown",
        /// The machine is powered off.
        Poweroff = "poweroff",
        /// The machine is paused.
        Pause = "pause",
        /// Its memory is dumped to a file while it is paused.
        Dump = "dump",
        /// An NMI is injected.
        InjectNmi = "inject-nmi",
        /// No action.
        None = "none",
    }
}

impl Kind for Watchdog {
    const LABEL: &'static str = "Watchdog";

    fn summary(&self) -> String {
        format!("{}: {}", self.model.as_str(), self.action.as_str())
    }
}
