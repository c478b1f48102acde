//! A thousand machines of a real libvirtd with frequent changes and a hundred clients: every client
//! ends with libvirt's state.
//!
//! Needs root for the daemon; `make test` runs it with `--ignored`.

mod support;

use std::{collections::BTreeMap, fmt::Write as _, process::Stdio, time::Duration};

use futures_util::future::join_all;
use serde_json::Value;
use support::{daemon::Daemon, daemon::run, process::Process, raw::Raw};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, Command},
    sync::watch,
    time::{Instant, MissedTickBehavior, interval, timeout},
};

const MACHINES: usize = 1_000;
const READERS: usize = 100;

/// An interactive virsh. Several of them change machines concurrently.
struct Shell {
    child: Child,
    asked: usize,
    /// The last completed command.
    done: watch::Receiver<usize>,
}

impl Shell {
    fn open(uri: &str) -> Self {
        let mut command = Command::new("virsh");
        command.args(["-q", "-c", uri]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.kill_on_drop(true).spawn().expect("starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let (tell, done) = watch::channel(0);
        // Its output is read all the time, because it blocks otherwise. It echoes commands after
        // its prompt; output starts a line, and the next prompt ends it.
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                if let Some(mark) = line.strip_prefix("mark-").and_then(|mark| mark.split('v').next()?.parse().ok()) {
                    tell.send_replace(mark);
                }
            }
        });
        Self { child, asked: 0, done }
    }

    async fn say(&mut self, lines: &str) {
        self.child.stdin.as_mut().expect("piped").write_all(lines.as_bytes()).await.expect("taken");
    }

    /// Waits until all commands are done.
    async fn idle(&mut self) {
        self.asked += 1;
        let mark = self.asked;
        self.say(&format!("echo mark-{mark}\n\n")).await;
        timeout(Duration::from_secs(60), self.done.wait_for(|done| *done == mark))
            .await
            .expect("in time")
            .expect("runs");
    }

    /// Suspends and resumes its machines in turn, at a rate, for a duration.
    async fn flap(&mut self, first: usize, machines: usize, rate: u64, seconds: u64) -> u64 {
        let mut ticks = interval(Duration::from_millis(40));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut sent = 0;
        for _ in 0..seconds * 25 {
            ticks.tick().await;
            let mut lines = String::new();
            for _ in 0..rate / 25 {
                let (turn, at) = (sent as usize / machines, first + sent as usize % machines);
                let verb = if turn % 2 == 0 { "suspend" } else { "resume" };
                writeln!(lines, "{verb} vm-{at}").expect("a string takes it");
                sent += 1;
            }
            self.say(&lines).await;
        }
        self.idle().await;
        sent
    }
}

/// The final state in libvirt.
fn truth(uri: &str) -> BTreeMap<String, String> {
    let list = |which| run(std::process::Command::new("virsh").args(["-q", "-c", uri, "list", "--name", which]));
    let of = |which, state: &str| {
        let list = list(which);
        list.lines().filter(|name| !name.is_empty()).map(|name| (name.to_owned(), state.to_owned())).collect::<Vec<_>>()
    };
    of("--state-paused", "paused").into_iter().chain(of("--state-running", "running")).collect()
}

async fn read_until(mut raw: Raw, address: &str, wanted: &BTreeMap<String, String>) -> Raw {
    let is_true = |raw: &Raw| wanted.iter().all(|(name, state)| raw.states.get(name) == Some(state));
    while !is_true(&raw) {
        if raw.read(64 << 10).await.is_err() {
            raw = raw.again(address).await;
        }
    }
    raw
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root and libvirtd; make test runs it"]
async fn a_thousand_machines_that_flap_are_shown_as_they_are_to_a_hundred_readers() {
    let (daemon, data) = (Daemon::start(), TempDir::new().expect("a folder"));
    let uri = daemon.test_driver();
    let mut shells: Vec<Shell> = (0..4).map(|_| Shell::open(&uri)).collect();
    for n in 0..MACHINES {
        let file = data.path().join(format!("vm-{n}.xml"));
        let xml =
            format!("<domain type='test'><name>vm-{n}</name><memory>65536</memory><os><type>hvm</type></os></domain>");
        std::fs::write(&file, xml).expect("written");
        shells[n % 4].say(&format!("define {}\nstart vm-{n}\n", file.display())).await;
    }
    for shell in &mut shells {
        shell.idle().await;
    }
    let folder = data.path().join("data");
    let server =
        Process::start(&["--connect", &format!("atlas={uri}"), "--data", folder.to_str().expect("text")], None).await;
    let mut readers = join_all((0..READERS).map(|_| Raw::open(&server.address, None))).await;
    for (rate, seconds) in [(100, 3), (1_000, 3), (5_000, 4)] {
        let began = Instant::now();
        let reading: Vec<_> =
            readers.into_iter().map(|raw| tokio::spawn(drain(raw, server.address.clone(), began, seconds))).collect();
        let each = MACHINES / shells.len();
        let flaps = shells.iter_mut().enumerate().map(|(n, shell)| shell.flap(n * each, each, rate / 4, seconds));
        let sent: u64 = join_all(flaps).await.into_iter().sum();
        let wanted = truth(&uri);
        assert!(wanted.len() >= MACHINES, "{} machines", wanted.len());
        let drained = join_all(reading).await.into_iter().map(|raw| raw.expect("no panic"));
        let ends = drained.map(|raw| read_until(raw, &server.address, &wanted));
        readers = timeout(Duration::from_secs(60), join_all(ends)).await.expect("each ends with the truth");
        for raw in &readers {
            assert!(raw.is_dense(), "a gap without a word; {} resets", raw.resets);
        }
        // A machine that changes faster than it can be read is reported with its state at that
        // time.
        let most = readers.iter().map(|raw| raw.seen.len() as u64).max().expect("a hundred");
        let least = if rate == 100 { sent } else { MACHINES as u64 };
        assert!(most >= least, "{most} events came of {sent}");
        readers.iter_mut().for_each(|raw| raw.seen.clear());
    }
    let (_, inventory) = server.json("GET", "/api/v1/inventory", &Value::Null).await.expect("answers");
    let wanted = truth(&uri);
    for domain in inventory["hosts"]["atlas"]["domains"].as_array().expect("a list") {
        assert_eq!(domain["state"].as_str(), wanted.get(domain["name"].as_str().expect("text")).map(String::as_str));
    }
}

/// Reads a stream for a while.
async fn drain(mut raw: Raw, address: String, began: Instant, seconds: u64) -> Raw {
    while began.elapsed() < Duration::from_secs(seconds) {
        if let Ok(Err(_)) = timeout(Duration::from_secs(1), raw.read(64 << 10)).await {
            raw = raw.again(&address).await;
        }
    }
    raw
}
