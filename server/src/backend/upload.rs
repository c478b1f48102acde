//! Content of volumes on its way in and out. A volume is made by a command like any other;
//! its content follows in pieces, each of which is written before the next one is taken, so
//! that an upload goes on where it was after a tab or a link was lost. What is fetched from
//! an address comes the same way, by the server's own hand.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::body::Bytes;
use model::{
    Command, DomainRef, Fault, FaultKind, HostId, Origin, PoolCommand, RequestId, domain::Agent, task::Progress,
};
use sha2::{Digest, Sha256};
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};
use uuid::Uuid;

use super::{Backend, fetch::Source, no_host};
use crate::{
    hex::hex,
    journal::{Note, Reached, accounts},
    limits,
    tasks::{Record, now},
};

/// An upload whose next piece does not come within this is given up.
const PIECE_WITHIN: Duration = Duration::from_secs(600);
/// How much of a file is written before it counts, in bytes.
const PUMPED: u64 = 4 << 20;
/// Parts that wait for libvirt.
pub(crate) const WAITING: usize = 8;

/// The uploads that wait for content, by their request.
#[derive(Default)]
pub(crate) struct Uploads(Mutex<HashMap<RequestId, Arc<Upload>>>);

/// One of them.
pub(crate) struct Upload {
    pool: DomainRef,
    name: String,
    size: u64,
    who: Option<String>,
    /// How many bytes are written.
    offset: watch::Sender<u64>,
    /// What the host's processors had done before the last piece; 0 when it does not tell.
    busy: AtomicU64,
    /// Held while a piece is written.
    turn: tokio::sync::Mutex<()>,
}

impl Uploads {
    fn find(&self, id: RequestId, origin: &Origin) -> Result<Arc<Upload>, Fault> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned();
        // Somebody else's is not there.
        known.filter(|upload| upload.who == origin.who).ok_or_else(|| {
            Fault::new(FaultKind::NotFound, format!("There is no upload {id} that waits for content"))
                .with_next("It may have ended; look at the tasks, and begin again if need be")
        })
    }

    /// Whether nothing that is still coming in is in a command's way.
    ///
    /// # Errors
    /// `Denied`, with the upload.
    pub(super) fn is_free(&self, pool: &DomainRef, command: &Command) -> Result<(), Fault> {
        let Command::Pool(command) = command else { return Ok(()) };
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let meant = |upload: &Upload| {
            let named = |name: &String| *name == upload.name;
            upload.pool == *pool
                && match command {
                    PoolCommand::StopPool {} | PoolCommand::DeletePool { .. } => true,
                    PoolCommand::DeleteVolume { name }
                    | PoolCommand::WipeVolume { name }
                    | PoolCommand::ResizeVolume { name, .. }
                    | PoolCommand::CloneVolume { name, .. }
                    | PoolCommand::UploadVolume { name, .. }
                    | PoolCommand::FetchVolume { name, .. } => named(name),
                    PoolCommand::CreateVolume { volume } => named(&volume.name),
                    _ => false,
                }
        };
        match known.values().find(|upload| meant(upload)) {
            Some(upload) => Err(Fault::denied(format!("{} is still being uploaded", upload.name))
                .with_next("Wait for it, or cancel its task first")),
            None => Ok(()),
        }
    }

    /// The volumes of a host that wait for content.
    pub(super) fn waiting(&self, host: &HostId) -> Vec<(DomainRef, String)> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_host = known.values().filter(|upload| upload.pool.host == *host);
        of_host.map(|upload| (upload.pool.clone(), upload.name.clone())).collect()
    }

    /// The requests of all of them.
    pub(super) fn all(&self) -> Vec<RequestId> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
    }

    /// The pool that an upload is for.
    ///
    /// # Errors
    /// `NotFound`.
    pub(crate) fn pool(&self, id: RequestId, origin: &Origin) -> Result<DomainRef, Fault> {
        Ok(self.find(id, origin)?.pool.clone())
    }

    /// How far an upload is, in bytes.
    ///
    /// # Errors
    /// `NotFound`.
    pub(crate) fn offset(&self, id: RequestId, origin: &Origin) -> Result<u64, Fault> {
        Ok(*self.find(id, origin)?.offset.borrow())
    }
}

impl Backend {
    /// Waits for the content of a volume that has just been made. Without it the volume goes
    /// again.
    pub(super) async fn take_content(&self, record: &Record) -> Result<(), Fault> {
        match (&record.intent.command, record.intent.target) {
            (Command::Pool(PoolCommand::UploadVolume { name, capacity_bytes }), Some(target)) => {
                self.fill(record, (target, name, *capacity_bytes), 0, None).await
            }
            _ => Ok(()),
        }
    }

