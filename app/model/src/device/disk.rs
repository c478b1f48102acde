//! Disks, CD-ROM and floppy drives (formatdomain, "Hard drives, floppy disks, CDROMs").

use serde::{Deserialize, Serialize};

use super::{Kind, is_default, words};

/// A disk, CD-ROM or floppy drive.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Disk {
    /// The type of its source.
    #[serde(rename = "type")]
    pub disk_type: DiskType,
    /// The guest device type.
    pub device: DiskDevice,
    /// The target name, such as `vda`.
    pub target: String,
    /// Its bus.
    pub bus: DiskBus,
    /// The image format: `qcow2`, `raw`, …; empty for libvirt's default.
    #[serde(skip_serializing_if = "is_default")]
    pub format: String,
    /// The cache mode; empty for QEMU's default.
    #[serde(skip_serializing_if = "is_default")]
    pub cache: DiskCache,
    /// The I/O mode: `threads`, `native`, `io_uring`; empty for QEMU's default.
    #[serde(skip_serializing_if = "is_default")]
    pub io: String,
    /// The discard mode: `unmap` or `ignore`; empty for QEMU's default.
    #[serde(skip_serializing_if = "is_default")]
    pub discard: String,
    /// The source of a `file`.
    #[serde(skip_serializing_if = "is_default")]
    pub file: String,
    /// The source of a `block` device.
    #[serde(skip_serializing_if = "is_default")]
    pub dev: String,
    /// The pool of a `volume` source.
    #[serde(skip_serializing_if = "is_default")]
    pub pool: String,
    /// The volume name of a `volume` source.
    #[serde(skip_serializing_if = "is_default")]
    pub volume: String,
    /// The protocol of a `network` source: `rbd`, `iscsi`, `nbd`, `https`, …
    #[serde(skip_serializing_if = "is_default")]
    pub protocol: String,
    /// The name of a `network` source.
    #[serde(skip_serializing_if = "is_default")]
    pub source_name: String,
    /// A description of its source, for every type; empty without a medium. Read-only: derived from
    /// the definition.
    pub source: String,
    /// The serial number in the guest.
    #[serde(skip_serializing_if = "is_default")]
    pub serial: String,
    /// Its place in the boot order.
    #[serde(skip_serializing_if = "is_default")]
    pub boot_order: Option<u32>,
    /// Whether it is read-only for the guest.
    #[serde(skip_serializing_if = "is_default")]
    pub read_only: bool,
    /// Whether several machines may share it.
    #[serde(skip_serializing_if = "is_default")]
    pub shareable: bool,
}

words! {
    /// What the source of a disk is.
    DiskType {
        /// A file of the host.
        File = "file",
        /// A block device of the host.
        Block = "block",
        /// A volume of a pool.
        Volume = "volume",
        /// Storage on the network.
        Network = "network",
    }
}

words! {
    /// What the guest sees of a disk.
    DiskDevice {
        /// A disk.
        Disk = "disk",
        /// A CD-ROM drive.
        Cdrom = "cdrom",
        /// A floppy drive.
        Floppy = "floppy",
        /// A SCSI device with its own commands.
        Lun = "lun",
    }
}

words! {
    /// How a disk is attached.
    DiskBus {
        /// virtio-blk.
        Virtio = "virtio",
        /// SCSI, also virtio-scsi.
        Scsi = "scsi",
        /// SATA.
        Sata = "sata",
        /// IDE.
        Ide = "ide",
        /// USB.
        Usb = "usb",
        /// A floppy controller.
        Fdc = "fdc",
        /// NVMe.
        Nvme = "nvme",
        /// An SD card.
        Sd = "sd",
    }
}

words! {
    /// How the host caches a disk.
    DiskCache {
        /// The host's cache is not used.
        None = "none",
        /// Written through to the disk.
        Writethrough = "writethrough",
        /// Written when the guest flushes.
        Writeback = "writeback",
        /// Like `none`, and each write is flushed.
        Directsync = "directsync",
        /// Flushes of the guest are ignored: a crash of the host loses data.
        Unsafe = "unsafe",
    }
}

impl Disk {
    /// Whether its medium can be changed.
    pub fn is_removable(&self) -> bool {
        matches!(self.device, DiskDevice::Cdrom | DiskDevice::Floppy)
    }
}

impl Kind for Disk {
    const LABEL: &'static str = "Disk";

    fn identity(&self) -> Option<&str> {
        Some(&self.target)
    }

    fn summary(&self) -> String {
        let medium = if self.source.is_empty() { "no medium" } else { &self.source };
        format!("{} {}: {medium}", self.target, self.bus.as_str())
    }
}
