//! Users of storage, however it is referred to.

use std::{
    fs,
    os::unix::{ffi::OsStrExt, fs::symlink},
    path::Path,
};

use model::command::{CloneVolume, DeletePool, DeleteVolume, ResizeVolume, WipeVolume};
use model::storage::PoolState;

use super::*;

fn pool(name: &str, path: &Path) -> Pool {
    let path = path.to_string_lossy().into_owned();
    Pool {
        id: Uuid::from_u128(1),
        name: name.into(),
        kind: "dir".into(),
        path,
        state: PoolState::Running,
        ..Pool::default()
    }
}

fn volume(pool: &Pool, name: &str, backing: &str) -> Volume {
    let (path, backing) = (format!("{}/{name}", pool.path), backing.to_owned());
    Volume { name: name.into(), path, format: "qcow2".into(), backing, ..Volume::default() }
}

fn machine(name: &str, disk: &str) -> Machine {
    let text = format!("<domain><devices>{disk}</devices></domain>");
    let sources = Some(crate::xml::sources::sources(&text).expect("XML"));
    Machine { id: Uuid::from_u128(7), name: name.into(), active: true, sources, silent: false }
}

fn names(users: &[VolumeUse]) -> Vec<&str> {
    users.iter().map(|user| user.name.as_str()).collect()
}

#[test]
fn a_base_is_needed_however_its_overlay_names_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let (images, link) = (folder.path().join("images"), folder.path().join("link"));
    fs::create_dir(&images).expect("made");
    symlink(&images, &link).expect("made");
    for name in ["base", "base ", "other"] {
        fs::write(images.join(name), "").expect("written");
    }
    let pool = pool("images", &images);
    let path = images.display();
    for (base, text) in [
        ("base", format!("{path}/base")),
        ("base", format!("{}/base", link.display())),
        ("base", format!("{path}//./base")),
        ("base", "base".to_owned()),
        ("base", "../images/base".to_owned()),
        ("base", format!("{path}/../images/base")),
        ("base", format!("file:{path}/base")),
        (
            "base",
            format!("json:{{\"driver\":\"qcow2\",\"file\":{{\"driver\":\"file\",\"filename\":\"{path}/base\"}}}}"),
        ),
        ("base", format!("json:{{\"file.filename\":\"{path}/base\"}}")),
        ("base", format!("json:{{\"file\":[{{\"filename\":\"file:{path}/base\"}}]}}")),
        ("base", format!("json:{{'driver':'qcow2','file':{{'driver':'file','filename':'{path}/base'}}}}")),
        ("base", format!("blkdebug::{path}/base")),
        ("base", format!("host_device:{path}/base")),
        ("base ", format!("{path}/base ")),
    ] {
        let volumes = vec![volume(&pool, base, ""), volume(&pool, "other", ""), volume(&pool, "overlay", &text)];
        let shelf = Shelf { pool: pool.clone(), volumes: Some(volumes.clone()) };
        let mut uses = Uses::of(Places::new(Some("/".into())), &[shelf], &[]);
        assert_eq!(names(&uses.of_volume(&pool, &volumes[0])), ["overlay"], "{text}");
        assert!(uses.of_volume(&pool, &volumes[1]).is_empty(), "{text}");
        assert!(uses.of_pool(&pool, &volumes).is_empty(), "they go together");
        uses.are_known(true, None).expect("all of it is");
    }
}

#[test]
fn a_disk_is_used_by_its_names_its_links_and_whoever_shares_its_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let (images, link) = (folder.path().join("images"), folder.path().join("link"));
    fs::create_dir(&images).expect("made");
    symlink(&images, &link).expect("made");
    fs::write(images.join("a"), "").expect("written");
    let pool = pool("images", &images);
    let (path, link) = (images.display(), link.display());
    for disk in [
        format!("<disk><source file='{link}/a'/><target dev='vda'/></disk>"),
        format!("<disk><source file='{path}//a'/></disk>"),
        "<disk><source pool='images' volume='a'/></disk>".to_owned(),
        format!("<filesystem><source dir='{link}'/></filesystem>"),
        format!("<tpm><backend><source path='{link}/a'/></backend></tpm>"),
        format!("<disk><source file='/x'/><mirror><source file='{link}/a'/></mirror></disk>"),
    ] {
        let volumes = vec![volume(&pool, "a", "")];
        let shelf = Shelf { pool: pool.clone(), volumes: Some(volumes.clone()) };
        let mut uses = Uses::of(Places::new(Some("/".into())), &[shelf], &[machine("web", &disk)]);
        assert_eq!(names(&uses.of_volume(&pool, &volumes[0])), ["web"], "{disk}");
        assert_eq!(names(&uses.of_pool(&pool, &volumes)), ["web"], "{disk}");
    }
    for disk in [
        "<disk type='network'><source protocol='rbd' name='images/a'/></disk>".to_owned(),
        format!("<disk><source file='{path}/b'/></disk>"),
    ] {
        let volumes = vec![volume(&pool, "a", "")];
        let shelf = Shelf { pool: pool.clone(), volumes: Some(volumes.clone()) };
        let mut uses = Uses::of(Places::new(Some("/".into())), &[shelf], &[machine("web", &disk)]);
        assert!(uses.of_volume(&pool, &volumes[0]).is_empty(), "{disk}");
    }
}

