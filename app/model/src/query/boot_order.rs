//! What a machine boots from.

use serde::{Deserialize, Serialize};

use super::{About, Query};

/// What a machine boots from at its next start, by its stored definition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct BootOrder {}

/// What a machine boots from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Boot {
    /// The devices, the first one first.
    pub devices: Vec<BootDevice>,
    /// Whether the firmware shows a menu (`bootmenu`).
    pub menu: bool,
    /// How long the menu waits, in milliseconds; none where the firmware decides.
    pub menu_timeout_ms: Option<u64>,
    /// The kernel that is started without boot loader (`kernel`); none with one.
    pub kernel: Option<String>,
}

/// A device to boot from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct BootDevice {
    /// What it is: an element of `<devices>` such as `disk`, or a class of `<os><boot dev>`:
    /// `hd`, `cdrom`, `network`, `fd`.
    pub kind: String,
    /// What tells it apart: the target of a disk, the MAC address of an interface; empty for a class.
    pub name: String,
    /// Its source; empty without one.
    pub source: String,
}

impl Query for BootOrder {
    type Answer = Boot;

    const ABOUT: About =
        About { name: "boot-order", summary: "What a machine boots from at its next start", ..About::DEFAULT };
}
