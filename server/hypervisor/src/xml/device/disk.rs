//! `<disk>`.

use model::device::{Disk, DiskBus, DiskCache, DiskDevice, DiskType};

use super::{device, words};
use crate::xml::domain::disk_source;

words!(DiskType, DiskDevice, DiskBus, DiskCache);

device! {
    Disk in "disk" {
        disk_type: "@type",
        device: "@device",
        target: "target@dev",
        bus: "target@bus",
        format: "driver@type",
        cache: "driver@cache",
        io: "driver@io",
        discard: "driver@discard",
        file: "source@file",
        dev: "source@dev",
        pool: "source@pool",
        volume: "source@volume",
        protocol: "source@protocol",
        source_name: "source@name",
        serial: "serial",
        boot_order: "boot@order",
        read_only: "readonly?",
        shareable: "shareable?",
    } and {
        source: disk_source,
    }
}
