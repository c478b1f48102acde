//! The libvirt layer: model in, model out.
//!
//! `Hypervisor::start` gives one host a watcher that publishes changes to a `Sink`;
//! `Hypervisor::run` runs a command. Types of `virt` are not visible outside of this crate. Whether
//! a command is allowed is not decided here.

mod calls;
mod error;
mod events;
mod ffi;
mod link;
mod xml;

mod console;
mod domain;
mod guest;
mod host;
mod network;
mod nics;
mod stats;
mod storage;

mod chain;
mod claims;
mod image;
mod names;
mod places;
mod raw;
mod uses;

mod query;
mod run;

mod folders;
mod pools_and_networks;
mod watcher;

mod demo;

use std::{
    collections::{BTreeMap, HashMap},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use model::{
    Command, Console, Domain, DomainCommand, DomainState, Event, Fault, FaultKind, HostId, HostInventory,
    NetworkCommand, Pool, PoolCommand, RequestId,
    command::{DefinePool, Shutdown},
    domain::Agent,
    stats::Sweep,
    storage::VolumeUse,
    task::Progress,
};
use tokio::{runtime::Handle, sync::mpsc, task::JoinHandle};
use uuid::Uuid;
use virt::connect::Connect;

use crate::{
    error::Error,
    events::Around,
    folders::Folders,
    link::Lane,
    places::Places,
    pools_and_networks::PoolsAndNetworks,
    raw::RawImages,
    stats::Sampler,
    watcher::{Shared, Watcher},
};

pub use crate::{
    calls::Calls, claims::Claim, console::OpenConsole, demo::demo_host, link::calls, storage::StorageRoots,
};

/// The configuration of a host.
#[derive(Clone, Debug)]
pub struct HostConfig {
    /// Its name in Belvedere.
    pub id: HostId,
    /// The libvirt connection URI; may contain secrets, so it is never shown as is.
    pub uri: String,
    /// Whether it is the demonstration host.
    pub demo: bool,
    /// Whether it was added while a server ran, and can be changed there.
    pub managed: bool,
    /// Whether agents are queried for their version (`virDomainQemuAgentCommand`), for which
    /// libvirt marks a machine as tainted.
    pub agent_version: bool,
    /// Directories allowed for new storage pools.
    pub storage_roots: StorageRoots,
}

impl HostConfig {
    /// The host before the first connection.
    pub fn unread(&self) -> HostInventory {
        let mut unread =
            HostInventory::unread(self.id.clone(), link::without_secrets(&self.uri), self.demo, watcher::now());
        unread.host.managed = self.managed;
        unread
    }
}

/// The last recorded state change of machines: the state, and when, in Unix milliseconds.
pub type LastStates = Pin<Box<dyn Future<Output = HashMap<Uuid, (DomainState, u64)>> + Send>>;

/// Where events go. Publishing must not block.
pub trait Sink: Send + Sync + 'static {
    /// Publishes events of one host in order.
    fn publish(&self, events: Vec<Event>);

    /// Whether there are subscribers for this kind of event, to avoid unnecessary queries.
    fn wants(&self, kind: &str) -> bool {
        let _ = kind;
        true
    }

    /// Stores the result of a sweep over a host; only the latest counts.
    fn measured(&self, host: &HostId, sweep: Sweep) {
        let _ = (host, sweep);
    }

    /// The last state change of each machine, as recorded by an earlier process.
    fn last_states(&self, host: HostId, ids: Vec<Uuid>) -> LastStates {
        let _ = (host, ids);
        Box::pin(std::future::ready(HashMap::new()))
    }

    /// The images of a host that are known to be raw, whatever their content: paths, and volumes as
    /// `pool/volume`.
    fn raw_images(&self, host: &HostId) -> Vec<String> {
        let _ = host;
        Vec::new()
    }

    /// Stores or removes images that are known to be raw, for the next process.
    fn note_raw_images(&self, host: &HostId, images: Vec<String>, raw: bool) {
        let _ = (host, images, raw);
    }

    /// The machines of a host whose page is open.
    fn watched(&self, host: &HostId) -> Vec<Uuid> {
        let _ = host;
        Vec::new()
    }
}

