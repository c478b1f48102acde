//! Protection of data: volumes that are in use in every possible way, and images with forbidden
//! references, with a real libvirtd. These tests need root; `make test` runs them.

mod support;

use std::{
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt, fs::symlink},
    path::PathBuf,
    process::Command as Program,
};

use model::{
    Event, Fault, FaultKind, PoolCommand,
    command::{
        CloneVolume, CreateVolume, DefinePool, DeletePool, DeleteVolume, RefreshPool, ResizeVolume, StopPool,
        UploadVolume, WipeVolume,
    },
    storage::{PoolSpec, VolumeSpec},
};
use support::{
    World,
    daemon::{Daemon, run, script},
};
use uuid::Uuid;

const POOL: Uuid = Uuid::from_u128(5);

/// A host with a directory pool, `images`, and a link to it, `link`.
struct Place {
    daemon: Daemon,
    world: World,
}

impl Place {
    async fn new() -> Self {
        let daemon = Daemon::start();
        let world = World::of_uri(&daemon.uri).await;
        let path = daemon.folder.path().join("images");
        let (name, path) = ("images".into(), path.to_string_lossy().into_owned());
        let pool = PoolSpec { name, path, ..PoolSpec::default() };
        world
            .run_on(POOL, PoolCommand::DefinePool(DefinePool { pool, build: true, autostart: false }))
            .await
            .expect("made");
        symlink("images", daemon.folder.path().join("link")).expect("made");
        Self { daemon, world }
    }

    fn path(&self, below: &str) -> PathBuf {
        self.daemon.folder.path().join(below)
    }

    fn text(&self, below: &str) -> String {
        self.path(below).to_string_lossy().into_owned()
    }

    /// Creates an image with qemu-img.
    fn image(&self, options: &[&str], below: &str, size: &str) {
        run(Program::new("qemu-img").args(["create", "-q"]).args(options).arg(self.path(below)).arg(size));
    }

    /// An image that declares a backing file.
    fn based(&self, on: &str, below: &str) {
        self.image(&["-f", "qcow2", "-u", "-F", "qcow2", "-b", on], below, "1M");
    }

    async fn refresh(&self) {
        self.world.run_on(POOL, PoolCommand::RefreshPool(RefreshPool {})).await.expect("refreshed");
    }

    /// A machine with additional devices and a ramdisk.
    fn machine(&self, name: &str, devices: &str) {
        script(&["guest"], self.daemon.folder.path(), &[name, devices]);
    }

    /// Writes a text to a file next to the pools; returns its path.
    fn write(&self, below: &str, text: &str) -> String {
        fs::write(self.path(below), text).expect("written");
        self.text(below)
    }

    fn disk(&self, below: &str, format: &str) -> String {
        format!(
            "<disk type='file' device='disk'><driver name='qemu' type='{format}'/><source file='{}'/><target dev='vda' bus='virtio'/></disk>",
            self.text(below)
        )
    }

    async fn known(&self, machine: &str) {
        let is = |all: &model::Inventory| all.domains().any(|(_, domain)| domain.name == machine).then_some(());
        self.world.until("the machine is known", is).await;
    }

    async fn runs(&self, machine: &str) {
        self.daemon.virsh(&["start", machine]);
        let runs = |all: &model::Inventory| {
            all.domains().any(|(_, domain)| domain.name == machine && domain.state.is_active()).then_some(())
        };
        self.world.until("the machine runs", runs).await;
    }

    async fn refused(&self, command: PoolCommand) -> Fault {
        let text = format!("{command:?}");
        let fault = self.world.run_on(POOL, command).await.expect_err(&text);
        let says = match fault.kind {
            FaultKind::Denied => fault.next.is_some(),
            kind => kind == FaultKind::Invalid,
        };
        assert!(says, "{text}: {fault:?}");
        fault
    }
}

fn delete(name: &str) -> PoolCommand {
    PoolCommand::DeleteVolume(DeleteVolume { name: name.into() })
}

fn clone(name: &str) -> PoolCommand {
    PoolCommand::CloneVolume(CloneVolume { name: name.into(), to: "copy".into() })
}

fn resize(name: &str, mib: u64) -> PoolCommand {
    PoolCommand::ResizeVolume(ResizeVolume { name: name.into(), capacity_bytes: mib << 20 })
}