    /// Goes on with an upload of a former process, and takes away what that has fetched of a
    /// file. None when a request is neither, or fetched nothing yet.
    pub(super) async fn take_up_content(&self, record: &Record) -> Option<Result<(), Fault>> {
        let intent = &record.intent;
        let (host, target) = (self.hosts.get(&intent.host)?, intent.target?);
        let Command::Pool(command @ (PoolCommand::UploadVolume { name, .. } | PoolCommand::FetchVolume { name, .. })) =
            &intent.command
        else {
            return None;
        };
        let reached = self.journal.audit.upload(intent.request_id).await.ok().flatten();
        let interrupted = |reason: String, next: &str| Err(Fault::new(FaultKind::Interrupted, reason).with_next(next));
        let Some(reached) = reached else {
            // Whether its volume was made is not known, so it is left as it is.
            let upload = matches!(command, PoolCommand::UploadVolume { .. });
            let reason = format!("The upload of {name} was interrupted, and it may be there in part");
            return upload.then(|| interrupted(reason, "Delete it and upload it again"));
        };
        host.settled().await;
        host.listed().await;
        let connected = self.feed.until(|inventory| {
            inventory.hosts.get(&intent.host).filter(|host| host.host.connection.connected).map(drop)
        });
        connected.await;
        if let PoolCommand::UploadVolume { capacity_bytes, .. } = command {
            self.tasks.progress(record, |task| task.note(now(), "Belvedere was started again, and it goes on"));
            // What a host that was started anew has of it may not be all.
            let same = host.busy().await.is_ok_and(|busy| busy >= reached.busy);
            let from = if same { reached.offset } else { 0 };
            return Some(self.fill(record, (target, name, *capacity_bytes), from, None).await);
        }
        let forget = PoolCommand::DeleteVolume { name: name.clone() };
        let left = self.run_checked(record, target, forget.into()).await.err();
        self.journal.audit.upload_ended(intent.request_id).await.ok();
        if let Some(fault) = left {
            self.tasks.progress(record, |task| task.note(now(), fault.sentence()));
            let reason = format!("Fetching {name} was interrupted, and it may be there in part");
            return Some(interrupted(reason, "Delete it and fetch it again"));
        }
        let reason = format!("Fetching {name} was interrupted; what was there of it is deleted");
        Some(interrupted(reason, "Fetch it again"))
    }

    /// Fetches a file from an address into a volume that is made for it.
    pub(super) async fn fetch(&self, record: &Record) -> Result<(), Fault> {
        let intent = &record.intent;
        let (Command::Pool(PoolCommand::FetchVolume { name, url, sha256 }), Some(target)) =
            (&intent.command, intent.target)
        else {
            return Ok(());
        };
        self.tasks.progress(record, |task| {
            (task.state, task.cancellable) = (model::TaskState::Running, true);
            task.note(now(), "The file is asked for");
        });
        let account = limits::account(&intent.origin);
        let source = tokio::select! {
            opened = self.fetcher.open(&url.0, &account) => opened?,
            () = record.cancel.notified() => return Err(cancelled(&intent.name)),
        };
        let size = source.size;
        let make = PoolCommand::UploadVolume { name: name.clone(), capacity_bytes: size };
        self.run_checked(record, target, make.into()).await?;
        self.fill(record, (target, name, size), 0, Some((source, sha256))).await
    }

    /// Waits until a volume is filled, by others or from a source.
    async fn fill(
        &self,
        record: &Record,
        (target, name, size): (Uuid, &str, u64),
        from: u64,
        source: Option<(Source, &str)>,
    ) -> Result<(), Fault> {
        let intent = &record.intent;
        let upload = Arc::new(Upload {
            pool: DomainRef { host: intent.host.clone(), id: target },
            name: name.to_owned(),
            size,
            who: intent.origin.who.clone(),
            offset: watch::Sender::new(from),
            busy: AtomicU64::new(0),
            turn: tokio::sync::Mutex::default(),
        });
        self.is_whole(&upload).await;
        self.note_reached(intent.request_id, &upload).await;
        let all = || self.uploads.0.lock().unwrap_or_else(PoisonError::into_inner);
        all().insert(intent.request_id, upload.clone());
        // Nothing else is done with the file meanwhile, through whichever pool.
        let claim = match self.hosts.get(&intent.host) {
            Some(host) => host.claim_for_upload(target, name).await,
            None => Err(no_host(&intent.host)),
        };
        let came = match (claim, source) {
            (Err(fault), _) => Err(fault),
            (Ok(_claim), None) => self.wait_for_content(record, &upload).await,
            (Ok(_claim), Some((source, sha256))) => self.pump(record, &upload, source, sha256).await,
        };
        // A piece that is under way ends before anything is done with the volume, and nobody
        // else takes its name before that.
        let turn = upload.turn.lock().await;
        let came = match (came, self.hosts.get(&intent.host)) {
            // A stranger's image may name files of the host.
            (Ok(()), Some(host)) => host.inspect_volume(target, name).await,
            (came, _) => came,
        };
        let then = match &came {
            // What is in it says what it is.
            Ok(()) => PoolCommand::RefreshPool {},
            // One that a machine has meanwhile stays; the refusal is in the task's log.
            Err(_) => PoolCommand::DeleteVolume { name: name.to_owned() },
        };
        if let Err(fault) = self.run_checked(record, target, then.into()).await {
            self.tasks.progress(record, |task| task.note(now(), fault.sentence()));
        }
        all().remove(&intent.request_id);
        self.journal.audit.upload_ended(intent.request_id).await.ok();
        drop(turn);
        came
    }