/// One libvirt host.
pub struct Hypervisor {
    config: HostConfig,
    shared: Arc<Shared>,
    tasks: [JoinHandle<()>; 4],
}

/// Timeout of the check for a local libvirt at start.
const PROBE_DEADLINE: Duration = Duration::from_secs(3);

/// Whether libvirt is available at a URI: it responds, or it accepted the call and takes longer, as
/// a daemon that probes QEMU after a boot.
///
/// # Errors
/// Why not, with the next step.
pub async fn probe(uri: &str) -> Result<(), String> {
    let mut opener = link::Opener::default();
    match tokio::time::timeout(PROBE_DEADLINE, opener.open(uri)).await {
        Ok(Ok(session)) => {
            session.close();
            Ok(())
        }
        Ok(Err(error)) => Err(error.of_link(uri)),
        Err(_) => Ok(()),
    }
}

/// Maximum time without progress of a volume reader.
const TAKE_WITHIN: Duration = Duration::from_secs(60);
/// How long a guest may ignore ACPI before its agent is used.
const AGENT_AFTER: Duration = Duration::from_secs(10);

impl Hypervisor {
    /// Starts watching a host. Returns immediately; the first event reports the result.
    pub fn start(config: HostConfig, sink: Arc<dyn Sink>) -> Self {
        let shared = Arc::new(Shared::new(RawImages::new(config.id.clone(), sink.clone())));
        let watcher = tokio::spawn(Watcher::new(config.clone(), shared.clone(), sink.clone()).run());
        let owner = tokio::spawn(PoolsAndNetworks::new(&config, shared.clone(), sink.clone()).run());
        let folders = tokio::spawn(Folders::new(shared.clone(), sink.clone()).run());
        let sampler = tokio::spawn(Sampler::new(&config, shared.clone(), sink).run());
        Self { config, shared, tasks: [watcher, owner, folders, sampler] }
    }

    /// Waits until the first listing has finished or failed.
    pub async fn settled(&self) {
        // The sender lives in `shared`, so the wait cannot fail.
        self.shared.settled.subscribe().wait_for(|settled| *settled).await.ok();
    }

    /// Whether the first listing has finished or failed.
    pub fn is_settled(&self) -> bool {
        *self.shared.settled.borrow()
    }

    /// Whether pools and networks were read once, so that an unknown one does not exist.
    pub fn is_listed(&self) -> bool {
        *self.shared.listed.borrow()
    }

    /// Waits until pools and networks were read.
    pub async fn listed(&self) {
        // The sender lives in `shared`, so the wait cannot fail.
        self.shared.listed.subscribe().wait_for(|listed| *listed).await.ok();
    }

    /// The connection URI, which may contain secrets.
    pub fn uri(&self) -> &str {
        &self.config.uri
    }

    /// Tries to connect immediately.
    pub fn reconnect(&self) {
        self.shared.retry.notify_one();
    }

    /// Runs a command. When it returns, its changes are published.
    ///
    /// # Errors
    /// libvirt's error as a fault; `Unreachable` while disconnected.
    pub async fn run(
        &self,
        request: RequestId,
        id: Uuid,
        name: &str,
        agent: Agent,
        command: Command,
    ) -> Result<(), Fault> {
        match command {
            Command::Domain(command) => self.run_domain((request, id), name, agent, command).await,
            Command::Pool(command) => self.run_pool((request, id), name, command).await,
            Command::Network(command) => self.run_network((request, id), name, command).await,
        }
    }

    /// Runs a command on a storage pool or volume. Its users are read again directly before,
    /// because the check used older data.
    async fn run_pool(&self, (request, id): (RequestId, Uuid), name: &str, command: PoolCommand) -> Result<(), Fault> {
        self.check_place(&command).await?;
        let session = self.shared.session().ok_or_else(|| self.not_connected())?;
        let looked = uses::read::look(&session, &self.shared, id, &command).await;
        let (mut look, claim) = looked.map_err(|error| error.of_command(name, self.config.id.as_str()))?;
        let (lane, window, stay) = {
            let about = command.about();
            (Lane::of(about.lane), window_of(about), about.others_stay)
        };
        let work = move |connect: &Connect| {
            // Held until the work is done, even if the caller is gone.
            let _claim = claim;
            run::pool::run(&command, run::pool::OnPool { connect, id, look: &mut look })
        };
        self.run_around((request, id), name, (lane, window, work), |around| around.pool(id, !stay)).await
    }

