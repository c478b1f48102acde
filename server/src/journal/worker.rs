//! The threads of a file: one writes, and commits all that has piled up at once;
//! one reads.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread,
};

use model::{Fault, FaultKind};
use rusqlite::{Connection, Transaction};
use tokio::sync::{oneshot, watch};

use super::storage;

/// Wishes that are committed together at most.
const GROUP: usize = 256;

/// A connection that is opened again when the disk went away under it.
struct Line {
    connection: Option<Connection>,
    again: Again,
    /// How often the file was opened by the writer; a reader follows it.
    opened: Arc<AtomicU64>,
    /// The same when this connection was opened.
    seen: u64,
}

/// Opens it again.
type Again = Box<dyn FnMut() -> rusqlite::Result<Connection> + Send>;

impl Line {
    fn new(connection: Connection, again: Again, opened: Arc<AtomicU64>) -> Self {
        Self { connection: Some(connection), again, seen: opened.load(Ordering::Relaxed), opened }
    }

    /// A reader does not notice that its disk is another one now, so it is told.
    fn follow(&mut self) {
        let opened = self.opened.load(Ordering::Relaxed);
        if std::mem::replace(&mut self.seen, opened) != opened {
            self.connection = None;
        }
    }

    fn with<T>(&mut self, run: impl FnOnce(&mut Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => (self.again)()?,
        };
        let result = run(&mut connection);
        if !result.as_ref().is_err_and(storage::is_lost) {
            self.connection = Some(connection);
        }
        result
    }
}

/// Something to be written, and who waits until it is on disk.
trait Work: Send {
    /// Writes.
    fn write(&mut self, transaction: &Transaction<'_>) -> rusqlite::Result<()>;

    /// Tells whoever waits how it ended.
    fn done(self: Box<Self>, result: Result<(), Fault>);
}

struct Waiting<F, T> {
    write: F,
    found: Option<T>,
    reply: oneshot::Sender<Result<T, Fault>>,
}

impl<T: Send, F: FnMut(&Transaction<'_>) -> rusqlite::Result<T> + Send> Work for Waiting<F, T> {
    fn write(&mut self, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
        self.found = Some((self.write)(transaction)?);
        Ok(())
    }

    fn done(self: Box<Self>, result: Result<(), Fault>) {
        let found = self.found.ok_or_else(stopped);
        // Whoever went away needs no answer.
        self.reply.send(result.and(found)).ok();
    }
}

/// The writing thread of a file.
pub(super) struct Writer {
    sender: Sender<Box<dyn Work>>,
    trouble: watch::Receiver<Option<Fault>>,
    opened: Arc<AtomicU64>,
}

impl Writer {
    fn start(name: &str, connection: Connection, path: &Path, mut again: Again) -> Result<Self, String> {
        let opened = Arc::new(AtomicU64::new(0));
        let count = opened.clone();
        let again = Box::new(move || {
            let connection = again()?;
            count.fetch_add(1, Ordering::Relaxed);
            Ok(connection)
        });
        let mut line = Line::new(connection, again, opened.clone());
        let (sender, receiver) = channel();
        let (trouble, watched) = watch::channel(None);
        let path = path.to_owned();
        let run = move || {
            while let Some(works) = take(&receiver) {
                let (works, result) = commit(&mut line, works, &path);
                // Whoever is told of a trouble finds it told to all.
                trouble.send_if_modified(|known| {
                    let fault = result.clone().err();
                    let news = *known != fault;
                    if let Some(fault) = fault.as_ref().filter(|_| news) {
                        tracing::error!(path = %path.display(), reason = fault.reason, "the journal cannot be written");
                    }
                    *known = fault;
                    news
                });
                works.into_iter().for_each(|work| work.done(result.clone()));
            }
        };
        spawn(name, run)?;
        Ok(Self { sender, trouble: watched, opened })
    }

