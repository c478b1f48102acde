//! The known state of all hosts as one value, and the protocol: `diff` and `apply`, which are
//! inverse.
//!
//! Reading libvirt and numbering events is done elsewhere.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::SerializeStruct};
use uuid::Uuid;

use crate::{
    Domain, DomainRef, Event, Host, HostId, HostInfo, Link, Network, ObjectKind, Pool, RequestId,
    domain::Agent,
    event::{
        Action, Change, ConnectionStatusChanged, GuestAgentConnected, GuestInfoUpdated, NetworkChanged,
        StoragePoolChanged, VmCreated, VmDeleted, VmStateChanged, VmUpdated,
    },
    storage::PoolState,
};

/// All hosts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Inventory {
    /// The hosts by name. Each is shared, so that a change copies one host and not all of them.
    pub hosts: BTreeMap<HostId, Arc<HostInventory>>,
}

/// One host with its machines.
#[derive(Clone, Debug, PartialEq)]
pub struct HostInventory {
    /// The host itself.
    pub host: Host,
    /// Its machines by UUID.
    pub domains: BTreeMap<Uuid, Arc<Domain>>,
    /// Its storage pools by UUID.
    pub pools: BTreeMap<Uuid, Arc<Pool>>,
    /// Its networks by UUID.
    pub networks: BTreeMap<Uuid, Arc<Network>>,
}

/// When and why a difference was observed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stamp {
    /// Unix milliseconds.
    pub timestamp: u64,
    /// The version of objects removed by this difference.
    pub version: u64,
    /// The causing command.
    pub cause: Option<RequestId>,
    /// Whether it was found by a full read after a gap.
    pub resync: bool,
}

impl Inventory {
    /// A machine.
    pub fn domain(&self, id: &DomainRef) -> Option<&Arc<Domain>> {
        self.hosts.get(&id.host)?.domains.get(&id.id)
    }

    /// All machines of all hosts, by host and UUID.
    pub fn domains(&self) -> impl Iterator<Item = (&HostInventory, &Arc<Domain>)> {
        self.hosts.values().flat_map(|host| host.domains.values().map(move |domain| (&**host, domain)))
    }

    /// The ids of all machines, in the order of `domains`.
    pub fn ids(&self) -> impl Iterator<Item = DomainRef> {
        // The keys are beside one another; the machines are not.
        self.hosts
            .iter()
            .flat_map(|(host, known)| known.domains.keys().map(move |id| DomainRef { host: host.clone(), id: *id }))
    }

    /// The events that turn `self` into `next`. Both contain the same hosts, which come from the
    /// configuration and never change while the server runs.
    pub fn diff(&self, next: &Self, stamp: Stamp) -> Vec<Event> {
        let pairs = self.hosts.iter().filter_map(|(id, old)| Some((old, next.hosts.get(id)?)));
        pairs.flat_map(|(old, new)| old.diff(new, stamp)).collect()
    }

    /// Applies an event; applying it twice has no further effect, and an older version of an object
    /// never overwrites a newer one.
    pub fn apply(&mut self, event: &Event) {
        self.take(&event.change());
    }

    /// A host to change; its own copy, if others still read the one before.
    fn host_mut(&mut self, id: &HostId) -> Option<&mut HostInventory> {
        self.hosts.get_mut(id).map(Arc::make_mut)
    }

    /// Applies the change of an event.
    pub fn take(&mut self, change: &Change) {
        match change {
            Change::Host(host) => {
                if let Some(known) = self.host_mut(&host.id) {
                    known.host = Host::clone(host);
                }
            }
            Change::Set(host, domain) => {
                let Some(host) = self.host_mut(host) else { return };
                if host.domains.get(&domain.id).is_none_or(|had| had.version <= domain.version) {
                    host.domains.insert(domain.id, domain.clone());
                }
            }
            Change::Removed(host, id, version) => {
                let Some(host) = self.host_mut(host) else { return };
                if host.domains.get(id).is_some_and(|had| had.version <= *version) {
                    host.domains.remove(id);
                }
            }
            Change::Pool(host, id, pool, version) => {
                let Some(host) = self.host_mut(host) else { return };
                put(&mut host.pools, *id, pool, *version, |pool| pool.version);
            }
            Change::Network(host, id, network, version) => {
                let Some(host) = self.host_mut(host) else { return };
                put(&mut host.networks, *id, network, *version, |network| network.version);
            }
            Change::Task(_) | Change::Error(_) | Change::Appended | Change::Stale | Change::Nothing => {}
        }
    }
}

