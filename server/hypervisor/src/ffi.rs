//! libvirt calls that the `virt` crate lacks or implements incorrectly: event registration, the
//! close callback, state with reason, statistics, addresses, guest information.
//!
//! Together with `agent`, `console` and `texts` the only module with `unsafe`. It translates and
//! copies, and makes no decisions.
#![expect(unsafe_code, reason = "the binding has no safe form of these calls")]

mod agent;
mod console;
mod texts;

use std::{
    collections::HashMap,
    ffi::{CStr, c_char, c_int, c_uint, c_void},
    os::fd::OwnedFd,
    ptr, slice,
    sync::Arc,
};

use model::network::Lease;
use tokio::io::unix::AsyncFd;
use uuid::Uuid;
use virt::{connect::Connect, domain::Domain, error::Error, network::Network};
use virt_sys as sys;

pub(crate) use self::agent::{
    GUEST_FILE_SYSTEMS, GUEST_NAMES, agent_command, fs_freeze, fs_thaw, fs_trim, guest_info, limit_agent, set_ssh_key,
    ssh_keys,
};
pub(crate) use self::{
    console::{Tube, open_screen},
    texts::{backup_definition, managed_save_definition, volume_name},
};
use crate::events::{Depth, Hints, SharedHints};

/// The event callbacks of a connection; dropping it deregisters them.
pub(crate) struct Registration {
    connect: Arc<Connect>,
    callbacks: Vec<(Family, c_int)>,
    close: bool,
}

/// Object types with separate registration functions.
#[derive(Clone, Copy)]
enum Family {
    Domain,
    Pool,
    Network,
    NodeDevice,
}

type Generic = unsafe extern "C" fn(sys::virConnectPtr, sys::virDomainPtr, *mut c_void);
type GenericOfPool = unsafe extern "C" fn(sys::virConnectPtr, sys::virStoragePoolPtr, *mut c_void);
type GenericOfNetwork = unsafe extern "C" fn(sys::virConnectPtr, sys::virNetworkPtr, *mut c_void);
type GenericOfNodeDevice = unsafe extern "C" fn(sys::virConnectPtr, sys::virNodeDevicePtr, *mut c_void);

/// Registers all used events and the close callback. Events unknown to this libvirt or driver are
/// skipped (registration returns -1).
pub(crate) fn register(connect: Arc<Connect>, hints: &SharedHints) -> Registration {
    // Each callback has its own C signature; libvirt casts it back by event id.
    let wanted: [(Family, u32, *const ()); 16] = [
        (Family::Domain, sys::VIR_DOMAIN_EVENT_ID_LIFECYCLE, on_lifecycle as *const ()),
        (Family::Domain, sys::VIR_DOMAIN_EVENT_ID_REBOOT, on_plain as *const ()),
        (Family::Domain, sys::VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE, on_agent as *const ()),
        (Family::Domain, sys::VIR_DOMAIN_EVENT_ID_BALLOON_CHANGE, on_balloon as *const ()),
        (Family::Domain, sys::VIR_DOMAIN_EVENT_ID_TRAY_CHANGE, on_tray as *const ()),
        (Family::Domain, sys::VIR_DOMAIN_EVENT_ID_DISK_CHANGE, on_disk as *const ()),
        (Family::Domain, sys::VIR_DOMAIN_EVENT_ID_DEVICE_ADDED, on_device as *const ()),
        (Family::Domain, sys::VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, on_device as *const ()),
        (Family::Domain, sys::VIR_DOMAIN_EVENT_ID_METADATA_CHANGE, on_metadata as *const ()),
        (Family::Domain, sys::VIR_DOMAIN_EVENT_ID_BLOCK_JOB_2, on_block_job as *const ()),
        (Family::Domain, sys::VIR_DOMAIN_EVENT_ID_JOB_COMPLETED, on_job_completed as *const ()),
        (Family::Pool, sys::VIR_STORAGE_POOL_EVENT_ID_LIFECYCLE, on_pool as *const ()),
        (Family::Pool, sys::VIR_STORAGE_POOL_EVENT_ID_REFRESH, on_pool_refresh as *const ()),
        (Family::Network, sys::VIR_NETWORK_EVENT_ID_LIFECYCLE, on_network as *const ()),
        (Family::NodeDevice, sys::VIR_NODE_DEVICE_EVENT_ID_LIFECYCLE, on_node_device as *const ()),
        (Family::NodeDevice, sys::VIR_NODE_DEVICE_EVENT_ID_UPDATE, on_node_device_update as *const ()),
    ];
    let registered = wanted.into_iter().filter_map(|(family, event, callback)| {
        let opaque = Box::into_raw(Box::new(hints.clone())).cast::<c_void>();
        // SAFETY: the connection is open, and the function has the signature that belongs to
        // this event id.
        let id = unsafe { register_one(&connect, family, event as c_int, callback, opaque) };
        if id < 0 {
            // SAFETY: libvirt does not free `opaque` of a failed registration.
            unsafe { free_hints(opaque) };
        }
        (id >= 0).then_some((family, id))
    });
    let callbacks = registered.collect();
    let opaque = Box::into_raw(Box::new(hints.clone())).cast::<c_void>();
    // SAFETY: as above, for the close callback.
    let close =
        unsafe { sys::virConnectRegisterCloseCallback(connect.as_ptr(), Some(on_close), opaque, Some(free_hints)) }
            == 0;
    if !close {
        // SAFETY: libvirt does not free `opaque` of a failed registration.
        unsafe { free_hints(opaque) };
    }
    Registration { connect, callbacks, close }
}

