//! Reads networks, and carries out what is asked of them. Every function here blocks; `link`
//! decides where it runs and for how long.

use std::net::IpAddr;

use model::{
    Fault, FaultKind, Network, NetworkCommand,
    network::{DnsHost, Lease, NetworkSpec},
};
use uuid::Uuid;
use virt::{connect::Connect, network::Network as Handle, sys};

use crate::{
    error::{Error, gone_is_none},
    ffi, xml,
};

/// All networks (`virConnectListAllNetworks`); those that vanish meanwhile are left out.
pub(crate) fn networks(connect: &Connect) -> Result<Vec<Network>, Error> {
    let handles = connect.list_all_networks(0)?;
    handles.iter().filter_map(|handle| gone_is_none(read(handle)).transpose()).collect()
}

/// One network; none when it does not exist.
pub(crate) fn network(connect: &Connect, id: Uuid) -> Result<Option<Network>, Error> {
    gone_is_none(connect.lookup_network_by_uuid(id).map_err(Error::from).and_then(|handle| read(&handle)))
}

fn read(handle: &Handle) -> Result<Network, Error> {
    let known = xml::network::network(&handle.xml_desc(0)?).unwrap_or_default();
    let persistent = handle.is_persistent()?;
    Ok(Network {
        id: handle.uuid()?,
        name: handle.name()?,
        active: handle.is_active()?,
        persistent,
        autostart: persistent && handle.autostart().unwrap_or(false),
        ..known
    })
}

/// The definition of a network as it is kept, or as it is while it has none.
pub(crate) fn definition(connect: &Connect, id: Uuid) -> Result<String, Error> {
    let network = connect.lookup_network_by_uuid(id)?;
    let kept = if network.is_persistent()? { sys::VIR_NETWORK_XML_INACTIVE } else { 0 };
    match network.xml_desc(kept).map_err(Error::from) {
        // The test driver knows one definition only.
        Err(error) if error.is_unsupported() => Ok(network.xml_desc(0)?),
        read => read,
    }
}

/// What the DHCP server of a network has given away.
pub(crate) fn leases(connect: &Connect, id: Uuid) -> Result<Vec<Lease>, Error> {
    Ok(ffi::leases(&connect.lookup_network_by_uuid(id)?)?)
}

/// Carries a command out and returns when libvirt has answered.
pub(crate) fn run(connect: &Connect, id: Uuid, command: &NetworkCommand) -> Result<(), Error> {
    if let NetworkCommand::DefineNetwork { network, autostart } = command {
        return define(connect, id, network, *autostart);
    }
    let network = connect.lookup_network_by_uuid(id)?;
    match command {
        NetworkCommand::StartNetwork {} => network.create()?,
        NetworkCommand::StopNetwork {} => network.destroy()?,
        NetworkCommand::SetNetworkAutostart { enabled } => network.set_autostart(*enabled)?,
        NetworkCommand::DefineNetwork { .. } => {}
        NetworkCommand::DeleteNetwork {} => {
            // A transient network is gone once it is stopped.
            let persistent = network.is_persistent()?;
            if network.is_active()? {
                network.destroy()?;
            }
            if persistent {
                network.undefine()?;
            }
        }
        NetworkCommand::SetStaticHost { mac, address, name } => set_static_host(&network, mac, *address, name)?,
        NetworkCommand::RemoveStaticHost { mac, address } => {
            let text = network.xml_desc(0)?;
            for host in xml::network::static_hosts_to_remove(&text, mac, *address) {
                update_host(&network, &text, sys::VIR_NETWORK_UPDATE_COMMAND_DELETE, (*address, &host))?;
            }
        }
        NetworkCommand::SetDnsHost { address, names } => {
            let wished = DnsHost { address: *address, names: names.clone() };
            // libvirt changes none of these; what is there goes first, and comes back when the new one is refused.
            let had = forget_names(&network, *address)?;
            update_names(&network, sys::VIR_NETWORK_UPDATE_COMMAND_ADD_LAST, &wished).inspect_err(|_| {
                had.iter().for_each(|had| {
                    update_names(&network, sys::VIR_NETWORK_UPDATE_COMMAND_ADD_LAST, had).ok();
                });
            })?;
        }
        NetworkCommand::RemoveDnsHost { address } => drop(forget_names(&network, *address)?),
    }
    Ok(())
}

/// Makes a network and starts it; what does not work leaves no half of it behind.
fn define(connect: &Connect, id: Uuid, spec: &NetworkSpec, autostart: bool) -> Result<(), Error> {
    // To define what is there would change it, and undoing that would take it away.
    if connect.lookup_network_by_uuid(id).is_ok() {
        return Err(Error::Said(Fault::new(FaultKind::Conflict, format!("{} is there already", spec.name))));
    }
    let text = xml::network::definition(id, spec).map_err(Error::Said)?;
    let network = connect.define_network_xml(&text)?;
    let begin = || {
        network.create()?;
        if autostart {
            network.set_autostart(true)?;
        }
        Ok(())
    };
    begin().inspect_err(|_| {
        network.destroy().ok();
        network.undefine().ok();
    })
}

fn set_static_host(network: &Handle, mac: &str, address: IpAddr, name: &str) -> Result<(), Error> {
    let text = network.xml_desc(0)?;
    let (command, host) = match xml::network::patched_static_host(&text, mac, address, name) {
        Some(patched) => (sys::VIR_NETWORK_UPDATE_COMMAND_MODIFY, patched),
        None => (sys::VIR_NETWORK_UPDATE_COMMAND_ADD_LAST, xml::network::static_host(mac, address, name)),
    };
    update_host(network, &text, command, (address, &host))
}

/// Changes the static addresses of a network; `text` is its definition now.
fn update_host(
    network: &Handle,
    text: &str,
    command: sys::virNetworkUpdateCommand,
    (address, host): (IpAddr, &str),
) -> Result<(), Error> {
    let index = xml::network::index_of(text, address).unwrap_or(-1);
    update(network, command, (sys::VIR_NETWORK_SECTION_IP_DHCP_HOST, index), host)
}

/// Takes the names of an address away; gives what was there.
fn forget_names(network: &Handle, address: IpAddr) -> Result<Vec<DnsHost>, Error> {
    let text = network.xml_desc(0)?;
    let mut known = xml::network::network(&text).unwrap_or_default().dns;
    known.retain(|host| host.address == address);
    for element in xml::network::dns_hosts_to_remove(&text, address) {
        update(network, sys::VIR_NETWORK_UPDATE_COMMAND_DELETE, (sys::VIR_NETWORK_SECTION_DNS_HOST, -1), &element)?;
    }
    Ok(known)
}

fn update_names(network: &Handle, command: sys::virNetworkUpdateCommand, host: &DnsHost) -> Result<(), Error> {
    update(network, command, (sys::VIR_NETWORK_SECTION_DNS_HOST, -1), &xml::network::dns_host(host))
}

/// Changes a part of a network, of the running one and of its definition.
fn update(
    network: &Handle,
    command: sys::virNetworkUpdateCommand,
    (section, index): (sys::virNetworkUpdateSection, i32),
    part: &str,
) -> Result<(), Error> {
    let live = if network.is_active()? { sys::VIR_NETWORK_UPDATE_AFFECT_LIVE } else { 0 };
    let config = if network.is_persistent()? { sys::VIR_NETWORK_UPDATE_AFFECT_CONFIG } else { 0 };
    Ok(network.update(command, section, index, part, live | config)?)
}