/// Sets or removes an object, unless a newer version is known.
fn put<T>(known: &mut BTreeMap<Uuid, Arc<T>>, id: Uuid, next: &Option<Arc<T>>, version: u64, of: fn(&T) -> u64) {
    if known.get(&id).is_some_and(|had| of(had) > version) {
        return;
    }
    match next {
        Some(next) => drop(known.insert(id, next.clone())),
        None => drop(known.remove(&id)),
    }
}

impl HostInventory {
    /// A host that was not read yet.
    pub fn unread(id: HostId, uri: String, demo: bool, now: u64) -> Self {
        let connection = Link { uri, error: Some("not connected yet".into()), since: now, ..Link::default() };
        Self::of(Host { id, connection, info: None, demo, managed: false })
    }

    /// A host without objects.
    pub fn of(host: Host) -> Self {
        Self { host, domains: BTreeMap::new(), pools: BTreeMap::new(), networks: BTreeMap::new() }
    }

    /// The name of an object of this host; none if it does not exist.
    pub fn name_of(&self, kind: ObjectKind, id: Uuid) -> Option<&str> {
        match kind {
            ObjectKind::Domain => self.domains.get(&id).map(|domain| &*domain.name),
            ObjectKind::Pool => self.pools.get(&id).map(|pool| &*pool.name),
            ObjectKind::Network => self.networks.get(&id).map(|network| &*network.name),
            ObjectKind::Host => Some(self.host.id.as_str()),
        }
    }

    /// The events that turn `self` into `next`.
    pub fn diff(&self, next: &Self, stamp: Stamp) -> Vec<Event> {
        let mut events = Vec::new();
        if self.host != next.host {
            events.push(connection_event(&next.host, stamp.timestamp));
        }
        for (id, old) in &self.domains {
            events.extend(diff_domain(&self.host.id, Some(old), next.domains.get(id), stamp));
        }
        for (id, new) in &next.domains {
            if !self.domains.contains_key(id) {
                events.extend(diff_domain(&self.host.id, None, Some(new), stamp));
            }
        }
        let (host, pools, networks) =
            (&self.host.id, keys(&self.pools, &next.pools), keys(&self.networks, &next.networks));
        events.extend(pools.filter_map(|id| diff_pool(host, self.pools.get(&id), next.pools.get(&id), stamp)));
        events.extend(
            networks.filter_map(|id| diff_network(host, self.networks.get(&id), next.networks.get(&id), stamp)),
        );
        events
    }
}

/// The keys of two maps, without duplicates.
fn keys<T>(a: &BTreeMap<Uuid, T>, b: &BTreeMap<Uuid, T>) -> impl Iterator<Item = Uuid> + use<T> {
    a.keys().chain(b.keys()).copied().collect::<BTreeSet<_>>().into_iter()
}

/// The event that turns one pool into another; none if they are equal.
pub fn diff_pool(host: &HostId, old: Option<&Arc<Pool>>, new: Option<&Arc<Pool>>, stamp: Stamp) -> Option<Event> {
    let action = match (old, new) {
        (None, None) => return None,
        (Some(old), Some(new)) if old == new => return None,
        (None, Some(_)) => Action::Created,
        (Some(_), None) => Action::Deleted,
        (Some(old), Some(new)) => match (old.state.is_active(), new.state.is_active()) {
            (false, true) => Action::Started,
            (true, false) => Action::Stopped,
            _ if room_apart(old) == room_apart(new) => Action::Refreshed,
            _ => Action::Updated,
        },
    };
    let pool = new.or(old)?;
    Some(Event::StoragePoolChanged(StoragePoolChanged {
        host_id: host.clone(),
        pool_id: pool.id,
        pool_name: pool.name.clone(),
        action,
        pool: new.cloned(),
        version: new.map_or(stamp.version.max(pool.version), |new| new.version),
        timestamp: stamp.timestamp,
        cause: stamp.cause,
        resync: stamp.resync,
    }))
}

/// A pool without the values that change with its use.
fn room_apart(pool: &Pool) -> Pool {
    let (capacity_bytes, allocation_bytes, available_bytes, version) = (0, 0, 0, 0);
    let state = if pool.state.is_active() { PoolState::Running } else { PoolState::Inactive };
    Pool { capacity_bytes, allocation_bytes, available_bytes, version, state, ..pool.clone() }
}

