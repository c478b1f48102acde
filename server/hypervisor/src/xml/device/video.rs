//! `<video>`.

use model::device::Video;

use super::device;

device! {
    Video in "video" {
        model: "model@type",
        heads: "model@heads",
        vram_kib: "model@vram",
        accel3d: "model/acceleration@accel3d",
    }
}
