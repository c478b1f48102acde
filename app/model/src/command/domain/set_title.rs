//! Sets the title of a machine.

use super::{About, Domain, Fault, Field, Host, Input, Verb, verb};
use crate::text::check_line;

/// Maximum length in characters.
const MAX_TITLE: usize = 200;

verb! {
    /// Set the title; empty removes it (`virDomainSetMetadata`).
    pub struct SetTitle {
        /// The new title.
        pub title: String,
    }
}

impl Verb for SetTitle {
    type On = Domain;

    const ABOUT: About =
        About { kind: "setTitle", label: "Set title", done: "has a new title", harmless: true, ..About::DEFAULT };

    const FIELDS: &'static [Field] = &[Field::new("title", "Title", Input::Exact)];

    fn check(&self, _: &Domain, _: &Host) -> Result<(), Fault> {
        if self.title.chars().count() > MAX_TITLE {
            return Err(Fault::invalid("title", "must be at most 200 characters"));
        }
        check_line("title", &self.title)
    }

    fn evidence(&self, on: Option<&Domain>) -> Option<bool> {
        on.map(|on| on.title == self.title.trim())
    }
}