/// The event that turns one network into another; none if they are equal.
pub fn diff_network(
    host: &HostId,
    old: Option<&Arc<Network>>,
    new: Option<&Arc<Network>>,
    stamp: Stamp,
) -> Option<Event> {
    let action = match (old, new) {
        (None, None) => return None,
        (Some(old), Some(new)) if old == new => return None,
        (None, Some(_)) => Action::Created,
        (Some(_), None) => Action::Deleted,
        (Some(old), Some(new)) => match (old.active, new.active) {
            (false, true) => Action::Started,
            (true, false) => Action::Stopped,
            _ => Action::Updated,
        },
    };
    let network = new.or(old)?;
    Some(Event::NetworkChanged(NetworkChanged {
        host_id: host.clone(),
        network_id: network.id,
        network_name: network.name.clone(),
        action,
        network: new.cloned(),
        version: new.map_or(stamp.version.max(network.version), |new| new.version),
        timestamp: stamp.timestamp,
        cause: stamp.cause,
        resync: stamp.resync,
    }))
}

/// The event with a host's new connection state.
pub fn connection_event(host: &Host, timestamp: u64) -> Event {
    Event::ConnectionStatusChanged(ConnectionStatusChanged {
        host_id: host.id.clone(),
        connected: host.connection.connected,
        uri: host.connection.uri.clone(),
        error: host.connection.error.clone(),
        host: Box::new(host.clone()),
        timestamp,
    })
}

/// The events that turn one machine into another; none if they are equal.
pub fn diff_domain(host: &HostId, old: Option<&Arc<Domain>>, new: Option<&Arc<Domain>>, stamp: Stamp) -> Vec<Event> {
    let Stamp { timestamp, cause, resync, .. } = stamp;
    match (old, new) {
        (None, None) => Vec::new(),
        (Some(old), Some(new)) if old == new => Vec::new(),
        (Some(old), Some(new)) => changed(host, old, new, stamp),
        (None, Some(new)) => vec![Event::VmCreated(VmCreated {
            host_id: host.clone(),
            vm_id: new.id,
            vm_name: new.name.clone(),
            vm: new.clone(),
            version: new.version,
            timestamp,
            cause,
            resync,
        })],
        (Some(old), None) => vec![Event::VmDeleted(VmDeleted {
            host_id: host.clone(),
            vm_id: old.id,
            vm_name: old.name.clone(),
            version: stamp.version.max(old.version),
            timestamp,
            cause,
            resync,
        })],
    }
}

/// The events for a machine that exists before and after.
fn changed(host: &HostId, old: &Arc<Domain>, new: &Arc<Domain>, stamp: Stamp) -> Vec<Event> {
    let Stamp { timestamp, cause, resync, .. } = stamp;
    let (host_id, vm_id, vm_name, version) = (host.clone(), new.id, new.name.clone(), new.version);
    let mut events = Vec::new();
    if old.state != new.state {
        events.push(Event::VmStateChanged(VmStateChanged {
            host_id: host_id.clone(),
            vm_id,
            vm_name: vm_name.clone(),
            old_state: old.state,
            new_state: new.state,
            vm: new.clone(),
            version,
            timestamp,
            cause,
            resync,
        }));
    }
    let version_of = |domain: &Domain| {
        domain.guest.as_ref().map(|guest| guest.agent_version.clone()).filter(|told| !told.is_empty())
    };
    let (connected, agent_version) = (new.agent == Agent::Connected, version_of(new));
    // The version is known some time after the agent connected.
    if connected != (old.agent == Agent::Connected) || agent_version.is_some() && agent_version != version_of(old) {
        events.push(Event::GuestAgentConnected(GuestAgentConnected {
            host_id: host_id.clone(),
            vm_id,
            connected,
            agent_version,
            vm: new.clone(),
            version,
            timestamp,
        }));
    }
    if old.guest != new.guest || old.addresses != new.addresses {
        let told = |pick: fn(&crate::domain::Guest) -> &String| {
            new.guest.as_ref().map(pick).filter(|text| !text.is_empty()).cloned()
        };
        events.push(Event::GuestInfoUpdated(GuestInfoUpdated {
            host_id: host_id.clone(),
            vm_id,
            ip_addresses: new.addresses.clone(),
            hostname: told(|guest| &guest.hostname),
            os_version: told(|guest| &guest.os_version),
            vm: new.clone(),
            version,
            timestamp,
        }));
    }
    if events.is_empty() || defined(old) != defined(new) {
        let vm = new.clone();
        events.push(Event::VmUpdated(VmUpdated { host_id, vm_id, vm_name, vm, version, timestamp, cause, resync }));
    }
    events
}

