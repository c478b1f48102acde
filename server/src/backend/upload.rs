//! Content of volumes on its way in and out. A volume is made by a command like any other;
//! its content follows in pieces, each of which is written before the next one is taken, so
//! that an upload goes on where it was after a tab or a link was lost.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::body::Bytes;
use model::{Command, DomainRef, Fault, FaultKind, Origin, PoolCommand, RequestId, domain::Agent, task::Progress};
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};
use uuid::Uuid;

use super::{Backend, no_host};
use crate::{
    journal::{Note, accounts},
    tasks::{Record, now},
};

/// An upload whose next piece does not come within this is given up.
const PIECE_WITHIN: Duration = Duration::from_secs(600);

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
                    | PoolCommand::UploadVolume { name, .. } => named(name),
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

    /// The requests of all of them.
    pub(super) fn all(&self) -> Vec<RequestId> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
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
        let intent = &record.intent;
        let (Command::Pool(PoolCommand::UploadVolume { name, capacity_bytes }), Some(target)) =
            (&intent.command, intent.target)
        else {
            return Ok(());
        };
        let upload = Arc::new(Upload {
            pool: DomainRef { host: intent.host.clone(), id: target },
            name: name.clone(),
            size: *capacity_bytes,
            who: intent.origin.who.clone(),
            offset: watch::Sender::new(0),
            turn: tokio::sync::Mutex::default(),
        });
        let all = || self.uploads.0.lock().unwrap_or_else(PoisonError::into_inner);
        all().insert(intent.request_id, upload.clone());
        let came = self.wait_for_content(record, &upload).await;
        // A piece that is under way ends before anything is done with the volume, and nobody
        // else takes its name before that.
        let turn = upload.turn.lock().await;
        let then = match &came {
            // What is in it says what it is.
            Ok(()) => PoolCommand::RefreshPool {},
            // One that a machine has meanwhile stays; the refusal is in the task's log.
            Err(_) => PoolCommand::DeleteVolume { name: name.clone() },
        };
        if let Err(fault) = self.run_checked(record, target, then.into()).await {
            self.tasks.progress(record, |task| task.note(now(), fault.sentence()));
        }
        all().remove(&intent.request_id);
        drop(turn);
        came
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
            self.tasks.progress(record, |task| {
                (task.state, task.cancellable) = (model::TaskState::Running, true);
                let percent = Some((have * 100 / upload.size.max(1)) as u8);
                let text = format!("{} of {}", app::format::size(have), app::format::size(upload.size));
                task.progress = Some(Progress { percent, text });
            });
            tokio::select! {
                changed = timeout(PIECE_WITHIN, offset.changed()) => {
                    if changed.is_err() {
                        let fault = Fault::new(FaultKind::TimedOut, format!("Nothing of {name} came for 10 minutes"));
                        return Err(fault.with_next("Upload it again"));
                    }
                }
                () = record.cancel.notified() => {
                    return Err(Fault::new(FaultKind::Cancelled, format!("The upload of {name} was cancelled")));
                }
            }
        }
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
        let have = *upload.offset.borrow();
        if from != have {
            return Err(Fault::new(FaultKind::Conflict, format!("The next piece begins at byte {have}")));
        }
        if length == 0 || from.saturating_add(length) > upload.size {
            return Err(Fault::invalid("Content-Length", "it is more than is missing, or nothing"));
        }
        let host = self.hosts.get(&upload.pool.host).ok_or_else(|| no_host(&upload.pool.host))?;
        host.write_volume(upload.pool.id, &upload.name, (from, length), pieces).await?;
        upload.offset.send_replace(from + length);
        Ok(from + length)
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
        let pool = self.feed.snapshot().hosts.hosts.get(&id.host).and_then(|host| host.pools.get(&id.id).cloned());
        let pool = pool.map(|pool| pool.name.clone()).unwrap_or_default();
        let note = Note::of("volumeDownloaded", &format!("{pool}/{name} on {}", id.host), origin.clone());
        self.journal.accounts.write(move |connection| accounts::note(connection, &note)).await?;
        self.hosts.get(&id.host).ok_or_else(|| no_host(&id.host))?.volume_content(id.id, name)
    }
}