fn wipe(name: &str) -> PoolCommand {
    PoolCommand::WipeVolume(WipeVolume { name: name.into() })
}

#[tokio::test]
#[ignore = "needs root, libvirtd and QEMU; make test runs it"]
async fn a_disk_of_a_running_machine_stays_however_the_machine_names_it() {
    let place = Place::new().await;
    for (name, spelled) in [("a", "link/a"), ("b", "images//b"), ("c", "images/../link/./c")] {
        place.image(&["-f", "qcow2"], &format!("images/{name}"), "1M");
        place.refresh().await;
        place.machine(name, &place.disk(spelled, "qcow2"));
        place.runs(name).await;
        assert_eq!(place.world.users("images", name).await, [name]);
        for command in [
            delete(name),
            wipe(name),
            clone(name),
            PoolCommand::StopPool(StopPool {}),
            PoolCommand::DeletePool(DeletePool { content: false }),
            PoolCommand::DeletePool(DeletePool { content: true }),
        ] {
            assert!(place.refused(command).await.reason.contains(name));
        }
        assert!(place.path("images").join(name).exists());
        // It is resized through the machine, which has it open.
        place.world.run_on(POOL, resize(name, 2)).await.expect("grown");
        assert!(place.daemon.virsh(&["domblkinfo", name, "vda"]).contains(&(2_u64 << 20).to_string()));
        place.daemon.virsh(&["destroy", name]);
        place.daemon.virsh(&["undefine", name]);
    }
    place.world.run_on(POOL, PoolCommand::DeletePool(DeletePool { content: true })).await.expect("nobody needs it now");
}

#[tokio::test]
#[ignore = "needs root, libvirtd and QEMU; make test runs it"]
async fn a_base_stays_however_its_overlay_names_it() {
    let place = Place::new().await;
    let images = place.text("images");
    for name in ["base", "base "] {
        place.image(&["-f", "qcow2"], &format!("images/{name}"), "1M");
    }
    for (base, on) in [
        ("base", place.text("link/base")),
        ("base", "../images/base".to_owned()),
        ("base", "base".to_owned()),
        ("base", format!("{images}//../images/base")),
        ("base", format!("file:{images}/base")),
        (
            "base",
            format!("json:{{\"driver\":\"qcow2\",\"file\":{{\"driver\":\"file\",\"filename\":\"{images}/base\"}}}}"),
        ),
        ("base ", format!("{images}/base ")),
    ] {
        place.based(&on, "images/overlay");
        place.refresh().await;
        assert_eq!(place.world.users("images", base).await, ["overlay"], "{on}");
        assert!(place.refused(delete(base)).await.reason.contains("overlay"), "{on}");
        assert!(place.refused(wipe(base)).await.reason.contains("overlay"), "{on}");
        assert!(place.refused(resize(base, 2)).await.reason.contains("overlay"), "{on}");
        place.world.run_on(POOL, delete("overlay")).await.expect("nobody needs it");
    }
    // An image with an external data file.
    place.image(
        &["-f", "qcow2", "-o", &format!("data_file={images}/data.raw,data_file_raw=on")],
        "images/outside",
        "1M",
    );
    place.refresh().await;
    assert!(place.refused(delete("data.raw")).await.reason.contains("outside"));
    place.world.run_on(POOL, delete("base")).await.expect("nobody needs it now");
}

