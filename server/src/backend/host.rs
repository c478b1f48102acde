//! What the backend asks of a host, so that one that is watched by another process can take the
//! place of our own libvirt connection.
//!
//! What each of these does is documented where it is done: in `hypervisor`.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use axum::body::Bytes;
use hypervisor::{Claim, Hypervisor, OpenConsole};
use model::{
    Command, Console, Domain, Fault, HostInventory, ObjectRef, PoolCommand, RequestId,
    domain::Agent,
    query::{Answer, Question},
    storage::VolumeUse,
    task::Progress,
};
use tokio::sync::mpsc;
use uuid::Uuid;

/// A host. Functions that call libvirt fail with `Unreachable` while it is not connected.
#[async_trait]
pub(crate) trait Host: Send + Sync {
    /// The connection URI, which may contain secrets.
    fn uri(&self) -> &str;
    /// Tries to connect immediately.
    fn reconnect(&self);
    /// Whether the first listing has finished or failed.
    fn is_settled(&self) -> bool;
    /// Waits until it has.
    async fn settled(&self);
    /// Whether pools and networks were read once, so that an unknown one does not exist.
    fn is_listed(&self) -> bool;
    /// Waits until they were.
    async fn listed(&self);
    /// Runs a command. When it returns, its changes are published.
    async fn run(&self, request: RequestId, id: Uuid, name: &str, agent: Agent, command: Command) -> Result<(), Fault>;
    /// The progress of a machine's job; none without one.
    async fn job(&self, id: Uuid, name: &str) -> Result<Option<Progress>, Fault>;
    /// Aborts it.
    async fn abort_job(&self, id: Uuid, name: &str) -> Result<(), Fault>;
    /// A counter of changes that affect answers about the host.
    fn generation(&self) -> u64;
    /// Answers a query about an object.
    async fn ask(&self, known: &HostInventory, on: &ObjectRef, question: Question) -> Result<Answer, Fault>;
    /// The domain XML with passwords.
    async fn definition_with_secrets(&self, id: Uuid, name: &str) -> Result<String, Fault>;
    /// Opens a console of a machine.
    async fn open_console(&self, domain: &Domain, console: &Console) -> Result<OpenConsole, Fault>;
    /// Busy and idle CPU time of the host since its boot, in nanoseconds.
    async fn busy(&self) -> Result<u64, Fault>;
    /// The users of what a command is about.
    async fn users(&self, known: &HostInventory, id: Uuid, command: &PoolCommand) -> Result<Vec<VolumeUse>, Fault>;
    /// The users of one volume.
    async fn users_of_volume(&self, known: &HostInventory, pool: Uuid, name: &str) -> Result<Vec<VolumeUse>, Fault>;
    /// The users of some pools.
    async fn users_of_pools(&self, known: &HostInventory, pools: &BTreeSet<Uuid>) -> BTreeMap<Uuid, Vec<VolumeUse>>;
    /// Whether a pool may be where a command defines it.
    async fn check_place(&self, command: &PoolCommand) -> Result<(), Fault>;
    /// Claims a volume for an upload.
    async fn claim_for_upload(&self, pool: Uuid, name: &str) -> Result<Claim, Fault>;
    /// Writes a part of a volume: offset and length.
    async fn write_volume(
        &self,
        pool: Uuid,
        name: &str,
        range: (u64, u64),
        pieces: mpsc::Receiver<Result<Bytes, Fault>>,
    ) -> Result<(), Fault>;
    /// Checks the uploaded content of a volume.
    async fn inspect_volume(&self, pool: Uuid, name: &str) -> Result<(), Fault>;
    /// Deletes a volume whose upload did not end well.
    async fn discard_volume(&self, pool: Uuid, name: &str) -> Result<(), Fault>;
    /// The content of a volume, in parts.
    fn volume_content(&self, pool: Uuid, name: &str) -> Result<mpsc::Receiver<Result<Vec<u8>, Fault>>, Fault>;
}

/// A libvirt connection of this process.
#[async_trait]
impl Host for Hypervisor {
    fn uri(&self) -> &str {
        self.uri()
    }

    fn reconnect(&self) {
        self.reconnect();
    }

    fn is_settled(&self) -> bool {
        self.is_settled()
    }

    async fn settled(&self) {
        self.settled().await;
    }

    fn is_listed(&self) -> bool {
        self.is_listed()
    }

    async fn listed(&self) {
        self.listed().await;
    }

    async fn run(&self, request: RequestId, id: Uuid, name: &str, agent: Agent, command: Command) -> Result<(), Fault> {
        self.run(request, id, name, agent, command).await
    }

    async fn job(&self, id: Uuid, name: &str) -> Result<Option<Progress>, Fault> {
        self.job(id, name).await
    }

    async fn abort_job(&self, id: Uuid, name: &str) -> Result<(), Fault> {
        self.abort_job(id, name).await
    }

    fn generation(&self) -> u64 {
        self.generation()
    }

    async fn ask(&self, known: &HostInventory, on: &ObjectRef, question: Question) -> Result<Answer, Fault> {
        self.ask(known, on, question).await
    }

    async fn definition_with_secrets(&self, id: Uuid, name: &str) -> Result<String, Fault> {
        self.definition_with_secrets(id, name).await
    }

    async fn open_console(&self, domain: &Domain, console: &Console) -> Result<OpenConsole, Fault> {
        self.open_console(domain, console).await
    }

    async fn busy(&self) -> Result<u64, Fault> {
        self.busy().await
    }

    async fn users(&self, known: &HostInventory, id: Uuid, command: &PoolCommand) -> Result<Vec<VolumeUse>, Fault> {
        self.users(known, id, command).await
    }

    async fn users_of_volume(&self, known: &HostInventory, pool: Uuid, name: &str) -> Result<Vec<VolumeUse>, Fault> {
        self.users_of_volume(known, pool, name).await
    }

    async fn users_of_pools(&self, known: &HostInventory, pools: &BTreeSet<Uuid>) -> BTreeMap<Uuid, Vec<VolumeUse>> {
        self.users_of_pools(known, |pool| pools.contains(pool)).await
    }

    async fn check_place(&self, command: &PoolCommand) -> Result<(), Fault> {
        self.check_place(command).await
    }

    async fn claim_for_upload(&self, pool: Uuid, name: &str) -> Result<Claim, Fault> {
        self.claim_for_upload(pool, name).await
    }

    async fn write_volume(
        &self,
        pool: Uuid,
        name: &str,
        range: (u64, u64),
        pieces: mpsc::Receiver<Result<Bytes, Fault>>,
    ) -> Result<(), Fault> {
        self.write_volume(pool, name, range, pieces).await
    }

    async fn inspect_volume(&self, pool: Uuid, name: &str) -> Result<(), Fault> {
        self.inspect_volume(pool, name).await
    }

    async fn discard_volume(&self, pool: Uuid, name: &str) -> Result<(), Fault> {
        self.discard_volume(pool, name).await
    }

    fn volume_content(&self, pool: Uuid, name: &str) -> Result<mpsc::Receiver<Result<Vec<u8>, Fault>>, Fault> {
        self.volume_content(pool, name)
    }
}
