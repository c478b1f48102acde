//! Reads networks and runs network commands. Every function here blocks; `link` decides where it
//! runs and for how long.

use model::{Network, network::Lease};
use uuid::Uuid;
use virt::{connect::Connect, network::Network as Handle, sys};

use crate::{
    error::{Error, gone_is_none},
    ffi, xml,
};

/// All networks (`virConnectListAllNetworks`); those removed meanwhile are skipped.
pub(crate) fn networks(connect: &Connect) -> Result<Vec<Network>, Error> {
    let handles = connect.list_all_networks(0)?;
    handles.iter().filter_map(|handle| gone_is_none(read(handle)).transpose()).collect()
}

/// One network; none if it does not exist.
pub(crate) fn network(connect: &Connect, id: Uuid) -> Result<Option<Network>, Error> {
    gone_is_none(connect.lookup_network_by_uuid(id).map_err(Error::from).and_then(|handle| read(&handle)))
}

fn read(handle: &Handle) -> Result<Network, Error> {
    let mut known = xml::network::network(&handle.xml_desc(0)?).unwrap_or_default();
    let persistent = handle.is_persistent()?;
    if persistent
        && handle.is_active()?
        && let Some(stored) = xml::network::network(&stored(handle)?)
    {
        // An entry may have been made for the next start alone.
        known.add_entries_of(stored);
    }
    Ok(Network {
        id: handle.uuid()?,
        name: handle.name()?,
        active: handle.is_active()?,
        persistent,
        autostart: persistent && handle.autostart().unwrap_or(false),
        ..known
    })
}

/// The stored network XML, or the live one of a transient network.
pub(crate) fn definition(connect: &Connect, id: Uuid) -> Result<String, Error> {
    let network = connect.lookup_network_by_uuid(id)?;
    if network.is_persistent()? { stored(&network) } else { Ok(network.xml_desc(0)?) }
}

/// The stored XML of a persistent network.
pub(crate) fn stored(network: &Handle) -> Result<String, Error> {
    match network.xml_desc(sys::VIR_NETWORK_XML_INACTIVE).map_err(Error::from) {
        // The test driver has only one definition.
        Err(error) if error.is_unsupported() => Ok(network.xml_desc(0)?),
        read => read,
    }
}

/// The DHCP leases of a network.
pub(crate) fn leases(connect: &Connect, id: Uuid) -> Result<Vec<Lease>, Error> {
    Ok(ffi::leases(&connect.lookup_network_by_uuid(id)?)?)
}
