//! Open consoles: tickets, viewers, and serial consoles, which libvirt gives to one client, shared
//! by all our viewers.
//!
//! The bytes are interpreted by the browser; consoles are implemented in `hypervisor`.

use std::{
    collections::{HashMap, VecDeque},
    pin::Pin,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::body::Bytes;
use futures_util::{Stream, stream};
use hypervisor::OpenConsole;
use model::{Console, ConsoleKind, Domain, DomainRef, Fault, FaultKind, NoteKind, Origin, Viewer};
use parking_lot::Mutex;
use tokio::{
    sync::{broadcast, mpsc, watch},
    time::{Instant, sleep},
};

use super::{Backend, host::Host, no_host};
use crate::{
    auth::{Shown, hash, secret},
    journal::{Note, accounts},
};

/// Validity of a ticket.
const TICKET_FOR: Duration = Duration::from_secs(30);
/// Maximum unused tickets, and per account.
const MAX_TICKETS: usize = 1_000;
const MAX_TICKETS_OF_ONE: usize = 20;
/// Maximum viewers, and consoles per account.
const MAX_WATCHERS: usize = 100;
const MAX_WATCHED_BY_ONE: usize = 20;
/// How long a serial console that libvirt has not released is retried, and the pauses between.
const AGAIN: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(300);
/// Size of a serial console's replay buffer in bytes.
const RECENT: usize = 64 * 1024;
/// Chunks that a viewer may lag behind.
const BEHIND: usize = 256;
/// How long a serial console stays open without viewers, so that a returning viewer finds its
/// output, including what arrived in between.
const LINGER: Duration = Duration::from_secs(300);

/// The credentials and viewer of a request.
pub(crate) type Holder = (Option<Shown>, Viewer);

/// A console of a machine.
pub(crate) type Place = (DomainRef, Console);

/// A ticket for one console.
struct Ticket {
    holder: Holder,
    place: Place,
    until: Instant,
}

/// Unused tickets, and watched consoles.
#[derive(Default)]
pub(crate) struct Consoles {
    tickets: Mutex<HashMap<[u8; 32], Ticket>>,
    open: Mutex<HashMap<(DomainRef, String), Arc<Watched>>>,
    /// Number of viewers so far.
    readers: AtomicU64,
}

/// A watched console.
struct Watched {
    /// Names of the viewers, one per page.
    watchers: watch::Sender<Vec<String>>,
    /// The shared serial console; a graphical console has one connection per viewer.
    line: tokio::sync::Mutex<Weak<Line>>,
}

/// An open serial console.
struct Line {
    typed: mpsc::Sender<Bytes>,
    /// The viewer that typed last; 0 for none.
    typist: AtomicU64,
    shown: Mutex<Shows>,
}

/// The output of a serial console.
#[derive(Default)]
struct Shows {
    recent: VecDeque<u8>,
    /// None once it has ended.
    live: Option<broadcast::Sender<Bytes>>,
}

/// The output of a console, in chunks.
type Showing = Pin<Box<dyn Stream<Item = Bytes> + Send>>;

/// The connection of one viewer.
pub(crate) struct Attached {
    /// Input.
    pub(crate) typed: mpsc::Sender<Bytes>,
    /// Earlier output.
    pub(crate) recent: Bytes,
    /// Output until its end.
    pub(crate) shown: Showing,
    /// All viewers, including this one.
    pub(crate) watchers: watch::Receiver<Vec<String>>,
    seat: ViewerSlot,
}

/// The slot of a viewer, released when dropped.
struct ViewerSlot {
    consoles: Arc<Consoles>,
    key: (DomainRef, String),
    watched: Arc<Watched>,
    who: String,
    /// Its number, from 1.
    reader: u64,
    line: Option<Arc<Line>>,
}

impl Attached {
    /// Records that this viewer types.
    pub(crate) fn types(&self) {
        if let Some(line) = &self.seat.line {
            line.typist.store(self.seat.reader, Ordering::Relaxed);
        }
    }

    /// Whether this viewer's terminal replies to terminal queries of programs. Only the one that
    /// typed last does, because further replies would appear as input.
    pub(crate) fn answers(&self) -> bool {
        let own = self.seat.reader;
        self.seat.line.as_ref().is_some_and(|line| {
            let first = line.typist.compare_exchange(0, own, Ordering::Relaxed, Ordering::Relaxed);
            first.is_ok() || first == Err(own)
        })
    }
}

impl Consoles {
    /// Creates a ticket for a console.
    ///
    /// # Errors
    /// `Busy`.
    pub(crate) fn ticket(&self, holder: Holder, place: Place) -> Result<String, Fault> {
        let (mut tickets, now) = (self.tickets.lock(), Instant::now());
        tickets.retain(|_, ticket| ticket.until > now);
        let own = tickets.values().filter(|ticket| ticket.holder == holder).count();
        if own >= MAX_TICKETS_OF_ONE || tickets.len() >= MAX_TICKETS {
            let fault = Fault::new(FaultKind::Busy, "Too many consoles are being opened");
            return Err(fault.with_next("Try again in a moment"));
        }
        let text = secret();
        tickets.insert(hash(&text), Ticket { holder, place, until: now + TICKET_FOR });
        Ok(text)
    }

    /// The console of a ticket. It is used up by any attempt.
    ///
    /// # Errors
    /// `NotAllowed` if it is unknown, used, expired, or of another account.
    pub(crate) fn redeem(&self, text: &str, holder: &Holder) -> Result<Place, Fault> {
        let ticket = self.tickets.lock().remove(&hash(text));
        let valid = ticket.filter(|ticket| ticket.until > Instant::now() && ticket.holder == *holder);
        valid.map(|ticket| ticket.place).ok_or_else(|| {
            Fault::new(FaultKind::NotAllowed, "This console ticket is invalid, already used or expired")
                .with_next("Open the console again")
        })
    }

    /// Takes a slot at a console.
    fn sit(self: &Arc<Self>, (id, console): &Place, who: &str) -> Result<ViewerSlot, Fault> {
        let key = (id.clone(), console.name.clone());
        let mut open = self.open.lock();
        let all = || open.values().flat_map(|watched| watched.watchers.borrow().clone());
        if all().count() >= MAX_WATCHERS || all().filter(|name| name == who).count() >= MAX_WATCHED_BY_ONE {
            let fault = Fault::new(FaultKind::Busy, "Too many consoles are open");
            return Err(fault.with_next("Close another console first"));
        }
        let watched = open.entry(key.clone()).or_insert_with(|| {
            Arc::new(Watched { watchers: watch::Sender::default(), line: tokio::sync::Mutex::default() })
        });
        let watched = watched.clone();
        watched.watchers.send_modify(|names| names.push(who.to_owned()));
        let reader = self.readers.fetch_add(1, Ordering::Relaxed) + 1;
        Ok(ViewerSlot { consoles: self.clone(), key, watched, who: who.to_owned(), reader, line: None })
    }

    /// Removes a console without viewers, unless its serial connection is kept open.
    fn forget(&self, key: &(DomainRef, String)) {
        let mut open = self.open.lock();
        let is_shut = |watched: &Watched| watched.line.try_lock().is_ok_and(|line| line.strong_count() == 0);
        if open.get(key).is_some_and(|watched| watched.watchers.borrow().is_empty() && is_shut(watched)) {
            open.remove(key);
        }
    }
}

impl Drop for ViewerSlot {
    fn drop(&mut self) {
        self.watched.watchers.send_modify(|names| {
            if let Some(at) = names.iter().position(|name| *name == self.who) {
                names.remove(at);
            }
        });
        let (consoles, key, line) = (self.consoles.clone(), self.key.clone(), self.line.take());
        if let Some(line) = &line {
            line.typist.compare_exchange(self.reader, 0, Ordering::Relaxed, Ordering::Relaxed).ok();
        }
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) if line.is_some() => drop(runtime.spawn(async move {
                sleep(LINGER).await;
                drop(line);
                consoles.forget(&key);
            })),
            _ => consoles.forget(&key),
        }
    }
}

