//! The definition of a machine.

use serde::Deserialize;

use super::{About, Query};

/// The domain XML without secrets (`virDomainGetXMLDesc`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Definition {}

impl Query for Definition {
    type Answer = String;

    const ABOUT: About =
        About { name: "definition", summary: "The XML of a machine, without passwords", text: true, ..About::DEFAULT };
}
