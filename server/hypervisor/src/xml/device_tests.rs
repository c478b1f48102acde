//! Devices as written by libvirt, users and its schema.

use model::device::{DiskBus, DiskCache, WatchdogAction};
use proptest::prelude::*;

use super::*;
use crate::xml::schema_tests::a_domain;

const WRITTEN: &str = "<domain>\n  <devices>\n    <emulator>/usr/bin/qemu</emulator>\n    <disk type='file' device='disk' snapshot='no'>\n      \
<driver name='qemu' type='qcow2'/>\n      <source file='/a.qcow2' index='1'/>\n      <backingStore/>\n      <target dev='vda' bus='virtio'/>\n      \
<alias name='virtio-disk0'/>\n    </disk>\n    <disk device='cdrom'><target dev='sda' bus='sata'/><readonly/></disk>\n    \
<interface type='network'>\n      <mac address='52:54:00:00:00:01'/>\n      <source network='lab' portid='x'/>\n      <model type='virtio'/>\n    </interface>\n    \
<graphics type='vnc' port='-1' autoport='yes'><listen type='address'/></graphics>\n    <video><model type='virtio' heads='1'><acceleration accel3d='no'/></model><alias name='ua-card'/></video>\n    \
<tpm model='tpm-crb'><backend type='emulator'/></tpm>\n    <tpm model='x'/>\n    <x:disk xmlns:x='urn:x'/>\n  </devices>\n</domain>";

fn entries(text: &str) -> Vec<Entry> {
    all(&Document::parse(text).expect("XML"))
}

#[test]
fn every_device_is_read_with_a_key_of_its_own() {
    let read = entries(WRITTEN);
    let keys: Vec<&str> = read.iter().map(|entry| entry.key.as_str()).collect();
    let macs = "interface:52:54:00:00:00:01";
    assert_eq!(keys, ["disk:vda", "disk:sda", macs, "graphics:vnc", "ua-card", "tpm:0", "tpm:1", "disk:2"]);
    let Device::Disk(disk) = &read[0].device else { panic!("a disk") };
    assert_eq!(
        (disk.bus.clone(), disk.source.clone(), disk.cache.clone()),
        (DiskBus::Virtio, "/a.qcow2".into(), DiskCache::default())
    );
    let Device::Other(tpm) = &read[5].device else { panic!("not known yet") };
    assert_eq!(tpm.xml, "<tpm model='tpm-crb'><backend type='emulator'/></tpm>");
    assert!(matches!(&read[7].device, Device::Other(_)), "an element of others is no disk");
}

#[test]
fn a_change_of_a_device_touches_what_was_changed_and_nothing_else() {
    let Device::Disk(mut disk) = entries(WRITTEN)[0].device.clone() else { panic!("a disk") };
    disk.cache = DiskCache::Writeback;
    disk.read_only = true;
    disk.boot_order = Some(1);
    let text = updated(WRITTEN, "disk:vda", &disk.into()).expect("changed");
    let expected = WRITTEN.replacen("type='qcow2'/>", "type='qcow2' cache='writeback'/>", 1).replacen(
        "<alias name='virtio-disk0'/>",
        "<alias name='virtio-disk0'/>\n      <boot order='1'/>\n      <readonly/>",
        1,
    );
    assert_eq!(text, expected);
    let gone = updated(WRITTEN, "disk:vdz", &entries(WRITTEN)[0].device);
    assert_eq!(gone, Err(Refused::Missing));
    assert_eq!(updated(WRITTEN, "disk:vda", &entries(WRITTEN)[3].device), Err(Refused::Missing), "of another kind");
}

#[test]
fn a_watchdog_is_read_and_changed() {
    let written =
        "<domain><devices><watchdog model='itco' action='reset'><alias name='w'/></watchdog></devices></domain>";
    let Device::Watchdog(mut watchdog) = entries(written)[0].device.clone() else { panic!("a watchdog") };
    assert_eq!((watchdog.model.as_str(), &watchdog.action), ("itco", &WatchdogAction::Reset));
    watchdog.action = WatchdogAction::InjectNmi;
    assert_eq!(updated(written, "watchdog:0", &watchdog.into()), Ok(written.replace("'reset'", "'inject-nmi'")));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_the_grammar_allows_an_unchanged_device_leaves_its_definition_as_it_was(seed: u64) {
        let text = a_domain(seed);
        let read = entries(&text);
        let mut keys: Vec<&str> = read.iter().map(|entry| entry.key.as_str()).collect();
        keys.sort_unstable();
        keys.dedup();
        prop_assert_eq!(keys.len(), read.len());
        for entry in &read {
            let same = updated(&text, &entry.key, &entry.device);
            prop_assert_eq!(same.as_deref(), Ok(&*text), "{}", entry.key);
        }
    }
}
