//! The hosts of this server: those of the command line, and those that admins add, change and remove
//! while it runs. The latter are stored in the data directory.
//!
//! What happens on a host is the hypervisor's.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::RwLock;

use hypervisor::{HostConfig, Hypervisor, Sink};
use model::{Fault, FaultKind, HostId, Link, NoteKind, Origin, inventory::connection_event};
use serde::{Deserialize, Serialize};

use super::{Backend, host::Host, no_host};
use crate::{
    journal::{Note, accounts},
    tasks::now,
};

/// A stored host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stored {
    /// Its name.
    pub(crate) name: HostId,
    /// Its connection URI.
    pub(crate) uri: String,
}

/// The file of stored hosts in the data directory.
const FILE: &str = "hosts.json";
/// Maximum stored hosts.
const MOST: usize = 256;

/// The hosts that are watched.
pub(crate) struct Hosts {
    all: RwLock<Arc<BTreeMap<HostId, Arc<dyn Host>>>>,
    /// Those of the command line, which cannot be changed here.
    fixed: BTreeSet<HostId>,
    /// The data directory; none without one.
    folder: Option<PathBuf>,
    /// What all hosts share.
    template: HostConfig,
    sink: Arc<dyn Sink>,
    /// Changes, one after the other.
    turn: tokio::sync::Mutex<()>,
}

/// Starts watching a host.
fn open(config: HostConfig, sink: &Arc<dyn Sink>) -> Arc<dyn Host> {
    Arc::new(Hypervisor::start(config, sink.clone()))
}

impl Hosts {
    /// Starts watching all hosts.
    pub(super) fn start(
        hosts: Vec<HostConfig>,
        (template, folder): (HostConfig, Option<PathBuf>),
        sink: Arc<dyn Sink>,
    ) -> Self {
        let fixed = hosts.iter().filter(|host| !host.managed).map(|host| host.id.clone()).collect();
        let start = |host: HostConfig| (host.id.clone(), open(host, &sink));
        let all = RwLock::new(Arc::new(hosts.into_iter().map(start).collect()));
        Self { all, fixed, folder, template, sink, turn: tokio::sync::Mutex::default() }
    }

    /// All of them.
    pub(crate) fn all(&self) -> Arc<BTreeMap<HostId, Arc<dyn Host>>> {
        self.all.read().clone()
    }

    /// One of them.
    pub(crate) fn get(&self, id: &HostId) -> Option<Arc<dyn Host>> {
        self.all().get(id).cloned()
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<HostId, Arc<dyn Host>>)) {
        let mut all = self.all.write();
        let mut next = BTreeMap::clone(&all);
        change(&mut next);
        *all = Arc::new(next);
    }

    /// Whether a host is not of the command line.
    ///
    /// # Errors
    /// `Denied`.
    fn is_managed(&self, id: &HostId) -> Result<(), Fault> {
        if self.fixed.contains(id) {
            let fault = Fault::denied(format!("{id} is set on the command line or in the configuration file"));
            return Err(fault.with_next("Change it there and restart the server"));
        }
        Ok(())
    }

    /// Stores a change; what fails to be written is not done.
    fn store(&self, change: impl FnOnce(&mut Vec<Stored>)) -> Result<(), Fault> {
        let Some(folder) = &self.folder else {
            let fault = Fault::denied("This server has no data directory, so hosts cannot be stored");
            return Err(fault.with_next("Start it with --data DIR"));
        };
        let failed = |error: io::Error| {
            let reason = format!("The hosts cannot be stored in {}: {error}", folder.display());
            Fault::new(FaultKind::InsufficientStorage, reason).with_next("Free space, or check its permissions")
        };
        let mut stored = read(folder).map_err(failed)?;
        change(&mut stored);
        if stored.len() > MOST {
            return Err(Fault::denied(format!("At most {MOST} hosts can be added")));
        }
        write(folder, &stored).map_err(failed)
    }
}