impl Line {
    /// Keeps a serial console open and distributes its output.
    fn of(OpenConsole { mut shown, typed }: OpenConsole) -> Arc<Self> {
        let live = broadcast::Sender::new(BEHIND);
        let shows = Shows { live: Some(live), ..Shows::default() };
        let line = Arc::new(Self { typed, typist: AtomicU64::new(0), shown: Mutex::new(shows) });
        let told = Arc::downgrade(&line);
        tokio::spawn(async move {
            while let Some(part) = shown.recv().await {
                let Some(line) = told.upgrade() else { return };
                let mut shows = line.shown.lock();
                let over = (shows.recent.len() + part.len()).saturating_sub(RECENT).min(shows.recent.len());
                shows.recent.drain(..over);
                shows.recent.extend(&part[part.len().saturating_sub(RECENT)..]);
                // Without receivers the result is an error, which is ignored.
                shows.live.as_ref().map(|live| live.send(part).ok());
            }
            if let Some(line) = told.upgrade() {
                line.shown.lock().live = None;
            }
        });
        line
    }

    /// The replay buffer and all further output; none if it has ended.
    fn follow(&self) -> Option<(Bytes, Showing)> {
        let shows = self.shown.lock();
        let live = shows.live.as_ref()?.subscribe();
        let recent = Bytes::from(Vec::from_iter(shows.recent.iter().copied()));
        // A viewer that lags behind starts again with the replay buffer.
        let live = stream::unfold(live, async |mut live| live.recv().await.ok().map(|part| (part, live)));
        Some((recent, Box::pin(live)))
    }
}

