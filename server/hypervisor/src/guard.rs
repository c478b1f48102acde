//! The last look before storage is destroyed: which machines and which other volumes need it,
//! by what libvirt says at that moment. What a page or a request was checked against is older,
//! as a command may have waited, and knows sources as they are written, not what they mean.

use model::{Fault, Volume};
use virt::{connect::Connect, domain::Domain, storage_vol::StorageVol, sys};

use crate::{error::Error, storage, xml};

/// What is needed on a host.
pub(crate) struct Needs<'a> {
    connect: &'a Connect,
    /// Machines, and a source of a disk of each.
    sources: Vec<(String, String)>,
    /// The volumes of all pools that are started.
    volumes: Vec<Volume>,
}

impl<'a> Needs<'a> {
    /// Reads all of it anew.
    pub(crate) fn read(connect: &'a Connect) -> Result<Self, Error> {
        let mut sources = Vec::new();
        for domain in connect.list_all_domains(0)? {
            match sources_of(&domain) {
                Ok((name, found)) => sources.extend(found.into_iter().map(|source| (name.clone(), source))),
                Err(error) if error.is_gone() => {}
                Err(error) => return Err(error),
            }
        }
        let pools = connect.list_all_storage_pools(sys::VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE)?;
        let volumes = pools.iter().filter_map(|pool| storage::volumes_of(pool).ok()).flatten().collect();
        Ok(Self { connect, sources, volumes })
    }

    /// Whether nothing needs a volume of a pool but volumes at paths that go with it.
    ///
    /// # Errors
    /// `Denied`, with what needs it.
    pub(crate) fn spare(&self, volume: &StorageVol, pool: &str, together: &[String]) -> Result<(), Error> {
        let (name, path, key) = (volume.name()?, volume.path()?, volume.key()?);
        let named = format!("{pool}/{name}");
        let same = |source: &String| *source == path || *source == named || self.means(source, &key);
        let needed = |by: &str| {
            let fault = Fault::denied(format!("{name} is needed: {by}"));
            Err(Error::Said(fault.with_next("Take it from there, or delete that first")))
        };
        if let Some((machine, _)) = self.sources.iter().find(|(_, source)| same(source)) {
            return needed(&format!("{machine} has it among its disks"));
        }
        let based = self.volumes.iter().filter(|other| !other.backing.is_empty() && same(&other.backing));
        let based: Vec<&str> =
            based.filter(|other| !together.contains(&other.path)).map(|other| other.name.as_str()).collect();
        match based.is_empty() {
            true => Ok(()),
            false => needed(&format!("{} are based on it", based.join(", "))),
        }
    }

    /// Whether a source is another path of a volume; devices have several.
    fn means(&self, source: &str, key: &str) -> bool {
        source.starts_with("/dev/")
            && self.connect.lookup_storage_vol_by_path(source).and_then(|volume| volume.key()).is_ok_and(|is| is == key)
    }
}

/// A machine's name and every source of its disks, of those below them too, now and after its
/// next start.
fn sources_of(domain: &Domain) -> Result<(String, Vec<String>), Error> {
    let name = domain.name()?;
    let of = |flags| {
        let unread = || Fault::denied(format!("The disks of {name} cannot be read, and one may be this"));
        xml::domain::all_sources(&domain.xml_desc(flags)?).ok_or_else(|| Error::Said(unread()))
    };
    let mut found = of(0)?;
    if domain.is_active()? && domain.is_persistent()? {
        found.extend(of(sys::VIR_DOMAIN_XML_INACTIVE)?);
    }
    Ok((name, found))
}
