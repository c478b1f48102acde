//! Graphical consoles (formatdomain, "Graphical framebuffers").

use serde::{Deserialize, Serialize};

use super::{Kind, is_default, words};

/// A graphical console.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Graphics {
    /// The protocol.
    #[serde(rename = "type")]
    pub graphics_type: GraphicsType,
    /// The port; -1 while none is assigned.
    #[serde(skip_serializing_if = "is_default")]
    pub port: Option<i32>,
    /// Whether libvirt chooses the port.
    #[serde(skip_serializing_if = "is_default")]
    pub autoport: Option<bool>,
    /// The listen address; empty for the host's default.
    #[serde(skip_serializing_if = "is_default")]
    pub listen: String,
    /// The keyboard layout; empty for the client's layout.
    #[serde(skip_serializing_if = "is_default")]
    pub keymap: String,
}

words! {
    /// The protocol of a graphical console.
    GraphicsType {
        /// VNC.
        Vnc = "vnc",
        /// SPICE.
        Spice = "spice",
        /// A window on the host.
        Sdl = "sdl",
        /// A display without a console.
        Headless = "egl-headless",
        /// D-Bus.
        Dbus = "dbus",
    }
}

impl Kind for Graphics {
    const LABEL: &'static str = "Graphics";
    const FILLED_IN: &'static [&'static str] = &["port", "listen"];

    fn identity(&self) -> Option<&str> {
        Some(self.graphics_type.as_str())
    }

    fn summary(&self) -> String {
        let port = self.port.filter(|port| *port > 0).map(|port| format!("{}:{port}", self.listen));
        format!("{} {}", self.graphics_type.as_str(), port.unwrap_or_default()).trim().to_owned()
    }
}
