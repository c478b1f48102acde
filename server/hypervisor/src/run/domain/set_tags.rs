//! `virDomainSetMetadata`, a custom element.

use model::{command::SetTags, domain::normal_tags};
use virt::{domain::Domain, error::ErrorNumber, sys};

use super::affected;
use crate::{error::Error, run::Run, xml};

impl Run<&Domain> for SetTags {
    fn run(&self, domain: &Domain) -> Result<(), Error> {
        let tags = normal_tags(self.tags.iter().cloned());
        let element = (!tags.is_empty()).then(|| xml::domain::tags_element(&tags).to_string());
        let kind = sys::VIR_DOMAIN_METADATA_ELEMENT as i32;
        let uri = Some(xml::domain::TAGS_URI);
        let set = domain.set_metadata(kind, element.as_deref(), Some("belvedere"), uri, affected(domain)?);
        match set {
            // Removing a missing element is not an error.
            Err(error) if element.is_none() && error.code().is(ErrorNumber::NoDomainMetadata) => Ok(()),
            set => Ok(set?),
        }
    }
}
