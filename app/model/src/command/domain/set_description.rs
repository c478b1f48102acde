//! Sets the description of a machine.

use super::{About, Domain, Fault, Field, Host, Input, Verb, verb};
use crate::text::check_lines;

/// Maximum length in bytes.
const MAX_DESCRIPTION: usize = 16 * 1024;

verb! {
    /// Set the description; empty removes it (`virDomainSetMetadata`).
    pub struct SetDescription {
        /// The new description.
        pub description: String,
    }
}

impl Verb for SetDescription {
    type On = Domain;

    const ABOUT: About = About {
        kind: "setDescription",
        label: "Set description",
        done: "has a new description",
        harmless: true,
        ..About::DEFAULT
    };

    const FIELDS: &'static [Field] = &[Field::new("description", "Description", Input::Lines)];

    fn check(&self, _: &Domain, _: &Host) -> Result<(), Fault> {
        if self.description.len() > MAX_DESCRIPTION {
            return Err(Fault::invalid("description", "must be at most 16 KiB"));
        }
        check_lines("description", &self.description)
    }

    fn evidence(&self, on: Option<&Domain>) -> Option<bool> {
        on.map(|on| on.description == self.description.trim())
    }
}
