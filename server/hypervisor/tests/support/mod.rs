//! Hosts with their published events, for tests.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]

pub mod daemon;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use hypervisor::{Claim, HostConfig, Hypervisor, OpenConsole, Sink, StorageRoots, demo_host};
use model::{
    Command, Console, Domain, DomainCommand, Event, Fault, FaultKind, Host, HostId, HostInventory, Inventory, Network,
    ObjectKind, ObjectRef, Pool, RequestId, Volume,
    command::Start,
    definition::Definitions,
    domain::GuestDetails,
    host_hardware::Hardware,
    network::Lease,
    query::{Boot, BootOrder, Definition, DomainHardware, Guest, HostHardware, Leases, Listed, Volumes},
};
use tempfile::TempDir;
use tokio::{sync::watch, time::timeout};
use uuid::Uuid;

/// Applies events like a browser.
struct Mirror {
    state: Mutex<(Inventory, Vec<Event>)>,
    changed: watch::Sender<u64>,
    /// Machines whose page is open.
    watched: Mutex<Vec<Uuid>>,
}

impl Sink for Mirror {
    fn publish(&self, events: Vec<Event>) {
        let mut state = self.state.lock().expect("no panic inside");
        for event in events {
            state.0.apply(&event);
            state.1.push(event);
        }
        drop(state);
        self.changed.send_modify(|count| *count += 1);
    }

    fn watched(&self, _: &HostId) -> Vec<Uuid> {
        self.watched.lock().expect("no panic inside").clone()
    }
}

pub struct World {
    hosts: Vec<Hypervisor>,
    mirror: Arc<Mirror>,
    _folder: TempDir,
}

impl World {
    pub async fn demo() -> Self {
        let folder = TempDir::new().expect("a folder");
        let config = demo_host(folder.path()).expect("the node file");
        Self::start(vec![config], folder).await
    }

    pub async fn of_node(node: &str) -> Self {
        let folder = TempDir::new().expect("a folder");
        let path = folder.path().join("node.xml");
        std::fs::write(&path, node).expect("written");
        Self::start(vec![config("demo", &format!("test://{}", path.display()))], folder).await
    }

    pub async fn demo_and_dead() -> Self {
        let folder = TempDir::new().expect("a folder");
        let demo = demo_host(folder.path()).expect("the node file");
        let dead = config("dead", "qemu+unix:///system?socket=/nonexistent/libvirt-sock");
        Self::start(vec![dead, demo], folder).await
    }

    pub async fn dead() -> Self {
        Self::of_uri("qemu+unix:///system?socket=/nonexistent/libvirt-sock").await
    }

    pub async fn of_uri(uri: &str) -> Self {
        Self::start(vec![config("demo", uri)], TempDir::new().expect("a folder")).await
    }

    async fn start(configs: Vec<HostConfig>, folder: TempDir) -> Self {
        let hosts: BTreeMap<_, _> =
            configs.iter().map(|config| (config.id.clone(), Arc::new(config.unread()))).collect();
        let mirror = Arc::new(Mirror {
            state: Mutex::new((Inventory { hosts }, Vec::new())),
            changed: watch::Sender::new(0),
            watched: Mutex::default(),
        });
        let sink: Arc<dyn Sink> = mirror.clone();
        let hosts = configs.into_iter().map(|config| Hypervisor::start(config, sink.clone())).collect();
        let world = Self { hosts, mirror, _folder: folder };
        world.settled().await;
        world
    }

    pub async fn settled(&self) {
        for host in &self.hosts {
            timeout(Duration::from_secs(20), host.settled()).await.expect("settles");
        }
    }

    pub fn inventory(&self) -> Inventory {
        self.mirror.state.lock().expect("no panic inside").0.clone()
    }

    pub fn events(&self) -> Vec<Event> {
        self.mirror.state.lock().expect("no panic inside").1.clone()
    }

    pub fn host(&self) -> Host {
        self.inventory().hosts[&"demo".parse().expect("a name")].host.clone()
    }

    pub fn find(&self, name: &str) -> Option<Arc<Domain>> {
        self.inventory().domains().find(|(_, domain)| domain.name == name).map(|(_, domain)| domain.clone())
    }

    pub fn domain(&self, name: &str) -> Arc<Domain> {
        self.find(name).unwrap_or_else(|| panic!("{name} exists"))
    }

    fn hypervisor(&self) -> &Hypervisor {
        self.hosts.last().expect("a host")
    }

    pub async fn run(&self, name: &str, command: impl Into<Command>) -> Result<RequestId, Fault> {
        let domain = self.domain(name);
        let request = RequestId(Uuid::from_u128(u128::from(domain.version) << 64 | self.events().len() as u128));
        self.hypervisor().run(request, domain.id, name, domain.agent, command.into()).await?;
        Ok(request)
    }

    pub fn host_inventory(&self) -> Arc<HostInventory> {
        self.inventory().hosts[&"demo".parse().expect("a name")].clone()
    }

    pub fn pool(&self, name: &str) -> Option<Arc<Pool>> {
        self.host_inventory().pools.values().find(|pool| pool.name == name).cloned()
    }

    pub fn network(&self, name: &str) -> Option<Arc<Network>> {
        self.host_inventory().networks.values().find(|network| network.name == name).cloned()
    }