impl Backend {
    /// A console of a machine that can be opened now.
    ///
    /// # Errors
    /// Why not: it does not exist, or the reason of `check`.
    pub(crate) fn console(&self, id: &DomainRef, name: &str) -> Result<(Arc<Domain>, Console), Fault> {
        let hosts = self.feed.snapshot().hosts;
        let host = hosts.hosts.get(&id.host).ok_or_else(|| no_host(&id.host))?;
        let gone = || Fault::new(FaultKind::NotFound, format!("Machine {id} does not exist"));
        let domain = host.domains.get(&id.id).ok_or_else(gone)?;
        let kind = if name == Console::SCREEN { ConsoleKind::Screen } else { ConsoleKind::Serial };
        let console = Console { name: name.to_owned(), kind };
        console.check(domain, &host.host)?;
        Ok((domain.clone(), console))
    }

    /// Opens a console or joins an open one. The access is recorded before any output is sent.
    ///
    /// # Errors
    /// If it cannot be opened, or the access cannot be recorded.
    pub(crate) async fn attach(&self, (id, console): Place, origin: &Origin) -> Result<Attached, Fault> {
        let (domain, console) = self.console(&id, &console.name)?;
        let host = self.hosts.get(&id.host).ok_or_else(|| no_host(&id.host))?;
        let name = format!("{}/{} on {}", domain.name, console.name, id.host);
        let who = origin.who.as_deref().unwrap_or("somebody");
        let mut seat = self.consoles.sit(&(id, console.clone()), who)?;
        let watchers = seat.watched.watchers.subscribe();
        let (recent, shown, typed) = if console.kind == ConsoleKind::Screen {
            let OpenConsole { shown, typed } = host.open_console(&domain, &console).await?;
            let shown = stream::unfold(shown, async |mut shown| shown.recv().await.map(|part| (part, shown)));
            (Bytes::new(), Box::pin(shown) as Showing, typed)
        } else {
            let watched = seat.watched.clone();
            let mut known = watched.line.lock().await;
            let open = known.upgrade().and_then(|line| Some((line.follow()?, line)));
            let ((recent, shown), line) = match open {
                Some(open) => open,
                None => {
                    let line = Line::of(open_line(&*host, &domain, &console).await?);
                    *known = Arc::downgrade(&line);
                    let ended = || Fault::new(FaultKind::Refused, format!("{} of {} ended", console.name, domain.name));
                    (line.follow().ok_or_else(ended)?, line)
                }
            };
            let typed = line.typed.clone();
            seat.line = Some(line);
            (recent, shown, typed)
        };
        let note = Note::of(NoteKind::ConsoleOpened, &name, origin.clone());
        self.journal.accounts.write(move |connection| accounts::note(connection, &note)).await?;
        Ok(Attached { typed, recent, shown, watchers, seat })
    }
}

