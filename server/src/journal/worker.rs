//! The threads of a file: one writes, and commits all pending writes together; one reads.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
        mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel},
    },
    thread,
};

use model::{Fault, FaultKind};
use rusqlite::{Connection, Transaction};
use tokio::sync::{oneshot, watch};

use super::storage;

/// Maximum writes per commit.
const GROUP: usize = 256;
/// Maximum pending writes: a hung disk must not fill the memory.
const MAX_WAITING: usize = 10_000;
/// Maximum size of pending writes in bytes.
const MAX_WAITING_BYTES: usize = 64 << 20;
/// The size of a small write in bytes.
const SMALL: usize = 1 << 10;

/// A connection that is reopened after its disk was lost.
struct Line {
    connection: Option<Connection>,
    again: Again,
    /// How often the writer opened the file; readers follow it.
    opened: Arc<AtomicU64>,
    /// The value when this connection was opened.
    seen: u64,
}

/// Reopens it.
type Again = Box<dyn FnMut() -> rusqlite::Result<Connection> + Send>;

impl Line {
    fn new(connection: Connection, again: Again, opened: Arc<AtomicU64>) -> Self {
        Self { connection: Some(connection), again, seen: opened.load(Ordering::Relaxed), opened }
    }

    /// A reader does not notice a changed disk, so it follows the writer.
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

/// A write, and its waiting caller.
trait Work: Send {
    /// Runs the write.
    fn write(&mut self, transaction: &Transaction<'_>) -> rusqlite::Result<()>;

    /// Notifies the caller.
    fn done(self: Box<Self>, result: Result<(), Fault>);
}

struct Waiting<F, T> {
    /// Its slot in the queue, released once it is written.
    _room: Room,
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
        // The caller may be gone.
        self.reply.send(result.and(found)).ok();
    }
}

/// The writing thread of a file.
pub(super) struct Writer {
    sender: Sender<Box<dyn Work>>,
    trouble: watch::Receiver<Option<Fault>>,
    opened: Arc<AtomicU64>,
    queue: Arc<Queue>,
}

/// The number and size of pending writes.
#[derive(Default)]
struct Queue {
    count: AtomicUsize,
    bytes: AtomicUsize,
}

/// A slot in the queue, released when dropped.
struct Room {
    queue: Arc<Queue>,
    bytes: usize,
}

impl Queue {
    /// A slot for a write of a size; none if too much is pending.
    fn enter(self: &Arc<Self>, bytes: usize) -> Option<Room> {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        // Dropped again if there is no space.
        let room = Room { queue: self.clone(), bytes };
        // A write larger than the limit is accepted if nothing else is pending.
        (count < MAX_WAITING && (before == 0 || before + bytes <= MAX_WAITING_BYTES)).then_some(room)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.queue.count.fetch_sub(1, Ordering::Relaxed);
        self.queue.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
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
                // A caller that gets the error finds it already published.
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
        Ok(Self { sender, trouble: watched, opened, queue: Arc::default() })
    }

    /// Runs a write in a group commit, and returns its result once it is on disk.
    ///
    /// # Errors
    /// `InsufficientStorage` if the file cannot be written.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        write: impl FnMut(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Fault> {
        self.write_sized(SMALL, write).await
    }

