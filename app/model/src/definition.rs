//! The hardware of a machine: live, stored for the next start, and the differences. It is read on
//! demand; lists and events use `domain`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::device::Entry;

/// The hardware in one of a machine's definitions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Definition {
    /// vCPUs.
    pub vcpus: u32,
    /// Maximum vCPUs.
    pub max_vcpus: u32,
    /// Memory in MiB.
    pub memory_mb: u64,
    /// Maximum memory in MiB.
    pub max_memory_mb: u64,
    /// The emulated processor architecture.
    pub arch: String,
    /// The machine type, such as `pc-q35-10.0`.
    pub machine: String,
    /// Whether the guest boots through UEFI.
    pub uefi: bool,
    /// Its devices in the order of the definition.
    pub devices: Vec<Entry>,
}

/// The definitions of a machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Definitions {
    /// Live; none if it is not running.
    pub live: Option<Definition>,
    /// Stored for the next start; none for a transient machine.
    pub inactive: Option<Definition>,
    /// What changes at the next start.
    pub pending: Vec<Pending>,
}

/// A value that changes at the next start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Pending {
    /// Its path: `memoryMb`, `devices/disk:vda/cache`, or `devices/disk:vdb` for an added or
    /// removed device.
    pub path: String,
    /// The current value; null if there is none.
    pub live: Value,
    /// The value after the next start.
    pub next: Value,
}

impl Definitions {
    /// Both definitions and their differences.
    pub fn of(live: Option<Definition>, inactive: Option<Definition>) -> Self {
        let pending = live.as_ref().zip(inactive.as_ref()).map(|(live, next)| pending(live, next));
        Self { pending: pending.unwrap_or_default(), live, inactive }
    }
}

/// What changes at the next start, without values that libvirt fills in at start.
fn pending(live: &Definition, next: &Definition) -> Vec<Pending> {
    let bare = |definition: &Definition| fields(&Definition { devices: Vec::new(), ..definition.clone() });
    let mut found = differences("", &bare(live), &bare(next), &[]);
    let device = |definition: &'_ Definition, key: &str| definition.devices.iter().find(|one| one.key == key).cloned();
    for entry in &live.devices {
        let path = format!("devices/{}", entry.key);
        match device(next, &entry.key) {
            Some(other) => {
                let (now, then) = (fields(entry), fields(&other));
                found.extend(differences(&format!("{path}/"), &now, &then, entry.device.filled_in()));
            }
            None => found.push(Pending { path, live: Value::Object(fields(entry)), next: Value::Null }),
        }
    }
    for entry in next.devices.iter().filter(|entry| device(live, &entry.key).is_none()) {
        let path = format!("devices/{}", entry.key);
        found.push(Pending { path, live: Value::Null, next: Value::Object(fields(entry)) });
    }
    found
}

/// The fields of a structure as JSON.
fn fields(of: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(of) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    }
}

/// The fields that differ, except for some.
fn differences(path: &str, live: &Map<String, Value>, next: &Map<String, Value>, but: &[&str]) -> Vec<Pending> {
    let of = |fields: &Map<String, Value>, name: &str| fields.get(name).cloned().unwrap_or_default();
    let mut names: Vec<&String> = live.keys().chain(next.keys().filter(|name| !live.contains_key(*name))).collect();
    names.retain(|name| !but.contains(&name.as_str()) && of(live, name) != of(next, name));
    let one = |name: &String| Pending { path: format!("{path}{name}"), live: of(live, name), next: of(next, name) };
    names.into_iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::device::{Disk, DiskCache, Graphics, Interface, Other};

    fn entry(key: &str, device: impl Into<crate::device::Device>) -> Entry {
        Entry { key: key.into(), device: device.into() }
    }

    #[test]
    fn what_differs_is_told_by_field_and_what_libvirt_fills_in_is_not() {
        let disk = |target: &str, cache| Disk { target: target.into(), cache, ..Disk::default() };
        let live = Definition {
            memory_mb: 1024,
            max_memory_mb: 1024,
            vcpus: 2,
            devices: vec![
                entry("disk:vda", disk("vda", DiskCache::default())),
                entry("disk:vdb", disk("vdb", DiskCache::default())),
                entry("graphics:vnc", Graphics { port: Some(5900), autoport: Some(true), ..Graphics::default() }),
                entry("interface:52:54:00:00:00:01", Interface { tap: "vnet3".into(), ..Interface::default() }),
            ],
            ..Definition::default()
        };
        let next = Definition {
            vcpus: 4,
            devices: vec![
                entry("disk:vda", disk("vda", DiskCache::None)),
                entry("graphics:vnc", Graphics { port: Some(-1), autoport: Some(true), ..Graphics::default() }),
                entry("interface:52:54:00:00:00:01", Interface::default()),
                entry("disk:vdc", disk("vdc", DiskCache::default())),
            ],
            ..live.clone()
        };
        let told = Definitions::of(Some(live.clone()), Some(next)).pending;
        let paths: Vec<&str> = told.iter().map(|one| one.path.as_str()).collect();
        assert_eq!(paths, ["vcpus", "devices/disk:vda/cache", "devices/disk:vdb", "devices/disk:vdc"]);
        assert_eq!((told[0].live.clone(), told[0].next.clone()), (json!(2), json!(4)));
        assert_eq!((told[1].live.clone(), told[1].next.clone()), (Value::Null, json!("none")));
        assert_eq!((told[2].next.clone(), told[3].live.clone()), (Value::Null, Value::Null));
        assert!(Definitions::of(Some(live.clone()), Some(live.clone())).pending.is_empty());
        assert!(Definitions::of(None, Some(live)).pending.is_empty());
    }

    #[test]
    fn an_unknown_device_and_an_unknown_word_come_back_as_they_were() {
        let other = entry("tpm:0", crate::device::Device::Other(Other { element: "tpm".into(), xml: "<tpm/>".into() }));
        let disk = entry("disk:vda", Disk { bus: "novel".into(), ..Disk::default() });
        for entry in [other, disk] {
            let text = serde_json::to_string(&entry).expect("JSON");
            assert_eq!(serde_json::from_str::<Entry>(&text).expect("read"), entry, "{text}");
        }
    }
}
