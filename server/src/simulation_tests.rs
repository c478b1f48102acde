//! A server with a fake libvirt, with clients that connect, disconnect and lose data in transit,
//! and a process that crashes at any moment. Every run is determined by its seed:
//! `BELVEDERE_SEED=7` repeats one, `BELVEDERE_SEEDS=10000` runs that many; the default is 200.

use std::{
    collections::{BTreeMap, HashMap},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::Arc,
    time::Duration,
};

use model::{
    Cursor, Domain, DomainCommand, DomainState, Event, Host, HostId, HostInventory, Inventory, Link, Origin, RequestId,
    TaskState,
    command::Start,
    event::Change,
    inventory::{Snapshot, Stamp},
    task::Outcome,
};
use tempfile::TempDir;
use tokio::time::timeout;
use uuid::Uuid;

use crate::{
    feed::{Bounds, Feed, Filter, Reader},
    journal::{Intent, Journal, Query, Settled, verify},
    tasks::{Admission, Tasks},
};

/// Random numbers from a seed (SplitMix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.roll() % end
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// The real state of the machines.
struct FakeLibvirt {
    hosts: Inventory,
    version: u64,
}

fn host_id(number: u64) -> HostId {
    ["atlas", "borea"][number as usize].parse().expect("a name")
}

fn empty() -> Inventory {
    let hosts = [0, 1].map(|number| {
        let host = Host { id: host_id(number), connection: Link::default(), info: None, demo: false, managed: false };
        (host_id(number), Arc::new(HostInventory::of(host)))
    });
    Inventory { hosts: BTreeMap::from(hosts) }
}

impl FakeLibvirt {
    /// Changes a host; returns the events a watcher would publish.
    fn happens(&mut self, dice: &mut Dice) -> Vec<Event> {
        let mut next = self.hosts.clone();
        let host = Arc::make_mut(next.hosts.get_mut(&host_id(dice.below(2))).expect("it exists"));
        if dice.one_in(12) {
            host.host.connection.connected = !host.host.connection.connected;
        }
        for _ in 0..=dice.below(3) {
            let id = Uuid::from_u128(u128::from(dice.below(6)));
            self.version += 1;
            if dice.one_in(5) {
                host.domains.remove(&id);
            } else {
                let state = DomainState::ALL[dice.below(DomainState::ALL.len() as u64) as usize];
                let name = format!("vm-{}", dice.below(3));
                host.domains
                    .insert(id, Arc::new(Domain { id, state, name, version: self.version, ..Domain::default() }));
            }
        }
        self.version += 1;
        let stamp = Stamp { version: self.version, resync: dice.one_in(7), ..Stamp::default() };
        let events = self.hosts.diff(&next, stamp);
        self.hosts = next;
        events
    }
}

/// A browser: its state, and its stream.
struct Client {
    mirror: Option<Inventory>,
    position: Option<Cursor>,
    reader: Option<Reader>,
    text: String,
    resets: usize,
}

impl Client {
    fn new() -> Self {
        Self { mirror: None, position: None, reader: None, text: String::new(), resets: 0 }
    }

    /// The stream breaks; data in transit is lost.
    fn lose(&mut self) {
        self.reader = None;
        self.text.clear();
    }

    /// Reads available data in pieces of any size, like a network.
    async fn read(&mut self, feed: &Feed, dice: &mut Dice) {
        let position = self.position;
        let reader = self.reader.get_or_insert_with(|| feed.subscribe(position, Filter::default()).expect("room"));
        let Ok(chunk) = timeout(Duration::from_millis(20), reader.next()).await else { return };
        let Some(chunk) = chunk else { return self.lose() };
        let torn = dice.one_in(6);
        let arrived = if torn { dice.below(chunk.len() as u64) as usize } else { chunk.len() };
        // These runs use only ASCII, so any position is between characters.
        self.text.push_str(std::str::from_utf8(&chunk[..arrived]).expect("text"));
        while let Some((frame, rest)) = self.text.split_once("\n\n") {
            let frame = frame.to_owned();
            self.text = rest.to_owned();
            self.frame(&frame);
        }
        if torn {
            self.lose();
        }
    }

    fn frame(&mut self, frame: &str) {
        let field = |name: &str| frame.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        let (id, kind, data) = (field("id: "), field("event: "), field("data: "));
        let Ok(id) = id.parse::<Cursor>() else { return assert!(frame.starts_with("retry: "), "{frame}") };
        match kind {
            "inventory" => {
                let snapshot: Snapshot = serde_json::from_str(data).expect("an inventory");
                assert_eq!(snapshot.cursor, id);
                self.mirror = Some(Inventory::clone(&snapshot.hosts));
                self.resets += 1;
            }
            "bookmark" => assert_eq!(Some(id), self.position, "a bookmark is where the reader is"),
            kind => {
                let had = self.position.expect("events follow a position");
                assert_eq!((id.epoch, id.seq), (had.epoch, had.seq + 1), "no gap, no duplicate, no other epoch");
                let change = Change::read(kind, data).expect("a change");
                self.mirror.as_mut().expect("an inventory came first").take(&change);
            }
        }
        self.position = Some(id);
    }
}

/// One process: log, requests, journal.
struct Incarnation {
    feed: Arc<Feed>,
    tasks: Arc<Tasks>,
    journal: Arc<Journal>,
}

