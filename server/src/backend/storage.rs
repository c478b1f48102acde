//! Storage as it is used: who uses volumes and pools, and what that forbids. The answer is
//! `hypervisor`'s; here it is asked before a command is accepted, and for pages.

use std::{collections::BTreeMap, time::Duration};

use model::{Command, CommandRequest, DomainCommand, DomainRef, Fault, FaultKind, PoolCommand, Volume, storage::User};
use tokio::time::timeout;

use super::Backend;

/// How long somebody who asks for something waits for storage to say who uses it. Later it is
/// looked at in any case, before anything is done.
const LOOK_WITHIN: Duration = Duration::from_secs(3);

impl Backend {
    /// The volumes of a pool, with who uses each.
    ///
    /// # Errors
    /// When there is no such pool, or libvirt does not tell.
    pub(crate) async fn volumes(&self, id: &DomainRef) -> Result<Vec<Volume>, Fault> {
        let hosts = self.feed.snapshot().hosts;
        let missing = || Fault::new(FaultKind::NotFound, format!("There is no storage pool {id}"));
        let host = hosts.hosts.get(&id.host).ok_or_else(missing)?;
        let pool = host.pools.get(&id.id).ok_or_else(missing)?;
        if !pool.state.is_active() {
            return Ok(Vec::new());
        }
        self.hosts.get(&id.host).ok_or_else(missing)?.volumes(host, id.id).await
    }

    /// Who uses each pool of all hosts.
    pub(crate) async fn users_of_pools(&self) -> BTreeMap<DomainRef, Vec<User>> {
        let hosts = self.feed.snapshot().hosts;
        let mut all = BTreeMap::new();
        for (id, host) in &self.hosts {
            let Some(known) = hosts.hosts.get(id).filter(|known| !known.pools.is_empty()) else { continue };
            // A host that does not answer leaves its pools without users, and is marked as stale.
            let users = timeout(LOOK_WITHIN, host.users_of_pools(known)).await.unwrap_or_default();
            all.extend(users.into_iter().map(|(pool, users)| (DomainRef { host: id.clone(), id: pool }, users)));
        }
        all
    }

    /// Whether nobody uses what a request is about, by what is known.
    ///
    /// # Errors
    /// `Denied`, with who does.
    pub(super) async fn check_use(&self, request: &CommandRequest) -> Result<(), Fault> {
        let hosts = self.feed.snapshot().hosts;
        let (Some(known), Some(host)) = (hosts.hosts.get(&request.host), self.hosts.get(&request.host)) else {
            return Ok(());
        };
        match &request.command {
            Command::Pool(command @ PoolCommand::DefinePool { .. }) => host.check_place(command).await,
            Command::Pool(command) if command.depends_on_use() => {
                let Some(pool) = known.pools.get(&request.target) else { return Ok(()) };
                match timeout(LOOK_WITHIN, host.users(known, request.target, command)).await {
                    Ok(Ok(users)) => command.check_use(pool, &users),
                    // What cannot be said now is looked at again before anything is done.
                    Ok(Err(_)) | Err(_) => Ok(()),
                }
            }
            Command::Domain(DomainCommand::Start {} | DomainCommand::StartPaused {}) => {
                self.check_disks(&request.object()).await
            }
            _ => Ok(()),
        }
    }

    /// Whether no disk of a machine is still being uploaded: what is in it was not looked at yet.
    async fn check_disks(&self, machine: &DomainRef) -> Result<(), Fault> {
        for (pool, name) in self.uploads.waiting(&machine.host) {
            let volumes = self.volumes(&pool).await.unwrap_or_default();
            let used_by = volumes.iter().find(|volume| volume.name == name).map(|volume| &volume.used_by);
            if used_by.is_some_and(|users| users.iter().any(|user| user.vm_id == Some(machine.id))) {
                let fault = Fault::denied(format!("{name}, which it has, is still being uploaded"));
                return Err(fault.with_next("Wait for it, or cancel its task first"));
            }
        }
        Ok(())
    }

    /// Whether a piece of content may be written into a volume: nobody runs from it.
    ///
    /// # Errors
    /// `Denied`, with who does.
    pub(super) async fn check_write(&self, pool: &DomainRef, name: &str) -> Result<(), Fault> {
        let volumes = self.volumes(pool).await?;
        let users = volumes.into_iter().find(|volume| volume.name == name).map(|found| found.used_by);
        let active = users.into_iter().flatten().find(|user| user.active);
        match active {
            None => Ok(()),
            Some(user) => {
                Err(Fault::denied(format!("{name} is in use by {}, so nothing is written into it", user.name))
                    .with_next("Cancel the upload, or shut the machine down first"))
            }
        }
    }
}