#[tokio::test]
#[ignore = "needs root, libvirtd and QEMU; make test runs it"]
async fn what_a_machine_that_is_off_needs_stays_whatever_it_is() {
    let place = Place::new().await;
    let folder = place.path("images");
    let make = |name: &str| fs::write(folder.join(name), vec![7; 4096]).expect("written");
    ["base", "kernel", "initrd", "dtb", "nvram", "loader", "slic", "shared.img", "serial", "tpm"]
        .iter()
        .for_each(|name| make(name));
    fs::create_dir(place.path("elsewhere")).expect("made");
    place.image(&["-f", "qcow2", "-u", "-F", "raw", "-b", &place.text("images/base")], "elsewhere/middle", "1M");
    place.based("middle", "elsewhere/overlay");
    let text = |name: &str| place.text(&format!("link/{name}"));
    let define = |name: &str, os: &str, devices: &str| {
        let xml = format!(
            "<domain type='qemu'><name>{name}</name><memory unit='MiB'>64</memory><os><type arch='x86_64' machine='q35'>hvm</type>{os}</os>\
             <features><acpi/></features><devices>{devices}</devices></domain>"
        );
        place.daemon.virsh(&["define", &place.daemon.file("domain.xml", &xml).to_string_lossy()]);
    };
    let channel = |kind: &str, path: &str| format!("<serial type='{kind}'><source path='{path}'/></serial>");
    for (volume, os, devices) in [
        ("base", String::new(), place.disk("elsewhere/overlay", "qcow2")),
        ("kernel", format!("<kernel>{}</kernel>", text("kernel")), String::new()),
        ("initrd", format!("<kernel>/k</kernel><initrd>{}</initrd>", text("initrd")), String::new()),
        ("dtb", format!("<kernel>/k</kernel><dtb>{}</dtb>", text("dtb")), String::new()),
        (
            "loader",
            format!("<loader readonly='yes' type='pflash'>{}</loader><nvram>/n</nvram>", text("loader")),
            String::new(),
        ),
        (
            "nvram",
            format!("<loader readonly='yes' type='pflash'>/l</loader><nvram>{}</nvram>", text("nvram")),
            String::new(),
        ),
        ("slic", format!("<acpi><table type='slic'>{}</table></acpi>", text("slic")), String::new()),
        (
            "shared.img",
            String::new(),
            format!("<filesystem type='mount'><source dir='{}'/><target dir='x'/></filesystem>", place.text("link")),
        ),
        ("serial", String::new(), channel("file", &text("serial"))),
        (
            "tpm",
            String::new(),
            format!(
                "<tpm model='tpm-crb'><backend type='passthrough'><device path='{}'/></backend></tpm>",
                text("tpm")
            ),
        ),
    ] {
        place.refresh().await;
        define(volume, &os, &devices);
        assert!(place.refused(delete(volume)).await.reason.contains(&format!("in use by {volume}")), "{volume}");
        place.daemon.virsh(&["undefine", volume, "--keep-nvram"]);
        place.world.run_on(POOL, delete(volume)).await.expect(volume);
    }
    assert!(place.path("elsewhere/overlay").exists());
}

#[tokio::test]
#[ignore = "needs root, libvirtd and QEMU; make test runs it"]
async fn what_snapshots_are_based_on_stays() {
    let place = Place::new().await;
    place.image(&["-f", "qcow2"], "images/disk", "1M");
    place.refresh().await;
    place.machine("web", &place.disk("images/disk", "qcow2"));
    let overlay = format!("vda,file={}", place.text("overlay"));
    place.daemon.virsh(&["snapshot-create-as", "web", "before", "--disk-only", "--diskspec", &overlay]);
    // After the snapshot the machine uses another file, which is outside all pools.
    assert!(place.refused(delete("disk")).await.reason.contains("web"));
    // Nor if only the snapshot refers to it.
    let other = place.text("link/other");
    place.image(&["-f", "qcow2"], "images/other", "1M");
    place.refresh().await;
    let xml = format!(
        "<domainsnapshot><name>old</name><memory snapshot='no'/><disks><disk name='vda' snapshot='external' type='file'><source file='{other}'/></disk></disks></domainsnapshot>"
    );
    let file = place.daemon.file("snapshot.xml", &xml);
    place.daemon.virsh(&["snapshot-create", "web", &file.to_string_lossy(), "--disk-only", "--reuse-external"]);
    assert!(place.refused(delete("other")).await.reason.contains("web"));
}

#[tokio::test]
#[ignore = "needs root, libvirtd and QEMU; make test runs it"]
async fn a_machine_that_hangs_keeps_what_it_had_and_nothing_else() {
    let place = Place::new().await;
    for name in ["had", "free"] {
        place.image(&["-f", "qcow2"], &format!("images/{name}"), "1M");
    }
    place.refresh().await;
    place.machine("hung", &place.disk("link/had", "qcow2"));
    place.runs("hung").await;
    let pid = fs::read_to_string(place.path("run/qemu/hung.pid")).expect("it runs");
    run(Program::new("kill").args(["-STOP", pid.trim()]));
    let marked = |world: &World| world.find("hung").filter(|hung| hung.unresponsive);
    place.world.until("it is seen to hang", |_| marked(&place.world)).await;
    let fault = place.refused(delete("had")).await;
    assert_eq!(fault.reason, "hung is not responding, and was using had when last read");
    place.world.run_on(POOL, delete("free")).await.expect("it is not its");
    run(Program::new("kill").args(["-CONT", pid.trim()]));
    place.world.until("it answers again", |_| place.world.find("hung").filter(|hung| !hung.unresponsive)).await;
    assert!(place.refused(delete("had")).await.reason.contains("in use by hung"));
}