/// The machine without its runtime state.
fn defined(domain: &Domain) -> Domain {
    let mut defined = Domain {
        state: Default::default(),
        state_reason: String::new(),
        agent: Default::default(),
        guest: None,
        addresses: Vec::new(),
        version: 0,
        since: None,
        ..domain.clone()
    };
    for interface in &mut defined.interfaces {
        interface.host_device.clear();
        interface.addresses.clear();
    }
    for graphics in &mut defined.graphics {
        graphics.port = None;
    }
    defined
}

impl Serialize for HostInventory {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("HostInventory", 8)?;
        out.serialize_field("id", &self.host.id)?;
        out.serialize_field("connection", &self.host.connection)?;
        out.serialize_field("info", &self.host.info)?;
        out.serialize_field("demo", &self.host.demo)?;
        out.serialize_field("managed", &self.host.managed)?;
        out.serialize_field("domains", &self.domains.values().collect::<Vec<_>>())?;
        out.serialize_field("pools", &self.pools.values().collect::<Vec<_>>())?;
        out.serialize_field("networks", &self.networks.values().collect::<Vec<_>>())?;
        out.end()
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for HostInventory {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "HostInventory".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "One host with its machines, pools and networks",
            "type": "object",
            "required": ["id", "connection", "info", "demo", "managed", "domains", "pools", "networks"],
            "properties": {
                "id": generator.subschema_for::<HostId>(),
                "connection": generator.subschema_for::<Link>(),
                "info": generator.subschema_for::<Option<HostInfo>>(),
                "demo": { "type": "boolean" },
                "managed": { "type": "boolean" },
                "domains": generator.subschema_for::<Vec<Domain>>(),
                "pools": generator.subschema_for::<Vec<Pool>>(),
                "networks": generator.subschema_for::<Vec<Network>>(),
            },
        })
    }
}

/// Reads what browsers mirror. They ask for pools and networks when they show them, so they
/// neither read nor keep them.
impl<'de> Deserialize<'de> for HostInventory {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Wire {
            id: HostId,
            connection: Link,
            info: Option<HostInfo>,
            #[serde(default)]
            demo: bool,
            #[serde(default)]
            managed: bool,
            domains: Vec<Arc<Domain>>,
        }
        let Wire { id, connection, info, demo, managed, domains } = Wire::deserialize(deserializer)?;
        let mut inventory = Self::of(Host { id, connection, info, demo, managed });
        // One by one: collecting would add sorting code to the module.
        for domain in domains {
            inventory.domains.insert(domain.id, domain);
        }
        Ok(inventory)
    }
}

/// The inventory with its stream position. The position is taken first, so later events may repeat
/// but are never missed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Snapshot {
    /// The position.
    pub cursor: crate::Cursor,
    /// All hosts.
    pub hosts: Arc<Inventory>,
    /// Commands in progress and recently ended ones, the oldest first.
    #[serde(default)]
    pub tasks: Vec<Arc<crate::Task>>,
    /// Why commands are refused: the journal cannot be written.
    #[serde(default)]
    pub trouble: Option<crate::Fault>,
}

impl Snapshot {
    /// Leaves out pools and networks: pages that show them are rendered by the server.
    pub fn bare(mut self) -> Self {
        for host in Arc::make_mut(&mut self.hosts).hosts.values_mut().map(Arc::make_mut) {
            host.pools.clear();
            host.networks.clear();
        }
        self
    }

    /// Keeps of all machines only these, and neither pools nor networks.
    pub fn only<'a>(self, machines: impl IntoIterator<Item = &'a DomainRef>) -> Self {
        let bare = |host: &Arc<HostInventory>| HostInventory::of(host.host.clone());
        let mut hosts: BTreeMap<_, _> = self.hosts.hosts.iter().map(|(id, host)| (id.clone(), bare(host))).collect();
        for id in machines {
            if let (Some(domain), Some(host)) = (self.hosts.domain(id), hosts.get_mut(&id.host)) {
                host.domains.insert(id.id, domain.clone());
            }
        }
        let hosts = hosts.into_iter().map(|(id, host)| (id, Arc::new(host))).collect();
        Self { hosts: Arc::new(Inventory { hosts }), ..self }
    }
}