    /// Writes what comes from a source, and looks whether it is what it should be.
    async fn pump(&self, record: &Record, upload: &Upload, mut source: Source, sha256: &str) -> Result<(), Fault> {
        // Nobody else writes into it meanwhile.
        let _turn = upload.turn.lock().await;
        let host = self.hosts.get(&upload.pool.host).ok_or_else(|| no_host(&upload.pool.host))?;
        let (mut digest, mut rest, mut from) = (Sha256::new(), Bytes::new(), 0);
        while from < upload.size {
            self.tell(record, upload, from);
            let length = PUMPED.min(upload.size - from);
            // A piece is there as a whole before it is written: a slow source holds none of the host's
            // few places for content.
            let gather = async {
                let (mut parts, mut missing) = (Vec::new(), length);
                while missing > 0 {
                    if rest.is_empty() {
                        rest = source.next().await?.ok_or_else(|| source.cut_short())?;
                    }
                    let part = rest.split_to(rest.len().min(usize::try_from(missing).unwrap_or(usize::MAX)));
                    digest.update(&part);
                    missing -= part.len() as u64;
                    parts.push(part);
                }
                Ok::<Vec<Bytes>, Fault>(parts)
            };
            let parts = tokio::select! {
                gathered = timeout(PIECE_WITHIN, gather) => gathered.map_err(|_| too_slow(&record.intent.name))??,
                () = record.cancel.notified() => return Err(cancelled(&record.intent.name)),
            };
            self.check_write(&upload.pool, &upload.name).await?;
            let (feed, taken) = mpsc::channel(WAITING);
            let fed = async move {
                for part in parts {
                    // Whoever takes it says what is wrong.
                    if feed.send(Ok(part)).await.is_err() {
                        break;
                    }
                }
            };
            let write = host.write_volume(upload.pool.id, &upload.name, (from, length), taken);
            tokio::join!(fed, write).1?;
            from += length;
            upload.offset.send_replace(from);
        }
        let have = hex(&digest.finalize());
        if !sha256.is_empty() && !have.eq_ignore_ascii_case(sha256) {
            let reason = format!("{} is not the file that was meant: its SHA-256 is {have}", upload.name);
            return Err(Fault::new(FaultKind::Refused, reason)
                .with_next("Look whether the address and the SHA-256 belong together"));
        }
        Ok(())
    }

    /// Does what follows from a request, if it is possible now.
    async fn run_checked(&self, record: &Record, target: Uuid, command: Command) -> Result<(), Fault> {
        let intent = &record.intent;
        let hypervisor = self.hosts.get(&intent.host).ok_or_else(|| no_host(&intent.host))?;
        let hosts = self.feed.snapshot().hosts;
        let host = hosts.hosts.get(&intent.host).ok_or_else(|| no_host(&intent.host))?;
        command.check(host, target, None)?;
        hypervisor.run(intent.request_id, target, &intent.name, Agent::Absent, command).await
    }

    async fn wait_for_content(&self, record: &Record, upload: &Upload) -> Result<(), Fault> {
        let name = &record.intent.name;
        let mut offset = upload.offset.subscribe();
        loop {
            let have = *offset.borrow_and_update();
            if have >= upload.size {
                return Ok(());
            }
            self.tell(record, upload, have);
            tokio::select! {
                changed = timeout(PIECE_WITHIN, offset.changed()) => {
                    if changed.is_err() {
                        return Err(too_slow(name));
                    }
                }
                () = record.cancel.notified() => return Err(cancelled(name)),
            }
        }
    }

    /// Tells how much of the content is there.
    fn tell(&self, record: &Record, upload: &Upload, have: u64) {
        self.tasks.progress(record, |task| {
            (task.state, task.cancellable) = (model::TaskState::Running, true);
            let percent = Some((have * 100 / upload.size.max(1)) as u8);
            let text = format!("{} of {}", app::format::size(have), app::format::size(upload.size));
            task.progress = Some(Progress { percent, text });
        });
    }

