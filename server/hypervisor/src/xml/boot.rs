//! The boot order: `<boot order>` of devices, otherwise `<os><boot dev>` (formatdomain, "BIOS
//! bootloader").

use model::query::{Boot, BootDevice};
use roxmltree::{Document, Node};

use super::{child, child_attribute, child_text, domain};

/// Reads it from a definition; empty if the text is invalid.
pub(crate) fn of(text: &str) -> Boot {
    let Ok(document) = Document::parse(text) else { return Boot::default() };
    let root = document.root_element();
    let os = child(root, "os");
    let menu = os.and_then(|os| child(os, "bootmenu"));
    let mut ordered = ordered(root);
    if ordered.is_empty() {
        ordered = os.map(by_class).unwrap_or_default();
    }
    Boot {
        devices: ordered,
        menu: menu.is_some_and(|menu| menu.attribute("enable") == Some("yes")),
        menu_timeout_ms: menu.and_then(|menu| menu.attribute("timeout")?.parse().ok()),
        kernel: os.map(|os| child_text(os, "kernel")).filter(|kernel| !kernel.is_empty()),
    }
}

/// The devices with an order, the lowest number first.
fn ordered(root: Node<'_, '_>) -> Vec<BootDevice> {
    let devices = child(root, "devices").into_iter().flat_map(|devices| devices.children());
    let mut found: Vec<(u32, BootDevice)> = devices
        .filter_map(|device| Some((child(device, "boot")?.attribute("order")?.parse().ok()?, device_of(device))))
        .collect();
    found.sort_by_key(|(order, _)| *order);
    found.into_iter().map(|(_, device)| device).collect()
}

fn device_of(device: Node<'_, '_>) -> BootDevice {
    let source = || child(device, "source").map(domain::source_of).unwrap_or_default();
    let (name, source) = match device.tag_name().name() {
        "interface" => (child_attribute(device, "mac", "address"), domain::interface_source(device)),
        "disk" => (child_attribute(device, "target", "dev"), source()),
        _ => (child_attribute(device, "alias", "name"), source()),
    };
    BootDevice { kind: device.tag_name().name().to_owned(), name, source }
}

/// The device classes, which the firmware tries in order.
fn by_class(os: Node<'_, '_>) -> Vec<BootDevice> {
    let classes = os.children().filter(|element| element.has_tag_name("boot"));
    let classes = classes.filter_map(|boot| boot.attribute("dev"));
    classes.map(|class| BootDevice { kind: class.to_owned(), ..BootDevice::default() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_stand_in_the_order_of_their_numbers() {
        let boot = of("<domain><os><bootmenu enable='yes' timeout='3000'/></os><devices>\
            <disk device='disk'><source file='/a.qcow2'/><target dev='vda'/><boot order='10'/></disk>\
            <disk device='cdrom'><target dev='sda'/></disk>\
            <interface type='network'><mac address='52:54:00:00:00:01'/><source network='lab'/><boot order='2'/></interface>\
            </devices></domain>");
        let devices: Vec<_> = boot.devices.iter().map(|one| (&*one.kind, &*one.name, &*one.source)).collect();
        assert_eq!(devices, [("interface", "52:54:00:00:00:01", "lab"), ("disk", "vda", "/a.qcow2")]);
        assert_eq!((boot.menu, boot.menu_timeout_ms), (true, Some(3000)));
    }

    #[test]
    fn without_numbers_the_classes_count_and_a_kernel_needs_none() {
        let boot =
            of("<domain><os><boot dev='network'/><boot dev='hd'/><kernel> /boot/vmlinuz </kernel></os></domain>");
        let kinds: Vec<_> = boot.devices.iter().map(|one| &*one.kind).collect();
        assert_eq!((kinds, boot.kernel.as_deref()), (vec!["network", "hd"], Some("/boot/vmlinuz")));
        assert_eq!(of("<"), Boot::default());
    }
}