    /// Writes something together with what else there is, and gives what it found
    /// once all of that is on disk.
    ///
    /// # Errors
    /// `InsufficientStorage` when the file cannot be written.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        write: impl FnMut(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Fault> {
        let (reply, answer) = oneshot::channel();
        if let Err(unsent) = self.sender.send(Box::new(Waiting { write, found: None, reply })) {
            unsent.0.done(Err(stopped()));
        }
        answer.await.unwrap_or_else(|_| Err(stopped()))
    }

    /// Writes something together with what else there is, and nobody waits for it.
    pub(super) fn post(&self, write: impl FnMut(&Transaction<'_>) -> rusqlite::Result<()> + Send + 'static) {
        let (reply, _) = oneshot::channel();
        // A server that stops writes nothing more.
        self.sender.send(Box::new(Waiting { write, found: None, reply })).ok();
    }

    pub(super) fn trouble(&self) -> watch::Receiver<Option<Fault>> {
        self.trouble.clone()
    }
}

/// Starts both threads of an open file. `renew` runs before the file is opened again
/// after its disk went away.
pub(super) fn start(
    name: &str,
    connection: Connection,
    path: &Path,
    durable: bool,
    mut renew: impl FnMut() -> rusqlite::Result<()> + Send + 'static,
) -> Result<(Writer, Reader), String> {
    let place = path.to_owned();
    let again = Box::new(move || renew().and_then(|()| storage::open_to_write(&place, durable)));
    let writer = Writer::start(&format!("{name}-writer"), connection, path, again)?;
    let reader = Reader::start(&format!("{name}-reader"), path, &writer)?;
    Ok((writer, reader))
}

/// Waits for something to do and takes what else is there; none at the end.
fn take(receiver: &Receiver<Box<dyn Work>>) -> Option<Works> {
    let first = receiver.recv().ok()?;
    let more = receiver.try_iter().take(GROUP - 1);
    Some(std::iter::once(first).chain(more).collect())
}

type Works = Vec<Box<dyn Work>>;

/// Writes all in one transaction, and gives them back with how that went.
fn commit(line: &mut Line, mut works: Works, path: &Path) -> (Works, Result<(), Fault>) {
    let result = line.with(|connection| {
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        works.iter_mut().try_for_each(|work| work.write(&transaction))?;
        transaction.commit()
    });
    (works, result.map_err(|error| storage::fault(&error, path)))
}

type Question = Box<dyn FnOnce(&mut Line) + Send>;

/// The reading thread of a file.
pub(super) struct Reader {
    sender: Sender<Question>,
}

impl Reader {
    /// Reads what that writer writes.
    fn start(name: &str, path: &Path, writer: &Writer) -> Result<Self, String> {
        let connection = storage::open_to_read(path).map_err(|error| storage::fault(&error, path).sentence())?;
        let again = path.to_owned();
        let again: Again = Box::new(move || storage::open_to_read(&again));
        let mut line = Line::new(connection, again, writer.opened.clone());
        let (sender, receiver) = channel::<Question>();
        let run = move || {
            for question in receiver {
                line.follow();
                question(&mut line);
            }
        };
        spawn(name, run)?;
        Ok(Self { sender })
    }

    /// Asks something.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Fault> {
        let (reply, answer) = oneshot::channel();
        let asked = self.sender.send(Box::new(move |line| {
            // Whoever went away needs no answer.
            reply.send(line.with(|connection| question(connection))).ok();
        }));
        asked.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?.map_err(|error| {
            tracing::error!(%error, "the journal cannot be read");
            Fault::new(FaultKind::Internal, "The journal cannot be read").with_next("See the server's log")
        })
    }
}

fn stopped() -> Fault {
    Fault::new(FaultKind::Interrupted, "Belvedere is stopping").with_next("Try again once it runs")
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), String> {
    let spawned = thread::Builder::new().name(name.into()).spawn(run);
    spawned.map(drop).map_err(|error| format!("cannot start the thread {name}: {error}"))
}
