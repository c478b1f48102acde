//! Reads and writes devices of a definition: one file per kind with the XML place of each field,
//! and the registry. Content unknown to a kind is kept.

mod disk;
mod graphics;
mod interface;
mod video;
mod watchdog;

use std::collections::BTreeSet;

use model::device::{Device, DiskDevice, Entry, Other};
use roxmltree::{Document, Node};

use super::{
    child, child_attribute,
    edit::{At, Edit, Refused},
    is_own,
};

/// A kind of device in XML.
trait DeviceXml: Sized {
    /// The name of its element.
    const ELEMENT: &'static str;

    /// Reads it.
    fn read(node: Node<'_, '_>) -> Self;

    /// Writes the changed fields to its element.
    ///
    /// # Errors
    /// See `Edit::set`.
    fn patch(&self, edit: &mut Edit, at: &At) -> Result<(), Refused>;
}

/// A field value and its form in XML.
trait Value: Sized {
    fn read(text: Option<&str>) -> Self;
    fn write(&self) -> Option<String>;
}

/// A text; empty if missing.
impl Value for String {
    fn read(text: Option<&str>) -> Self {
        text.unwrap_or_default().to_owned()
    }

    fn write(&self) -> Option<String> {
        (!self.is_empty()).then(|| self.clone())
    }
}

/// Whether an empty element such as `<readonly/>` exists.
impl Value for bool {
    fn read(text: Option<&str>) -> Self {
        text.is_some()
    }

    fn write(&self) -> Option<String> {
        self.then(String::new)
    }
}

/// `yes` or `no`.
impl Value for Option<bool> {
    fn read(text: Option<&str>) -> Self {
        match text {
            Some("yes" | "on") => Some(true),
            Some("no" | "off") => Some(false),
            _ => None,
        }
    }

    fn write(&self) -> Option<String> {
        self.map(|yes| if yes { "yes" } else { "no" }.to_owned())
    }
}

/// Numbers.
macro_rules! numbers {
    ($($Number:ty),*) => {$(
        impl Value for Option<$Number> {
            fn read(text: Option<&str>) -> Self {
                text?.trim().parse().ok()
            }

            fn write(&self) -> Option<String> {
                self.map(|number| number.to_string())
            }
        }
    )*};
}

numbers!(u32, u64, i32);

/// libvirt's enum values; none if missing.
macro_rules! words {
    ($($Word:ty),*) => {$(
        impl super::Value for $Word {
            fn read(text: Option<&str>) -> Self {
                text.map(Self::from).unwrap_or_default()
            }

            fn write(&self) -> Option<String> {
                Some(self.as_str().to_owned()).filter(|word| !word.is_empty())
            }
        }
    )*};
}

/// The XML places of a kind's fields; see `edit::value` for paths. Fields after `and` are derived
/// from the element and not written. All fields must be named, so none is forgotten.
macro_rules! device {
    ($Name:ident in $element:literal { $($field:ident: $path:literal),* $(,)? } $(and { $($told:ident: $tell:path),* $(,)? })?) => {
        impl super::DeviceXml for $Name {
            const ELEMENT: &'static str = $element;

            fn read(node: roxmltree::Node<'_, '_>) -> Self {
                Self {
                    $($field: super::Value::read($crate::xml::edit::value(node, $path)),)*
                    $($($told: $tell(node),)*)?
                }
            }

            fn patch(
                &self,
                edit: &mut $crate::xml::edit::Edit,
                at: &$crate::xml::edit::At,
            ) -> Result<(), $crate::xml::edit::Refused> {
                let before = edit.read(at, <Self as super::DeviceXml>::read)?;
                $(if self.$field != before.$field {
                    edit.set(at, $path, super::Value::write(&self.$field).as_deref())?;
                })*
                Ok(())
            }
        }
    };
}

use device;
use words;

