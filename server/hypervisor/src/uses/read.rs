//! Reads the data of `Uses`: everything again before a destructive command, or known data for
//! display.

use std::{
    collections::HashMap,
    fs::File,
    io,
    os::unix::fs::{FileExt, FileTypeExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::{Mutex, MutexGuard};

use model::{Command, Fault, HostInventory, Pool, PoolCommand, Volume, command::ResizeVolume};
use rustix::{
    fs::{Mode, OFlags},
    net::{AddressFamily, SocketAddrUnix, SocketType, connect, socket, sockopt::socket_peercred},
};
use tokio::task::JoinSet;
use uuid::Uuid;
use virt::{connect::Connect, domain::Domain, sys};

use super::{Machine, Shelf, Uses};
use crate::{
    claims::Claim,
    error::{Error, gone_is_none},
    ffi,
    image::{self, Image},
    link::{Lane, Session, blocking},
    places::Places,
    pools_and_networks::Volumes,
    raw::RawImages,
    storage::{self, Look},
    watcher::Shared,
    xml::{self, sources::Source},
};

/// The host objects in a machine's definition.
#[derive(Default)]
pub(crate) struct Named {
    /// The storage.
    pub(crate) sources: Vec<Source>,
    /// The devices: bus, and address or IDs.
    pub(crate) devices: Vec<(&'static str, String)>,
}

/// Host objects of machines, as last read.
#[derive(Clone, Default)]
pub(crate) struct Sources(Arc<Mutex<HashMap<Uuid, Arc<Named>>>>);

impl Sources {
    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, Arc<Named>>> {
        self.0.lock()
    }

    /// Stores the host objects of a machine's live definition.
    pub(crate) fn note(&self, id: Uuid, found: Named) {
        self.lock().insert(id, Arc::new(found));
    }

    /// Drops a machine that was removed.
    pub(crate) fn forget(&self, id: Uuid) {
        self.lock().remove(&id);
    }

    fn of(&self, id: Uuid) -> Option<Vec<Source>> {
        self.lock().get(&id).map(|found| found.sources.clone())
    }

    /// The host devices of a machine.
    pub(crate) fn devices_of(&self, id: Uuid) -> Vec<(&'static str, String)> {
        self.lock().get(&id).map(|found| found.devices.clone()).unwrap_or_default()
    }
}

/// The uses from known data of a host, for display.
pub(crate) async fn known(session: &Arc<Session>, shared: &Shared, host: &HostInventory) -> Result<Uses, Error> {
    let machines = host.domains.values().map(|domain| Machine {
        id: domain.id,
        name: domain.name.clone(),
        active: domain.state.is_active(),
        sources: Some(shared.sources.of(domain.id).unwrap_or_default()),
        silent: domain.unresponsive,
    });
    let machines: Vec<Machine> = machines.collect();
    let shelf = |pool: &Arc<Pool>| Shelf {
        pool: Pool::clone(pool),
        // Unknown data is read before any command.
        volumes: Some(shared.volumes.last_known(pool.id).map(|known| known.to_vec()).unwrap_or_default()),
    };
    let shelves: Vec<Shelf> = host.pools.values().map(shelf).collect();
    let root = session.root.clone();
    blocking(move || Uses::shown(Places::new(root), &shelves, &machines)).await.map_err(|_| Error::Panicked)
}

/// A pool with its volumes and all uses on its host, as of now.
pub(crate) async fn of_pool(
    session: &Arc<Session>,
    shared: &Shared,
    host: &HostInventory,
    id: Uuid,
) -> Result<(Arc<Pool>, Arc<Vec<Volume>>, Uses), Error> {
    let pool = host.pools.get(&id).cloned().unwrap_or_default();
    let volumes = shared.volumes.read(session, id).await?;
    Ok((pool, volumes, known(session, shared, host).await?))
}

/// The data required before a command, and the claim that blocks others until it is done.
///
/// # Errors
/// libvirt's error; `Denied` if the object is in use or may be.
pub(crate) async fn look(
    session: &Arc<Session>,
    shared: &Shared,
    id: Uuid,
    command: &PoolCommand,
) -> Result<(Look, Option<Claim>), Error> {
    if let Some(name) = brought(command) {
        return Ok((look_before_content(session, shared, id, name).await?, None));
    }
    if !command.depends_on_use() {
        // Only a new volume depends on its pool; a hung pool delays nothing else.
        let of_pool = matches!(command, PoolCommand::CreateVolume(_) | PoolCommand::UploadVolume(_));
        let pool = match of_pool {
            true => session.call(Lane::Around, move |connect| storage::pool(connect, id)).await?.unwrap_or_default(),
            false => Pool::default(),
        };
        let (raw, real) = (shared.raw.clone(), !session.host.is_test_driver());
        return Ok((Look { uses: None, pool, volumes: Vec::new(), raw, root: session.root.clone(), real }, None));
    }
    // Serialised until the claim, so that each command sees the previous one.
    let _turn = shared.claims.turn.lock().await;
    let mut look = look_around(session, shared, id).await?;
    if let PoolCommand::CloneVolume(clone) = command {
        is_not_awaited(&mut look, &clone.to)?;
    }
    let Some(uses) = &mut look.uses else { return Ok((look, None)) };
    let users = uses.of_target(command, &look.pool, &look.volumes);
    command.check_use(&look.pool, &users).map_err(Error::Said)?;
    let about = command.volume().and_then(|name| look.volumes.iter().find(|volume| volume.name == name));
    uses.are_known(command.loses_content(), about.map(|volume| &*volume.path)).map_err(Error::Said)?;
    if let PoolCommand::ResizeVolume(ResizeVolume { name, .. }) = command
        && let Some(volume) = look.volumes.iter().find(|volume| volume.name == *name)
        && let Some(user) = uses.used_otherwise(&look.pool, volume)
    {
        let reason = format!("{name} is in use by {} other than as a disk, so it cannot be resized", user.name);
        return Err(Error::Said(Fault::denied(reason).with_next("Remove it from the machine first")));
    }
    let what = uses.of_command(command, &look.pool, &look.volumes);
    let name = command.volume().unwrap_or(&look.pool.name).to_owned();
    let shared_claim = matches!(command, PoolCommand::CloneVolume(_) | PoolCommand::CreateVolume(_));
    let label = Command::Pool(command.clone()).label();
    let claim = shared.claims.claim(what, (label, &name), shared_claim).map_err(Error::Said)?;
    Ok((look, Some(claim)))
}

/// The new volume of a command that brings content which nobody has proven.
fn brought(command: &PoolCommand) -> Option<&str> {
    match command {
        PoolCommand::UploadVolume(_) | PoolCommand::FetchVolume(_) => command.new_volume(),
        _ => None,
    }
}

/// What has to be known before content is brought into a new volume: a machine whose definition
/// already names it would open whatever comes.
///
/// # Errors
/// libvirt's error; `Denied`, with the machine.
async fn look_before_content(session: &Arc<Session>, shared: &Shared, id: Uuid, name: &str) -> Result<Look, Error> {
    let _turn = shared.claims.turn.lock().await;
    let mut look = look_around(session, shared, id).await?;
    is_not_awaited(&mut look, name)?;
    Ok(look)
}

/// Whether no machine would open what is brought into a new volume.
fn is_not_awaited(look: &mut Look, name: &str) -> Result<(), Error> {
    let users = look.uses.as_mut().map(|uses| uses.waiting_for(&look.pool, name)).unwrap_or_default();
    let Some(user) = users.first() else { return Ok(()) };
    let reason = format!("{name} does not exist, but {} has it as a disk and would open what comes", user.name);
    let next = format!("Choose another name, or detach the disk from {} first", user.name);
    Err(Error::Said(Fault::denied(reason).with_next(next)))
}

/// All uses, read again, from the perspective of one pool.
pub(crate) async fn look_around(session: &Arc<Session>, shared: &Shared, id: Uuid) -> Result<Look, Error> {
    let shelves = shelves(session, &shared.volumes).await?;
    let machines = machines(session, &shared.sources).await?;
    let own = shelves.iter().find(|shelf| shelf.pool.id == id);
    let (pool, volumes) =
        own.map(|own| (own.pool.clone(), own.volumes.clone().unwrap_or_default())).unwrap_or_default();
    let (root, raw, real) = (session.root.clone(), shared.raw.clone(), !session.host.is_test_driver());
    let learned = raw.clone();
    let read = move |connect: &Connect| Ok(with_heads(connect, root, (&shelves, &machines), &learned));
    // Not queued behind copies, and not longer than a reading may take.
    let uses = session.call(Lane::Around, read).await?;
    Ok(Look { uses: Some(uses), pool, volumes, raw, root: session.root.clone(), real })
}

/// Combines everything with the references in image headers that libvirt does not report.
fn with_heads(
    connect: &Connect,
    root: Option<PathBuf>,
    (shelves, machines): (&[Shelf], &[Machine]),
    raw: &RawImages,
) -> Uses {
    let mut all = Uses::of(Places::new(root), shelves, machines);
    // What a guest writes into a raw disk is no header.
    all.of_raw_disks().for_each(|identity| raw.note(identity.own.iter(), true));
    for shelf in shelves.iter().filter(|shelf| shelf.pool.state.is_active()) {
        for volume in shelf.volumes.iter().flatten() {
            let identity = all.of_place(&shelf.pool, volume);
            if !raw.is_raw(identity.own.iter()) {
                add_head(connect, &mut all, volume);
            }
        }
        if shelf.pool.keeps_files() {
            add_unlisted(&mut all, Path::new(&shelf.pool.path), raw);
        }
    }
    all.index();
    all
}

/// Adds what the image of a volume names. Here its header says what it is, whatever libvirt's last
/// listing says of it; elsewhere only images that may name others are read.
fn add_head(connect: &Connect, all: &mut Uses, volume: &Volume) {
    let head = match local_head(all.places(), Path::new(&volume.path)) {
        Some(head) => Ok(head),
        None if matches!(volume.format.as_str(), "qcow2" | "qcow" | "qed" | "vmdk") => {
            head_of_volume(connect, &volume.path)
        }
        None => return,
    };
    match head {
        Ok(image) => image.names().iter().for_each(|name| all.add_named_by_volume(volume, name)),
        // A volume removed meanwhile has no backing image, and the test driver has no content.
        Err(error) if error.is_unsupported() || error.is_gone() => {}
        Err(error) => all.note_unread(volume, &error.of_command(&volume.name, "its host").reason),
    }
}

/// Folders in the folder of a pool, and files in all of them, that are looked at.
const MAX_DEPTH: usize = 3;
const MAX_FILES: usize = 20_000;

/// Adds what images name that lie in a pool's folder and that libvirt has not listed: those that came
/// since its last refresh, and those in folders below.
fn add_unlisted(all: &mut Uses, folder: &Path, raw: &RawImages) {
    let Some(real) = all.places().resolve(folder).and_then(|resolved| all.places().real(&resolved)) else { return };
    let (mut ahead, mut files) = (vec![(folder.to_owned(), real, 0)], 0);
    while let Some((folder, real, depth)) = ahead.pop() {
        for entry in std::fs::read_dir(&real).into_iter().flatten().flatten() {
            let (path, kind) = (folder.join(entry.file_name()), entry.file_type());
            match kind {
                Ok(kind) if kind.is_dir() && depth < MAX_DEPTH => ahead.push((path, entry.path(), depth + 1)),
                Ok(kind) if kind.is_file() && files < MAX_FILES => {
                    files += 1;
                    if !all.is_listed_or(&path, |identity| raw.is_raw(identity.own.iter()))
                        && let Ok(Some(image)) = head_of_file(&entry.path())
                    {
                        all.add_unlisted(&path, &image);
                    }
                }
                _ => {}
            }
        }
    }
}

/// The header of a local, readable image.
fn local_head(places: &mut Places, path: &Path) -> Option<Image> {
    let resolved = places.resolve(path)?;
    head_of_file(&places.real(&resolved)?).ok().flatten()
}

/// The image header of a file; none if it is neither a file nor a block device.
pub(super) fn head_of_file(path: &Path) -> io::Result<Option<Image>> {
    // A terminal or a socket is no image, and opening it may do something.
    let kind = std::fs::symlink_metadata(path)?.file_type();
    if !kind.is_file() && !kind.is_block_device() {
        return Ok(None);
    }
    // Does not block on a pipe and follows no link.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let kind = file.metadata()?.file_type();
    if !kind.is_file() && !kind.is_block_device() {
        return Ok(None);
    }
    let read = |at, length: u64| {
        let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
        let mut have = 0;
        while have < bytes.len() {
            match file.read_at(&mut bytes[have..], at + have as u64)? {
                0 => break,
                more => have += more,
            }
        }
        bytes.truncate(have);
        Ok::<_, io::Error>(bytes)
    };
    image::look(read).map(Some)
}

/// The image header of a volume, through libvirt.
pub(crate) fn head_of_volume(connect: &Connect, path: &str) -> Result<Image, Error> {
    let volume = connect.lookup_storage_vol_by_path(path)?;
    image::look(|at, length| storage::read_part(connect, &volume, at, length))
}

/// All pools with their volumes. A pool that cannot be read now is used as last read.
async fn shelves(session: &Arc<Session>, volumes: &Volumes) -> Result<Vec<Shelf>, Error> {
    let pools = match session.call(Lane::Around, storage::pools).await {
        Err(error) if error.is_unsupported() => Vec::new(),
        pools => pools?,
    };
    let mut shelves = Vec::new();
    for pool in pools {
        let read = match pool.state.is_active() {
            true => {
                let id = pool.id;
                session.call(Lane::Around, move |connect| storage::volumes(connect, id)).await.ok()
            }
            false => None,
        };
        if let Some(read) = &read {
            volumes.keep_last(pool.id, Arc::new(read.clone()));
        }
        let volumes = read.or_else(|| volumes.last_known(pool.id).map(|known| known.to_vec()));
        // A driver without real files has no backing images.
        let volumes = volumes.or_else(|| session.host.is_test_driver().then(Vec::new));
        shelves.push(Shelf { pool, volumes });
    }
    Ok(shelves)
}

/// All machines with their storage. A hung machine is used as last read.
async fn machines(session: &Arc<Session>, sources: &Sources) -> Result<Vec<Machine>, Error> {
    let list = |connect: &Connect| {
        let brief = |domain: &Domain| -> Result<_, Error> { Ok((domain.uuid()?, domain.name()?, domain.is_active()?)) };
        let all = connect.list_all_domains(0)?;
        all.iter().filter_map(|domain| gone_is_none(brief(domain)).transpose()).collect::<Result<Vec<_>, Error>>()
    };
    let mut reading = JoinSet::new();
    for (id, name, active) in session.call(Lane::Read, list).await? {
        let (session, sources) = (session.clone(), sources.clone());
        reading.spawn(async move {
            let read = session.ask(id, move |connect| gone_is_none(all_sources(connect, id))).await;
            match read {
                Ok(None) => Ok(None),
                Ok(Some(found)) => Ok(Some(Machine { id, name, active, sources: found, silent: false })),
                Err(error) if error.is_link() => Err(error),
                Err(error) => {
                    tracing::info!(domain.id = %id, ?error, "the machine is not responding; its last known disks are used");
                    Ok(Some(Machine { id, name, active, sources: sources.of(id), silent: true }))
                }
            }
        });
    }
    let mut machines = Vec::new();
    while let Some(read) = reading.join_next().await {
        machines.extend(read.unwrap_or(Err(Error::Panicked))?);
    }
    Ok(machines)
}

/// The storage of a machine: live and stored definition, saved state, snapshots, and running
/// backup; none if one of them is not XML.
fn all_sources(connect: &Connect, id: Uuid) -> Result<Option<Vec<Source>>, Error> {
    let domain = connect.lookup_domain_by_uuid(id)?;
    let mut texts = vec![domain.xml_desc(0)?];
    if domain.is_active()? && domain.is_persistent()? {
        texts.push(domain.xml_desc(sys::VIR_DOMAIN_XML_INACTIVE)?);
    }
    // A driver that does not support one of these has none.
    let or_none = |read: Result<Vec<String>, virt::error::Error>| match read.map_err(Error::from) {
        Err(error) if error.is_unsupported() || error.is_no_backup() => Ok(Vec::new()),
        read => read,
    };
    texts
        .extend(or_none(domain.list_all_snapshots(0).and_then(|all| all.iter().map(|one| one.xml_desc(0)).collect()))?);
    let backup = ffi::backup_definition(&domain).map(|text| vec![text]);
    texts.extend(or_none(backup)?);
    let saved = domain.has_managed_save(0).and_then(|saved| match saved {
        true => ffi::managed_save_definition(&domain).map(|text| vec![text]),
        false => Ok(Vec::new()),
    });
    let saved = or_none(saved)?;
    // The path of a system daemon (qemuDomainManagedSavePath); a user daemon uses the home
    // directory.
    let file = (!saved.is_empty()).then(|| format!("{SAVED}/{}.save", domain.name().unwrap_or_default()));
    texts.extend(saved);
    let found: Option<Vec<Vec<Source>>> = texts.iter().map(|text| xml::sources::sources(text)).collect();
    let file = file.as_deref().map(Source::of_path);
    Ok(found.map(|found| found.into_iter().flatten().chain(file).collect()))
}

/// The directory of saved states.
const SAVED: &str = "/var/lib/libvirt/qemu/save";

/// The root of the file systems seen by the daemon of a URI; none for a remote daemon or one
/// without files.
pub(crate) fn root(uri: &str) -> Option<PathBuf> {
    let (scheme, rest) = uri.split_once("://")?;
    let (driver, transport) = scheme.split_once('+').unwrap_or((scheme, "unix"));
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    if driver == "test" || transport != "unix" || !place.starts_with('/') {
        return None;
    }
    let given = query.split('&').find_map(|pair| pair.strip_prefix("socket="));
    let system = ["/run/libvirt/libvirt-sock", "/run/libvirt/virtqemud-sock"];
    let sockets = given.map_or(system.to_vec(), |given| vec![given]);
    // The process at the other end of the socket; embedded drivers run in this process.
    let daemon = sockets.iter().find_map(|path| peer(path));
    let namespace = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/mnt")).ok();
    match daemon.filter(|_| place != "/embed" && place != "/session") {
        Some(pid) if namespace(&pid.to_string()).is_some_and(|other| Some(other) != namespace("self")) => {
            Some(format!("/proc/{pid}/root").into())
        }
        _ => Some("/".into()),
    }
}

/// The process that listens on a socket.
fn peer(path: &str) -> Option<i32> {
    let ask = socket(AddressFamily::UNIX, SocketType::STREAM, None).ok()?;
    connect(&ask, &SocketAddrUnix::new(path).ok()?).ok()?;
    Some(socket_peercred(&ask).ok()?.pid.as_raw_nonzero().get())
}