#[test]
fn an_image_of_a_cluster_is_used_by_its_own_name_only() {
    let pool = Pool { name: "ceph".into(), kind: "rbd".into(), state: PoolState::Running, ..Pool::default() };
    let volume = Volume { name: "a".into(), path: "images/a".into(), format: "raw".into(), ..Volume::default() };
    let shelf = || Shelf { pool: pool.clone(), volumes: Some(vec![volume.clone()]) };
    let disk = "<disk type='network'><source protocol='rbd' name='images/a'/></disk>";
    let mut uses = Uses::of(Places::new(None), &[shelf()], &[machine("web", disk)]);
    assert_eq!(names(&uses.of_volume(&pool, &volume)), ["web"]);
    assert_eq!(names(&uses.of_pool(&pool, std::slice::from_ref(&volume))), ["web"]);
    let disk = "<disk type='network'><source protocol='rbd' name='ceph/a'/></disk>";
    let mut uses = Uses::of(Places::new(None), &[shelf()], &[machine("web", disk)]);
    assert!(uses.of_volume(&pool, &volume).is_empty());
}

#[test]
fn what_the_host_itself_has_mounted_is_in_use() {
    let pool = Pool { kind: "logical".into(), ..pool("vg0", Path::new("/dev/vg0")) };
    let volumes = vec![volume(&pool, "root", ""), volume(&pool, "free", "")];
    let shelf = Shelf { pool: pool.clone(), volumes: Some(volumes.clone()) };
    let places = Places::with_mounts("24 1 253:0 / /data\\040x rw - ext4 /dev/vg0/root rw");
    let mut uses = Uses::of(places, &[shelf], &[]);
    let users = uses.of_volume(&pool, &volumes[0]);
    assert_eq!(names(&users), ["the host (mounted at /data x)"]);
    for command in [
        PoolCommand::DeleteVolume(DeleteVolume { name: "root".into() }),
        PoolCommand::WipeVolume(WipeVolume { name: "root".into() }),
        PoolCommand::ResizeVolume(ResizeVolume { name: "root".into(), capacity_bytes: 5 }),
        PoolCommand::CloneVolume(CloneVolume { name: "root".into(), to: "copy".into() }),
        PoolCommand::DeletePool(DeletePool { content: true }),
    ] {
        assert!(command.check_use(&pool, &users).is_err(), "{command:?}");
    }
    assert!(uses.of_volume(&pool, &volumes[1]).is_empty());
}

#[test]
fn where_links_cannot_be_followed_a_file_of_that_name_elsewhere_counts() {
    let pool = pool("images", Path::new("/srv/images"));
    let volumes = vec![volume(&pool, "a", ""), volume(&pool, "b", "")];
    let shelf = Shelf { pool: pool.clone(), volumes: Some(volumes.clone()) };
    let disk = "<disk><driver type='raw'/><source file='/link/a'/></disk>";
    let mut uses = Uses::of(Places::new(None), &[shelf], &[machine("web", disk)]);
    assert_eq!(names(&uses.of_volume(&pool, &volumes[0])), ["web"]);
    assert!(uses.of_volume(&pool, &volumes[1]).is_empty());
    uses.are_known(true, None).expect("a raw image is based on nothing");
}

#[test]
fn what_cannot_be_known_is_said_by_the_name_of_what_does_not_tell() {
    let pool = pool("images", Path::new("/srv/images"));
    let shelf = |volumes| Shelf { pool: pool.clone(), volumes };
    let unknown = |places, shelf, machine| {
        let uses = Uses::of(places, &[shelf], &[machine]);
        uses.are_known(true, None).expect_err("something is not known").reason
    };
    let hung = Machine { sources: None, ..machine("db", "") };
    assert!(unknown(Places::new(None), shelf(Some(Vec::new())), hung).starts_with("db is not responding"));
    let elsewhere = "<disk><driver type='qcow2'/><source file='/far/overlay'/></disk>";
    let reason = unknown(Places::new(None), shelf(Some(Vec::new())), machine("web", elsewhere));
    assert!(reason.contains("/far/overlay used by web"), "{reason}");
    assert!(unknown(Places::new(None), shelf(None), machine("web", "")).contains("Storage pool images"));
}

