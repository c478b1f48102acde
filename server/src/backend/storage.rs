//! Users of storage, and what they block. They are determined in `hypervisor`; here they are
//! queried before a command is accepted, and for pages.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures_util::future::join_all;
use model::{
    Command, CommandRequest, DomainCommand, Fault, ObjectRef, PoolCommand,
    command::{Start, StartPaused},
    storage::VolumeUse,
};
use tokio::time::timeout;
use uuid::Uuid;

use super::Backend;

/// How long a request waits for the users of storage. They are checked again in any case before
/// anything is done.
const LOOK_WITHIN: Duration = Duration::from_secs(3);

impl Backend {
    /// The users of the given pools; all hosts are queried in parallel.
    pub(crate) async fn users_of_pools(
        &self,
        wanted: impl Fn(&ObjectRef) -> bool,
    ) -> BTreeMap<ObjectRef, Vec<VolumeUse>> {
        let (hosts, wanted) = (self.feed.snapshot().hosts, &wanted);
        let all = self.hosts.all();
        let asked = all.iter().map(async |(id, host)| {
            let of = |pool: &Uuid| ObjectRef::pool(id, *pool);
            let Some(known) = hosts.hosts.get(id) else { return Vec::new() };
            let pools: BTreeSet<Uuid> = known.pools.keys().filter(|pool| wanted(&of(pool))).copied().collect();
            if pools.is_empty() {
                return Vec::new();
            }
            // Pools of a host that does not respond have no users and are marked as stale.
            let users = timeout(LOOK_WITHIN, host.users_of_pools(known, &pools)).await;
            users.unwrap_or_default().into_iter().map(|(pool, users)| (of(&pool), users)).collect()
        });
        join_all(asked).await.into_iter().flatten().collect()
    }

    /// Whether the object of a request is not in use, from known data.
    ///
    /// # Errors
    /// `Denied`, with the users.
    pub(super) async fn check_use(&self, request: &CommandRequest) -> Result<(), Fault> {
        let hosts = self.feed.snapshot().hosts;
        let (Some(known), Some(host)) = (hosts.hosts.get(&request.host), self.hosts.get(&request.host)) else {
            return Ok(());
        };
        match &request.command {
            Command::Pool(command @ PoolCommand::DefinePool(_)) => host.check_place(command).await,
            Command::Pool(command) if command.depends_on_use() => {
                let Some(pool) = known.pools.get(&request.target) else { return Ok(()) };
                match timeout(LOOK_WITHIN, host.users(known, request.target, command)).await {
                    Ok(Ok(users)) => command.check_use(pool, &users),
                    // Unknown uses are checked again before anything is done.
                    Ok(Err(_)) | Err(_) => Ok(()),
                }
            }
            Command::Domain(DomainCommand::Start(Start {}) | DomainCommand::StartPaused(StartPaused {})) => {
                self.check_disks(&request.object()).await
            }
            _ => Ok(()),
        }
    }

    /// Whether no disk of a machine is still being uploaded: its content was not inspected yet.
    async fn check_disks(&self, machine: &ObjectRef) -> Result<(), Fault> {
        for (pool, name) in self.uploads.waiting(&machine.host) {
            let users = self.users_of_volume(&pool, &name).await.unwrap_or_default();
            if users.iter().any(|user| user.vm_id == Some(machine.id)) {
                let fault = Fault::denied(format!("Volume {name}, which it uses, is still being uploaded"));
                return Err(fault.with_next("Wait for it, or cancel its task first"));
            }
        }
        Ok(())
    }

    pub(super) async fn users_of_volume(&self, pool: &ObjectRef, name: &str) -> Result<Vec<VolumeUse>, Fault> {
        let hosts = self.feed.snapshot().hosts;
        let (Some(known), Some(host)) = (hosts.hosts.get(&pool.host), self.hosts.get(&pool.host)) else {
            return Ok(Vec::new());
        };
        host.users_of_volume(known, pool.id, name).await
    }

    /// Whether content may be written into a volume: no machine runs from it.
    ///
    /// # Errors
    /// `Denied`, with the users.
    pub(super) async fn check_write(&self, pool: &ObjectRef, name: &str) -> Result<(), Fault> {
        match self.users_of_volume(pool, name).await?.into_iter().find(|user| user.active) {
            None => Ok(()),
            Some(user) => Err(Fault::denied(format!("{name} is in use by {}, so it cannot be written", user.name))
                .with_next("Cancel the upload, or shut the machine down first")),
        }
    }
}
