//! Watchdogs (formatdomain, "Watchdog devices").

use serde::{Deserialize, Serialize};

use super::{Kind, words};

/// A device that the guest must touch again and again; when it does not, the host acts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Watchdog {
    /// The card that the guest sees.
    pub model: WatchdogModel,
    /// What the host does when the guest hangs.
    pub action: WatchdogAction,
}

words! {
    /// The card of a watchdog.
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
    /// What the host does when a guest hangs.
    WatchdogAction {
        /// The machine is reset.
        Reset = "reset",
        /// The guest is asked to shut down, which it may not hear.
        Shutdown = "shutdown",
        /// The machine is switched off.
        Poweroff = "poweroff",
        /// The machine is paused.
        Pause = "pause",
        /// Its memory is written to a file, and it is paused meanwhile.
        Dump = "dump",
        /// The guest is given a non-maskable interrupt.
        InjectNmi = "inject-nmi",
        /// Nothing.
        None = "none",
    }
}

impl Kind for Watchdog {
    const LABEL: &'static str = "Watchdog";

    fn summary(&self) -> String {
        format!("{}: {}", self.model.as_str(), self.action.as_str())
    }
}