#[test]
fn what_an_overlay_outside_all_pools_is_based_on_is_needed_by_its_machine() {
    let folder = tempfile::tempdir().expect("a folder");
    let images = folder.path().join("images");
    fs::create_dir(&images).expect("made");
    fs::write(images.join("base"), "").expect("written");
    let image = |name: &str, based_on: &Path, format: &str| {
        let path = folder.path().join(name);
        let mut tool = std::process::Command::new("qemu-img");
        let run =
            tool.args(["create", "-q", "-f", "qcow2", "-u", "-F", format, "-b"]).arg(based_on).arg(&path).arg("1M");
        run.status().is_ok_and(|status| status.success()).then_some(path)
    };
    let Some(middle) = image("middle", &images.join("base"), "raw") else { return };
    let top = image("top", Path::new("middle"), "qcow2").expect("made");
    // The same for a volume whose backing image is outside, without any machine.
    {
        let pool = pool("images", &images);
        let volumes = vec![volume(&pool, "base", ""), volume(&pool, "overlay", &middle.display().to_string())];
        let shelf = || Shelf { pool: pool.clone(), volumes: Some(volumes.clone()) };
        let mut uses = Uses::of(Places::new(Some("/".into())), &[shelf()], &[]);
        assert_eq!(names(&uses.of_volume(&pool, &volumes[0])), ["overlay"]);
        assert!(uses.of_pool(&pool, &volumes).is_empty(), "they go together");
        let far = Uses::of(Places::new(None), &[shelf()], &[]);
        assert!(far.are_known(true, None).is_err(), "elsewhere nobody can follow it");
        far.are_known(false, None).expect("no machine is at work there");
    }
    let pool = pool("images", &images);
    let volumes = vec![volume(&pool, "base", "")];
    let shelf = Shelf { pool: pool.clone(), volumes: Some(volumes.clone()) };
    let disk = format!("<disk><driver type='qcow2'/><source file='{}'/></disk>", top.display());
    let mut uses = Uses::of(Places::new(Some("/".into())), &[shelf], &[machine("web", &disk)]);
    assert_eq!(names(&uses.of_volume(&pool, &volumes[0])), ["web"]);
    let mut found = uses.of_volume(&pool, &Volume { path: middle.display().to_string(), ..volumes[0].clone() });
    found.retain(|user| user.name == "web");
    assert_eq!(found.len(), 1, "each once");
    uses.are_known(true, None).expect("it was read");
}

/// Makes an image with QEMU's tool; none where there is no tool.
fn made(path: &Path, options: &[&str]) -> Option<()> {
    let mut tool = std::process::Command::new("qemu-img");
    let run = tool.args(["create", "-q", "-u"]).args(options).arg(path).arg("1M");
    run.status().is_ok_and(|status| status.success()).then_some(())
}

#[test]
fn a_base_is_needed_by_images_of_any_format_and_by_those_that_libvirt_takes_for_raw() {
    let folder = tempfile::tempdir().expect("a folder");
    let (images, off) = (folder.path().join("images"), folder.path().join("off"));
    fs::create_dir(&images).and_then(|()| fs::create_dir(&off)).expect("made");
    let base = images.join("base");
    fs::write(&base, "").expect("written");
    let path = base.to_str().expect("text");
    let pool = pool("images", &images);
    let used = |disk: &str, listed: &[Volume]| {
        let volumes = [&[volume(&pool, "base", "")], listed].concat();
        let shelf = Shelf { pool: pool.clone(), volumes: Some(volumes.clone()) };
        let machine = Machine { active: false, ..machine("web", disk) };
        let mut uses = Uses::of(Places::new(Some("/".into())), &[shelf], &[machine]);
        uses.are_known(true, None).expect("all of it is");
        !uses.of_volume(&pool, &volumes[0]).is_empty()
    };
    let disk =
        |format: &str, at: &Path| format!("<disk><driver type='{format}'/><source file='{}'/></disk>", at.display());
    for format in ["qed", "qcow", "qcow2"] {
        let overlay = off.join(format);
        if made(&overlay, &["-f", format, "-b", path, "-F", "raw"]).is_none() {
            return;
        }
        assert!(used(&disk(format, &overlay), &[]), "{format}");
    }
    // A name that is no UTF-8.
    let odd = folder.path().join(std::ffi::OsStr::from_bytes(b"l\xe9"));
    symlink(&images, &odd).expect("made");
    let overlay = off.join("odd");
    let tool = |command: &mut std::process::Command| command.status().expect("qemu-img").success();
    let mut command = std::process::Command::new("qemu-img");
    command.args(["create", "-q", "-u", "-f", "qcow2", "-F", "raw", "-b"]);
    assert!(tool(command.arg(odd.join("base")).arg(&overlay).arg("1M")));
    assert!(used(&disk("qcow2", &overlay), &[]), "through a name that is no UTF-8");
    // One that was raw when libvirt last listed it, and is an overlay now.
    let stale = images.join("stale");
    made(&stale, &["-f", "qcow2", "-b", path, "-F", "raw"]).expect("made");
    let listed = Volume { format: "raw".into(), ..volume(&pool, "stale", "") };
    assert!(used(&disk("qcow2", &stale), std::slice::from_ref(&listed)), "the machine opens it as qcow2");
    assert!(!used(&disk("raw", &stale), &[listed]), "what a guest wrote is no header");
    // A relative name means another file from where the machine names the overlay.
    let (link, near) = (off.join("near"), images.join("near"));
    symlink(&base, off.join("there")).expect("made");
    made(&near, &["-f", "qcow2", "-b", "there", "-F", "raw"]).expect("made");
    symlink(&near, &link).expect("made");
    assert!(used(&disk("qcow2", &link), &[volume(&pool, "near", "")]), "from the folder of the link");
}

