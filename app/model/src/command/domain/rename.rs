//! Renames a machine.

use super::{About, Domain, Fault, Field, Host, Input, Verb, obstacle, verb};
use crate::text::check_line;

/// Maximum length in bytes; libvirt derives file names from it.
const MAX_NAME: usize = 200;

verb! {
    /// Rename the machine (`virDomainRename`).
    pub struct Rename {
        /// The new name.
        pub name: String,
    }
}

impl Verb for Rename {
    type On = Domain;

    const ABOUT: About = About { kind: "rename", label: "Rename", done: "was renamed", ..About::DEFAULT };

    const FIELDS: &'static [Field] = &[Field::new("name", "Name", Input::Exact).required()];

    fn check(&self, on: &Domain, _: &Host) -> Result<(), Fault> {
        let name = &self.name;
        let wrong = |why: &str| Err(Fault::invalid("name", why));
        match () {
            () if name.trim().is_empty() => return wrong("must not be empty"),
            () if name.len() > MAX_NAME => return wrong("must be at most 200 bytes"),
            () if name.contains('/') => return wrong("must not contain '/'"),
            () => check_line("name", name)?,
        }
        obstacle(
            on,
            match () {
                () if !on.persistent => Some("is transient and cannot be renamed"),
                () if on.state.is_active() => Some("must be stopped before it is renamed"),
                () if on.has_managed_save => {
                    Some("has a saved state; start the machine or discard the saved state first")
                }
                () => None,
            },
        )
    }

    fn evidence(&self, on: Option<&Domain>) -> Option<bool> {
        on.map(|on| on.name == self.name)
    }
}
