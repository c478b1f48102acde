//! Transfers of volume content. A volume is created by a command; its content follows in chunks,
//! each written before the next one is accepted, so that an upload resumes after a tab or
//! connection was lost.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;

use async_trait::async_trait;
use axum::body::Bytes;
use model::{
    Command, Fault, FaultKind, HostId, NoteKind, ObjectRef, Origin, PoolCommand, RequestId,
    command::{RefreshPool, UploadVolume, Verb},
    domain::Agent,
    query::{Listed, Volumes},
    task::Progress,
};
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};
use uuid::Uuid;

use super::{AtStop, Operation};
use crate::{
    backend::{Backend, fetcher::Source, host::Host, no_host},
    journal::{Note, Reached, accounts},
    tasks::{Record, now},
};

/// An upload without a new chunk for this time is cancelled.
pub(super) const PIECE_WITHIN: Duration = Duration::from_secs(600);
/// Parts queued for libvirt.
pub(crate) const WAITING: usize = 8;

/// Uploads waiting for content, by request.
#[derive(Default)]
pub(crate) struct Uploads(Mutex<HashMap<RequestId, Arc<Filling>>>);

/// An upload.
pub(crate) struct Filling {
    pub(super) pool: ObjectRef,
    pub(super) name: String,
    pub(super) size: u64,
    pub(super) who: Option<String>,
    /// Bytes written.
    pub(super) offset: watch::Sender<u64>,
    /// The host's CPU time before the last chunk; 0 if unknown.
    pub(super) busy: AtomicU64,
    /// Held while a chunk is written.
    pub(super) turn: tokio::sync::Mutex<()>,
}

impl Uploads {
    fn find(&self, id: RequestId, origin: &Origin) -> Result<Arc<Filling>, Fault> {
        let known = self.0.lock().get(&id).cloned();
        // Uploads of others are not found.
        known.filter(|upload| upload.who == origin.who).ok_or_else(|| {
            Fault::new(FaultKind::NotFound, format!("Upload {id} is not waiting for content"))
                .with_next("It may have finished; check Tasks and start again if needed")
        })
    }

    /// Whether no upload blocks a command.
    ///
    /// # Errors
    /// `Denied`, with the upload.
    pub(in crate::backend) fn is_free(&self, pool: &ObjectRef, command: &Command) -> Result<(), Fault> {
        let Command::Pool(command) = command else { return Ok(()) };
        let known = self.0.lock();
        let of_pool = command.depends_on_use() && command.volume().is_none();
        let meant = |upload: &Filling| {
            let named = [command.volume(), command.new_volume()].contains(&Some(&upload.name));
            upload.pool == *pool && (of_pool || named)
        };
        match known.values().find(|upload| meant(upload)) {
            Some(upload) => Err(Fault::denied(format!("{} is still being uploaded", upload.name))
                .with_next("Wait for it, or cancel its task first")),
            None => Ok(()),
        }
    }

    /// The volumes of a host with an upload in progress.
    pub(in crate::backend) fn waiting(&self, host: &HostId) -> Vec<(ObjectRef, String)> {
        let known = self.0.lock();
        let of_host = known.values().filter(|upload| upload.pool.host == *host);
        of_host.map(|upload| (upload.pool.clone(), upload.name.clone())).collect()
    }

    /// The pool of an upload.
    ///
    /// # Errors
    /// `NotFound`.
    pub(crate) fn pool(&self, id: RequestId, origin: &Origin) -> Result<ObjectRef, Fault> {
        Ok(self.find(id, origin)?.pool.clone())
    }

    /// The progress of an upload in bytes.
    ///
    /// # Errors
    /// `NotFound`.
    pub(crate) fn offset(&self, id: RequestId, origin: &Origin) -> Result<u64, Fault> {
        Ok(*self.find(id, origin)?.offset.borrow())
    }
}

/// `uploadVolume`.
pub(super) struct Upload;

