//! A machine's definition.

use serde::Deserialize;

use super::{About, Query};

/// A machine's definition as libvirt writes it, without secrets (`virDomainGetXMLDesc`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Definition {}

impl Query for Definition {
    type Answer = String;

    const ABOUT: About =
        About { name: "definition", summary: "The XML of a machine, without passwords", text: true, ..About::DEFAULT };
}
