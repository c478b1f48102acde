//! Video cards (formatdomain, "Video devices").

use serde::{Deserialize, Serialize};

use super::{Kind, is_default};

/// A video card.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Video {
    /// The emulated model: `virtio`, `qxl`, `vga`, `bochs`, `none`, …
    pub model: String,
    /// The number of screens.
    #[serde(skip_serializing_if = "is_default")]
    pub heads: Option<u32>,
    /// Its memory in KiB.
    #[serde(skip_serializing_if = "is_default")]
    pub vram_kib: Option<u64>,
    /// Whether 3D acceleration is on.
    #[serde(skip_serializing_if = "is_default")]
    pub accel3d: Option<bool>,
}

impl Kind for Video {
    const LABEL: &'static str = "Video";
    const FILLED_IN: &'static [&'static str] = &["heads", "vramKib"];

    fn summary(&self) -> String {
        self.model.clone()
    }
}