/// Reads and writes any device; each kind is named once.
macro_rules! devices {
    ($($Name:ident),* $(,)?) => {
        /// Reads a device.
        fn read(node: Node<'_, '_>, text: &str) -> Device {
            $(if is_own(node, <model::device::$Name>::ELEMENT) {
                return Device::$Name(DeviceXml::read(node));
            })*
            Device::Other(Other {
                element: node.tag_name().name().to_owned(),
                xml: text.get(node.range()).unwrap_or_default().to_owned(),
            })
        }

        /// The element name of a device.
        fn element(device: &Device) -> &str {
            match device {
                $(Device::$Name(_) => <model::device::$Name>::ELEMENT,)*
                Device::Other(other) => &other.element,
            }
        }

        /// Writes the changed fields of a device to its element.
        fn patch(device: &Device, edit: &mut Edit, at: &At) -> Result<(), Refused> {
            match device {
                $(Device::$Name(device) => device.patch(edit, at),)*
                Device::Other(_) => Ok(()),
            }
        }
    };
}

devices! {
    Disk,
    Graphics,
    Interface,
    Video,
    Watchdog,
}

/// The device elements of a definition.
fn nodes<'a, 'i>(document: &'a Document<'i>) -> impl Iterator<Item = Node<'a, 'i>> {
    let devices = child(document.root_element(), "devices");
    let elements = devices.into_iter().flat_map(|devices| devices.children());
    // The emulator is not a device.
    elements.filter(|node| node.is_element() && !is_own(*node, "emulator"))
}

/// The targets of the disks of a definition that a guest cannot write to; none if it is not XML.
pub(crate) fn read_only_disks(text: &str) -> BTreeSet<String> {
    let Ok(document) = Document::parse(text) else { return BTreeSet::new() };
    let disks = all(&document).into_iter().filter_map(|entry| match entry.device {
        Device::Disk(disk) if disk.read_only || disk.device == DiskDevice::Cdrom => Some(disk.target),
        _ => None,
    });
    disks.collect()
}

/// The devices of a definition in its order, each with its key.
pub(crate) fn all(document: &Document<'_>) -> Vec<Entry> {
    keyed(document).into_iter().map(|(entry, _)| entry).collect()
}

fn keyed<'a, 'i>(document: &'a Document<'i>) -> Vec<(Entry, Node<'a, 'i>)> {
    let mut entries: Vec<(Entry, Node<'a, 'i>)> = Vec::new();
    for node in nodes(document) {
        let device = read(node, document.input_text());
        let alias = child_attribute(node, "alias", "name");
        let kind = element(&device);
        let number = entries.iter().filter(|(entry, _)| element(&entry.device) == kind).count();
        let numbered = format!("{kind}:{number}");
        let key = match device.identity().filter(|identity| !identity.is_empty()) {
            // User-defined aliases are in the live and the stored definition.
            _ if alias.starts_with("ua-") => alias,
            Some(identity) => format!("{kind}:{identity}"),
            None => numbered.clone(),
        };
        // Keys are unique, even if the definition repeats a device.
        let taken = entries.iter().any(|(entry, _)| entry.key == key);
        entries.push((Entry { key: if taken { format!("{key}#{number}") } else { key }, device }, node));
    }
    entries
}

/// A definition with the device of a key replaced.
///
/// # Errors
/// `Missing` if there is no such device, or it has another kind.
pub(crate) fn updated(text: &str, key: &str, device: &Device) -> Result<String, Refused> {
    let mut edit = Edit::new(text)?;
    let document = Document::parse(text).map_err(|error| Refused::NotXml(error.to_string()))?;
    let found = keyed(&document).into_iter().find(|(entry, _)| entry.key == key);
    let (_, node) = found.filter(|(entry, _)| element(&entry.device) == element(device)).ok_or(Refused::Missing)?;
    patch(device, &mut edit, &At::of(node))?;
    Ok(edit.text().to_owned())
}

#[cfg(test)]
#[path = "device_tests.rs"]
mod tests;
