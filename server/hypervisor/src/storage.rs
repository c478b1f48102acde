//! Reads storage pools and volumes, and runs their commands. Every function here blocks; `link`
//! decides where it runs and for how long.

pub(crate) mod images;
mod roots;

use std::{
    collections::{BTreeSet, HashMap},
    time::{Duration, Instant},
};

use bytes::Bytes;
use model::{Fault, FaultKind, Pool, Volume, natural, storage::PoolState};
use uuid::Uuid;
use virt::{connect::Connect, storage_pool::StoragePool, storage_vol::StorageVol, stream::Stream, sys};

pub(crate) use self::images::{Look, discard, inspect, read_part};
pub use self::roots::StorageRoots;
use crate::{
    error::{Error, gone_is_none},
    ffi, xml,
};

/// All pools (`virConnectListAllStoragePools`); those removed meanwhile are skipped.
pub(crate) fn pools(connect: &Connect) -> Result<Vec<Pool>, Error> {
    let handles = connect.list_all_storage_pools(0)?;
    handles.iter().filter_map(|handle| gone_is_none(read(handle)).transpose()).collect()
}

/// The listing data of a pool.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Listed {
    /// Whether autostart is on.
    pub(crate) autostart: bool,
    /// The names of its volumes, while active.
    pub(crate) names: BTreeSet<String>,
    /// The capacities of some of them, in bytes.
    pub(crate) sizes: HashMap<String, u64>,
}

/// Volumes per pool whose sizes are checked in one listing; others follow in later listings.
const SIZES: usize = 50;
/// Time limit for checking sizes, each of which opens a file.
const SIZES_FOR: Duration = Duration::from_millis(500);

/// Listing data of all pools: two calls, one per active pool, and one per checked volume, as far as
/// time allows.
pub(crate) fn listed(connect: &Connect, turn: usize) -> Result<HashMap<Uuid, Listed>, Error> {
    let (mut all, began): (HashMap<Uuid, Listed>, _) = (HashMap::new(), Instant::now());
    for handle in connect.list_all_storage_pools(sys::VIR_CONNECT_LIST_STORAGE_POOLS_AUTOSTART)? {
        all.entry(handle.uuid()?).or_default().autostart = true;
    }
    for handle in connect.list_all_storage_pools(sys::VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE)? {
        let pool = all.entry(handle.uuid()?).or_default();
        // A pool stopped meanwhile has none.
        let volumes = handle.list_all_volumes(0).unwrap_or_default();
        let windows = volumes.len().div_ceil(SIZES).max(1);
        for (at, volume) in volumes.iter().enumerate() {
            let Ok(name) = name_of(volume) else { continue };
            if at / SIZES == turn % windows
                && began.elapsed() < SIZES_FOR
                && let Ok(info) = volume.info()
            {
                pool.sizes.insert(name.clone(), info.capacity);
            }
            pool.names.insert(name);
        }
    }
    Ok(all)
}

/// One pool; none if it does not exist.
pub(crate) fn pool(connect: &Connect, id: Uuid) -> Result<Option<Pool>, Error> {
    gone_is_none(connect.lookup_storage_pool_by_uuid(id).map_err(Error::from).and_then(|handle| read(&handle)))
}

fn read(handle: &StoragePool) -> Result<Pool, Error> {
    let known = xml::storage::pool(&handle.xml_desc(0)?).unwrap_or_default();
    let info = handle.info()?;
    let persistent = handle.is_persistent()?;
    // The test driver may report more available space than capacity.
    let available_bytes = info.available.min(info.capacity);
    Ok(Pool {
        id: handle.uuid()?,
        name: handle.name()?,
        state: state_of(info.state),
        persistent,
        autostart: persistent && handle.autostart().unwrap_or(false),
        capacity_bytes: info.capacity,
        allocation_bytes: info.allocation,
        available_bytes,
        ..known
    })
}

fn state_of(state: sys::virStoragePoolState) -> PoolState {
    match state {
        sys::VIR_STORAGE_POOL_BUILDING => PoolState::Building,
        sys::VIR_STORAGE_POOL_RUNNING => PoolState::Running,
        sys::VIR_STORAGE_POOL_DEGRADED => PoolState::Degraded,
        sys::VIR_STORAGE_POOL_INACCESSIBLE => PoolState::Inaccessible,
        _ => PoolState::Inactive,
    }
}

/// The volume names of a pool, in one call (`virStoragePoolListAllVolumes`).
pub(crate) fn volume_names(connect: &Connect, id: Uuid) -> Result<Vec<String>, Error> {
    let volumes = connect.lookup_storage_pool_by_uuid(id)?.list_all_volumes(0)?;
    volumes.iter().map(name_of).collect()
}

/// The name of a volume with non-UTF-8 bytes escaped.
pub(crate) fn name_of(handle: &StorageVol) -> Result<String, Error> {
    let name = ffi::volume_name(handle)?;
    Ok(String::from_utf8(name).unwrap_or_else(|bytes| model::storage::escaped(bytes.as_bytes())))
}

