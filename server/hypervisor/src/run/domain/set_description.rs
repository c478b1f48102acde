//! `virDomainSetMetadata`, the description.

use model::command::SetDescription;
use virt::{domain::Domain, sys};

use super::set_text;
use crate::{error::Error, run::Run};

impl Run<&Domain> for SetDescription {
    fn run(&self, domain: &Domain) -> Result<(), Error> {
        set_text(domain, sys::VIR_DOMAIN_METADATA_DESCRIPTION, &self.description)
    }
}
