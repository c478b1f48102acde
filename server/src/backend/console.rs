//! Consoles that people look at: tickets that open one, who looks at which, and serial lines,
//! which libvirt gives to one reader, shared by all of ours.
//!
//! What the bytes mean is the browser's business; what a console is, `hypervisor`'s.

use std::{
    collections::{HashMap, VecDeque},
    pin::Pin,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::body::Bytes;
use futures_util::{Stream, stream};
use hypervisor::{Hypervisor, OpenConsole};
use model::{Console, ConsoleKind, Domain, DomainRef, Fault, FaultKind, Origin, Viewer};
use tokio::{
    sync::{broadcast, mpsc, watch},
    time::{Instant, sleep},
};

use super::{Backend, no_host};
use crate::{
    auth::{Shown, hash, secret},
    journal::{Note, accounts},
    limits::lock,
};

/// How long a ticket opens its console.
const TICKET_FOR: Duration = Duration::from_secs(30);
/// Tickets that may wait to be used, and those of one of them.
const MAX_TICKETS: usize = 1_000;
const MAX_TICKETS_OF_ONE: usize = 20;
/// People that may look at consoles at a time, and consoles that one of them may look at.
const MAX_WATCHERS: usize = 100;
const MAX_WATCHED_BY_ONE: usize = 20;
/// How long a line that libvirt has yet to let go of is asked for again, and the pauses between.
const AGAIN: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(300);
/// What a line showed last, for those who come later, in bytes.
const RECENT: usize = 64 * 1024;
/// Parts of a line that a reader may be behind.
const BEHIND: usize = 256;
/// How long a serial line stays open without readers, so that someone who comes back from another
/// tab finds its output, including what arrived in between.
const LINGER: Duration = Duration::from_secs(300);

/// Who somebody is: what they showed, and what that says.
pub(crate) type Holder = (Option<Shown>, Viewer);

/// A console of a machine.
pub(crate) type Place = (DomainRef, Console);

/// A right to open one console, once and soon.
struct Ticket {
    holder: Holder,
    place: Place,
    until: Instant,
}

/// The tickets that were not used yet, and the consoles that somebody looks at.
#[derive(Default)]
pub(crate) struct Consoles {
    tickets: Mutex<HashMap<[u8; 32], Ticket>>,
    open: Mutex<HashMap<(DomainRef, String), Arc<Watched>>>,
    /// How many readers there were.
    readers: AtomicU64,
}

/// A console that somebody looks at.
struct Watched {
    /// Their names, one for each page.
    watchers: watch::Sender<Vec<String>>,
    /// The line that they share; a screen has one for each of them.
    line: tokio::sync::Mutex<Weak<Line>>,
}

/// A serial line that is open.
struct Line {
    typed: mpsc::Sender<Bytes>,
    /// The reader that typed last; 0 is none.
    typist: AtomicU64,
    shown: Mutex<Shows>,
}

/// What a line shows.
#[derive(Default)]
struct Shows {
    recent: VecDeque<u8>,
    /// None once it has ended.
    live: Option<broadcast::Sender<Bytes>>,
}

/// What a console shows, part by part.
type Showing = Pin<Box<dyn Stream<Item = Bytes> + Send>>;

/// What one reader has of a console.
pub(crate) struct Attached {
    /// What is typed.
    pub(crate) typed: mpsc::Sender<Bytes>,
    /// What it showed before one came.
    pub(crate) recent: Bytes,
    /// What the machine shows, to its end.
    pub(crate) shown: Showing,
    /// Who looks at it, oneself among them.
    pub(crate) watchers: watch::Receiver<Vec<String>>,
    seat: Seat,
}

/// A reader's place, which is free again when this is dropped.
struct Seat {
    consoles: Arc<Consoles>,
    key: (DomainRef, String),
    watched: Arc<Watched>,
    who: String,
    /// A number of its own, from 1.
    reader: u64,
    line: Option<Arc<Line>>,
}

impl Attached {
    /// Notes that this reader types.
    pub(crate) fn types(&self) {
        if let Some(line) = &self.seat.line {
            line.typist.store(self.seat.reader, Ordering::Relaxed);
        }
    }

    /// Whether this reader's terminal answers what programs on the line ask terminals. One does,
    /// that of who typed last: they would take further answers for what somebody types.
    pub(crate) fn answers(&self) -> bool {
        let own = self.seat.reader;
        self.seat.line.as_ref().is_some_and(|line| {
            let first = line.typist.compare_exchange(0, own, Ordering::Relaxed, Ordering::Relaxed);
            first.is_ok() || first == Err(own)
        })
    }
}

impl Consoles {
    /// A ticket for a console.
    ///
    /// # Errors
    /// `Busy`.
    pub(crate) fn ticket(&self, holder: Holder, place: Place) -> Result<String, Fault> {
        let (mut tickets, now) = (lock(&self.tickets), Instant::now());
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

    /// What a ticket opens. It is used up, whoever shows it.
    ///
    /// # Errors
    /// `NotAllowed` when it is unknown, used, too old, or somebody else's.
    pub(crate) fn redeem(&self, text: &str, holder: &Holder) -> Result<Place, Fault> {
        let ticket = lock(&self.tickets).remove(&hash(text));
        let valid = ticket.filter(|ticket| ticket.until > Instant::now() && ticket.holder == *holder);
        valid.map(|ticket| ticket.place).ok_or_else(|| {
            Fault::new(FaultKind::NotAllowed, "This ticket opens no console: it was used, is too old, or is not yours")
                .with_next("Open the console again")
        })
    }

    /// Takes a place at a console.
    fn sit(self: &Arc<Self>, (id, console): &Place, who: &str) -> Result<Seat, Fault> {
        let key = (id.clone(), console.name.clone());
        let mut open = lock(&self.open);
        let all = || open.values().flat_map(|watched| watched.watchers.borrow().clone());
        if all().count() >= MAX_WATCHERS || all().filter(|name| name == who).count() >= MAX_WATCHED_BY_ONE {
            let fault = Fault::new(FaultKind::Busy, "Too many consoles are open");
            return Err(fault.with_next("Close others first"));
        }
        let watched = open.entry(key.clone()).or_insert_with(|| {
            Arc::new(Watched { watchers: watch::Sender::default(), line: tokio::sync::Mutex::default() })
        });
        let watched = watched.clone();
        watched.watchers.send_modify(|names| names.push(who.to_owned()));
        let reader = self.readers.fetch_add(1, Ordering::Relaxed) + 1;
        Ok(Seat { consoles: self.clone(), key, watched, who: who.to_owned(), reader, line: None })
    }

    /// Forgets a console that nobody looks at any more, unless its line is still kept open.
    fn forget(&self, key: &(DomainRef, String)) {
        let mut open = lock(&self.open);
        let is_shut = |watched: &Watched| watched.line.try_lock().is_ok_and(|line| line.strong_count() == 0);
        if open.get(key).is_some_and(|watched| watched.watchers.borrow().is_empty() && is_shut(watched)) {
            open.remove(key);
        }
    }
}

impl Drop for Seat {
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
    /// Keeps a line and tells its readers what it shows.
    fn of(OpenConsole { mut shown, typed }: OpenConsole) -> Arc<Self> {
        let live = broadcast::Sender::new(BEHIND);
        let shows = Shows { live: Some(live), ..Shows::default() };
        let line = Arc::new(Self { typed, typist: AtomicU64::new(0), shown: Mutex::new(shows) });
        let told = Arc::downgrade(&line);
        tokio::spawn(async move {
            while let Some(part) = shown.recv().await {
                let Some(line) = told.upgrade() else { return };
                let mut shows = lock(&line.shown);
                let over = (shows.recent.len() + part.len()).saturating_sub(RECENT).min(shows.recent.len());
                shows.recent.drain(..over);
                shows.recent.extend(&part[part.len().saturating_sub(RECENT)..]);
                // That nobody listens is no mistake.
                shows.live.as_ref().map(|live| live.send(part).ok());
            }
            if let Some(line) = told.upgrade() {
                lock(&line.shown).live = None;
            }
        });
        line
    }

    /// What it showed last, and all that follows; none when it has ended.
    fn follow(&self) -> Option<(Bytes, Showing)> {
        let shows = lock(&self.shown);
        let live = shows.live.as_ref()?.subscribe();
        let recent = Bytes::from(Vec::from_iter(shows.recent.iter().copied()));
        // Whoever falls behind begins again with what was shown last.
        let live = stream::unfold(live, async |mut live| live.recv().await.ok().map(|part| (part, live)));
        Some((recent, Box::pin(live)))
    }
}

impl Backend {
    /// A console of a machine that can be opened now.
    ///
    /// # Errors
    /// Why not: there is none, or its predicate's reason.
    pub(crate) fn console(&self, id: &DomainRef, name: &str) -> Result<(Arc<Domain>, Console), Fault> {
        let hosts = self.feed.snapshot().hosts;
        let host = hosts.hosts.get(&id.host).ok_or_else(|| no_host(&id.host))?;
        let gone = || Fault::new(FaultKind::NotFound, format!("There is no machine {id}"));
        let domain = host.domains.get(&id.id).ok_or_else(gone)?;
        let kind = if name == Console::SCREEN { ConsoleKind::Screen } else { ConsoleKind::Serial };
        let console = Console { name: name.to_owned(), kind };
        console.check(domain, &host.host)?;
        Ok((domain.clone(), console))
    }

    /// Opens a console for somebody, or lets them look at one that is open. That they did is on
    /// disk before they see anything of it.
    ///
    /// # Errors
    /// When it cannot be opened, or that cannot be recorded.
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
                    let line = Line::of(open_line(host, &domain, &console).await?);
                    *known = Arc::downgrade(&line);
                    let ended = || Fault::new(FaultKind::Refused, format!("{} of {} ended", console.name, domain.name));
                    (line.follow().ok_or_else(ended)?, line)
                }
            };
            let typed = line.typed.clone();
            seat.line = Some(line);
            (recent, shown, typed)
        };
        let note = Note::of("consoleOpened", &name, origin.clone());
        self.journal.accounts.write(move |connection| accounts::note(connection, &note)).await?;
        Ok(Attached { typed, recent, shown, watchers, seat })
    }
}

/// Opens a line. One that we let go of just now may still be open for a moment.
async fn open_line(host: &Hypervisor, domain: &Domain, console: &Console) -> Result<OpenConsole, Fault> {
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
        assert!(lock(&consoles.open).is_empty());
    }
}