/// The stored hosts.
///
/// # Errors
/// If the file cannot be read or is not what this version writes.
pub(crate) fn read(folder: &Path) -> io::Result<Vec<Stored>> {
    match fs::read(folder.join(FILE)) {
        Ok(text) => Ok(serde_json::from_slice(&text)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Replaces the file as a whole.
fn write(folder: &Path, stored: &[Stored]) -> io::Result<()> {
    let (path, new) = (folder.join(FILE), folder.join(format!("{FILE}.new")));
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(serde_json::to_string_pretty(stored)?.as_bytes())?;
    file.sync_all()?;
    fs::rename(new, path)
}

/// Drivers and transports that a URI may name, and what its query may hold: nothing that runs a
/// program, opens a socket, or reads or writes a file of this machine (`known_hosts` is appended to).
const DRIVERS: [&str; 4] = ["qemu", "xen", "lxc", "ch"];
const TRANSPORTS: [&str; 7] = ["", "unix", "ssh", "libssh", "libssh2", "tls", "tcp"];
const PARAMETERS: [&str; 5] = ["mode", "no_tty", "no_verify", "proxy", "sshauth"];

/// Checks a URI that somebody enters in a browser.
///
/// # Errors
/// `Invalid`, with what may not be there.
pub(crate) fn check_uri(uri: &str) -> Result<(), Fault> {
    let wrong = |why: &str| Err(Fault::invalid("uri", why));
    if uri.len() > 1_024 || uri.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return wrong("must be a libvirt URI of at most 1,024 characters without spaces");
    }
    let Some((scheme, rest)) = uri.split_once("://") else {
        return wrong("must be a libvirt URI such as qemu+ssh://root@host/system");
    };
    let (driver, transport) = scheme.split_once('+').unwrap_or((scheme, ""));
    if !DRIVERS.contains(&driver) {
        return wrong(&format!("the driver must be one of {}", DRIVERS.join(", ")));
    }
    if !TRANSPORTS.contains(&transport) {
        return wrong(&format!("the transport must be one of {}", TRANSPORTS[1..].join(", ")));
    }
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = place.split_once('/').unwrap_or((place, ""));
    if !["system", "session"].contains(&path) {
        return wrong("must end with /system or /session");
    }
    let (user, host) = authority.split_once('@').unwrap_or(("", authority));
    if user.contains(':') {
        return wrong("must not contain a password; use SSH keys or certificates");
    }
    // Nothing is decoded, so nothing may be encoded.
    let plain =
        |text: &str| !text.starts_with('-') && text.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
    if !plain(user) || !authority.is_empty() && !is_place(host, plain) {
        return wrong("the host must be a name or an address, perhaps with a port, and the user a name");
    }
    if host.is_empty() && !["", "unix"].contains(&transport) {
        return wrong("must name the host");
    }
    for (name, _) in form_urlencoded::parse(query.as_bytes()) {
        if !PARAMETERS.contains(&&*name) {
            return wrong(&format!("the parameter {} is not allowed here", name.escape_debug()));
        }
    }
    Ok(())
}

/// Whether a text is a host with an optional port; an IPv6 address stands in brackets.
fn is_place(text: &str, plain: impl Fn(&str) -> bool) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((six, rest)) if six.parse::<std::net::Ipv6Addr>().is_ok() => {
            ("six", rest.strip_prefix(':').or((!rest.is_empty()).then_some("x")))
        }
        Some(_) => return false,
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    !host.is_empty() && plain(host) && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

impl Backend {
    /// Whether libvirt answers at a URI.
    ///
    /// # Errors
    /// `Invalid`, or `Unreachable` with the cause and the next step.
    pub(crate) async fn test_host(&self, uri: &str) -> Result<(), Fault> {
        check_uri(uri)?;
        hypervisor::probe(uri).await.map_err(|why| Fault::new(FaultKind::Unreachable, why.trim_end_matches('.')))
    }

    /// Adds a host, or gives it another URI; a host that has this URI already stays as it is. It is
    /// recorded and stored before it is watched.
    ///
    /// # Errors
    /// `Invalid`, `Denied`, or `InsufficientStorage`.
    pub(crate) async fn put_host(&self, name: &HostId, uri: &str, origin: &Origin) -> Result<(), Fault> {
        check_uri(uri)?;
        let _turn = self.hosts.turn.lock().await;
        self.hosts.is_managed(name)?;
        let known = self.hosts.get(name).is_some();
        if known && self.hosts.get(name).is_some_and(|host| host.uri() == uri) {
            return Ok(());
        }
        if let Some((other, _)) = self.hosts.all().iter().find(|(id, host)| *id != name && host.uri() == uri) {
            let fault = Fault::denied(format!("{other} has this connection URI already"));
            return Err(fault.with_next("Add a libvirt daemon once, so that one place knows who uses its storage"));
        }
        self.is_idle(name)?;
        self.note_host(
            if known { NoteKind::HostChanged } else { NoteKind::HostAdded },
            &format!("{name}: {uri}"),
            origin,
        )
        .await?;
        self.hosts.store(|all| {
            all.retain(|host| host.name != *name);
            all.push(Stored { name: name.clone(), uri: uri.to_owned() });
        })?;
        let config = HostConfig { id: name.clone(), uri: uri.to_owned(), managed: true, ..self.hosts.template.clone() };
        // The old one stops before the new one begins, as both have one name.
        self.hosts.change(|all| drop(all.remove(name)));
        let unread = config.unread();
        let said = connection_event(&unread.host, now());
        self.feed.set_host(name, Some(unread), said);
        let host = open(config, &self.hosts.sink);
        self.hosts.change(|all| drop(all.insert(name.clone(), host)));
        Ok(())
    }

    /// Stops watching a host. Its history stays.
    ///
    /// # Errors
    /// `NotFound`, `Denied` while tasks are in progress on it, or `InsufficientStorage`.
    pub(crate) async fn remove_host(&self, name: &HostId, origin: &Origin) -> Result<(), Fault> {
        let _turn = self.hosts.turn.lock().await;
        self.hosts.is_managed(name)?;
        let known = self.feed.snapshot().hosts.hosts.get(name).map(|known| known.host.clone());
        let mut gone = known.ok_or_else(|| no_host(name))?;
        self.is_idle(name)?;
        self.note_host(NoteKind::HostRemoved, name.as_str(), origin).await?;
        self.hosts.store(|all| all.retain(|host| host.name != *name))?;
        self.hosts.change(|all| drop(all.remove(name)));
        gone.connection =
            Link { error: Some("it was removed".into()), since: now(), uri: gone.connection.uri, ..Link::default() };
        self.feed.set_host(name, None, connection_event(&gone, now()));
        Ok(())
    }

    /// Whether no task is in progress on a host.
    fn is_idle(&self, name: &HostId) -> Result<(), Fault> {
        let tasks = self.tasks.open().iter().filter(|record| record.intent.host == *name).count();
        if tasks == 0 {
            return Ok(());
        }
        let fault = Fault::denied(format!("{} on {name}", app::format::count(tasks, "task is in progress")));
        Err(fault.with_next("Wait for its end, or cancel it"))
    }

    async fn note_host(&self, kind: NoteKind, what: &str, origin: &Origin) -> Result<(), Fault> {
        let note = Note::of(kind, what, origin.clone());
        self.journal.accounts.write(move |connection| accounts::note(connection, &note)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_from_a_browser_names_a_libvirt_and_nothing_that_runs_or_reads_something_here() {
        for good in [
            "qemu:///system",
            "qemu+unix:///session",
            "qemu+ssh://root@kvm-1:2222/system?no_tty=1&sshauth=privkey",
            "qemu+tls://[2001:db8::1]/system",
            "xen+ssh://kvm-1/system",
        ] {
            check_uri(good).unwrap_or_else(|fault| panic!("{good}: {}", fault.reason));
        }
        for bad in [
            "",
            "kvm-1",
            "test:///default",
            "qemu+ext://kvm-1/system?command=/tmp/x",
            "qemu+ssh://kvm-1/system?command=/tmp/x",
            "qemu+ssh://kvm-1/system?netcat=/tmp/x",
            "qemu+ssh://kvm-1/system?net%63at=/tmp/x",
            "qemu+unix:///system?socket=/run/docker.sock",
            "qemu+ssh://-oProxyCommand=x/system",
            "qemu+ssh://-l@kvm-1/system",
            "qemu+ssh://root:secret@kvm-1/system",
            "qemu+ssh:///system",
            "qemu+ssh://kvm-1/etc/passwd",
            "qemu:///embed?root=/tmp/x",
            "qemu+libssh://kvm-1/system?known_hosts=/etc/x&known_hosts_verify=auto",
            "qemu+ssh://kvm-1/system?keyfile=/etc/shadow",
            "qemu+ssh://%2dx@kvm-1/system",
            "qemu+ssh://u%3apw@kvm-1/system",
            "qemu+ssh://kvm-1%0a/system",
            "qemu+ssh://[::1/system",
            "qemu+ssh://[x]/system",
            "qemu+ssh://a@b@c/system",
            "qemu+ssh://kvm-1:99999/system",
            "qemu+ssh://kvm 1/system",
            "esx://kvm-1/system",
        ] {
            assert!(check_uri(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn stored_hosts_are_for_the_servers_account_alone_and_a_damaged_file_is_an_error() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::TempDir::new().expect("a folder");
        assert!(read(folder.path()).expect("none").is_empty());
        let stored = vec![Stored { name: "atlas".parse().expect("a name"), uri: "qemu:///system".into() }];
        write(folder.path(), &stored).expect("written");
        assert_eq!(read(folder.path()).expect("read"), stored);
        let mode = fs::metadata(folder.path().join(FILE)).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(folder.path().join(FILE), "{").expect("written");
        assert!(read(folder.path()).is_err());
    }
}