/// The volumes of a pool, by name; two calls, and one per volume.
pub(crate) fn volumes(connect: &Connect, id: Uuid) -> Result<Vec<Volume>, Error> {
    volumes_of(&connect.lookup_storage_pool_by_uuid(id)?)
}

pub(crate) fn volumes_of(pool: &StoragePool) -> Result<Vec<Volume>, Error> {
    let handles = pool.list_all_volumes(0)?;
    let read = handles.iter().filter_map(|handle| gone_is_none(volume_or_name(handle)).transpose());
    let mut volumes = read.collect::<Result<Vec<_>, Error>>()?;
    volumes.sort_by(|a, b| natural(&a.name, &b.name));
    Ok(volumes)
}

/// Volumes of a pool by name; missing ones are skipped.
pub(crate) fn named_volumes(connect: &Connect, id: Uuid, names: &[String]) -> Result<Vec<Volume>, Error> {
    let pool = connect.lookup_storage_pool_by_uuid(id)?;
    let look = |name: &String| pool.lookup_storage_vol_by_name(name).map_err(Error::from);
    names.iter().filter_map(|name| gone_is_none(look(name).and_then(|handle| volume(&handle))).transpose()).collect()
}

/// A volume of a listing: one that libvirt cannot read is listed by its name, as the others are all
/// right.
fn volume_or_name(handle: &StorageVol) -> Result<Volume, Error> {
    match volume(handle) {
        Err(error) if !error.is_gone() && !error.is_link() => {
            tracing::info!(?error, "a volume cannot be read");
            let (name, path) = (name_of(handle)?, handle.path().unwrap_or_default());
            Ok(Volume { name, path, format: "unknown".into(), ..Volume::default() })
        }
        read => read,
    }
}

fn volume(handle: &StorageVol) -> Result<Volume, Error> {
    let known = xml::storage::volume(&handle.xml_desc(0)?).unwrap_or_default();
    Ok(Volume { name: name_of(handle)?, ..known })
}

/// Writes a chunk of a volume's content (`virStorageVolUpload`); `pieces` returns it part by part,
/// and none at the end.
pub(crate) fn write(
    connect: &Connect,
    (id, name): (Uuid, &str),
    (offset, length): (u64, u64),
    mut pieces: impl FnMut() -> Option<Result<Bytes, Error>>,
) -> Result<(), Error> {
    let volume = connect.lookup_storage_pool_by_uuid(id)?.lookup_storage_vol_by_name(name)?;
    let stream = Stream::new(connect, 0)?;
    volume.upload(&stream, offset, length, 0)?;
    // Small parts would each be a message to the daemon.
    let (mut written, mut waiting) = (0, Vec::with_capacity(2 * PIECE));
    let mut feed = || -> Result<(), Error> {
        while let Some(piece) = pieces() {
            let piece = piece?;
            written += piece.len() as u64;
            waiting.extend_from_slice(&piece);
            if waiting.len() >= PIECE {
                let whole = waiting.len() - waiting.len() % PIECE;
                send(&stream, &waiting[..whole])?;
                waiting.drain(..whole);
            }
        }
        send(&stream, &waiting)
    };
    if let Err(error) = feed() {
        stream.abort().ok();
        return Err(error);
    }
    if written < length {
        // The daemon waits for the rest.
        stream.abort().ok();
        return Err(Error::Said(Fault::new(FaultKind::Invalid, "The chunk is shorter than its Content-Length")));
    }
    Ok(stream.finish()?)
}

fn send(stream: &Stream, mut piece: &[u8]) -> Result<(), Error> {
    while !piece.is_empty() {
        let sent = stream.send(piece)?;
        piece = &piece[usize::try_from(sent).unwrap_or_default().min(piece.len())..];
    }
    Ok(())
}

/// Reads a volume's content (`virStorageVolDownload`); `take` receives it part by part and returns
/// whether to continue.
pub(crate) fn content(
    connect: &Connect,
    id: Uuid,
    name: &str,
    mut take: impl FnMut(Vec<u8>) -> bool,
) -> Result<(), Error> {
    let volume = connect.lookup_storage_pool_by_uuid(id)?.lookup_storage_vol_by_name(name)?;
    // libvirt keeps all that its daemon sends until it is taken, so only so much is asked for at a time.
    let mut at = 0;
    loop {
        let part = read_part(connect, &volume, at, PART)?;
        let (read, last) = (part.len() as u64, (part.len() as u64) < PART);
        for piece in part.chunks(PIECE) {
            if !take(piece.to_vec()) {
                return Ok(());
            }
        }
        at += read;
        if last {
            return Ok(());
        }
    }
}

/// Bytes of a volume that are asked for at a time.
const PART: u64 = 8 << 20;

/// Bytes sent or read at once: the payload of libvirt's oldest messages.
const PIECE: usize = 262_120;
