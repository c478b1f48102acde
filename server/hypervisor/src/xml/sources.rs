//! All storage in a definition of a machine, saved state or snapshot.
//!
//! It is deliberately generous: disks are parsed by their schema, and everywhere else each absolute
//! path counts, whichever element contains it, so that unknown content is not treated as unused.

use std::path::PathBuf;

use roxmltree::{Document, Node};

use super::{child, child_attribute};
use crate::names;

/// A location as written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    /// A path of the host: a file, directory or device.
    Path(PathBuf),
    /// A volume by pool and name (`<disk type='volume'>`).
    Volume {
        /// The pool's name.
        pool: String,
        /// The volume's name.
        volume: String,
    },
    /// An image accessed by a network protocol (`<disk type='network'>`).
    Network {
        /// `rbd`, `iscsi`, `nbd`, …
        protocol: String,
        /// The image's name.
        name: String,
    },
    /// A host SCSI device by address, `host:bus:target:unit`.
    Scsi(String),
}

/// A storage object in a definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// Its location.
    pub(crate) place: Place,
    /// The target (`vda`) of the disk whose own image it is; none otherwise.
    pub(crate) target: Option<String>,
    /// The declared image format, or empty.
    pub(crate) format: String,
    /// Whether its backing chain is listed as well, or cannot exist.
    pub(crate) complete: bool,
}

impl Source {
    /// Whether it is a disk's own image used as raw, which is libvirt's default format.
    pub(crate) fn is_raw_disk(&self) -> bool {
        self.target.is_some() && matches!(self.format.as_str(), "" | "raw")
    }

    /// Something whose format is unknown, so that it may have a backing file.
    fn of_place(place: Place) -> Self {
        Self { place, target: None, format: String::new(), complete: false }
    }

    /// A file without a backing file.
    pub(crate) fn of_path(path: &str) -> Self {
        Self { place: Place::Path(path.into()), target: None, format: String::new(), complete: true }
    }
}

/// All storage in a definition; none if it is not XML.
pub(crate) fn sources(text: &str) -> Option<Vec<Source>> {
    Some(of(Document::parse(text).ok()?.root_element()))
}

/// All storage in a parsed definition.
pub(crate) fn of(root: Node<'_, '_>) -> Vec<Source> {
    let mut found = Vec::new();
    walk(root, &mut found);
    found
}

/// Elements with free text, which refer to nothing.
const WORDS: [&str; 5] = ["metadata", "title", "description", "name", "cmdline"];

fn walk(element: Node<'_, '_>, found: &mut Vec<Source>) {
    let tag = element.tag_name();
    if tag.namespace().is_none() && WORDS.contains(&tag.name()) {
        return;
    }
    let of_device = |above: Node<'_, '_>| above.has_tag_name("disk") || above.has_tag_name("hostdev");
    let of_device = tag.name() == "source" && element.ancestors().any(of_device);
    if of_device && let Some(source) = image(element) {
        found.push(source);
    } else {
        let values = element.attributes().map(|attribute| attribute.value());
        for value in values.chain(element.children().filter_map(|child| child.text().filter(|_| child.is_text()))) {
            found.extend(paths(value).map(Source::of_path));
            found.extend(names::in_parts(value).map(|path| Source::of_path(&path)));
            found.extend(names::described_in(value).into_iter().map(Source::of_place));
        }
    }
    element.children().filter(Node::is_element).for_each(|child| walk(child, found));
}

/// The paths in a value: the whole value, or parts of it as in QEMU arguments (`-drive
/// file=/a,format=raw`).
fn paths(value: &str) -> impl Iterator<Item = &str> {
    let whole = value.starts_with('/').then_some(value);
    let parts = value.split([',', '=', ':', ' ', '\n', '"', '\'']).filter(|part| part.starts_with('/'));
    // A path may contain any of these characters.
    let trimmed = value.trim();
    let trimmed = (trimmed.starts_with('/') && trimmed.len() != value.len()).then_some(trimmed);
    whole.into_iter().chain(trimmed).chain(parts.filter(move |part| Some(*part) != whole && Some(*part) != trimmed))
}

/// The image of a disk's `<source>`, its backing store, or its mirror.
fn image(source: Node<'_, '_>) -> Option<Source> {
    let get = |name| source.attribute(name).map(str::to_owned);
    let path = || get("file").or_else(|| get("dev")).or_else(|| get("dir")).map(|path| Place::Path(path.into()));
    let volume = || Some(Place::Volume { pool: get("pool")?, volume: get("volume")? });
    let network = || Some(Place::Network { protocol: get("protocol")?, name: get("name").unwrap_or_default() });
    let place = path().or_else(volume).or_else(network).or_else(|| scsi(source))?;
    let above = source.parent()?;
    let own = above.has_tag_name("disk");
    let format = match own {
        true => child_attribute(above, "driver", "type"),
        false => child_attribute(above, "format", "type"),
    };
    let complete = format == "raw" || child(above, "backingStore").is_some();
    let target = own.then(|| child_attribute(above, "target", "dev"));
    Some(Source { place, target, format, complete })
}

