//! Downloads a file from a URL into a new volume. The server writes it like an upload; allowed URLs
//! are decided by `fetcher`.

use async_trait::async_trait;
use axum::body::Bytes;
use model::{
    Command, Fault, FaultKind, PoolCommand,
    command::{DeleteVolume, FetchVolume, UploadVolume, Verb},
};
use sha2::{Digest, Sha256};
use tokio::{sync::mpsc, time::timeout};
use uuid::Uuid;

use super::{
    AtStop, Operation,
    upload::{Filling, PIECE_WITHIN, WAITING, cancelled, too_slow},
};
use crate::{
    backend::{Backend, fetcher::Source, no_host},
    limits,
    tasks::{Record, now},
};

/// Size of a written chunk in bytes.
const PUMPED: u64 = 4 << 20;

/// `fetchVolume`.
pub(super) struct Fetch;

#[async_trait]
impl Operation for Fetch {
    fn kind(&self) -> &'static str {
        FetchVolume::ABOUT.kind
    }

    fn calls_libvirt(&self) -> bool {
        false
    }

    async fn go_on(&self, backend: &Backend, record: &Record) -> Result<(), Fault> {
        backend.fetch(record).await
    }

    /// Deletes a partial download; none if nothing was downloaded yet.
    async fn recover(&self, backend: &Backend, record: &Record) -> Option<Result<(), Fault>> {
        let (intent, (target, FetchVolume { name, .. })) = (&record.intent, asked(record)?);
        let host = backend.hosts.get(&intent.host)?;
        backend.journal.audit.upload(intent.request_id).await.ok().flatten()?;
        backend.can_be_reached(&*host, record).await;
        let forget = PoolCommand::DeleteVolume(DeleteVolume { name: name.clone() });
        let left = backend.run_checked(record, target, forget.into()).await.err();
        backend.journal.audit.upload_ended(intent.request_id).await.ok();
        let interrupted = |reason: String, next: &str| Err(Fault::new(FaultKind::Interrupted, reason).with_next(next));
        if let Some(fault) = left {
            backend.tasks.progress(record, |task| task.note(now(), fault.sentence()));
            let reason = format!("The download of {name} was interrupted; a partial volume may exist");
            return Some(interrupted(reason, "Delete it and download it again"));
        }
        let reason = format!("The download of {name} was interrupted; the partial volume was deleted");
        Some(interrupted(reason, "Download it again"))
    }

    /// A partial download is removed.
    fn at_stop(&self) -> AtStop {
        AtStop::Cancel
    }
}

/// The command, and its pool.
fn asked(record: &Record) -> Option<(Uuid, &FetchVolume)> {
    match &record.intent.command {
        Command::Pool(PoolCommand::FetchVolume(fetch)) => Some((record.intent.target?, fetch)),
        _ => None,
    }
}

impl Backend {
    /// Downloads a file from a URL into a new volume.
    async fn fetch(&self, record: &Record) -> Result<(), Fault> {
        let intent = &record.intent;
        let Some((target, FetchVolume { name, url, sha256 })) = asked(record) else { return Ok(()) };
        self.tasks.progress(record, |task| {
            (task.state, task.cancellable) = (model::TaskState::Running, true);
            task.note(now(), "Requesting the file");
        });
        let account = limits::account(&intent.origin);
        let source = tokio::select! {
            opened = self.fetcher.open(&url.0, &account) => opened?,
            () = record.cancel.notified() => return Err(cancelled(&intent.name)),
        };
        let size = source.size;
        let make = PoolCommand::UploadVolume(UploadVolume { name: name.clone(), capacity_bytes: size });
        self.run_checked(record, target, make.into()).await?;
        self.fill(record, (target, name, size), 0, Some((source, sha256))).await
    }

    /// Writes a download and verifies its checksum.
    pub(super) async fn pump(
        &self,
        record: &Record,
        upload: &Filling,
        mut source: Source,
        sha256: &str,
    ) -> Result<(), Fault> {
        // Nothing else writes into it meanwhile.
        let _turn = upload.turn.lock().await;
        let host = self.hosts.get(&upload.pool.host).ok_or_else(|| no_host(&upload.pool.host))?;
        let (mut digest, mut rest, mut from) = (Sha256::new(), Bytes::new(), 0);
        while from < upload.size {
            self.tell(record, upload, from);
            let length = PUMPED.min(upload.size - from);
            // A chunk is complete before it is written, so a slow source does not occupy a slot of
            // the host.
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
                    // The receiver reports the error.
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
        let have = hex::encode(digest.finalize());
        if !sha256.is_empty() && !have.eq_ignore_ascii_case(sha256) {
            let reason = format!("Checksum mismatch for {}: its SHA-256 is {have}", upload.name);
            return Err(Fault::new(FaultKind::Refused, reason).with_next("Check the URL and the SHA-256 checksum"));
        }
        Ok(())
    }
}
