//! The boot order of a machine.

use serde::{Deserialize, Serialize};

use super::{About, Query};

/// The boot order at the next start, from the stored definition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct BootOrder {}

/// The boot order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Boot {
    /// The devices, in order.
    pub devices: Vec<BootDevice>,
    /// Whether the firmware shows a menu (`bootmenu`).
    pub menu: bool,
    /// Timeout of the menu in milliseconds; none for the firmware default.
    pub menu_timeout_ms: Option<u64>,
    /// The kernel for direct kernel boot (`kernel`); none otherwise.
    pub kernel: Option<String>,
}

/// A boot device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct BootDevice {
    /// Its kind: an element of `<devices>` such as `disk`, or a class of `<os><boot dev>`: `hd`,
    /// `cdrom`, `network`, `fd`.
    pub kind: String,
    /// Its identity: the target of a disk, the MAC address of an interface; empty for a class.
    pub name: String,
    /// Its source; empty if it has none.
    pub source: String,
}

impl Query for BootOrder {
    type Answer = Boot;

    const ABOUT: About =
        About { name: "boot-order", summary: "The boot order of a machine at its next start", ..About::DEFAULT };
}