    /// Like `write`, for writes of more than a few hundred bytes.
    ///
    /// # Errors
    /// `InsufficientStorage` if the file cannot be written, `Busy` if too much is pending.
    pub(super) async fn write_sized<T: Send + 'static>(
        &self,
        bytes: usize,
        write: impl FnMut(&Transaction<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Fault> {
        let Some(room) = self.queue.enter(bytes) else {
            let fault = Fault::new(FaultKind::Busy, "The journal's disk is too slow");
            return Err(fault.with_next("Check whether it hangs, and try again in a moment"));
        };
        let (reply, answer) = oneshot::channel();
        if let Err(unsent) = self.sender.send(Box::new(Waiting { _room: room, write, found: None, reply })) {
            unsent.0.done(Err(stopped()));
        }
        answer.await.unwrap_or_else(|_| Err(stopped()))
    }

    /// Runs a write in a group commit without waiting.
    pub(super) fn post(&self, write: impl FnMut(&Transaction<'_>) -> rusqlite::Result<()> + Send + 'static) {
        let Some(room) = self.queue.enter(SMALL) else {
            tracing::warn!("the journal's disk is too slow; some records were dropped at shutdown");
            return;
        };
        let (reply, _) = oneshot::channel();
        // A stopping server writes nothing more.
        self.sender.send(Box::new(Waiting { _room: room, write, found: None, reply })).ok();
    }

    pub(super) fn trouble(&self) -> watch::Receiver<Option<Fault>> {
        self.trouble.clone()
    }
}

/// Starts both threads of an open file. `renew` runs before the file is reopened after its disk was
/// lost.
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

/// Waits for a write and takes all pending ones; none at the end.
fn take(receiver: &Receiver<Box<dyn Work>>) -> Option<Works> {
    let first = receiver.recv().ok()?;
    let more = receiver.try_iter().take(GROUP - 1);
    Some(std::iter::once(first).chain(more).collect())
}

type Works = Vec<Box<dyn Work>>;

/// Runs writes in one transaction, and returns them with the result.
fn commit(line: &mut Line, mut works: Works, path: &Path) -> (Works, Result<(), Fault>) {
    let result = line.with(|connection| {
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        works.iter_mut().try_for_each(|work| work.write(&transaction))?;
        transaction.commit()
    });
    (works, result.map_err(|error| storage::fault(&error, path)))
}

type Question = Box<dyn FnOnce(&mut Line) + Send>;

/// Maximum pending queries.
const MAX_QUESTIONS: usize = 200;
/// SQLite instructions between two checks whether the caller still waits.
const LOOK_EVERY: i32 = 10_000;

/// Signals that the caller no longer waits, when dropped.
struct Waits(Arc<AtomicBool>);

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The reading thread of a file.
pub(super) struct Reader {
    sender: SyncSender<Question>,
}

impl Reader {
    /// Reads what that writer writes.
    fn start(name: &str, path: &Path, writer: &Writer) -> Result<Self, String> {
        let connection = storage::open_to_read(path).map_err(|error| storage::fault(&error, path).sentence())?;
        let again = path.to_owned();
        let again: Again = Box::new(move || storage::open_to_read(&again));
        let mut line = Line::new(connection, again, writer.opened.clone());
        let (sender, receiver) = sync_channel::<Question>(MAX_QUESTIONS);
        let run = move || {
            for question in receiver {
                line.follow();
                question(&mut line);
            }
        };
        spawn(name, run)?;
        Ok(Self { sender })
    }

    /// Runs a query. It is skipped or interrupted if the caller no longer waits.
    ///
    /// # Errors
    /// `Busy` if too many queries are pending.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Fault> {
        let (reply, answer) = oneshot::channel();
        let over = Arc::new(AtomicBool::new(false));
        let _waits = Waits(over.clone());
        let asked = self.sender.try_send(Box::new(move |line| {
            if over.load(Ordering::Relaxed) {
                return;
            }
            let answer = line.with(|connection| {
                connection.progress_handler(LOOK_EVERY, Some(move || over.load(Ordering::Relaxed)))?;
                let answer = question(connection);
                connection.progress_handler(0, None::<fn() -> bool>)?;
                answer
            });
            // The caller may be gone.
            reply.send(answer).ok();
        }));
        asked.map_err(|error| match error {
            TrySendError::Full(_) => {
                Fault::new(FaultKind::Busy, "Too many journal queries are waiting").with_next("Try again in a moment")
            }
            TrySendError::Disconnected(_) => stopped(),
        })?;
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

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    /// A query that takes minutes.
    fn endless(connection: &Connection) -> rusqlite::Result<u64> {
        let query =
            "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 10000000000) SELECT count(*) FROM c";
        connection.query_row(query, [], |row| row.get(0))
    }

    #[tokio::test]
    async fn questions_that_nobody_waits_for_delay_nobody() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.db");
        let connection = storage::open(&path, "CREATE TABLE IF NOT EXISTS a(x)", false).expect("opens");
        let (_writer, reader) = start("a", connection, &path, false, || Ok(())).expect("starts");
        let reader = Arc::new(reader);
        let abandoned: Vec<_> = (0..40)
            .map(|_| {
                let reader = reader.clone();
                tokio::spawn(async move { reader.ask(endless).await })
            })
            .collect();
        // Pending ones are started as well, as far as one thread can.
        tokio::task::yield_now().await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        abandoned.iter().for_each(tokio::task::JoinHandle::abort);
        let began = Instant::now();
        let ask = reader.ask(|connection| connection.query_row("SELECT 1", [], |row| row.get::<_, u64>(0)));
        let one = tokio::time::timeout(Duration::from_secs(20), ask).await.expect("the others were given up");
        assert_eq!(one.expect("answered"), 1);
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    }

    #[test]
    fn what_waits_for_a_slow_disk_is_bounded_by_its_size_too() {
        let queue = Arc::new(Queue::default());
        let large = queue.enter(MAX_WAITING_BYTES + 1).expect("nothing else waits");
        assert!(queue.enter(SMALL).is_none(), "the memory is full");
        drop(large);
        let few: Vec<Room> = (0..3).map_while(|_| queue.enter(MAX_WAITING_BYTES / 3)).collect();
        assert!(few.len() == 3 && queue.enter(SMALL).is_none());
        drop(few);
        let many: Vec<Room> = (0..2 * MAX_WAITING).map_while(|_| queue.enter(1)).collect();
        assert_eq!(many.len(), MAX_WAITING);
        drop(many);
        assert!(queue.enter(SMALL).is_some(), "what was refused holds nothing");
    }

    #[tokio::test]
    async fn too_many_questions_at_once_are_refused_and_not_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.db");
        let connection = storage::open(&path, "CREATE TABLE IF NOT EXISTS a(x)", false).expect("opens");
        let (_writer, reader) = start("a", connection, &path, false, || Ok(())).expect("starts");
        let reader = Arc::new(reader);
        let mut asked = tokio::task::JoinSet::new();
        for _ in 0..2 * MAX_QUESTIONS {
            let reader = reader.clone();
            asked.spawn(async move { reader.ask(endless).await.map_err(|fault| fault.kind) });
        }
        // Those that wait for an answer do not end, whichever they are.
        let mut refused = 0;
        while refused < MAX_QUESTIONS / 2 {
            let ended =
                tokio::time::timeout(Duration::from_secs(20), asked.join_next()).await.expect("some end at once");
            assert_eq!(ended.expect("there are more").expect("no panic"), Err(FaultKind::Busy));
            refused += 1;
        }
    }
}