#[async_trait]
impl Operation for Upload {
    fn kind(&self) -> &'static str {
        UploadVolume::ABOUT.kind
    }

    /// Waits for the content of the new volume. Without it the volume is deleted.
    async fn go_on(&self, backend: &Backend, record: &Record) -> Result<(), Fault> {
        let Some((target, UploadVolume { name, capacity_bytes })) = asked(record) else { return Ok(()) };
        backend.fill(record, (target, name, *capacity_bytes), 0, None).await
    }

    /// Resumes an upload.
    async fn recover(&self, backend: &Backend, record: &Record) -> Option<Result<(), Fault>> {
        let (target, UploadVolume { name, capacity_bytes }) = asked(record)?;
        let host = backend.hosts.get(&record.intent.host)?;
        let Some(reached) = backend.journal.audit.upload(record.intent.request_id).await.ok().flatten() else {
            // Whether its volume was created is unknown, so it is left unchanged.
            let reason = format!("The upload of {name} was interrupted; a partial volume may exist");
            let fault = Fault::new(FaultKind::Interrupted, reason);
            return Some(Err(fault.with_next("Delete it and upload it again")));
        };
        backend.can_be_reached(&*host, record).await;
        backend.tasks.progress(record, |task| task.note(now(), "Resumed after a restart of Belvedere"));
        // A rebooted host may have lost some of it.
        let same = host.busy().await.is_ok_and(|busy| busy >= reached.busy);
        let from = if same { reached.offset } else { 0 };
        Some(backend.fill(record, (target, name, *capacity_bytes), from, None).await)
    }

    fn at_stop(&self) -> AtStop {
        AtStop::GoOn
    }

    /// Each has a volume of its own and waits ten minutes for its content.
    fn most_of_one(&self) -> usize {
        16
    }

    fn admits(&self, backend: &Backend, target: &ObjectRef, command: &Command, _: &str) -> Result<(), Fault> {
        backend.uploads.is_free(target, command)
    }
}

/// The command of an upload, and its pool.
fn asked(record: &Record) -> Option<(Uuid, &UploadVolume)> {
    match &record.intent.command {
        Command::Pool(PoolCommand::UploadVolume(upload)) => Some((record.intent.target?, upload)),
        _ => None,
    }
}

impl Backend {
    /// Waits until a volume is filled, by a client or from a source.
    pub(super) async fn fill(
        &self,
        record: &Record,
        (target, name, size): (Uuid, &str, u64),
        from: u64,
        source: Option<(Source, &str)>,
    ) -> Result<(), Fault> {
        let intent = &record.intent;
        let upload = Arc::new(Filling {
            pool: ObjectRef::pool(&intent.host, target),
            name: name.to_owned(),
            size,
            who: intent.origin.who.clone(),
            offset: watch::Sender::new(from),
            busy: AtomicU64::new(0),
            turn: tokio::sync::Mutex::default(),
        });
        self.is_whole(&upload).await;
        self.note_reached(intent.request_id, &upload).await;
        let all = || self.uploads.0.lock();
        all().insert(intent.request_id, upload.clone());
        // Nothing else uses the file meanwhile, through any pool.
        let claim = match self.hosts.get(&intent.host) {
            Some(host) => host.claim_for_upload(target, name).await,
            None => Err(no_host(&intent.host)),
        };
        let came = match (claim, source) {
            (Err(fault), _) => Err(fault),
            (Ok(_claim), None) => self.wait_for_content(record, &upload).await,
            (Ok(_claim), Some((source, sha256))) => self.pump(record, &upload, source, sha256).await,
        };
        // A chunk in progress ends before anything else happens with the volume, and its name stays
        // reserved until then.
        let turn = upload.turn.lock().await;
        let came = match (came, self.hosts.get(&intent.host)) {
            // An untrusted image may refer to files of the host.
            (Ok(()), Some(host)) => host.inspect_volume(target, name).await,
            (came, _) => came,
        };
        let then = match (&came, self.hosts.get(&intent.host)) {
            // Its content determines its format.
            (Ok(()), _) => self.run_checked(record, target, PoolCommand::RefreshPool(RefreshPool {}).into()).await,
            (Err(_), Some(host)) => host.discard_volume(target, name).await,
            (Err(_), None) => Ok(()),
        };
        if let Err(fault) = then {
            self.tasks.progress(record, |task| task.note(now(), fault.sentence()));
        }
        all().remove(&intent.request_id);
        self.journal.audit.upload_ended(intent.request_id).await.ok();
        drop(turn);
        came
    }

    /// Waits until a host is available after a restart of the server.
    pub(super) async fn can_be_reached(&self, host: &dyn Host, record: &Record) {
        host.settled().await;
        host.listed().await;
        let id = &record.intent.host;
        let connected = self
            .feed
            .until(|inventory| inventory.hosts.get(id).filter(|host| host.host.connection.connected).map(drop));
        connected.await;
    }

    /// Runs a follow-up command if it is possible now.
    pub(super) async fn run_checked(&self, record: &Record, target: Uuid, command: Command) -> Result<(), Fault> {
        let intent = &record.intent;
        let hypervisor = self.hosts.get(&intent.host).ok_or_else(|| no_host(&intent.host))?;
        let hosts = self.feed.snapshot().hosts;
        let host = hosts.hosts.get(&intent.host).ok_or_else(|| no_host(&intent.host))?;
        command.check(host, target, None)?;
        hypervisor.run(intent.request_id, target, &intent.name, Agent::Absent, command).await
    }