/// Opens a serial console. One that we closed just now may still be open for a moment.
async fn open_line(host: &dyn Host, domain: &Domain, console: &Console) -> Result<OpenConsole, Fault> {
    let began = Instant::now();
    loop {
        match host.open_console(domain, console).await {
            Err(fault) if fault.kind == FaultKind::Busy && began.elapsed() < AGAIN => sleep(PAUSE).await,
            opened => return opened,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::*;

    fn place() -> Place {
        let id = "atlas/9d5815f3-0942-43f7-bd25-8c0cb4800b49".parse().expect("a machine");
        (id, Console { name: "serial0".into(), kind: ConsoleKind::Serial })
    }

    fn holder(session: u8) -> Holder {
        (Some(Shown::Session([session; 32])), Viewer::anybody())
    }

    #[tokio::test(start_paused = true)]
    async fn a_ticket_opens_one_console_once_soon_and_for_its_holder() {
        let consoles = Consoles::default();
        let ticket = consoles.ticket(holder(1), place()).expect("made");
        assert_eq!(consoles.redeem(&ticket, &holder(1)), Ok(place()));
        let refused = |ticket: &str, holder: &Holder| consoles.redeem(ticket, holder).expect_err("refused").kind;
        assert_eq!(refused(&ticket, &holder(1)), FaultKind::NotAllowed, "it was used");
        let stolen = consoles.ticket(holder(1), place()).expect("made");
        assert_eq!(refused(&stolen, &holder(2)), FaultKind::NotAllowed, "it is somebody else's");
        assert_eq!(refused(&stolen, &holder(1)), FaultKind::NotAllowed, "it was shown by a thief");
        let old = consoles.ticket(holder(1), place()).expect("made");
        tokio::time::advance(TICKET_FOR).await;
        assert_eq!(refused(&old, &holder(1)), FaultKind::NotAllowed, "it is too old");
        assert_eq!(refused("", &holder(1)), FaultKind::NotAllowed);
        for _ in 0..MAX_TICKETS_OF_ONE {
            consoles.ticket(holder(1), place()).expect("made");
        }
        assert_eq!(consoles.ticket(holder(1), place()).expect_err("too many").kind, FaultKind::Busy);
        assert!(consoles.ticket(holder(2), place()).is_ok(), "somebody else has a share of their own");
        tokio::time::advance(TICKET_FOR).await;
        assert!(consoles.ticket(holder(1), place()).is_ok(), "old ones make room");
    }

    #[tokio::test]
    async fn who_comes_later_sees_what_a_line_showed_last_and_all_see_its_end() {
        let ((show, shown), (typed, mut keys)) = (mpsc::channel(4), mpsc::channel(4));
        let line = Line::of(OpenConsole { shown, typed });
        let (nothing, mut first) = line.follow().expect("open");
        assert!(nothing.is_empty());
        show.send(Bytes::from(vec![b'x'; RECENT])).await.expect("taken");
        show.send(Bytes::from_static(b"login: ")).await.expect("taken");
        let seen = first.next().await.expect("a part").len() + first.next().await.expect("a part").len();
        assert_eq!(seen, RECENT + 7);
        let (recent, mut second) = line.follow().expect("open");
        assert!(recent.len() == RECENT && recent.ends_with(b"xxlogin: "), "{}", recent.len());
        line.typed.send(Bytes::from_static(b"root\r")).await.expect("taken");
        assert_eq!(keys.recv().await.expect("typed"), "root\r");
        drop(show);
        assert!(first.next().await.is_none() && second.next().await.is_none());
        assert!(line.follow().is_none(), "one that has ended is opened anew");
    }

    #[tokio::test(start_paused = true)]
    async fn everybody_who_looks_is_known_by_name_until_they_leave() {
        let consoles = Arc::new(Consoles::default());
        let jane = consoles.sit(&place(), "jane").expect("a seat");
        let watchers = jane.watched.watchers.subscribe();
        let both = [consoles.sit(&place(), "bob"), consoles.sit(&place(), "jane")];
        assert_eq!(*watchers.borrow(), ["jane", "bob", "jane"]);
        drop(jane);
        assert_eq!(*watchers.borrow(), ["bob", "jane"]);
        let refused = |who: &str| consoles.sit(&place(), who).err().map(|fault| fault.kind);
        let own: Vec<_> = (0..MAX_WATCHED_BY_ONE).map(|_| consoles.sit(&place(), "x").expect("a seat")).collect();
        assert_eq!((refused("x"), refused("y")), (Some(FaultKind::Busy), None), "each has a share");
        drop(own);
        let seats: Vec<_> =
            (2..MAX_WATCHERS).map(|n| consoles.sit(&place(), &format!("{}", n % 10)).expect("a seat")).collect();
        assert_eq!(refused("y"), Some(FaultKind::Busy));
        drop((both, seats));
        assert!(consoles.open.lock().is_empty());
    }
}