impl Incarnation {
    fn start(folder: &TempDir, truth: &Inventory) -> Self {
        let bounds =
            Bounds { events: 24, bytes: 2_000, age: Duration::from_millis(50), behind: 8_000, most_bytes: 100_000 };
        let feed = Arc::new(Feed::within(bounds, truth.hosts.values().map(|host| (**host).clone())));
        let journal = Arc::new(Journal::open(folder.path()).unwrap_or_else(|trouble| panic!("{trouble:?}")));
        Self { tasks: Arc::new(Tasks::new(journal.clone(), feed.clone())), feed, journal }
    }
}

/// What the fake libvirt and the users know about commands.
#[derive(Default)]
struct Ledger {
    /// How often each request had its effect.
    effects: HashMap<u64, usize>,
    /// Requests reported as accepted.
    accepted: Vec<u64>,
}

fn intent(number: u64) -> Intent {
    Intent {
        at: number,
        request_id: RequestId(Uuid::from_u128(u128::from(number))),
        parent: None,
        kind: "start".into(),
        host: host_id(0),
        target: Some(Uuid::from_u128(1)),
        targets: Vec::new(),
        name: "vm-1".into(),
        command: DomainCommand::Start(Start {}).into(),
        origin: Origin::default(),
        refused: None,
    }
}

/// Sends a request once or several times; the process may crash meanwhile. True if it did.
async fn command(process: &Incarnation, ledger: &mut Ledger, dice: &mut Dice, number: u64) -> bool {
    let times = 1 + dice.below(5);
    let sent = (0..times).map(|_| process.tasks.admit(intent(number)));
    let mut new = None;
    for answer in futures_util::future::join_all(sent).await {
        match answer.expect("the disk is well") {
            Admission::New(record) => assert!(new.replace(record).is_none(), "new once"),
            Admission::Again(receipt) => assert_eq!(receipt.request_id, intent(number).request_id),
        }
    }
    ledger.accepted.push(number);
    let Some(record) = new else { return false };
    if dice.one_in(8) {
        return true;
    }
    *ledger.effects.entry(number).or_default() += 1;
    if dice.one_in(8) {
        return true;
    }
    process.tasks.end(&record, TaskState::Succeeded, None, Settled::Seen).await;
    dice.one_in(8)
}

/// A new process settles the requests left open by the old one, from the state of the machines.
async fn settle(process: &Incarnation, ledger: &Ledger) {
    for stored in process.journal.audit.open_ends().await.expect("readable") {
        let number = stored.intent.at;
        let record = process.tasks.resume(stored);
        let outcome = if ledger.effects.contains_key(&number) { TaskState::Succeeded } else { TaskState::Failed };
        process.tasks.end(&record, outcome, None, Settled::Later).await;
    }
}

async fn check_records(process: &Incarnation, ledger: &Ledger) {
    for number in &ledger.accepted {
        let request = Some(intent(*number).request_id);
        let found =
            process.journal.audit.records(Query { request, limit: 9, ..Query::default() }).await.expect("readable");
        assert_eq!(found.items.len(), 1, "what was accepted is recorded, once");
        let had_effect = ledger.effects.get(number).copied().unwrap_or_default();
        assert!(had_effect <= 1, "request {number} had {had_effect} effects");
        let expected = if had_effect == 1 { Outcome::Succeeded } else { Outcome::Failed };
        assert_eq!(found.items[0].outcome, expected, "request {number}");
    }
}

async fn live(seed: u64) {
    let dice = &mut Dice(seed);
    let folder = TempDir::new().expect("a folder");
    let mut truth = FakeLibvirt { hosts: empty(), version: 1 };
    let mut process = Incarnation::start(&folder, &truth.hosts);
    let mut clients: Vec<Client> = (0..4).map(|_| Client::new()).collect();
    let mut ledger = Ledger::default();
    let mut number = 1_000 * (1 + seed % 1_000_000);
    for _ in 0..60 {
        let mut dies = false;
        match dice.below(10) {
            0..4 => process.feed.publish(truth.happens(dice)),
            4..8 => {
                let client = dice.below(4) as usize;
                clients[client].read(&process.feed, dice).await;
            }
            8 => {
                // Some requests are new, some are repeated, also from before a crash.
                number += dice.below(2);
                dies = command(&process, &mut ledger, dice, number).await;
            }
            _ => {
                if dice.one_in(2) {
                    clients[dice.below(4) as usize].lose();
                } else {
                    // Long enough for the ring to drop events.
                    tokio::time::sleep(Duration::from_millis(dice.below(200))).await;
                }
            }
        }
        if dies {
            clients.iter_mut().for_each(Client::lose);
            drop(process);
            process = Incarnation::start(&folder, &truth.hosts);
            settle(&process, &ledger).await;
        }
    }
    for client in &mut clients {
        while client.position != Some(process.feed.cursor()) {
            client.read(&process.feed, dice).await;
        }
        assert!(client.resets > 0);
        assert_eq!(client.mirror.as_ref(), Some(&truth.hosts), "every page shows the truth in the end");
        assert_eq!(&*process.feed.snapshot().hosts, &truth.hosts);
    }
    settle(&process, &ledger).await;
    check_records(&process, &ledger).await;
    drop(process);
    verify(&crate::journal::audit_file(folder.path()), None).expect("the chain is intact");
}

#[test]
fn nothing_is_lost_and_nothing_happens_twice_whatever_the_seed() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("BELVEDERE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("BELVEDERE_SEEDS").unwrap_or(200),
    };
    for seed in seeds {
        let run = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
            runtime.expect("a runtime").block_on(live(seed));
        };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(run)) {
            eprintln!("it happened with BELVEDERE_SEED={seed}");
            resume_unwind(panic);
        }
    }
}
