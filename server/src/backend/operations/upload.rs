//! Content of volumes on its way in and out. A volume is made by a command like any other;
//! its content follows in pieces, each of which is written before the next one is taken, so
//! that an upload goes on where it was after a tab or a link was lost.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use axum::body::Bytes;
use hypervisor::Hypervisor;
use model::{
    Command, DomainRef, Fault, FaultKind, HostId, ObjectKind, ObjectRef, Origin, PoolCommand, RequestId,
    command::{DeleteVolume, RefreshPool, UploadVolume, Verb},
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
    backend::{Backend, fetcher::Source, no_host},
    journal::{Note, Reached, accounts},
    tasks::{Record, now},
};

/// An upload whose next piece does not come within this is given up.
pub(super) const PIECE_WITHIN: Duration = Duration::from_secs(600);
/// Parts that wait for libvirt.
pub(crate) const WAITING: usize = 8;

/// The uploads that wait for content, by their request.
#[derive(Default)]
pub(crate) struct Uploads(Mutex<HashMap<RequestId, Arc<Filling>>>);

/// One of them.
pub(crate) struct Filling {
    pub(super) pool: DomainRef,
    pub(super) name: String,
    pub(super) size: u64,
    pub(super) who: Option<String>,
    /// How many bytes are written.
    pub(super) offset: watch::Sender<u64>,
    /// What the host's processors had done before the last piece; 0 when it does not tell.
    pub(super) busy: AtomicU64,
    /// Held while a piece is written.
    pub(super) turn: tokio::sync::Mutex<()>,
}

impl Uploads {
    fn find(&self, id: RequestId, origin: &Origin) -> Result<Arc<Filling>, Fault> {
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
    pub(in crate::backend) fn is_free(&self, pool: &DomainRef, command: &Command) -> Result<(), Fault> {
        let Command::Pool(command) = command else { return Ok(()) };
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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

    /// The volumes of a host that wait for content.
    pub(in crate::backend) fn waiting(&self, host: &HostId) -> Vec<(DomainRef, String)> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_host = known.values().filter(|upload| upload.pool.host == *host);
        of_host.map(|upload| (upload.pool.clone(), upload.name.clone())).collect()
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

/// `uploadVolume`.
pub(super) struct Upload;

#[async_trait]
impl Operation for Upload {
    fn kind(&self) -> &'static str {
        UploadVolume::ABOUT.kind
    }

    /// Waits for the content of the volume that has just been made. Without it the volume goes again.
    async fn go_on(&self, backend: &Backend, record: &Record) -> Result<(), Fault> {
        let Some((target, UploadVolume { name, capacity_bytes })) = asked(record) else { return Ok(()) };
        backend.fill(record, (target, name, *capacity_bytes), 0, None).await
    }

    /// Goes on where the content was.
    async fn recover(&self, backend: &Backend, record: &Record) -> Option<Result<(), Fault>> {
        let (target, UploadVolume { name, capacity_bytes }) = asked(record)?;
        let host = backend.hosts.get(&record.intent.host)?;
        let Some(reached) = backend.journal.audit.upload(record.intent.request_id).await.ok().flatten() else {
            // Whether its volume was made is not known, so it is left as it is.
            let reason = format!("The upload of {name} was interrupted, and it may be there in part");
            let fault = Fault::new(FaultKind::Interrupted, reason);
            return Some(Err(fault.with_next("Delete it and upload it again")));
        };
        backend.can_be_reached(host, record).await;
        backend.tasks.progress(record, |task| task.note(now(), "Belvedere was started again, and it goes on"));
        // What a host that was started anew has of it may not be all.
        let same = host.busy().await.is_ok_and(|busy| busy >= reached.busy);
        let from = if same { reached.offset } else { 0 };
        Some(backend.fill(record, (target, name, *capacity_bytes), from, None).await)
    }

    fn at_stop(&self) -> AtStop {
        AtStop::GoOn
    }

    fn admits(&self, backend: &Backend, target: &DomainRef, command: &Command, _: &str) -> Result<(), Fault> {
        backend.uploads.is_free(target, command)
    }
}

/// What an upload was asked for, and the pool.
fn asked(record: &Record) -> Option<(Uuid, &UploadVolume)> {
    match &record.intent.command {
        Command::Pool(PoolCommand::UploadVolume(upload)) => Some((record.intent.target?, upload)),
        _ => None,
    }
}

impl Backend {
    /// Waits until a volume is filled, by others or from a source.
    pub(super) async fn fill(
        &self,
        record: &Record,
        (target, name, size): (Uuid, &str, u64),
        from: u64,
        source: Option<(Source, &str)>,
    ) -> Result<(), Fault> {
        let intent = &record.intent;
        let upload = Arc::new(Filling {
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
            Ok(()) => PoolCommand::RefreshPool(RefreshPool {}),
            // One that a machine has meanwhile stays; the refusal is in the task's log.
            Err(_) => PoolCommand::DeleteVolume(DeleteVolume { name: name.to_owned() }),
        };
        if let Err(fault) = self.run_checked(record, target, then.into()).await {
            self.tasks.progress(record, |task| task.note(now(), fault.sentence()));
        }
        all().remove(&intent.request_id);
        self.journal.audit.upload_ended(intent.request_id).await.ok();
        drop(turn);
        came
    }

    /// Waits until a host can be asked after the server was started again.
    pub(super) async fn can_be_reached(&self, host: &Hypervisor, record: &Record) {
        host.settled().await;
        host.listed().await;
        let id = &record.intent.host;
        let connected = self
            .feed
            .until(|inventory| inventory.hosts.get(id).filter(|host| host.host.connection.connected).map(drop));
        connected.await;
    }

    /// Does what follows from a request, if it is possible now.
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

    /// Tells how much of the content is there.
    pub(super) fn tell(&self, record: &Record, upload: &Filling, have: u64) {
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
    async fn is_whole(&self, upload: &Filling) -> bool {
        let Some(host) = self.hosts.get(&upload.pool.host) else { return true };
        // Where that is not told, the piece itself will not work either.
        host.busy().await.map_or(true, |busy| busy >= upload.busy.swap(busy, Ordering::Relaxed))
    }

    /// Notes how far an upload is. Where that cannot be written, it goes on from an earlier
    /// piece, which does no harm.
    async fn note_reached(&self, id: RequestId, upload: &Filling) {
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
        let answer = self.ask(&ObjectRef::new(ObjectKind::Pool, id), Volumes {}.question()).await?;
        let volumes = Volumes::answer(answer).unwrap_or_default().volumes;
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

pub(super) fn too_slow(name: &str) -> Fault {
    Fault::new(FaultKind::TimedOut, format!("Nothing of {name} came for 10 minutes")).with_next("Try it again")
}

pub(super) fn cancelled(name: &str) -> Fault {
    Fault::new(FaultKind::Cancelled, format!("The upload of {name} was cancelled"))
}