#[tokio::test]
#[ignore = "needs root, libvirtd and QEMU; make test runs it"]
async fn what_is_being_copied_is_not_deleted() {
    let place = Place::new().await;
    // Not sparse, so that copying takes a while.
    let fill = format!("yes | head -c 2G > {}", place.text("images/large"));
    run(Program::new("sh").args(["-c", &fill]));
    place.refresh().await;
    let copy = PoolCommand::CloneVolume(CloneVolume { name: "large".into(), to: "copy".into() });
    let meanwhile = async {
        let begun = |event: &Event| match event {
            Event::VolumeChanged(event) => (event.volume.as_deref() == Some("copy")).then_some(()),
            _ => None,
        };
        place.world.until_event("the copy is begun", begun).await;
        let delete = async |name| place.world.run_on(POOL, delete(name)).await.expect_err("it is being copied");
        [delete("large").await, delete("copy").await]
    };
    let (copied, refused) = tokio::join!(place.world.run_on(POOL, copy), meanwhile);
    copied.expect("nothing came between");
    for fault in refused {
        assert!(fault.kind == FaultKind::Busy && fault.reason.contains("is in progress"), "{fault:?}");
    }
    place.world.run_on(POOL, delete("large")).await.expect("it is free again");
}

/// A secret file of the host, and its content.
fn secret(place: &Place) -> (PathBuf, Vec<u8>) {
    let content = b"root:secret".repeat(100);
    let path = place.daemon.file("secret", "");
    fs::write(&path, &content).expect("written");
    (path, content)
}

#[tokio::test]
#[ignore = "needs root, libvirtd and QEMU; make test runs it"]
async fn an_image_that_names_a_file_of_the_host_is_given_to_no_tool() {
    let place = Place::new().await;
    let (path, content) = secret(&place);
    let host = path.to_string_lossy().into_owned();
    let images = place.text("images");
    place.image(&["-f", "qcow2", "-u", "-F", "raw", "-b", &host], "images/direct", "1M");
    place.based(&format!("{images}/direct"), "images/behind");
    place.image(
        &["-f", "qcow2", "-u", "-F", "raw", "-b", &format!("json:{{\"driver\":\"file\",\"filename\":\"{host}\"}}")],
        "images/json",
        "1M",
    );
    place.image(&["-f", "qcow2", "-u", "-F", "raw", "-b", &format!("file:{host}")], "images/protocol", "1M");
    place.image(&["-f", "qcow2", "-u", "-F", "raw", "-b", "../secret"], "images/relative", "1M");
    place.image(&["-f", "qcow2", "-u", "-F", "raw", "-b", "nbd://127.0.0.1:1/x"], "images/network", "1M");
    // An external data file on the host (CVE-2024-32498), which growing would write to.
    place.image(&["-f", "qcow2", "-o", &format!("data_file={}", place.text("made"))], "images/data", "1M");
    fs::write(place.path("made"), &content).expect("written");
    place.image(&["-f", "vmdk", "-o", "subformat=monolithicFlat"], "images/flat.vmdk", "1M");
    let described = fs::read_to_string(place.path("images/flat.vmdk")).expect("a text");
    fs::write(place.path("images/flat.vmdk"), described.replace("flat-flat.vmdk", "../secret")).expect("written");
    // A backing file whose format would be probed (CVE-2015-5160).
    place.image(&["-f", "qcow2"], "images/plain", "1M");
    place.image(&["-f", "qcow2", "-u", "-F", "qcow2", "-b", &format!("{images}/plain")], "images/guessed", "1M");
    let guessed = place.path("images/guessed");
    let mut bytes = fs::read(&guessed).expect("there");
    let at = bytes.windows(4).position(|window| window == [0xe2, 0x79, 0x2a, 0xca]).expect("it is said");
    bytes[at..at + 4].copy_from_slice(&[1, 2, 3, 4]);
    fs::write(&guessed, bytes).expect("written");
    place.refresh().await;
    for name in ["direct", "behind", "json", "protocol", "relative", "network", "data", "guessed"] {
        for command in [clone(name), resize(name, 8)] {
            place.refused(command).await;
        }
        let based = VolumeSpec {
            name: "new".into(),
            capacity_bytes: 1 << 20,
            format: "qcow2".into(),
            backing: format!("{images}/{name}"),
            backing_format: "qcow2".into(),
            ..VolumeSpec::default()
        };
        place.refused(PoolCommand::CreateVolume(CreateVolume { volume: based })).await;
        place.world.inspect("images", name).await.expect_err("it may not stay");
    }
    for command in [clone("flat.vmdk"), resize("flat.vmdk", 8)] {
        assert!(place.refused(command).await.reason.contains("VMDK"));
    }
    assert!(!place.path("images/copy").exists() && !place.path("images/new").exists());
    assert_eq!(fs::read(&path).expect("there"), content, "untouched");
    assert_eq!(fs::read(place.path("made")).expect("there"), content, "untouched");
    // An image without references, or only to volumes, is still copied and resized.
    place.based(&format!("{images}/plain"), "images/honest");
    place.refresh().await;
    place.world.inspect("images", "honest").await.expect("it names a volume");
    place.world.run_on(POOL, resize("honest", 2)).await.expect("grown");
    place.world.run_on(POOL, clone("honest")).await.expect("copied");
    run(Program::new("qemu-img").args(["check", "-q", "-f", "qcow2"]).arg(place.path("images/copy")));
}

