//! `<interface>`.

use model::device::{Interface, InterfaceType};

use super::{device, words};

words!(InterfaceType);

device! {
    Interface in "interface" {
        interface_type: "@type",
        mac: "mac@address",
        network: "source@network",
        bridge: "source@bridge",
        dev: "source@dev",
        model: "model@type",
        tap: "target@dev",
        link: "link@state",
        mtu: "mtu@size",
        filter: "filterref@filter",
        boot_order: "boot@order",
    }
}
