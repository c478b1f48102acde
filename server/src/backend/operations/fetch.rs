//! Fetching a file from an address into a volume that is made for it. The server does it by itself,
//! and writes as an upload does; what may be asked, `fetcher` decides.

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
    hex::hex,
    limits,
    tasks::{Record, now},
};

/// How much of a file is written before it counts, in bytes.
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

    /// Takes away what was fetched; none when that was nothing yet.
    async fn recover(&self, backend: &Backend, record: &Record) -> Option<Result<(), Fault>> {
        let (intent, (target, FetchVolume { name, .. })) = (&record.intent, asked(record)?);
        let host = backend.hosts.get(&intent.host)?;
        backend.journal.audit.upload(intent.request_id).await.ok().flatten()?;
        backend.can_be_reached(host, record).await;
        let forget = PoolCommand::DeleteVolume(DeleteVolume { name: name.clone() });
        let left = backend.run_checked(record, target, forget.into()).await.err();
        backend.journal.audit.upload_ended(intent.request_id).await.ok();
        let interrupted = |reason: String, next: &str| Err(Fault::new(FaultKind::Interrupted, reason).with_next(next));
        if let Some(fault) = left {
            backend.tasks.progress(record, |task| task.note(now(), fault.sentence()));
            let reason = format!("Fetching {name} was interrupted, and it may be there in part");
            return Some(interrupted(reason, "Delete it and fetch it again"));
        }
        let reason = format!("Fetching {name} was interrupted; what was there of it is deleted");
        Some(interrupted(reason, "Fetch it again"))
    }

    /// A file is taken back, not left half done.
    fn at_stop(&self) -> AtStop {
        AtStop::Cancel
    }
}

/// What was asked for, and the pool.
fn asked(record: &Record) -> Option<(Uuid, &FetchVolume)> {
    match &record.intent.command {
        Command::Pool(PoolCommand::FetchVolume(fetch)) => Some((record.intent.target?, fetch)),
        _ => None,
    }
}

impl Backend {
    /// Fetches a file from an address into a volume that is made for it.
    async fn fetch(&self, record: &Record) -> Result<(), Fault> {
        let intent = &record.intent;
        let Some((target, FetchVolume { name, url, sha256 })) = asked(record) else { return Ok(()) };
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
        let make = PoolCommand::UploadVolume(UploadVolume { name: name.clone(), capacity_bytes: size });
        self.run_checked(record, target, make.into()).await?;
        self.fill(record, (target, name, size), 0, Some((source, sha256))).await
    }

    /// Writes what comes from a source, and looks whether it is what it should be.
    pub(super) async fn pump(
        &self,
        record: &Record,
        upload: &Filling,
        mut source: Source,
        sha256: &str,
    ) -> Result<(), Fault> {
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
}