#[tokio::test]
#[ignore = "needs root, libvirtd and QEMU; make test runs it"]
async fn what_was_made_or_used_as_raw_stays_raw_whatever_a_guest_writes_into_it() {
    let place = Place::new().await;
    let (path, _) = secret(&place);
    place.image(&["-f", "qcow2", "-u", "-F", "raw", "-b", &path.to_string_lossy()], "evil", "64M");
    let evil = fs::read(place.path("evil")).expect("there");
    // One that we created, and one of a machine that is removed later.
    let volume =
        VolumeSpec { name: "made".into(), capacity_bytes: 1 << 20, format: "raw".into(), ..VolumeSpec::default() };
    place.world.run_on(POOL, PoolCommand::CreateVolume(CreateVolume { volume })).await.expect("made");
    place.image(&["-f", "raw"], "images/used", "1M");
    place.machine("web", &place.disk("link/used", "raw"));
    place.known("web").await;
    for name in ["made", "used"] {
        let file = fs::File::options().write(true).open(place.path("images").join(name)).expect("there");
        std::os::unix::fs::FileExt::write_all_at(&file, &evil[..4096], 0).expect("written");
    }
    place.refresh().await;
    place.daemon.virsh(&["undefine", "web"]);
    for name in ["made", "used"] {
        let volumes = place.world.volumes("images").await.expect("read");
        let volume = volumes.iter().find(|volume| volume.name == name).expect("there");
        assert_eq!((volume.format.as_str(), volume.backing.as_str()), ("raw", ""), "{name}");
        place.refused(resize(name, 128)).await;
        place.world.run_on(POOL, clone(name)).await.expect("copied");
        assert_eq!(
            fs::read(place.path("images/copy")).expect("there"),
            fs::read(place.path("images").join(name)).expect("there"),
            "byte by byte"
        );
        place.refresh().await;
        // The copy is raw as well.
        place.refused(resize("copy", 128)).await;
        place.world.run_on(POOL, delete("copy")).await.expect("deleted");
        let base = VolumeSpec {
            name: "overlay".into(),
            capacity_bytes: 1 << 20,
            format: "qcow2".into(),
            backing: place.text(&format!("images/{name}")),
            backing_format: "qcow2".into(),
            ..VolumeSpec::default()
        };
        place.refused(PoolCommand::CreateVolume(CreateVolume { volume: base })).await;
    }
}

