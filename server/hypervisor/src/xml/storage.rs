//! `<pool>` and `<volume>`: parsed tolerantly, and written from a specification.

use model::{
    Pool, Volume,
    storage::{PoolKind, PoolSpec, VolumeSpec},
};
use roxmltree::{Document, Node};
use uuid::Uuid;

use super::{bytes, child, child_attribute, child_text, element::Element};

/// The supported pool types of a host (`<storagepoolCapabilities>`).
pub(crate) fn pool_types(text: &str) -> Vec<String> {
    let Ok(document) = Document::parse(text) else { return Vec::new() };
    let pools = document.root_element().children().filter(|pool| pool.has_tag_name("pool"));
    let supported = pools.filter(|pool| pool.attribute("supported") == Some("yes"));
    supported.filter_map(|pool| pool.attribute("type")).map(str::to_owned).collect()
}

/// Parses a pool; none if the text is not a pool.
pub(crate) fn pool(text: &str) -> Option<Pool> {
    let document = Document::parse(text).ok()?;
    let root = document.root_element();
    if root.tag_name().name() != "pool" {
        return None;
    }
    Some(Pool {
        id: child_text(root, "uuid").parse().unwrap_or_default(),
        name: child_text(root, "name"),
        kind: root.attribute("type").unwrap_or_default().to_owned(),
        path: child(root, "target").map(|target| child_text(target, "path")).unwrap_or_default(),
        source: child(root, "source").map(source).unwrap_or_default(),
        ..Pool::default()
    })
}

/// The source of a pool as text.
fn source(source: Node<'_, '_>) -> String {
    let named = |name: &'static str, attribute: &'static str| {
        let elements = source.children().filter(move |child| child.tag_name().name() == name);
        let values = elements.filter_map(move |element| element.attribute(attribute));
        values.map(str::to_owned).collect::<Vec<_>>().join(", ")
    };
    let (hosts, folder, devices) = (named("host", "name"), named("dir", "path"), named("device", "path"));
    let name = child_text(source, "name");
    let parts = [folder, devices, name].into_iter().filter(|part| !part.is_empty());
    let rest = parts.collect::<Vec<_>>().join(", ");
    match (hosts.is_empty(), rest.is_empty()) {
        (false, false) => format!("{hosts}:{rest}"),
        (false, true) => hosts,
        (true, _) => rest,
    }
}

/// Parses a volume; none if the text is not a volume.
pub(crate) fn volume(text: &str) -> Option<Volume> {
    let document = Document::parse(text).ok()?;
    let root = document.root_element();
    if root.tag_name().name() != "volume" {
        return None;
    }
    let target = child(root, "target");
    let name = child(root, "name").and_then(|name| name.text()).unwrap_or_default();
    Some(Volume {
        name: name.to_owned(),
        path: target.map(|target| child_text(target, "path")).unwrap_or_default(),
        kind: root.attribute("type").unwrap_or_default().to_owned(),
        format: target.map(|target| child_attribute(target, "format", "type")).unwrap_or_default(),
        capacity_bytes: bytes(root, "capacity"),
        allocation_bytes: bytes(root, "allocation"),
        backing: child(root, "backingStore").map(|backing| child_text(backing, "path")).unwrap_or_default(),
        used_by: Vec::new(),
    })
}

/// The definition of a new pool; `file_system` is the type on an `fs` pool's device.
pub(crate) fn pool_definition(id: Uuid, spec: &PoolSpec, file_system: &str) -> Element {
    let PoolSpec { name, kind, path, host, folder, device, group } = spec;
    let [name, path, host, folder, device, group] = [name, path, host, folder, device, group].map(|text| text.trim());
    let given = |text: &str, element: Element| (!text.is_empty()).then_some(element);
    let source = Element::new("source")
        .holding(given(host, Element::new("host").with("name", host)))
        .holding(given(folder, Element::new("dir").with("path", folder)))
        .holding(given(device, Element::new("device").with("path", device)))
        .holding(given(group, Element::of("name", group)));
    let format = match kind {
        PoolKind::Fs => file_system,
        PoolKind::Netfs => "auto",
        PoolKind::Logical => "lvm2",
        PoolKind::Disk => "gpt",
        PoolKind::Dir | PoolKind::Iscsi => "",
    };
    let source =
        (!source.is_bare()).then(|| source.holding(given(format, Element::new("format").with("type", format))));
    let path = match kind {
        PoolKind::Logical => format!("/dev/{group}"),
        PoolKind::Disk => "/dev".to_owned(),
        PoolKind::Iscsi => "/dev/disk/by-path".to_owned(),
        PoolKind::Dir | PoolKind::Fs | PoolKind::Netfs => path.to_owned(),
    };
    Element::new("pool")
        .with("type", kind)
        .holding([Element::of("name", name), Element::of("uuid", id)])
        .holding(source)
        .holding([Element::new("target").holding([Element::of("path", path)])])
}

