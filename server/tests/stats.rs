//! Statistics of running machines compared with the kernel, virsh and the guests: real QEMU guests
//! with load on demand.
//!
//! Needs root for the daemon; `make test` runs it with `--ignored`.

mod support;

use std::{fs, time::Duration};

use serde_json::Value;
use support::{Stream, daemon::Daemon, process::Process};
use tempfile::TempDir;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, UnixStream},
    sync::Mutex,
    time::{Instant, sleep, timeout},
};

/// Concurrent tests would affect each other's measurements.
static ALONE: Mutex<()> = Mutex::const_new(());

struct Site {
    daemon: Daemon,
    data: TempDir,
}

impl Site {
    async fn serve(&self) -> Process {
        let data = self.data.path().to_str().expect("text");
        Process::start(&["--connect", &self.daemon.connect(), "--data", data], None).await
    }

    /// Over TCP, like a remote host: /proc is not used.
    async fn serve_from_elsewhere(&self) -> Process {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let socket = self.daemon.folder.path().join("sock/libvirt-sock");
        tokio::spawn(async move {
            while let Ok((mut far, _)) = listener.accept().await {
                let mut near = UnixStream::connect(&socket).await.expect("libvirtd listens");
                tokio::spawn(async move { copy_bidirectional(&mut far, &mut near).await });
            }
        });
        let data = self.data.path().to_str().expect("text");
        let connect = format!("atlas=qemu+tcp://127.0.0.1:{port}/system");
        Process::start(&["--connect", &connect, "--data", data], None).await
    }

    /// Creates guests, `web-01` and so on; the first one exists with the daemon.
    fn guests(&self, count: usize) -> Vec<String> {
        let names: Vec<String> = (1..=count).map(|n| format!("web-{n:02}")).collect();
        names[1..].iter().for_each(|name| self.daemon.guest(name));
        names
    }

    fn pid(&self, name: &str) -> u32 {
        let file = self.daemon.folder.path().join(format!("run/qemu/{name}.pid"));
        fs::read_to_string(file).expect("it runs").trim().parse().expect("a number")
    }

    fn id(&self, name: &str) -> String {
        self.daemon.virsh(&["domuuid", name])
    }

    /// CPU time reported by virsh, in seconds.
    fn cpu_by_virsh(&self, name: &str) -> f64 {
        let text = self.daemon.virsh(&["domstats", "--cpu-total", name]);
        let line = text.lines().find_map(|line| line.trim().strip_prefix("cpu.time=")).expect("told");
        line.parse::<f64>().expect("a number") / 1e9
    }

    fn sent_by_virsh(&self, name: &str) -> f64 {
        let text = self.daemon.virsh(&["domstats", "--interface", name]);
        let line = text.lines().find_map(|line| line.trim().strip_prefix("net.0.tx.bytes=")).expect("told");
        line.parse().expect("a number")
    }