#[tokio::test]
#[ignore = "needs root, libvirtd and QEMU; make test runs it"]
async fn a_wiped_image_is_an_empty_one_of_its_size() {
    let place = Place::new().await;
    let volume =
        VolumeSpec { name: "a".into(), capacity_bytes: 8 << 20, format: "qcow2".into(), ..VolumeSpec::default() };
    place.world.run_on(POOL, PoolCommand::CreateVolume(CreateVolume { volume })).await.expect("made");
    let path = place.path("images/a");
    run(Program::new("qemu-io").args(["-f", "qcow2", "-c", "write -P 0xab 0 1M"]).arg(&path));
    place.world.run_on(POOL, wipe("a")).await.expect("wiped");
    run(Program::new("qemu-img").args(["check", "-q", "-f", "qcow2"]).arg(&path));
    let told = run(Program::new("qemu-img").args(["info", "--output=json", "-f", "qcow2"]).arg(&path));
    assert!(told.contains("\"virtual-size\": 8388608"), "{told}");
    run(Program::new("qemu-io").args(["-f", "qcow2", "-c", "read -P 0 0 8M"]).arg(&path));
    assert!(!fs::read(&path).expect("there").contains(&0xab), "nothing of it is left");
    place.refresh().await;
    let volumes = place.world.volumes("images").await.expect("read");
    assert_eq!((volumes[0].format.as_str(), volumes[0].capacity_bytes), ("qcow2", 8 << 20));
    place.world.run_on(POOL, resize("a", 16)).await.expect("it grows as ever");
    // Another image in the place of one that was raw is what it is.
    let volume =
        VolumeSpec { name: "b".into(), capacity_bytes: 1 << 20, format: "raw".into(), ..VolumeSpec::default() };
    place.world.run_on(POOL, PoolCommand::CreateVolume(CreateVolume { volume })).await.expect("made");
    place.daemon.virsh(&["vol-delete", "b", "images"]);
    place.daemon.virsh(&["vol-create-as", "images", "b", "2M", "--format", "qcow2"]);
    place.world.run_on(POOL, wipe("b")).await.expect("wiped");
    let told = run(Program::new("qemu-img").args(["info", "--output=json", "-f", "qcow2"]).arg(place.path("images/b")));
    assert!(told.contains("\"virtual-size\": 2097152"), "{told}");
}

#[tokio::test]
#[ignore = "needs root, libvirtd and QEMU; make test runs it"]
async fn an_overlay_that_libvirt_has_not_listed_keeps_its_base_and_a_pool_that_holds_more_is_not_deleted() {
    let place = Place::new().await;
    place.image(&["-f", "raw"], "images/base", "1M");
    place.refresh().await;
    place.based(&place.text("images/base"), "images/new");
    let fault = place.refused(delete("base")).await;
    assert!(fault.reason.contains("images/new"), "{fault:?}");
    fs::remove_file(place.path("images/new")).expect("removed");
    fs::create_dir(place.path("images/below")).expect("made");
    place.based(&place.text("images/base"), "images/below/deep");
    place.refused(delete("base")).await;
    fs::remove_dir_all(place.path("images/below")).expect("removed");
    // The folder that a running machine's disk lies in has no size of its own.
    fs::create_dir(place.path("images/below")).expect("made");
    place.image(&["-f", "raw"], "images/below/disk", "1M");
    place.refresh().await;
    place.machine("web", &place.disk("images/below/disk", "raw"));
    place.runs("web").await;
    place.refused(resize("below", 5)).await;
    assert_eq!(fs::metadata(place.path("images/below/disk")).expect("there").len(), 1 << 20);
    place.daemon.virsh(&["destroy", "web"]);
    place.daemon.virsh(&["undefine", "web"]);
    fs::remove_dir_all(place.path("images/below")).expect("removed");
    place.refresh().await;
    // A file that libvirt does not list would stay, and the pool would be half deleted.
    run(Program::new("mkfifo").arg(place.path("images/pipe")));
    let fault = place.refused(PoolCommand::DeletePool(DeletePool { content: true })).await;
    assert!(fault.reason.contains("pipe"), "{fault:?}");
    assert!(place.path("images/base").exists(), "nothing was deleted");
    place.world.run_on(POOL, delete("base")).await.expect("nobody needs it");
}