    async fn wait_for_content(&self, record: &Record, upload: &Filling) -> Result<(), Fault> {
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

    /// Reports the progress.
    pub(super) fn tell(&self, record: &Record, upload: &Filling, have: u64) {
        self.tasks.progress(record, |task| {
            (task.state, task.cancellable) = (model::TaskState::Running, true);
            let percent = Some((have * 100 / upload.size.max(1)) as u8);
            let text = format!("{} of {}", app::format::size(have), app::format::size(upload.size));
            task.progress = Some(Progress { percent, text });
        });
    }

    /// Writes the next chunk of an upload; returns the new progress.
    ///
    /// # Errors
    /// `NotFound` if no upload waits for it, `Conflict` if it is not the next chunk, or libvirt's
    /// error.
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
        let busy = || Fault::new(FaultKind::Conflict, "Another chunk of this upload is being written");
        let _turn = upload.turn.try_lock().map_err(|_| busy())?;
        if !self.is_whole(&upload).await {
            upload.offset.send_replace(0);
        }
        let have = *upload.offset.borrow();
        if from != have {
            return Err(Fault::new(FaultKind::Conflict, format!("The next chunk must start at byte {have}")));
        }
        if length == 0 || from.saturating_add(length) > upload.size {
            return Err(Fault::invalid("Content-Length", "must be greater than 0 and not exceed the missing bytes"));
        }
        let host = self.hosts.get(&upload.pool.host).ok_or_else(|| no_host(&upload.pool.host))?;
        self.check_write(&upload.pool, &upload.name).await?;
        host.write_volume(upload.pool.id, &upload.name, (from, length), pieces).await?;
        upload.offset.send_replace(from + length);
        self.note_reached(id, &upload).await;
        Ok(from + length)
    }

    /// Whether all written content is still there: a rebooted host may have lost data that was not
    /// on its disk.
    async fn is_whole(&self, upload: &Filling) -> bool {
        let Some(host) = self.hosts.get(&upload.pool.host) else { return true };
        // If this is unknown, the chunk itself fails as well.
        host.busy().await.map_or(true, |busy| busy >= upload.busy.swap(busy, Ordering::Relaxed))
    }

    /// Stores the progress of an upload. If that fails, it resumes from an earlier chunk, which is
    /// harmless.
    async fn note_reached(&self, id: RequestId, upload: &Filling) {
        let reached = Reached { offset: *upload.offset.borrow(), busy: upload.busy.load(Ordering::Relaxed) };
        if let Err(fault) = self.journal.audit.upload_reached(id, reached).await {
            tracing::debug!(reason = fault.reason, "cannot write the progress of an upload");
        }
    }

    /// Reads the content of a volume; the access is recorded before.
    ///
    /// # Errors
    /// If the volume does not exist, or the access cannot be recorded.
    pub(crate) async fn volume_content(
        &self,
        id: &ObjectRef,
        name: &str,
        origin: &Origin,
    ) -> Result<mpsc::Receiver<Result<Vec<u8>, Fault>>, Fault> {
        let answer = self.ask(id, Volumes {}.question()).await?;
        let volumes = Volumes::answer(answer).unwrap_or_default().volumes;
        let missing = || Fault::new(FaultKind::NotFound, format!("Volume {} does not exist", name.escape_debug()));
        volumes.iter().find(|volume| volume.name == name).ok_or_else(missing)?;
        // Volumes used by the host itself are not readable.
        let users = self.users_of_volume(id, name).await?;
        if let Some(user) = users.iter().find(|user| user.vm_id.is_none() && user.active) {
            let fault = Fault::denied(format!("{name} is in use by {}, so it cannot be downloaded", user.name));
            return Err(fault.with_next("Shut the machine down first, or copy the volume on the host"));
        }
        let pool = self.feed.snapshot().hosts.hosts.get(&id.host).and_then(|host| host.pools.get(&id.id).cloned());
        let pool = pool.map(|pool| pool.name.clone()).unwrap_or_default();
        let note = Note::of(NoteKind::VolumeDownloaded, &format!("{pool}/{name} on {}", id.host), origin.clone());
        self.journal.accounts.write(move |connection| accounts::note(connection, &note)).await?;
        self.hosts.get(&id.host).ok_or_else(|| no_host(&id.host))?.volume_content(id.id, name)
    }
}

pub(super) fn too_slow(name: &str) -> Fault {
    Fault::new(FaultKind::TimedOut, format!("No data for {name} received for 10 minutes")).with_next("Try again")
}

pub(super) fn cancelled(name: &str) -> Fault {
    Fault::new(FaultKind::Cancelled, format!("The upload of {name} was cancelled"))
}
