//! Replaces the tags of a machine.

use super::{About, Domain, Fault, Field, Host, Input, Verb, verb};
use crate::{domain::normal_tags, text::check_line};

/// Maximum number of tags per machine.
const MAX_TAGS: usize = 32;
/// Maximum length of a tag in characters.
const MAX_TAG: usize = 48;

verb! {
    /// Replace all tags (`virDomainSetMetadata`).
    pub struct SetTags {
        /// The new tags.
        pub tags: Vec<String>,
    }
}

impl Verb for SetTags {
    type On = Domain;

    const ABOUT: About =
        About { kind: "setTags", label: "Set tags", done: "has new tags", harmless: true, ..About::DEFAULT };

    const FIELDS: &'static [Field] = &[Field::new("tags", "Tags", Input::Words)];

    fn check(&self, _: &Domain, _: &Host) -> Result<(), Fault> {
        if self.tags.len() > MAX_TAGS {
            return Err(Fault::invalid("tags", "a machine can have at most 32 tags"));
        }
        self.tags.iter().try_for_each(|tag| {
            check_line("tags", tag)?;
            let fits = !tag.trim().is_empty() && tag.chars().count() <= MAX_TAG && !tag.contains(',');
            if fits {
                Ok(())
            } else {
                Err(Fault::invalid("tags", "each tag must be 1 to 48 characters without commas"))
            }
        })
    }

    fn evidence(&self, on: Option<&Domain>) -> Option<bool> {
        on.map(|on| on.tags == normal_tags(self.tags.iter().cloned()))
    }
}
