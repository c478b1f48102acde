//! The hardware of a host.

use serde::Deserialize;
use uuid::Uuid;

use super::{About, Query};
use crate::{ObjectKind, host_hardware::Hardware};

/// The hardware of a host and which machines use its devices (`virConnectGetCapabilities`,
/// `virConnectListAllNodeDevices`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct HostHardware {}

impl Query for HostHardware {
    type Answer = Hardware;

    const ABOUT: About = About {
        on: ObjectKind::Host,
        name: "hardware",
        summary: "The hardware of a host, which machines use its PCI and USB devices, and its guest capabilities",
        kept: true,
        ..About::DEFAULT
    };

    fn narrow(answer: &mut Hardware, sees: &dyn Fn(Uuid) -> bool) {
        let devices = answer.devices.iter_mut().flatten();
        devices.for_each(|device| device.users.retain(|user| sees(user.vm_id)));
    }
}
