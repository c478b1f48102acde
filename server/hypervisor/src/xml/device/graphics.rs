//! `<graphics>`.

use model::device::{Graphics, GraphicsType};

use super::{device, words};

words!(GraphicsType);

device! {
    Graphics in "graphics" {
        graphics_type: "@type",
        port: "@port",
        autoport: "@autoport",
        listen: "@listen",
        keymap: "@keymap",
    }
}