#[test]
fn what_a_volume_is_based_on_does_not_hinder_its_own_deletion() {
    let pool = pool("images", Path::new("/srv/images"));
    let volumes = vec![volume(&pool, "odd", "/srv"), volume(&pool, "other", "")];
    let shelf = Shelf { pool: pool.clone(), volumes: Some(volumes.clone()) };
    let mut uses = Uses::of(Places::new(None), &[shelf], &[]);
    assert!(uses.of_volume(&pool, &volumes[0]).is_empty(), "it names the folder that it lies in");
    assert_eq!(names(&uses.of_volume(&pool, &volumes[1])), ["odd"]);
    uses.note_unread(&volumes[0], "no permission");
    assert!(uses.are_known(true, Some(&volumes[1].path)).is_err());
    // The other unknown is what lies at /srv.
    uses.unknown.retain(|unknown| unknown.by.as_deref() == Some(&volumes[0].path));
    uses.are_known(true, Some(&volumes[0].path)).expect("its own");
}

#[test]
fn a_volume_that_another_pool_takes_its_storage_from_is_used_and_those_within_are_not() {
    let images = pool("images", Path::new("/srv/images"));
    let disk = Pool { source: "/srv/images/a".into(), state: PoolState::Inactive, ..pool("inner", Path::new("/mnt")) };
    let volumes = vec![volume(&images, "a", ""), volume(&images, "b", "")];
    let inner = vec![volume(&disk, "c", "")];
    let shelves = [
        Shelf { pool: images.clone(), volumes: Some(volumes.clone()) },
        Shelf { pool: disk.clone(), volumes: Some(inner.clone()) },
    ];
    let mut uses = Uses::of(Places::new(None), &shelves, &[]);
    assert_eq!(names(&uses.of_volume(&images, &volumes[0])), ["the storage pool inner"]);
    assert!(uses.of_volume(&images, &volumes[1]).is_empty() && uses.of_volume(&disk, &inner[0]).is_empty());
    assert!(uses.of_pool(&disk, &inner).is_empty(), "its own source");
    assert_eq!(names(&uses.of_pool(&images, &volumes)), ["the storage pool inner"]);
}

#[test]
fn a_name_that_a_machine_waits_for_is_not_free_for_content_of_others() {
    let pool = pool("images", Path::new("/srv/images"));
    let disk = "<disk><driver type='vmdk'/><source file='/srv/./images/new'/></disk>";
    let shelf = Shelf { pool: pool.clone(), volumes: Some(Vec::new()) };
    let shared = "<filesystem><source dir='/srv/images'/></filesystem>";
    let mut uses = Uses::of(Places::new(None), &[shelf], &[machine("web", disk), machine("files", shared)]);
    assert_eq!(names(&uses.waiting_for(&pool, "new")), ["web"]);
    assert!(uses.waiting_for(&pool, "other").is_empty(), "a machine that shares the folder opens nothing");
    let by_name = "<disk type='volume'><source pool='images' volume='named'/></disk>";
    let shelf = Shelf { pool: pool.clone(), volumes: Some(Vec::new()) };
    let mut uses = Uses::of(Places::new(None), &[shelf], &[machine("db", by_name)]);
    assert_eq!(names(&uses.waiting_for(&pool, "named")), ["db"]);
}