    /// Writes the next piece of an upload; gives how far it is then.
    ///
    /// # Errors
    /// `NotFound` when nothing waits for it, `Conflict` when it is not the next piece, what
    /// libvirt refused.
    pub(crate) async fn write_piece(
        &self,
        id: RequestId,
        origin: &Origin,
        (from, length): (u64, u64),
        pieces: mpsc::Receiver<Result<Bytes, Fault>>,
    ) -> Result<u64, Fault> {
        let upload = self.uploads.find(id, origin)?;
        if self.tasks.get(id).is_none_or(|record| record.task.borrow().outcome.is_some()) {
            return Err(Fault::new(FaultKind::NotFound, "The upload has ended"));
        }
        let busy = || Fault::new(FaultKind::Conflict, "Another piece of this upload is being written");
        let _turn = upload.turn.try_lock().map_err(|_| busy())?;
        if !self.is_whole(&upload).await {
            upload.offset.send_replace(0);
        }
        let have = *upload.offset.borrow();
        if from != have {
            return Err(Fault::new(FaultKind::Conflict, format!("The next piece begins at byte {have}")));
        }
        if length == 0 || from.saturating_add(length) > upload.size {
            return Err(Fault::invalid("Content-Length", "it is more than is missing, or nothing"));
        }
        let host = self.hosts.get(&upload.pool.host).ok_or_else(|| no_host(&upload.pool.host))?;
        self.check_write(&upload.pool, &upload.name).await?;
        host.write_volume(upload.pool.id, &upload.name, (from, length), pieces).await?;
        upload.offset.send_replace(from + length);
        self.note_reached(id, &upload).await;
        Ok(from + length)
    }

    /// Whether all that was written is there still: a host that was started anew may have lost
    /// what was not on its disk yet.
    async fn is_whole(&self, upload: &Upload) -> bool {
        let Some(host) = self.hosts.get(&upload.pool.host) else { return true };
        // Where that is not told, the piece itself will not work either.
        host.busy().await.map_or(true, |busy| busy >= upload.busy.swap(busy, Ordering::Relaxed))
    }

    /// Notes how far an upload is. Where that cannot be written, it goes on from an earlier
    /// piece, which does no harm.
    async fn note_reached(&self, id: RequestId, upload: &Upload) {
        let reached = Reached { offset: *upload.offset.borrow(), busy: upload.busy.load(Ordering::Relaxed) };
        if let Err(fault) = self.journal.audit.upload_reached(id, reached).await {
            tracing::debug!(reason = fault.reason, "how far an upload is could not be written");
        }
    }

    /// Reads the content of a volume; that it was read is on disk before.
    ///
    /// # Errors
    /// When there is no such volume, or that cannot be recorded.
    pub(crate) async fn volume_content(
        &self,
        id: &DomainRef,
        name: &str,
        origin: &Origin,
    ) -> Result<mpsc::Receiver<Result<Vec<u8>, Fault>>, Fault> {
        let volumes = self.volumes(id).await?;
        let missing = || Fault::new(FaultKind::NotFound, format!("There is no volume {}", name.escape_debug()));
        volumes.iter().find(|volume| volume.name == name).ok_or_else(missing)?;
        // What the host itself keeps in it is nobody else's to read.
        let users = self.users_of_volume(id, name).await?;
        if let Some(user) = users.iter().find(|user| user.vm_id.is_none() && user.active) {
            let fault = Fault::denied(format!("{name} is in use by {}, so it is not downloaded", user.name));
            return Err(fault.with_next("Read it on the host"));
        }
        let pool = self.feed.snapshot().hosts.hosts.get(&id.host).and_then(|host| host.pools.get(&id.id).cloned());
        let pool = pool.map(|pool| pool.name.clone()).unwrap_or_default();
        let note = Note::of("volumeDownloaded", &format!("{pool}/{name} on {}", id.host), origin.clone());
        self.journal.accounts.write(move |connection| accounts::note(connection, &note)).await?;
        self.hosts.get(&id.host).ok_or_else(|| no_host(&id.host))?.volume_content(id.id, name)
    }
}

/// Whether the next process goes on with a request.
pub(super) fn goes_on(record: &Record) -> bool {
    matches!(record.intent.command, Command::Pool(PoolCommand::UploadVolume { .. }))
}

fn too_slow(name: &str) -> Fault {
    Fault::new(FaultKind::TimedOut, format!("Nothing of {name} came for 10 minutes")).with_next("Try it again")
}

fn cancelled(name: &str) -> Fault {
    Fault::new(FaultKind::Cancelled, format!("The upload of {name} was cancelled"))
}