#[tokio::test]
#[ignore = "needs root, libvirtd and QEMU; make test runs it"]
async fn what_is_being_uploaded_is_left_alone_through_another_pool_too() {
    let place = Place::new().await;
    let other = Uuid::from_u128(6);
    let link = place.text("link");
    place.daemon.virsh(&[
        "pool-define",
        &place.write(
            "pool.xml",
            &format!(
                "<pool type='dir'><name>other</name><uuid>{other}</uuid><target><path>{link}</path></target></pool>"
            ),
        ),
    ]);
    place.daemon.virsh(&["pool-start", "other"]);
    let volume = PoolCommand::UploadVolume(UploadVolume { name: "a".into(), capacity_bytes: 1 << 20 });
    place.world.run_on(POOL, volume).await.expect("made");
    place.world.run_on(other, PoolCommand::RefreshPool(RefreshPool {})).await.expect("refreshed");
    let claim = place.world.claim_for_upload(POOL, "a").await.expect("nobody has it");
    for command in
        [delete("a"), wipe("a"), resize("a", 2), clone("a"), PoolCommand::DeletePool(DeletePool { content: true })]
    {
        let fault = place.world.run_on(other, command).await.expect_err("it is being uploaded");
        assert!(fault.kind == FaultKind::Busy && fault.reason == "Upload of a is in progress", "{fault:?}");
    }
    drop(claim);
    place.world.run_on(other, delete("a")).await.expect("nobody has it now");
}

#[tokio::test]
#[ignore = "needs root, libvirtd and QEMU; make test runs it"]
async fn an_image_of_which_no_empty_one_can_be_made_is_not_wiped() {
    let place = Place::new().await;
    place.image(&["-f", "vmdk"], "images/a.vmdk", "1M");
    place.refresh().await;
    assert!(place.refused(wipe("a.vmdk")).await.reason.contains("vmdk"));
    run(Program::new("qemu-img").args(["check", "-q", "-f", "vmdk"]).arg(place.path("images/a.vmdk")));
}

#[tokio::test]
#[ignore = "needs root, libvirtd and QEMU; make test runs it"]
async fn what_a_backup_writes_is_in_use_while_it_runs() {
    let place = Place::new().await;
    place.image(&["-f", "qcow2"], "images/a", "64M");
    place.image(&["-f", "qcow2"], "images/backup", "64M");
    place.image(&["-f", "qcow2"], "images/scratch", "64M");
    place.refresh().await;
    place.machine("a", &place.disk("images/a", "qcow2"));
    place.runs("a").await;
    // A pull backup lasts until it is ended; its scratch file takes the overwritten data.
    let (scratch, socket) = (place.text("link/scratch"), place.text("nbd"));
    let backup = place.write(
        "backup.xml",
        &format!(
            "<domainbackup mode='pull'><server transport='unix' socket='{socket}'/><disks>\
             <disk name='vda' backup='yes' type='file'><scratch file='{scratch}'/></disk></disks></domainbackup>"
        ),
    );
    place.daemon.virsh(&["backup-begin", "a", "--reuse-external", &backup]);
    assert!(place.refused(delete("scratch")).await.reason.contains('a'));
    assert!(place.path("images/scratch").exists());
    place.daemon.virsh(&["domjobabort", "a"]);
    place.world.run_on(POOL, delete("scratch")).await.expect("the backup has ended");
    place.daemon.virsh(&["destroy", "a"]);
}

#[tokio::test]
#[ignore = "needs root, libvirtd and QEMU; make test runs it"]
async fn names_that_are_no_text_are_shown_each_as_its_own_and_refused_with_the_reason() {
    let place = Place::new().await;
    for name in [&b"caf\xe9"[..], b"caf\xe8", "café".as_bytes()] {
        fs::write(place.path("images").join(OsStr::from_bytes(name)), "x").expect("written");
    }
    place.refresh().await;
    let volumes = place.world.volumes("images").await.expect("read");
    let names: Vec<&str> = volumes.iter().map(|volume| volume.name.as_str()).collect();
    assert_eq!(names, [r"caf\xe8", r"caf\xe9", "café"]);
    assert!(place.refused(delete(r"caf\xe9")).await.reason.contains("not valid UTF-8"));
    assert!(place.path("images").join(OsStr::from_bytes(b"caf\xe9")).exists());
    place.world.run_on(POOL, delete("café")).await.expect("text is text");
    // Other files in the directory do not prevent it.
    place.world.run_on(POOL, PoolCommand::DeletePool(DeletePool { content: false })).await.expect("stopped");
}
