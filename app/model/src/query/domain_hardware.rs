//! What a machine is made of.

use serde::Deserialize;

use super::{About, Query};
use crate::definition::Definitions;

/// What a machine is made of as it runs and as it is stored, with typed devices, and what differs
/// (`virDomainGetXMLDesc`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DomainHardware {}

impl Query for DomainHardware {
    type Answer = Definitions;

    const ABOUT: About = About {
        name: "hardware",
        summary: "What a machine is made of, as it runs and as it is stored, and what changes with its next start",
        ..About::DEFAULT
    };
}