/// Registers one callback and returns its id, negative on failure.
///
/// # Safety
/// `callback` has the signature that belongs to the event; `opaque` is a box of `SharedHints`,
/// which libvirt frees with `free_hints` exactly once when the registration succeeds.
unsafe fn register_one(
    connect: &Connect,
    family: Family,
    event: c_int,
    callback: *const (),
    opaque: *mut c_void,
) -> c_int {
    let (all, free) = (ptr::null_mut(), Some(free_hints as unsafe extern "C" fn(*mut c_void)));
    // SAFETY: by the contract; libvirt casts the function back by the event's id.
    unsafe {
        let connect = connect.as_ptr();
        match family {
            Family::Domain => {
                let callback = std::mem::transmute::<*const (), Generic>(callback);
                sys::virConnectDomainEventRegisterAny(connect, all, event, Some(callback), opaque, free)
            }
            Family::Pool => {
                let callback = std::mem::transmute::<*const (), GenericOfPool>(callback);
                sys::virConnectStoragePoolEventRegisterAny(
                    connect,
                    ptr::null_mut(),
                    event,
                    Some(callback),
                    opaque,
                    free,
                )
            }
            Family::Network => {
                let callback = std::mem::transmute::<*const (), GenericOfNetwork>(callback);
                sys::virConnectNetworkEventRegisterAny(connect, ptr::null_mut(), event, Some(callback), opaque, free)
            }
            Family::NodeDevice => {
                let callback = std::mem::transmute::<*const (), GenericOfNodeDevice>(callback);
                sys::virConnectNodeDeviceEventRegisterAny(connect, ptr::null_mut(), event, Some(callback), opaque, free)
            }
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        for (family, id) in &self.callbacks {
            let connect = &self.connect;
            // SAFETY: the connection is held by `self` and the id came from it.
            unsafe {
                match family {
                    Family::Domain => sys::virConnectDomainEventDeregisterAny(connect.as_ptr(), *id),
                    Family::Pool => sys::virConnectStoragePoolEventDeregisterAny(connect.as_ptr(), *id),
                    Family::Network => sys::virConnectNetworkEventDeregisterAny(connect.as_ptr(), *id),
                    Family::NodeDevice => sys::virConnectNodeDeviceEventDeregisterAny(connect.as_ptr(), *id),
                }
            };
        }
        if self.close {
            // SAFETY: as above.
            unsafe { sys::virConnectUnregisterCloseCallback(self.connect.as_ptr(), Some(on_close)) };
        }
    }
}

unsafe extern "C" fn free_hints(opaque: *mut c_void) {
    // SAFETY: `opaque` is the box made in `register`, freed once.
    drop(unsafe { Box::from_raw(opaque.cast::<SharedHints>()) });
}

/// Leaves a hint for the machine of an event.
///
/// # Safety
/// `domain` is valid during the callback; `opaque` is the box made in `register`.
unsafe fn hint(domain: sys::virDomainPtr, depth: Depth, opaque: *mut c_void) {
    let mut uuid = [0; sys::VIR_UUID_BUFLEN as usize];
    // SAFETY: by the contract of this function; reading the UUID does no I/O.
    let (hints, known) =
        unsafe { (&*opaque.cast::<SharedHints>(), sys::virDomainGetUUID(domain, uuid.as_mut_ptr()) == 0) };
    if known {
        hints.domain(Uuid::from_bytes(uuid), depth);
    }
}

/// Declares callbacks that differ in their C signature only.
macro_rules! callbacks {
    ($($name:ident($($arg:ty),*) => $depth:expr;)*) => {$(
        unsafe extern "C" fn $name(_: sys::virConnectPtr, domain: sys::virDomainPtr, $(_: $arg,)* opaque: *mut c_void) {
            // SAFETY: libvirt calls this with a valid domain and the box made in `register`.
            unsafe { hint(domain, $depth, opaque) };
        }
    )*};
}

callbacks! {
    on_plain() => Depth::Whole;
    on_agent(c_int, c_int) => Depth::Guest;
    on_balloon(u64) => Depth::Whole;
    on_tray(*const c_char, c_int) => Depth::Whole;
    on_disk(*const c_char, *const c_char, *const c_char, c_int) => Depth::Whole;
    on_device(*const c_char) => Depth::Whole;
    on_metadata(c_int, *const c_char) => Depth::Whole;
    on_block_job(*const c_char, c_int, c_int) => Depth::Whole;
    on_job_completed(sys::virTypedParameterPtr, c_int) => Depth::Whole;
}

unsafe extern "C" fn on_lifecycle(
    _: sys::virConnectPtr,
    domain: sys::virDomainPtr,
    event: c_int,
    _: c_int,
    opaque: *mut c_void,
) -> c_int {
    let depth = match event as u32 {
        // Neither touches the definition, so the cheap reading is enough.
        sys::VIR_DOMAIN_EVENT_SUSPENDED | sys::VIR_DOMAIN_EVENT_RESUMED => Depth::State,
        sys::VIR_DOMAIN_EVENT_STARTED => Depth::Guest,
        _ => Depth::Whole,
    };
    // SAFETY: libvirt calls this with a valid domain and the box made in `register`.
    unsafe { hint(domain, depth, opaque) };
    0
}

/// Leaves a hint for the pool of an event.
///
/// # Safety
/// `pool` is valid during the callback; `opaque` is the box made in `register`.
unsafe fn hint_pool(pool: sys::virStoragePoolPtr, refreshed: bool, opaque: *mut c_void) {
    let mut uuid = [0; sys::VIR_UUID_BUFLEN as usize];
    // SAFETY: by the contract of this function; reading the UUID does no I/O.
    let (hints, known) =
        unsafe { (&*opaque.cast::<SharedHints>(), sys::virStoragePoolGetUUID(pool, uuid.as_mut_ptr()) == 0) };
    if known {
        hints.around.pool(Uuid::from_bytes(uuid), refreshed);
    }
}

unsafe extern "C" fn on_pool(
    _: sys::virConnectPtr,
    pool: sys::virStoragePoolPtr,
    _: c_int,
    _: c_int,
    opaque: *mut c_void,
) {
    // SAFETY: libvirt calls this with a valid pool and the box made in `register`.
    unsafe { hint_pool(pool, false, opaque) };
}

unsafe extern "C" fn on_pool_refresh(_: sys::virConnectPtr, pool: sys::virStoragePoolPtr, opaque: *mut c_void) {
    // SAFETY: libvirt calls this with a valid pool and the box made in `register`.
    unsafe { hint_pool(pool, true, opaque) };
}

unsafe extern "C" fn on_network(
    _: sys::virConnectPtr,
    network: sys::virNetworkPtr,
    _: c_int,
    _: c_int,
    opaque: *mut c_void,
) {
    let mut uuid = [0; sys::VIR_UUID_BUFLEN as usize];
    // SAFETY: libvirt calls this with a valid network and the box made in `register`; reading
    // the UUID does no I/O.
    let (hints, known) =
        unsafe { (&*opaque.cast::<SharedHints>(), sys::virNetworkGetUUID(network, uuid.as_mut_ptr()) == 0) };
    if known {
        hints.around.network(Uuid::from_bytes(uuid));
    }
}

/// Leaves a hint for a change of a PCI or USB device. Network interfaces and block devices change
/// with every container.
///
/// # Safety
/// `device` is valid during the callback; `opaque` is the box made in `register`.
unsafe fn hint_node_device(device: sys::virNodeDevicePtr, opaque: *mut c_void) {
    // SAFETY: by the contract of this function; reading the name does no I/O, and the text
    // belongs to the device.
    let (hints, name) = unsafe { (&*opaque.cast::<SharedHints>(), text(sys::virNodeDeviceGetName(device))) };
    if name.starts_with("pci_") || name.starts_with("usb_") {
        hints.around.devices();
    }
}

unsafe extern "C" fn on_node_device(
    _: sys::virConnectPtr,
    device: sys::virNodeDevicePtr,
    _: c_int,
    _: c_int,
    opaque: *mut c_void,
) {
    // SAFETY: libvirt calls this with a valid device and the box made in `register`.
    unsafe { hint_node_device(device, opaque) };
}

unsafe extern "C" fn on_node_device_update(_: sys::virConnectPtr, device: sys::virNodeDevicePtr, opaque: *mut c_void) {
    // SAFETY: as above.
    unsafe { hint_node_device(device, opaque) };
}

unsafe extern "C" fn on_close(_: sys::virConnectPtr, reason: c_int, opaque: *mut c_void) {
    // SAFETY: `opaque` is the box made in `register`.
    let hints: &Hints = unsafe { &*opaque.cast::<SharedHints>() };
    hints.lost(match reason as u32 {
        sys::VIR_CONNECT_CLOSE_REASON_KEEPALIVE => "libvirt did not answer keepalive messages",
        sys::VIR_CONNECT_CLOSE_REASON_EOF => "libvirt closed the connection",
        _ => "the connection to libvirt was lost",
    });
}

/// State and reason as libvirt's numbers (`virDomainGetState`).
pub(crate) fn state(domain: &Domain) -> Result<(c_int, c_int), Error> {
    let (mut state, mut reason) = (0, 0);
    // SAFETY: the domain is valid and both out pointers are.
    let done = unsafe { sys::virDomainGetState(domain.as_ptr(), &mut state, &mut reason, 0) };
    if done < 0 { Err(Error::last_error()) } else { Ok((state, reason)) }
}

/// Typed parameters, by name.
pub(crate) type Values = HashMap<String, Value>;

/// Groups of statistics of all machines in one call (`virConnectGetAllDomainStats`).
pub(crate) fn all_stats(connect: &Connect, groups: u32, flags: u32) -> Result<HashMap<Uuid, Values>, Error> {
    let mut records: *mut sys::virDomainStatsRecordPtr = ptr::null_mut();
    // SAFETY: the connection is open and `records` is a valid out pointer.
    let count = unsafe { sys::virConnectGetAllDomainStats(connect.as_ptr(), groups, &mut records, flags) };
    if count < 0 {
        return Err(Error::last_error());
    }
    // SAFETY: libvirt returned that many records, which are not used afterwards.
    Ok(unsafe { take_records(records, count) })
}

/// Groups of statistics of one machine (`virDomainListGetStats`).
pub(crate) fn stats_of(domain: &Domain, groups: u32, flags: u32) -> Result<Values, Error> {
    let mut records: *mut sys::virDomainStatsRecordPtr = ptr::null_mut();
    // SAFETY: the domain is valid, the list ends with a null pointer, and `records` is
    // a valid out pointer.
    let count = unsafe {
        let mut domains = [domain.as_ptr(), ptr::null_mut()];
        sys::virDomainListGetStats(domains.as_mut_ptr(), groups, &mut records, flags)
    };
    if count < 0 {
        return Err(Error::last_error());
    }
    // SAFETY: libvirt returned that many records, which are not used afterwards.
    Ok(unsafe { take_records(records, count) }.into_values().next().unwrap_or_default())
}

/// Copies records and frees them.
///
/// # Safety
/// `records` is null or a list of `count` valid records that are not used afterwards.
unsafe fn take_records(records: *mut sys::virDomainStatsRecordPtr, count: c_int) -> HashMap<Uuid, Values> {
    let mut stats = HashMap::with_capacity(count as usize);
    if records.is_null() {
        return stats;
    }
    // SAFETY: by the contract; each record has a domain and `nparams` parameters,
    // alive until the list is freed below.
    unsafe {
        for record in slice::from_raw_parts(records, count as usize) {
            let mut uuid = [0; sys::VIR_UUID_BUFLEN as usize];
            sys::virDomainGetUUID((**record).dom, uuid.as_mut_ptr());
            stats.insert(Uuid::from_bytes(uuid), typed((**record).params, (**record).nparams));
        }
        sys::virDomainStatsRecordListFree(records);
    }
    stats
}

/// Declares host statistics calls that differ only in their C types.
macro_rules! node_stats {
    ($($(#[$doc:meta])* $name:ident($call:ident, $kind:ident);)*) => {$(
        $(#[$doc])*
        pub(crate) fn $name(connect: &Connect) -> Result<HashMap<String, u64>, Error> {
            const ALL: c_int = -1;
            let mut count = 0;
            // SAFETY: without a list libvirt writes only how many there are.
            let known = unsafe { sys::$call(connect.as_ptr(), ALL, ptr::null_mut(), &mut count, 0) };
            if known < 0 {
                return Err(Error::last_error());
            }
            // SAFETY: the structure is plain numbers and letters, for which zeros are valid.
            let mut list = vec![unsafe { std::mem::zeroed::<sys::$kind>() }; count.max(0) as usize];
            // SAFETY: the list has room for `count` of them.
            let done = unsafe { sys::$call(connect.as_ptr(), ALL, list.as_mut_ptr(), &mut count, 0) };
            if done < 0 {
                return Err(Error::last_error());
            }
            let kept = list.iter().take(count.max(0) as usize);
            // SAFETY: libvirt ends each name with NUL.
            Ok(kept.map(|stat| (unsafe { text(stat.field.as_ptr()) }, stat.value)).collect())
        }
    )*};
}

node_stats! {
    /// Processor time of a host by kind, in nanoseconds (`virNodeGetCPUStats`).
    node_cpu(virNodeGetCPUStats, virNodeCPUStats);
    /// Memory of a host by kind, in KiB (`virNodeGetMemoryStats`).
    node_memory(virNodeGetMemoryStats, virNodeMemoryStats);
}

/// A typed parameter of libvirt.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// A floating-point number.
    Float(f64),
    /// Any of its integers.
    Int(i64),
    /// A text, lossily decoded.
    Text(String),
}

/// Copies typed parameters (`virTypedParameter`).
///
/// # Safety
/// `params` points to `count` valid parameters.
unsafe fn typed(params: sys::virTypedParameterPtr, count: c_int) -> Values {
    if params.is_null() || count <= 0 {
        return HashMap::new();
    }
    // SAFETY: by the contract; the tag says which union field is valid, and
    // names and strings end with NUL.
    unsafe {
        slice::from_raw_parts(params, count as usize)
            .iter()
            .filter_map(|param| {
                let value = match param.type_ as u32 {
                    sys::VIR_TYPED_PARAM_INT => Value::Int(param.value.i.into()),
                    sys::VIR_TYPED_PARAM_UINT => Value::Int(param.value.ui.into()),
                    sys::VIR_TYPED_PARAM_LLONG => Value::Int(param.value.l),
                    sys::VIR_TYPED_PARAM_ULLONG => Value::Int(param.value.ul as i64),
                    sys::VIR_TYPED_PARAM_DOUBLE => Value::Float(param.value.d),
                    sys::VIR_TYPED_PARAM_STRING => Value::Text(text(param.value.s)),
                    _ => return None,
                };
                Some((text(param.field.as_ptr()), value))
            })
            .collect()
    }
}

/// Copies a C string; a null pointer is the empty text.
///
/// # Safety
/// `pointer` is null or points to a text that ends with NUL.
unsafe fn text(pointer: *const c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: by the contract.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}

/// The source of IP addresses.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AddressSource {
    /// DHCP leases of libvirt networks.
    Lease,
    /// The guest agent.
    Agent,
    /// The host's neighbour table.
    Arp,
}

/// Guest interface name, MAC address or empty, and IP addresses.
pub(crate) type Addressed = (String, String, Vec<String>);

/// The IP addresses of a machine by interface (`virDomainInterfaceAddresses`). The binding of
/// `virt` leaks memory.
pub(crate) fn addresses(domain: &Domain, source: AddressSource) -> Result<Vec<Addressed>, Error> {
    let _limit = matches!(source, AddressSource::Agent).then(|| limit_agent(domain));
    let source = match source {
        AddressSource::Lease => sys::VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE,
        AddressSource::Agent => sys::VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT,
        AddressSource::Arp => sys::VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_ARP,
    };
    let mut interfaces: *mut sys::virDomainInterfacePtr = ptr::null_mut();
    // SAFETY: the domain is valid and `interfaces` is a valid out pointer.
    let count = unsafe { sys::virDomainInterfaceAddresses(domain.as_ptr(), &mut interfaces, source as c_uint, 0) };
    if count < 0 {
        return Err(Error::last_error());
    }
    let mut found = Vec::new();
    if interfaces.is_null() {
        return Ok(found);
    }
    // SAFETY: libvirt returned `count` interfaces, each with `naddrs` addresses;
    // each interface and then the array are freed once.
    unsafe {
        for interface in slice::from_raw_parts(interfaces, count as usize) {
            let (addrs, naddrs) = ((**interface).addrs, (**interface).naddrs as usize);
            let addrs = if addrs.is_null() { &[] } else { slice::from_raw_parts(addrs, naddrs) };
            let all = addrs.iter().map(|addr| text(addr.addr)).collect();
            found.push((text((**interface).name), text((**interface).hwaddr), all));
            sys::virDomainInterfaceFree(*interface);
        }
        free(interfaces.cast());
    }
    Ok(found)
}

/// The DHCP leases of a network (`virNetworkGetDHCPLeases`).
pub(crate) fn leases(network: &Network) -> Result<Vec<Lease>, Error> {
    let mut leases: *mut sys::virNetworkDHCPLeasePtr = ptr::null_mut();
    // SAFETY: the network is valid, no hardware address is named, and `leases` is a valid
    // out pointer.
    let count = unsafe { sys::virNetworkGetDHCPLeases(network.as_ptr(), ptr::null(), &mut leases, 0) };
    if count < 0 {
        return Err(Error::last_error());
    }
    let mut found = Vec::new();
    if leases.is_null() {
        return Ok(found);
    }
    // SAFETY: libvirt returned `count` leases; each and then the array are freed once.
    unsafe {
        for lease in slice::from_raw_parts(leases, count as usize) {
            let given = &**lease;
            let expires = u64::try_from(given.expirytime).unwrap_or_default();
            let (mac, address, hostname) = (text(given.mac), text(given.ipaddr), text(given.hostname));
            found.push(Lease { mac, address: format!("{address}/{}", given.prefix), hostname, expires });
            sys::virNetworkDHCPLeaseFree(*lease);
        }
        free(leases.cast());
    }
    Ok(found)
}

/// Supported storage pool types as XML (`virConnectGetStoragePoolCapabilities`).
pub(crate) fn pool_capabilities(connect: &Connect) -> Result<String, Error> {
    // SAFETY: the connection is valid; the text is libvirt's until it is freed, once.
    unsafe {
        let told = sys::virConnectGetStoragePoolCapabilities(connect.as_ptr(), 0);
        if told.is_null() {
            return Err(Error::last_error());
        }
        let read = text(told);
        free(told.cast());
        Ok(read)
    }
}

unsafe extern "C" {
    /// The C library's `free`, required for arrays returned by libvirt.
    fn free(pointer: *mut c_void);
}

/// Sends a non-maskable interrupt (`virDomainInjectNMI`).
pub(crate) fn inject_nmi(domain: &Domain) -> Result<(), Error> {
    // SAFETY: the domain is valid.
    let done = unsafe { sys::virDomainInjectNMI(domain.as_ptr(), 0) };
    if done < 0 { Err(Error::last_error()) } else { Ok(()) }
}

/// Aborts the job of a machine (`virDomainAbortJob`).
pub(crate) fn abort_job(domain: &Domain) -> Result<(), Error> {
    // SAFETY: the domain is valid.
    let done = unsafe { sys::virDomainAbortJob(domain.as_ptr()) };
    if done < 0 { Err(Error::last_error()) } else { Ok(()) }
}

/// A descriptor registered with tokio; must be called on its runtime.
pub(crate) fn wait_on(descriptor: OwnedFd) -> Option<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is open, stays the same, and is closed only after the `AsyncFd` that owns it.
    unsafe { AsyncFd::register(descriptor) }.ok()
}