/// The definition of a new volume; `files` means that its pool contains files, which have a format.
pub(crate) fn volume_definition(spec: &VolumeSpec, files: bool) -> Element {
    let VolumeSpec { name, capacity_bytes, format, preallocate, backing, backing_format } = spec;
    let of = |format: &str| Element::new("format").with("type", format);
    let bytes = |name, bytes: u64| Element::of(name, bytes).with("unit", "bytes");
    let mut volume = Element::new("volume").holding([Element::of("name", name), bytes("capacity", *capacity_bytes)]);
    if files {
        // Without it qcow2 files have the oldest version.
        let compat = (format == "qcow2").then(|| Element::of("compat", "1.1"));
        let allocation = bytes("allocation", if *preallocate { *capacity_bytes } else { 0 });
        volume = volume.holding([allocation, Element::new("target").holding([of(format)]).holding(compat)]);
    }
    // The format is always declared: a guest could write another header into a raw image.
    let store = || Element::new("backingStore").holding([Element::of("path", backing), of(backing_format)]);
    volume.holding((!backing.is_empty()).then(store))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn types_of_pools_are_those_that_are_supported() {
        let text = "<storagepoolCapabilities><pool type='dir' supported='yes'/><pool type='rbd' supported='no'/>\
            <pool type='netfs' supported='yes'><poolOptions/></pool><other type='x' supported='yes'/></storagepoolCapabilities>";
        assert_eq!(pool_types(text), ["dir", "netfs"]);
        assert!(pool_types("<").is_empty());
    }

    #[test]
    fn the_source_of_a_pool_is_said_in_words() {
        let of =
            |source: &str| pool(&format!("<pool type='x'><source>{source}</source></pool>")).expect("a pool").source;
        assert_eq!(of("<host name='nas.lan'/><dir path='/vm'/><format type='nfs'/>"), "nas.lan:/vm");
        assert_eq!(of("<device path='/dev/sdb'/><name>vg0</name>"), "/dev/sdb, vg0");
        assert_eq!(of("<host name='a'/><host name='b'/><name>rbd</name>"), "a, b:rbd");
        assert_eq!(of(""), "");
    }

    #[test]
    fn a_volume_is_read_with_its_units_and_what_it_is_based_on() {
        let text = "<volume type='file'><name> a&amp;b</name><key>/x</key><capacity unit='GiB'>2</capacity>\
                    <allocation unit='KB'>3</allocation><target><path>/srv/a</path><format type='qcow2'/></target>\
                    <backingStore><path>/srv/base</path></backingStore></volume>";
        let volume = volume(text).expect("a volume");
        assert_eq!((volume.name.as_str(), volume.format.as_str()), (" a&b", "qcow2"));
        assert_eq!((volume.capacity_bytes, volume.allocation_bytes), (2 << 30, 3_000));
        assert_eq!((volume.path.as_str(), volume.backing.as_str()), ("/srv/a", "/srv/base"));
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_as_it_was_meant(
            name in "[a-z<>&'\"]{1,12}",
            folder in "/[a-z<>&'\" ]{1,9}[a-z]",
            capacity_bytes in 1_u64..1 << 50,
        ) {
            let id = Uuid::from_u128(7);
            let spec = PoolSpec { name: name.clone(), kind: PoolKind::Netfs, path: "/mnt/x".into(), host: "nas".into(), folder: folder.clone(), ..PoolSpec::default() };
            let read = pool(&pool_definition(id, &spec, "auto").to_string()).expect("a pool");
            prop_assert_eq!((read.id, &read.name, &read.path), (id, &name, &"/mnt/x".to_owned()));
            prop_assert_eq!(read.source, format!("nas:{folder}"));
            let spec = VolumeSpec { name: name.clone(), capacity_bytes, format: "qcow2".into(), backing: folder.clone(), backing_format: "raw".into(), ..VolumeSpec::default() };
            let read = volume(&volume_definition(&spec, true).to_string()).expect("a volume");
            prop_assert_eq!((read.name, read.capacity_bytes, read.backing), (name, capacity_bytes, folder));
        }
    }
}
