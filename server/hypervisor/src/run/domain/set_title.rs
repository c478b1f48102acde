//! `virDomainSetMetadata`, the title.

use model::command::SetTitle;
use virt::{domain::Domain, sys};

use super::set_text;
use crate::{error::Error, run::Run};

impl Run<&Domain> for SetTitle {
    fn run(&self, domain: &Domain) -> Result<(), Error> {
        set_text(domain, sys::VIR_DOMAIN_METADATA_TITLE, &self.title)
    }
}