    /// Runs a command on a pool or network if `check` allows it.
    pub async fn run_on(&self, id: Uuid, command: impl Into<Command>) -> Result<RequestId, Fault> {
        let (command, host) = (command.into(), self.host_inventory());
        command.check(&host, id, None).or_else(|fault| match fault.kind {
            // libvirt's own error is tested.
            FaultKind::NotFound | FaultKind::Conflict => Ok(()),
            _ => Err(fault),
        })?;
        let request = RequestId(Uuid::from_u128(self.events().len() as u128));
        let agent = model::domain::Agent::Absent;
        let name = command.target_name(&host, id).unwrap_or_else(|| "ghost".into());
        self.hypervisor().run(request, id, &name, agent, command).await?;
        Ok(request)
    }

    pub async fn open_console(&self, name: &str, console: &Console) -> Result<OpenConsole, Fault> {
        let domain = self.domain(name);
        console.check(&domain, &self.host())?;
        self.hypervisor().open_console(&domain, console).await
    }

    /// Runs a query about an object of the host.
    pub async fn ask<Q: Listed>(&self, kind: ObjectKind, id: Uuid, question: Q) -> Result<Q::Answer, Fault> {
        let known = self.host_inventory();
        let on = ObjectRef { host: known.host.id.clone(), kind, id };
        self.hypervisor().answer(&known, &on, question).await
    }

    pub async fn hardware(&self) -> Result<Hardware, Fault> {
        self.ask(ObjectKind::Host, Uuid::nil(), HostHardware {}).await
    }

    pub async fn volumes(&self, pool: &str) -> Result<Vec<Volume>, Fault> {
        let id = self.pool(pool).expect("it is there").id;
        Ok(self.ask(ObjectKind::Pool, id, Volumes {}).await?.volumes)
    }

    /// The users of a volume, from known data.
    pub async fn users(&self, pool: &str, volume: &str) -> Vec<String> {
        let volumes = self.volumes(pool).await.expect("read");
        let found = volumes.iter().find(|known| known.name == volume).expect("it is there");
        found.used_by.iter().map(|user| user.name.clone()).collect()
    }

    /// Inspects uploaded content of a volume.
    pub async fn claim_for_upload(&self, pool: Uuid, volume: &str) -> Result<Claim, Fault> {
        self.hypervisor().claim_for_upload(pool, volume).await
    }

    pub async fn inspect(&self, pool: &str, volume: &str) -> Result<(), Fault> {
        self.hypervisor().inspect_volume(self.pool(pool).expect("it is there").id, volume).await
    }

    pub async fn guest(&self, name: &str) -> Result<GuestDetails, Fault> {
        self.ask(ObjectKind::Domain, self.domain(name).id, Guest {}).await
    }

    pub async fn made_of(&self, name: &str) -> Result<Definitions, Fault> {
        self.ask(ObjectKind::Domain, self.domain(name).id, DomainHardware {}).await
    }

    pub async fn boot_order(&self, name: &str) -> Result<Boot, Fault> {
        self.ask(ObjectKind::Domain, self.domain(name).id, BootOrder {}).await
    }

    pub async fn leases(&self, network: &str) -> Result<Vec<Lease>, Fault> {
        let id = self.network(network).expect("it is there").id;
        Ok(self.ask(ObjectKind::Network, id, Leases {}).await?.leases)
    }

    pub async fn run_unknown(&self) -> Result<(), Fault> {
        let agent = model::domain::Agent::Absent;
        self.hypervisor()
            .run(RequestId(Uuid::nil()), Uuid::from_u128(1), "ghost", agent, DomainCommand::Start(Start {}).into())
            .await
    }

    pub async fn definition(&self, name: &str) -> Result<String, Fault> {
        self.ask(ObjectKind::Domain, self.domain(name).id, Definition {}).await
    }

    /// Marks the pages of these machines as open.
    pub fn watch(&self, machines: &[Uuid]) {
        *self.mirror.watched.lock().expect("no panic inside") = machines.to_vec();
    }

    /// Waits for an event.
    pub async fn until_event<T>(&self, what: &str, wanted: impl Fn(&Event) -> Option<T>) -> T {
        self.until(what, |_| self.events().iter().find_map(&wanted)).await
    }

    /// Waits until `ready` returns a value after an event.
    pub async fn until<T>(&self, what: &str, ready: impl Fn(&Inventory) -> Option<T>) -> T {
        let mut changed = self.mirror.changed.subscribe();
        let wait = async {
            loop {
                if let Some(value) = ready(&self.inventory()) {
                    return value;
                }
                changed.changed().await.expect("the mirror lives");
            }
        };
        timeout(Duration::from_secs(60), wait)
            .await
            .unwrap_or_else(|_| panic!("{what}; machines: {:#?}", self.summary()))
    }

    fn summary(&self) -> Vec<String> {
        self.inventory()
            .domains()
            .map(|(_, domain)| format!("{} {:?} {:?}", domain.name, domain.state, domain.addresses))
            .collect()
    }
}

fn config(id: &str, uri: &str) -> HostConfig {
    // The directories of tests.
    let storage_roots = StorageRoots { named: vec!["/tmp".into()], own: None };
    HostConfig {
        id: id.parse().expect("a name"),
        uri: uri.into(),
        demo: false,
        managed: false,
        agent_version: false,
        storage_roots,
    }
}