    /// Whether the location of a new pool is allowed; true for other commands.
    ///
    /// # Errors
    /// `Denied`, with the allowed directories.
    pub async fn check_place(&self, command: &PoolCommand) -> Result<(), Fault> {
        let PoolCommand::DefinePool(DefinePool { pool, .. }) = command else { return Ok(()) };
        let root = self.shared.session().and_then(|session| session.root.clone());
        let (roots, spec) = (self.config.storage_roots.clone(), pool.clone());
        let checked = link::blocking(move || roots.check(&mut Places::new(root), &spec)).await;
        checked.unwrap_or_else(|_| Err(Error::Panicked.of_command(&pool.name, self.config.id.as_str())))
    }

    /// Runs a command on a network.
    async fn run_network(
        &self,
        (request, id): (RequestId, Uuid),
        name: &str,
        command: NetworkCommand,
    ) -> Result<(), Fault> {
        let root = self.shared.session().and_then(|session| session.root.clone());
        let about = command.about();
        let work = move |connect: &Connect| run::network::run(&command, &run::network::OnNetwork { connect, id, root });
        self.run_around((request, id), name, (Lane::of(about.lane), window_of(about), work), |around| {
            around.network(id);
        })
        .await
    }

    /// Runs work on a pool or network, and waits until the readings requested by `look` are
    /// published.
    async fn run_around(
        &self,
        (request, id): (RequestId, Uuid),
        name: &str,
        (lane, window, work): (Lane, Duration, impl FnOnce(&Connect) -> Result<(), Error> + Send + 'static),
        look: impl FnOnce(&Around),
    ) -> Result<(), Fault> {
        let session = self.shared.session().ok_or_else(|| self.not_connected())?;
        self.shared.expect(id, request, window);
        let result = session.call(lane, work).await;
        look(&session.hints.around);
        session.hints.around.published().await.ok();
        self.shared.forget(id, request);
        result.map_err(|error| error.of_command(name, self.config.id.as_str()))
    }

    /// Runs a command on a machine.
    async fn run_domain(
        &self,
        (request, id): (RequestId, Uuid),
        name: &str,
        agent: Agent,
        command: DomainCommand,
    ) -> Result<(), Fault> {
        let session = self.shared.session().ok_or_else(|| self.not_connected())?;
        let polite = matches!(command, DomainCommand::Shutdown(Shutdown {}));
        self.shared.expect(id, request, window_of(command.about()));
        let lane = Lane::of(command.about().lane);
        let work = move |connect: &Connect| run::domain::run(&command, &connect.lookup_domain_by_uuid(id)?);
        let result = session.call(lane, work).await;
        // A broken connection drops the sender; the next listing reports the state.
        session.hints.nudge(id).await.ok();
        if result.is_err() || !polite {
            self.shared.forget(id, request);
        } else if agent == Agent::Connected {
            tokio::spawn(async move {
                tokio::time::sleep(AGENT_AFTER).await;
                let asked = session.call(Lane::Slow, move |connect| run::domain::shutdown::by_agent(connect, id)).await;
                if let Err(error) = asked {
                    tracing::info!(domain.id = %id, ?error, "cannot shut down through the guest agent");
                }
            });
        }
        result.map_err(|error| error.of_command(name, self.config.id.as_str()))
    }

    /// The progress of a machine's job; none without a job.
    ///
    /// # Errors
    /// libvirt's error as a fault; `Unreachable` while disconnected.
    pub async fn job(&self, id: Uuid, name: &str) -> Result<Option<Progress>, Fault> {
        let Some(session) = self.shared.session() else {
            return Err(self.not_connected());
        };
        let read = session.ask(id, move |connect| domain::job(connect, id)).await;
        read.map_err(|error| error.of_command(name, self.config.id.as_str()))
    }

    /// Aborts a machine's job.
    ///
    /// # Errors
    /// libvirt's error as a fault; `Unreachable` while disconnected.
    pub async fn abort_job(&self, id: Uuid, name: &str) -> Result<(), Fault> {
        let Some(session) = self.shared.session() else {
            return Err(self.not_connected());
        };
        let asked = session.call(Lane::Command, move |connect| domain::abort_job(connect, id)).await;
        asked.map_err(|error| error.of_command(name, self.config.id.as_str()))
    }

    /// The domain XML with passwords (`VIR_DOMAIN_XML_SECURE`).
    ///
    /// # Errors
    /// libvirt's error as a fault; `Unreachable` while disconnected.
    pub async fn definition_with_secrets(&self, id: Uuid, name: &str) -> Result<String, Fault> {
        let session = self.shared.session().ok_or_else(|| self.not_connected())?;
        let read = session.ask(id, move |connect| domain::definition(connect, id, true)).await;
        read.map_err(|error| error.of_command(name, self.config.id.as_str()))
    }

    /// Opens a console of a machine.
    ///
    /// # Errors
    /// libvirt's error as a fault; `Conflict` if another program has it open exclusively;
    /// `Unreachable` while disconnected.
    pub async fn open_console(&self, domain: &Domain, console: &Console) -> Result<OpenConsole, Fault> {
        let session = self.shared.session().ok_or_else(|| self.not_connected())?;
        let opened = console::open(&session, domain, console).await;
        opened.map_err(|error| error.of_command(&domain.name, self.config.id.as_str()))
    }

    /// Busy and idle CPU time of the host since its boot, in nanoseconds (`virNodeGetCPUStats`): a
    /// smaller value means a reboot.
    ///
    /// # Errors
    /// libvirt's error as a fault; `Unreachable` while disconnected.
    pub async fn busy(&self) -> Result<u64, Fault> {
        let session = self.shared.session().ok_or_else(|| self.not_connected())?;
        let read = session.call(Lane::Read, |connect| Ok(ffi::node_cpu(connect)?.values().sum()));
        read.await.map_err(|error| error.of_command(self.config.id.as_str(), self.config.id.as_str()))
    }

    /// The current users of one volume; none if the volume does not exist.
    ///
    /// # Errors
    /// libvirt's error as a fault; `Unreachable` while disconnected.
    pub async fn users_of_volume(&self, host: &HostInventory, id: Uuid, name: &str) -> Result<Vec<VolumeUse>, Fault> {
        let session = self.shared.session().ok_or_else(|| self.not_connected())?;
        let look = uses::read::of_pool(&session, &self.shared, host, id).await;
        let refused = |error: Error| {
            let pool = host.name_of(model::ObjectKind::Pool, id).unwrap_or_default();
            pools_and_networks::refused(&error, pool, &self.config.id)
        };
        let (pool, volumes, mut uses) = look.map_err(refused)?;
        let Some(volume) = volumes.iter().find(|volume| volume.name == name).cloned() else { return Ok(Vec::new()) };
        let users = link::blocking(move || uses.of_volume(&pool, &volume));
        users.await.map_err(|_| Error::Panicked.of_command(name, self.config.id.as_str()))
    }

    /// The users of the given pools, from known data; empty while disconnected.
    pub async fn users_of_pools(
        &self,
        host: &HostInventory,
        wanted: impl Fn(&Uuid) -> bool,
    ) -> BTreeMap<Uuid, Vec<VolumeUse>> {
        let Some(session) = self.shared.session() else { return BTreeMap::new() };
        let Ok(mut uses) = uses::read::known(&session, &self.shared, host).await else { return BTreeMap::new() };
        let shared = self.shared.clone();
        let pools: Vec<Arc<Pool>> = host.pools.values().filter(|pool| wanted(&pool.id)).cloned().collect();
        let told = link::blocking(move || {
            let volumes = |pool: &Pool| shared.volumes.last_known(pool.id).unwrap_or_default();
            pools.iter().map(|pool| (pool.id, uses.of_pool(pool, &volumes(pool)))).collect()
        });
        told.await.unwrap_or_default()
    }

    /// The users of a command's object, from known data.
    ///
    /// # Errors
    /// libvirt's error as a fault; `Unreachable` while disconnected.
    pub async fn users(&self, host: &HostInventory, id: Uuid, command: &PoolCommand) -> Result<Vec<VolumeUse>, Fault> {
        let Some(name) = command.volume() else {
            let only = |pool: &Uuid| *pool == id;
            return Ok(self.users_of_pools(host, only).await.remove(&id).unwrap_or_default());
        };
        self.users_of_volume(host, id, name).await
    }

    /// Deletes a volume whose upload did not end well.
    ///
    /// # Errors
    /// `Denied` while a running machine has it, or libvirt's error.
    pub async fn discard_volume(&self, id: Uuid, name: &str) -> Result<(), Fault> {
        let session = self.shared.session().ok_or_else(|| self.not_connected())?;
        let wanted = name.to_owned();
        let discard = async {
            let mut look = uses::read::look_around(&session, &self.shared, id).await?;
            let discard = move |connect: &Connect| {
                let volume = connect.lookup_storage_pool_by_uuid(id)?.lookup_storage_vol_by_name(&wanted)?;
                storage::discard(&volume, &mut look)
            };
            session.call(Lane::Slow, discard).await
        };
        discard.await.map_err(|error: Error| error.of_command(name, self.config.id.as_str()))
    }

    /// Checks whether uploaded content may stay in a volume.
    ///
    /// # Errors
    /// `Denied` if it refers to files that are not volumes of active pools, or libvirt's error.
    pub async fn inspect_volume(&self, id: Uuid, name: &str) -> Result<(), Fault> {
        let session = self.shared.session().ok_or_else(|| self.not_connected())?;
        let wanted = name.to_owned();
        let inspect = async {
            let mut look = uses::read::look_around(&session, &self.shared, id).await?;
            let inspect = move |connect: &Connect| {
                let path = connect.lookup_storage_pool_by_uuid(id)?.lookup_storage_vol_by_name(&wanted)?.path()?;
                storage::inspect(connect, &path, &mut look)
            };
            session.call(Lane::Slow, inspect).await
        };
        inspect.await.map_err(|error: Error| error.of_command(name, self.config.id.as_str()))
    }

    /// Writes a chunk of a volume's content; `pieces` delivers it part by part.
    ///
    /// # Errors
    /// libvirt's error as a fault; `Unreachable` while disconnected; errors received from `pieces`.
    pub async fn write_volume(
        &self,
        id: Uuid,
        name: &str,
        (offset, length): (u64, u64),
        mut pieces: mpsc::Receiver<Result<Bytes, Fault>>,
    ) -> Result<(), Fault> {
        let session = self.shared.session().ok_or_else(|| self.not_connected())?;
        let volume = name.to_owned();
        let write = move |connect: &_| {
            let next = || pieces.blocking_recv().map(|piece| piece.map_err(Error::Said));
            storage::write(connect, (id, &volume), (offset, length), next)
        };
        let written = session.call(Lane::Content, write).await;
        written.map_err(|error| error.of_command(name, self.config.id.as_str()))
    }

    /// Reads a volume's content part by part.
    ///
    /// # Errors
    /// `Unreachable` while disconnected; libvirt's error is sent as the last part.
    pub fn volume_content(&self, id: Uuid, name: &str) -> Result<mpsc::Receiver<Result<Vec<u8>, Fault>>, Fault> {
        let session = self.shared.session().ok_or_else(|| self.not_connected())?;
        let (parts, taken) = mpsc::channel(4);
        let (name, host) = (name.to_owned(), self.config.id.clone());
        tokio::spawn(async move {
            let (volume, to) = (name.clone(), parts.clone());
            let runtime = Handle::current();
            let read = move |connect: &_| {
                // A client without progress loses its slot.
                let take = |part| runtime.block_on(to.send_timeout(Ok(part), TAKE_WITHIN)).is_ok();
                storage::content(connect, id, &volume, take)
            };
            if let Err(error) = session.call(Lane::Content, read).await {
                parts.send(Err(error.of_command(&name, host.as_str()))).await.ok();
            }
        });
        Ok(taken)
    }

    fn not_connected(&self) -> Fault {
        Fault::new(FaultKind::Unreachable, format!("{} is not connected", self.config.id))
            .with_next("Wait for the host; Belvedere reconnects automatically")
    }
}

impl Drop for Hypervisor {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// How long changes of its object count as the effect of a command.
fn window_of(about: &model::command::About) -> Duration {
    Duration::from_secs(about.window.into())
}