    /// The n-th transmitted value in the guest's console output.
    async fn sent_by_guest(&self, name: &str, time: usize) -> f64 {
        let console = self.daemon.folder.path().join(format!("console-{name}.log"));
        let began = Instant::now();
        loop {
            let text = fs::read(&console).map(|text| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default();
            let told = text.lines().filter_map(|line| line.split_once("sent ")?.1.trim_end().strip_suffix(" bytes"));
            if let Some(bytes) = told.skip(time - 1).find_map(|bytes| bytes.parse().ok()) {
                return bytes;
            }
            assert!(began.elapsed() < Duration::from_secs(60), "the guest tells: {text}");
            sleep(Duration::from_millis(200)).await;
        }
    }

    fn written_by_virsh(&self, name: &str) -> f64 {
        let text = self.daemon.virsh(&["domblkstat", name, "vda"]);
        let line = text.lines().find_map(|line| line.strip_prefix("vda wr_bytes ")).expect("told");
        line.trim().parse().expect("a number")
    }
}

/// CPU time reported by the kernel, in seconds.
fn cpu_by_kernel(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let fields: Vec<&str> = stat.rsplit_once(") ").expect("a name").1.split(' ').collect();
    (fields[11].parse::<f64>().expect("a number") + fields[12].parse::<f64>().expect("a number")) / 100.0
}

/// The next statistics of a machine.
async fn figures(stream: &mut Stream, id: &str) -> Value {
    loop {
        let list = stream.until("vm-stats-updated").await.data;
        if let Some(stats) = list.as_array().expect("a list").iter().find(|stats| stats["vmId"] == id) {
            return stats.clone();
        }
    }
}

/// The bytes of a rate since a time, until it is zero: from a reading before the first byte to one
/// after the last.
async fn moved(stream: &mut Stream, id: &str, rate: &str, mut last: f64) -> f64 {
    let (mut told, mut quiet) = (0.0, 0);
    while quiet < 3 {
        let stats = figures(stream, id).await;
        let (rate, at) = (stats[rate].as_f64().expect("a number"), stats["timestamp"].as_f64().expect("a time"));
        told += rate * (at - last) / 1_000.0;
        last = at;
        quiet = if rate < 1_000.0 && told > 1e6 { quiet + 1 } else { 0 };
    }
    told
}

fn near(told: f64, is: f64, what: &str) {
    assert!((told - is).abs() <= is.abs() * 0.1, "{what}: {told} is told, {is} is true");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root, libvirtd and QEMU; make test runs it"]
async fn figures_are_those_of_the_kernel_of_virsh_and_of_the_guest() {
    let _alone = ALONE.lock().await;
    let site = busy();
    let server = site.serve().await;
    are_true(&site, &server).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root, libvirtd and QEMU; make test runs it"]
async fn figures_of_a_host_elsewhere_are_the_same() {
    let _alone = ALONE.lock().await;
    let site = busy();
    let server = site.serve_from_elsewhere().await;
    are_true(&site, &server).await;
}

/// A guest with a disk.
fn busy() -> Site {
    let site = Site { daemon: Daemon::start(), data: TempDir::new().expect("a folder") };
    let disk = site.daemon.folder.path().join("disk.raw");
    fs::File::create(&disk).and_then(|file| file.set_len(512 << 20)).expect("a disk");
    let device = format!(
        "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{}'/><target dev='vda' bus='virtio'/></disk>",
        disk.display()
    );
    site.daemon.guest_with("busy", &device);
    site
}

async fn are_true(site: &Site, server: &Process) {
    let id = site.id("busy");
    let start = server.send(&id, "start").await;
    assert_eq!(server.ended_task(&start).await["outcome"], "succeeded");
    let mut stream = server.stream(&format!("/events?topics=vm-stats-updated&watch=atlas/{id}")).await;

    site.daemon.in_guest("busy", "while :; do :; done").await;
    // For a remote host the first values arrive one sweep later.
    while !figures(&mut stream, &id).await["cpuUsagePercent"].is_number() {}
    figures(&mut stream, &id).await;
    let pid = site.pid("busy");
    // Each with its own clock: virsh takes a while to respond.
    let (kernel, virsh) = ((Instant::now(), cpu_by_kernel(pid)), (site.cpu_by_virsh("busy"), Instant::now()));
    let mut percents = Vec::new();
    for _ in 0..6 {
        percents.push(figures(&mut stream, &id).await["cpuUsagePercent"].as_f64().expect("a number"));
    }
    let by_kernel = (cpu_by_kernel(pid) - kernel.1) / kernel.0.elapsed().as_secs_f64();
    let by_virsh = (site.cpu_by_virsh("busy") - virsh.0) / virsh.1.elapsed().as_secs_f64();
    let told = percents.iter().sum::<f64>() / percents.len() as f64;
    near(told, (by_kernel * 100.0).min(100.0), "processor, by the kernel");
    near(told, (by_virsh * 100.0).min(100.0), "processor, by virsh");

    // The guest's memory is reported for watched machines.
    let guest = timeout(Duration::from_secs(30), async {
        loop {
            let stats = figures(&mut stream, &id).await;
            // Disks are reported with the second reading.
            if stats["memorySource"] == "guest" && stats["disks"].is_array() {
                return stats;
            }
        }
    });
    let guest = guest.await.expect("its balloon driver tells");
    let memory = site.daemon.virsh(&["dommemstat", "busy"]);
    let kib =
        |name: &str| memory.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok()).expect("told");
    near(guest["memoryUsedMb"].as_f64().expect("a number"), (kib("available ") - kib("usable ")) / 1024.0, "memory");
    assert_eq!(guest["disks"][0]["name"], "vda", "{guest}");

    let last = figures(&mut stream, &id).await["timestamp"].as_f64().expect("a time");
    let before = site.written_by_virsh("busy");
    let write = "for i in 1 2 3 4 5 6 7 8; do dd if=/dev/zero of=/dev/vda bs=1M count=32 conv=fsync; sleep 1; done";
    site.daemon.in_guest("busy", write).await;
    let told = moved(&mut stream, &id, "diskWriteBytesSec", last).await;
    near(told, site.written_by_virsh("busy") - before, "bytes written");

    // The history has the same values.
    let (_, past) = server.json("GET", &format!("/api/v1/stats/atlas/{id}"), &Value::Null).await.expect("answers");
    let points = past["points"].as_array().expect("a list");
    assert!(
        points.len() >= 8 && points.iter().any(|point| point["cpuUsagePercent"]["max"].as_f64() > Some(80.0)),
        "{past}"
    );
    begins_with_its_past(server, &id).await;
    // A stopped machine is not measured.
    site.daemon.virsh(&["destroy", "busy"]);
    loop {
        let list = stream.until("vm-stats-updated").await.data;
        if list.as_array().expect("a list").is_empty() {
            break;
        }
    }
}

/// A machine's page brings its last minutes, so that its charts are there at once.
async fn begins_with_its_past(server: &Process, id: &str) {
    let page = server.text(&format!("/vms/atlas/{id}")).await;
    let data = page.split_once("id=\"initial\">").and_then(|(_, rest)| rest.split_once("</script>"));
    let data: Value = serde_json::from_str(data.expect("initial data").0).expect("JSON");
    let all = data["page"]["stats"].as_array().expect("a list");
    let mut times: Vec<u64> =
        all.iter().filter(|stats| stats["vmId"] == id).filter_map(|stats| stats["timestamp"].as_u64()).collect();
    assert!(times.len() > 5, "{data}");
    times.dedup();
    assert!(times.is_sorted(), "the oldest first: {times:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root, libvirtd and QEMU; make test runs it"]
async fn packets_are_those_of_virsh_and_of_the_guest() {
    let _alone = ALONE.lock().await;
    let site = Site { daemon: Daemon::start(), data: TempDir::new().expect("a folder") };
    // An interface without a peer, which accepts what the guest sends.
    site.daemon.guest_with("sender", "<interface type='ethernet'><model type='virtio'/></interface>");
    let (server, id) = (site.serve().await, site.id("sender"));
    let start = server.send(&id, "start").await;
    assert_eq!(server.ended_task(&start).await["outcome"], "succeeded");
    let mut stream = server.stream("/events?topics=vm-stats-updated").await;
    let tell = "echo \"sent $(cat /sys/class/net/eth0/statistics/tx_bytes) bytes\" > /dev/ttyS0";
    site.daemon.in_guest("sender", &format!("ip link set eth0 up; killall udhcpc; {tell}")).await;
    let (by_guest, by_virsh) = (site.sent_by_guest("sender", 1).await, site.sent_by_virsh("sender"));
    let last = figures(&mut stream, &id).await["timestamp"].as_f64().expect("a time");
    let send = "ip addr add 10.9.9.1/24 dev eth0; arp -s 10.9.9.2 52:54:00:be:1e:01; for i in 1 2 3 4; do ping -q -s 60000 -c 10 -w 10 10.9.9.2 & done; wait";
    site.daemon.in_guest("sender", &format!("{send}; {tell}")).await;
    let told = moved(&mut stream, &id, "networkTxBytesSec", last).await;
    near(told, site.sent_by_virsh("sender") - by_virsh, "bytes sent, by virsh");
    near(told, site.sent_by_guest("sender", 2).await - by_guest, "bytes sent, by the guest");
    assert!(told > 1e6, "{told}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root, libvirtd and QEMU; make test runs it"]
async fn one_machine_whose_process_hangs_among_thirty_delays_no_other_and_says_so() {
    let _alone = ALONE.lock().await;
    let site = Site { daemon: Daemon::start(), data: TempDir::new().expect("a folder") };
    let names = site.guests(30);
    let server = site.serve().await;
    hangs(&site, &server, &names, true).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root, libvirtd and QEMU; make test runs it"]
async fn one_machine_that_hangs_on_a_host_elsewhere_delays_no_other_either() {
    let _alone = ALONE.lock().await;
    let site = Site { daemon: Daemon::start(), data: TempDir::new().expect("a folder") };
    let names = site.guests(6);
    let server = site.serve_from_elsewhere().await;
    hangs(&site, &server, &names, false).await;
}

/// Lets one of the machines hang and recover, which is reported only for it. Unwatched machines are
/// detected by their silence, on a remote host.
async fn hangs(site: &Site, server: &Process, names: &[String], watched: bool) {
    let mut starts = Vec::new();
    for name in names {
        starts.push(server.send(&site.id(name), "start").await);
    }
    for start in starts {
        assert_eq!(server.ended_task(&start).await["outcome"], "succeeded");
    }
    let hung = site.id("web-05");
    let watch = if watched { format!("&watch=atlas/{hung}") } else { String::new() };
    let mut stream = server.stream(&format!("/events?topics=vm-stats-updated{watch}")).await;
    let all =
        async |stream: &mut Stream| stream.until("vm-stats-updated").await.data.as_array().expect("a list").clone();
    let whole = |list: &[Value]| {
        let told = list.iter().filter(|stats| stats["vmId"] != hung).all(|stats| {
            ["memoryUsedMb", "cpuUsagePercent", "diskReadBytesSec"].iter().all(|figure| stats[figure].is_number())
        });
        told && list.len() == names.len()
    };
    let began = Instant::now();
    while !whole(&all(&mut stream).await) {
        assert!(began.elapsed() < Duration::from_secs(60), "all are measured");
    }
    // The sweep interval of a busy machine before anything hangs.
    let began = Instant::now();
    for _ in 0..8 {
        all(&mut stream).await;
    }
    let before = began.elapsed() / 8;
    let pid = site.pid("web-05").to_string();
    assert!(std::process::Command::new("kill").args(["-STOP", &pid]).status().expect("runs").success());
    let (mut frames, mut said) = (0, false);
    let began = Instant::now();
    while !said || frames < 8 {
        let list = all(&mut stream).await;
        frames += 1;
        assert!(whole(&list), "the others go on: {list:?}");
        let stats = list.iter().find(|stats| stats["vmId"] == hung).expect("it is there");
        said |= stats["notAnswering"] == true;
        assert!(list.iter().filter(|stats| stats["vmId"] != hung).all(|stats| stats["notAnswering"].is_null()));
        assert!(began.elapsed() < Duration::from_secs(60), "it says so: {stats}");
    }
    let after = began.elapsed() / frames;
    assert!(after < 2 * before, "a sweep as often as before: {after:?}, {before:?}");
    assert!(std::process::Command::new("kill").args(["-CONT", &pid]).status().expect("runs").success());
    let began = Instant::now();
    loop {
        let list = all(&mut stream).await;
        if list.iter().all(|stats| stats["notAnswering"].is_null()) {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "it answers again");
    }
}