/// The SCSI device of a host device's `<source>`, identified by its adapter.
fn scsi(source: Node<'_, '_>) -> Option<Place> {
    let host = child(source, "adapter")?.attribute("name")?.strip_prefix("scsi_host")?;
    let address = child(source, "address")?;
    let part = |name| address.attribute(name).unwrap_or("0");
    Some(Place::Scsi(format!("{host}:{}:{}:{}", part("bus"), part("target"), part("unit"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Place {
        Place::Path(text.into())
    }

    #[test]
    fn every_image_of_a_disk_is_found_with_what_it_is_based_on() {
        let text = "<domain><devices>\
            <disk><driver type='qcow2'/><source file='/web.qcow2 '/><target dev='vda'/>\
            <backingStore><format type='raw'/><source dev='/dev/vg/base'/><backingStore/></backingStore>\
            <mirror><source file='/copy'><dataStore><source file='/data'/></dataStore></source></mirror></disk>\
            <disk><driver type='qcow2'/><source pool='iso' volume='d.iso'/><target dev='sda'/></disk>\
            <disk><source protocol='rbd' name='images/d.iso'/></disk><disk><target dev='sdb'/></disk>\
            <interface><source network='default'/></interface></devices></domain>";
        let found = sources(text).expect("it is read");
        let places: Vec<Place> = found.iter().map(|source| source.place.clone()).collect();
        let volume = Place::Volume { pool: "iso".into(), volume: "d.iso".into() };
        let image = Place::Network { protocol: "rbd".into(), name: "images/d.iso".into() };
        assert_eq!(places, [path("/web.qcow2 "), path("/dev/vg/base"), path("/copy"), path("/data"), volume, image]);
        assert_eq!((found[0].target.as_deref(), found[0].complete), (Some("vda"), true));
        assert_eq!((found[1].format.as_str(), found[1].target.as_deref()), ("raw", None));
        assert!(!found[4].complete, "what it is based on is not said");
        assert!(sources("no definition").is_none(), "it is not said that there is nothing");
    }

    #[test]
    fn every_path_counts_whatever_holds_it() {
        let text = "<domain xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'><name>/name</name>\
            <description>/words</description><metadata><a:b xmlns:a='urn:a'>/metadata</a:b></metadata>\
            <os><loader type='pflash'>/loader</loader><nvram template='/template'>/nvram</nvram><kernel>/kernel</kernel>\
            <initrd>\n /initrd\n</initrd><dtb>/dtb</dtb><acpi><table type='slic'>/slic</table></acpi>\
            <cmdline>root=/dev/vda</cmdline></os><devices>\
            <filesystem type='mount'><driver type='virtiofs'/><source dir='/shared'/></filesystem>\
            <tpm><backend type='emulator'><source type='dir' path='/tpm'/></backend></tpm>\
            <serial type='file'><source path='/serial'/><log file='/log'/></serial>\
            <memory model='nvdimm'><source><path>/nvdimm</path></source></memory>\
            <hostdev><source><block>/dev/sdx</block></source></hostdev><future thing='/future'/></devices>\
            <qemu:commandline><qemu:arg value='-drive'/><qemu:arg value='file=/a,b.qcow2,format=qcow2'/></qemu:commandline>\
            </domain>";
        let found: Vec<Place> = sources(text).expect("it is read").into_iter().map(|source| source.place).collect();
        for expected in [
            "/loader",
            "/template",
            "/nvram",
            "/kernel",
            "/initrd",
            "/dtb",
            "/slic",
            "/shared",
            "/tpm",
            "/serial",
            "/log",
            "/nvdimm",
            "/dev/sdx",
            "/future",
            "/a",
        ] {
            assert!(found.contains(&path(expected)), "{expected}: {found:?}");
        }
        for word in ["/name", "/words", "/metadata", "/dev/vda"] {
            assert!(!found.contains(&path(word)), "{word}: {found:?}");
        }
        let scsi = "<domain><devices><hostdev type='scsi'><source><adapter name='scsi_host2'/>\
            <address type='scsi' bus='0' target='1' unit='3'/></source></hostdev><hostdev type='scsi'>\
            <source protocol='iscsi' name='iqn.2013-07.com.example:lab/1'/></hostdev></devices></domain>";
        let found: Vec<Place> = sources(scsi).expect("read").into_iter().map(|source| source.place).collect();
        let name = "iqn.2013-07.com.example:lab/1".into();
        assert_eq!(found, [Place::Scsi("2:0:1:3".into()), Place::Network { protocol: "iscsi".into(), name }]);
        let backup = "<domainbackup mode='push'><disks><disk name='vda' backup='yes' type='file'>\
            <driver type='qcow2'/><target file='/backup'/></disk><disk name='vdb'><scratch file='/scratch'/></disk>\
            </disks></domainbackup>";
        let found: Vec<Place> = sources(backup).expect("read").into_iter().map(|source| source.place).collect();
        assert_eq!(found, [path("/backup"), path("/scratch")]);
        let snapshot = "<domainsnapshot><memory snapshot='external' file='/memory'/>\
            <disks><disk name='vda' snapshot='external' type='file'><source file='/overlay'/></disk></disks>\
            <domain><devices><disk><source file='/before'/></disk></devices></domain></domainsnapshot>";
        let found: Vec<Place> = sources(snapshot).expect("read").into_iter().map(|source| source.place).collect();
        assert_eq!(found, [path("/memory"), path("/overlay"), path("/before")]);
    }
}
