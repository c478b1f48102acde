//! The hardware of a machine, from the live and the stored definition.

use model::{
    definition::{Definition, Definitions},
    query::DomainHardware,
};
use roxmltree::Document;
use uuid::Uuid;
use virt::{connect::Connect, sys};

use super::{Ask, Asked};
use crate::{error::Error, xml};

impl Ask for DomainHardware {
    async fn ask(self, asked: &Asked<'_>) -> Result<Definitions, Error> {
        let (live, stored) = asked.machine(texts).await?;
        Ok(Definitions::of(live.as_deref().and_then(definition), stored.as_deref().and_then(definition)))
    }
}

/// The live and the stored definition.
fn texts(connect: &Connect, id: Uuid) -> Result<(Option<String>, Option<String>), Error> {
    let domain = connect.lookup_domain_by_uuid(id)?;
    let live = if domain.is_active()? { Some(domain.xml_desc(0)?) } else { None };
    let stored = if domain.is_persistent()? { Some(domain.xml_desc(sys::VIR_DOMAIN_XML_INACTIVE)?) } else { None };
    Ok((live, stored))
}

/// A parsed definition; none if it is invalid.
fn definition(text: &str) -> Option<Definition> {
    let document = Document::parse(text).ok()?;
    let domain = xml::domain::of(document.root_element())?;
    Some(Definition {
        vcpus: domain.vcpus,
        max_vcpus: domain.max_vcpus,
        memory_mb: domain.memory_mb,
        max_memory_mb: domain.max_memory_mb,
        arch: domain.arch,
        machine: domain.machine,
        uefi: domain.uefi,
        devices: xml::device::all(&document),
    })
}
