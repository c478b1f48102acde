//! The hardware of a machine.

use serde::Deserialize;

use super::{About, Query};
use crate::definition::Definitions;

/// The live and the stored hardware of a machine with typed devices, and the differences
/// (`virDomainGetXMLDesc`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DomainHardware {}

impl Query for DomainHardware {
    type Answer = Definitions;

    const ABOUT: About = About {
        name: "hardware",
        summary: "The hardware of a machine, live and stored, and what changes at its next start",
        ..About::DEFAULT
    };
}
