//! libvirt's errors and their translation into faults.
//!
//! The error number decides the kind of fault; libvirt's text is kept where useful, shortened to
//! one line.

use model::{Fault, FaultKind};
use virt::{enumutil::Enum, error::ErrorNumber};

/// An error between us and libvirt.
#[derive(Clone, Debug)]
pub(crate) enum Error {
    /// An error of libvirt.
    Libvirt {
        /// Its number; none if unknown to this version.
        number: Option<ErrorNumber>,
        /// Its text.
        message: String,
    },
    /// libvirt did not respond in time.
    TimedOut {
        /// The waiting time in seconds.
        seconds: u64,
    },
    /// The machine's process does not respond to libvirt.
    Unresponsive,
    /// The machine's process is slow; a hint follows once it has responded.
    Later,
    /// The connection was lost before or during the call.
    Disconnected,
    /// The call panicked: a bug in our code or the binding.
    Panicked,
    /// Refused by our own check.
    Said(Fault),
}

impl From<virt::error::Error> for Error {
    fn from(error: virt::error::Error) -> Self {
        let number = match error.code() {
            Enum::Known(number) => Some(number),
            Enum::Unknown(_) => None,
        };
        Self::Libvirt { number, message: one_line(error.message()) }
    }
}

/// The first 600 characters on one line without control characters: QEMU names the object at the
/// end of its message.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().filter(|c| !c.is_control()).take(600).collect()
}

impl Error {
    fn number(&self) -> Option<ErrorNumber> {
        match self {
            Self::Libvirt { number, .. } => *number,
            _ => None,
        }
    }

    /// Whether it has one of these numbers.
    pub(crate) fn is(&self, numbers: &[ErrorNumber]) -> bool {
        self.number().is_some_and(|number| numbers.contains(&number))
    }

    /// Whether the object does not exist.
    pub(crate) fn is_gone(&self) -> bool {
        use ErrorNumber as N;
        self.is(&[N::NoDomain, N::NoStoragePool, N::NoStorageVolume, N::NoNetwork, N::NoNodeDevice])
    }

    /// Whether the machine has no running backup.
    pub(crate) fn is_no_backup(&self) -> bool {
        self.is(&[ErrorNumber::NoDomainBackup])
    }

    /// Whether the driver does not support the call, so that a caller can continue without it.
    pub(crate) fn is_unsupported(&self) -> bool {
        use ErrorNumber as N;
        matches!(
            self.number(),
            Some(
                N::NoSupport | N::ConfigUnsupported | N::ArgumentUnsupported | N::OperationUnsupported | N::InvalidArg
            )
        )
    }

    /// Whether an agent did not respond in time, so that the next query would wait as long.
    pub(crate) fn is_silence(&self) -> bool {
        matches!(self.number(), Some(ErrorNumber::AgentUnresponsive | ErrorNumber::AgentCommandTimeout))
    }

    /// Whether the connection is broken.
    pub(crate) fn is_link(&self) -> bool {
        use ErrorNumber as N;
        match self {
            Self::Disconnected => true,
            Self::Libvirt { number: Some(N::Rpc | N::InvalidConn), .. } => true,
            Self::Libvirt { number: Some(N::InternalError | N::SystemError), message } => {
                BROKEN.iter().any(|part| message.contains(part))
            }
            _ => false,
        }
    }

    /// Why a host is unreachable, with the next step, as one text.
    pub(crate) fn of_link(&self, uri: &str) -> String {
        let of_ssh = match self {
            Self::Libvirt { message, .. } => ssh_trouble(message, uri),
            _ => None,
        };
        let fault = match self {
            // The error of ssh is contained in a message about a broken connection.
            Self::Libvirt { .. } if of_ssh.is_some() => of_ssh.unwrap_or_else(broken),
            Self::Libvirt { message, .. } if BROKEN.iter().any(|part| message.contains(part)) => broken(),
            Self::Libvirt { number, message } => unreachable(*number, message, uri),
            Self::TimedOut { seconds } => {
                Fault::new(FaultKind::Unreachable, format!("libvirt did not answer for {seconds} s"))
                    .with_next("Check whether the libvirt daemon hangs; Belvedere retries automatically")
            }
            Self::Disconnected => broken(),
            Self::Unresponsive | Self::Later => {
                Fault::new(FaultKind::TimedOut, "A machine is not responding to libvirt")
            }
            Self::Panicked => internal(),
            Self::Said(fault) => fault.clone(),
        };
        fault.sentence()
    }

    /// The fault of a command on the named object.
    pub(crate) fn of_command(&self, name: &str, host: &str) -> Fault {
        match self {
            Self::TimedOut { seconds } => Fault::new(
                FaultKind::TimedOut,
                format!("libvirt on {host} did not answer for {seconds} s, so the result for {name} is unknown"),
            )
            .with_next("Check its state; the command is not repeated"),
            Self::Unresponsive | Self::Later => {
                Fault::new(FaultKind::TimedOut, format!("{name} is not responding to libvirt"))
                    .with_next("Check its console and storage; use Force off as the last resort")
            }
            Self::Disconnected => lost(name, host),
            Self::Panicked => internal(),
            Self::Said(fault) => fault.clone(),
            Self::Libvirt { .. } if self.is_link() => lost(name, host),
            Self::Libvirt { number, message } => refused(*number, message, name, host),
        }
    }
}

/// Maps "no such object" to none.
pub(crate) fn gone_is_none<T>(read: Result<T, Error>) -> Result<Option<T>, Error> {
    match read {
        Err(error) if error.is_gone() => Ok(None),
        read => read.map(Some),
    }
}

/// Message parts of broken connections; libvirt has no separate number for them.
const BROKEN: [&str; 6] = [
    "client socket is closed",
    "connection closed",
    "while reading data",
    "while writing data",
    "Cannot recv data",
    "Cannot send data",
];

fn broken() -> Fault {
    Fault::new(FaultKind::Unreachable, "The libvirt daemon closed the connection")
        .with_next("Belvedere retries automatically")
}

fn internal() -> Fault {
    Fault::new(FaultKind::Internal, "Internal error in a call to libvirt").with_next("See the server's log")
}

fn lost(name: &str, host: &str) -> Fault {
    Fault::new(
        FaultKind::Interrupted,
        format!("The connection to {host} was lost, so the result for {name} is unknown"),
    )
    .with_next("Check its state when the host is connected again; the command is not repeated")
}

fn taken(name: &str, host: &str) -> Fault {
    Fault::new(FaultKind::Conflict, format!("{host} already has an object named {name}"))
        .with_next("Choose another name")
}

/// The fault for libvirt's error of a command.
fn refused(number: Option<ErrorNumber>, message: &str, name: &str, host: &str) -> Fault {
    use ErrorNumber as N;
    let has = |part: &str| message.contains(part);
    if has("failed to set MSR") || has("Could not access KVM") || has("failed to initialize kvm") || has("kvm: No such")
    {
        return Fault::new(FaultKind::Unsupported, format!("{name} needs KVM, which is not available on {host}"))
            .with_next(
                "Enable virtualisation in the host's firmware, or use emulation (domain type qemu instead of kvm)",
            );
    }
    if let Some(fault) = other_object(message, name, host) {
        return fault;
    }
    let unsupported =
        || Fault::new(FaultKind::Unsupported, format!("{host} does not support this for {name}: {message}"));
    match number {
        Some(N::NoDomain | N::NoStoragePool | N::NoStorageVolume | N::NoNetwork) => {
            Fault::new(FaultKind::NotFound, format!("{name} no longer exists on {host}"))
        }
        Some(N::StorageVolExist | N::NetworkExist) => taken(name, host),
        // The test driver sets no specific number.
        Some(N::OperationFailed) if has("already exists") => taken(name, host),
        Some(N::OperationInvalid) if has("domain with name") && has("already exists") => taken(name, host),
        Some(N::StoragePoolBuilt) => {
            Fault::new(FaultKind::Denied, format!("{name} was not built: its device already contains data"))
                .with_next("Start the pool without building it, or erase the device manually")
        }
        _ if has("No space left on device") => {
            Fault::new(FaultKind::Refused, format!("No space left on {host} for {name}"))
                .with_next("Delete unneeded volumes, or choose another pool")
        }
        Some(N::OperationDenied | N::AccessDenied | N::AuthFailed | N::AuthUnavailable) => {
            Fault::new(FaultKind::Forbidden, format!("libvirt on {host} denied Belvedere access to {name}: {message}"))
                .with_next("Allow the account that runs Belvedere to manage this object")
        }
        Some(N::InvalidArg) if has("unsupported flags") => unsupported(),
        Some(N::NoSupport | N::ConfigUnsupported | N::ArgumentUnsupported | N::OperationUnsupported) => unsupported(),
        Some(N::DomExist) => Fault::new(FaultKind::Conflict, format!("{host} already has a machine with this name"))
            .with_next("Choose another name"),
        // The agent took the command; libvirt waited for its answer in vain.
        Some(N::AgentCommandTimeout) => Fault::new(
            FaultKind::TimedOut,
            format!("The guest agent of {name} did not respond in time, so the result is unknown"),
        )
        .with_next("Check that qemu-guest-agent is running in the guest; the command is not repeated"),
        // It did not even answer the greeting that libvirt sends before each command.
        Some(N::AgentUnresponsive) => {
            Fault::new(FaultKind::Refused, format!("The guest agent of {name} does not respond"))
                .with_next("Check that qemu-guest-agent is running in the guest")
        }
        Some(N::OperationTimeout | N::ResourceBusy) => {
            Fault::new(FaultKind::Busy, format!("{name} is busy with another operation: {message}"))
                .with_next("Try again in a moment")
        }
        _ => Fault::new(FaultKind::Refused, format!("libvirt error on {host} for {name}: {message}")),
    }
}

/// The text between two markers.
fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let rest = &text[text.find(before)? + before.len()..];
    rest.find(after).map(|end| &rest[..end])
}

/// An error about another object that a machine uses: libvirt names it in its message, while the
/// number only tells the kind of object. None if the error is about the named object itself.
fn other_object(message: &str, name: &str, host: &str) -> Option<Fault> {
    let missing = |what: &str, named: &str, next: String| {
        let reason = format!("{name} uses {what} {named}, which does not exist on {host}");
        Fault::new(FaultKind::Refused, reason).with_next(next)
    };
    let off = |what: &str, named: &str| {
        let reason = format!("{name} uses {what} {named}, which is not active on {host}");
        Fault::new(FaultKind::Refused, reason).with_next(format!("Start {what} {named}"))
    };
    // The command's own object may be named with its pool.
    let is_other = |named: &&str| *named != name && !name.ends_with(&format!("/{named}"));
    let named = |before: &str, after: &str| between(message, before, after).filter(is_other);
    let choose = |what: &str| format!("Create it, or choose another {what} for {name}");
    if let Some(network) = named("no network with matching name '", "'") {
        return Some(missing("network", network, choose("network")));
    }
    if let Some(network) = named("network '", "' is not active") {
        return Some(off("network", network));
    }
    if let Some(pool) = named("no storage pool with matching name '", "'") {
        return Some(missing("storage pool", pool, choose("pool")));
    }
    if let Some(pool) = named("storage pool '", "' containing volume") {
        return Some(off("storage pool", pool));
    }
    if let Some(volume) = named("no storage vol with matching name '", "'") {
        return Some(missing("volume", volume, choose("volume")));
    }
    let matching = ["path", "key"].iter().find_map(|by| named(&format!("no storage vol with matching {by} '"), "'"));
    if let Some(volume) = matching {
        return Some(missing("volume", volume, choose("volume")));
    }
    if let Some(secret) = named("no secret with matching uuid '", "'") {
        return Some(missing("secret", secret, format!("Define it on {host}, or detach the disk from {name}")));
    }
    if let Some(filter) = named("no nwfilter with matching name '", "'") {
        return Some(missing("network filter", filter, choose("network filter")));
    }
    if let Some(filter) = named("referenced filter '", "' is missing") {
        return Some(missing("network filter", filter, choose("network filter")));
    }
    if let Some(bridge) = named("Cannot get interface MTU on '", "'") {
        return Some(missing("bridge", bridge, choose("bridge")));
    }
    if let Some(device) = named("Unable to get index for interface ", ":") {
        return Some(missing("interface", device, choose("interface")));
    }
    let file = named("Cannot access storage file '", "'").filter(|_| message.contains("No such file"));
    let file = file.or_else(|| named("ould not open '", "': No such file"));
    let file = file.or_else(|| named("ailed to open '", "': No such file"));
    let file = file.or_else(|| named("ould not open kernel file '", "': No such file"));
    let file = file.or_else(|| named("Cannot access backing file '", "'").filter(|_| message.contains("No such file")));
    if let Some(file) = file {
        return Some(missing("file", file, format!("Restore it, or remove it from {name}")));
    }
    if message.contains("unable to find ploop") || message.contains("DiskDescriptor.xml") {
        let reason = format!("libvirt takes {name} for a Parallels image, because its content begins like one");
        let next = format!("Overwrite its first sector on {host}, or delete its file there, then refresh the pool");
        return Some(Fault::new(FaultKind::Refused, reason).with_next(next));
    }
    if message.contains("guest memory") && message.contains("Cannot allocate memory") {
        let reason = format!("{host} has too little free memory for {name}");
        let next = format!("Shut down another machine, or assign less memory to {name}");
        return Some(Fault::new(FaultKind::Refused, reason).with_next(next));
    }
    if message.contains("Failed to get \"write\" lock") || message.contains("Failed to get shared \"write\" lock") {
        let file = between(message, "using the image [", "]").unwrap_or("an image");
        let reason = format!("{name} uses {file}, which is locked by another process on {host}");
        return Some(
            Fault::new(FaultKind::Busy, reason).with_next("Shut down the machine that uses it, then try again"),
        );
    }
    None
}

/// The host of a URI, without user and port.
fn host_in(uri: &str) -> &str {
    let rest = uri.split_once("://").map_or("", |(_, rest)| rest);
    let place = rest.split(['/', '?']).next().unwrap_or_default();
    let place = place.rsplit('@').next().unwrap_or_default();
    match place.strip_prefix('[').and_then(|six| six.split_once(']')) {
        Some((six, _)) => six,
        None => place.split(':').next().unwrap_or_default(),
    }
}

/// The error reported by ssh (`virNetClientNew…SSH`); none if there is none.
fn ssh_trouble(message: &str, uri: &str) -> Option<Fault> {
    if !uri.split_once("://").is_some_and(|(scheme, _)| scheme.contains("ssh")) {
        return None;
    }
    let (host, has) = (host_in(uri), |part: &str| message.contains(part));
    let fault = |reason: String, next: String| Some(Fault::new(FaultKind::Unreachable, reason).with_next(next));
    if has("IDENTIFICATION HAS CHANGED") {
        return fault(
            format!("The SSH host key of {host} has changed"),
            format!(
                "Verify the new key. If it is genuine, run ssh-keygen -R {host} and connect once with ssh as the account that runs Belvedere"
            ),
        );
    }
    if has("Host key verification failed") {
        return fault(
            format!("The SSH host key of {host} is not known"),
            format!("Connect once with ssh {host} as the account that runs Belvedere, and accept the key"),
        );
    }
    if has("Permission denied (") || has("Too many authentication failures") {
        return fault(
            format!("{host} rejected the SSH login"),
            "Add the public key of the account that runs Belvedere to ~/.ssh/authorized_keys on the host, or set another user or key in the URI (keyfile=)".into(),
        );
    }
    if has("Could not resolve hostname") || has("Name or service not known") {
        return fault(
            format!("The host name {host} cannot be resolved"),
            "Check the name and the DNS configuration of the server".into(),
        );
    }
    if has("ssh: connect to host") {
        let (why, next) = match () {
            () if has("Connection refused") => {
                ("refused the SSH connection", "Check the port and that sshd is running")
            }
            () if has("timed out") => {
                ("did not answer the SSH connection in time", "Check the address and the firewalls")
            }
            () => ("cannot be reached by SSH", "Check the address and the network"),
        };
        return fault(format!("{host} {why}"), next.into());
    }
    if has("nc: not found") || has("nc: command not found") || has("virt-ssh-helper: not found") {
        return fault(
            format!("{host} has neither virt-ssh-helper nor nc, one of which libvirt needs over SSH"),
            format!("Install libvirt-clients or netcat-openbsd on {host}"),
        );
    }
    if has("libvirt-sock") && (has("No such file") || has("Connection refused")) {
        return fault(
            format!("The libvirt daemon is not running on {host}"),
            "Start it on the host: systemctl start libvirtd (or virtqemud.socket)".into(),
        );
    }
    None
}

/// The error of a failed connection attempt.
fn unreachable(number: Option<ErrorNumber>, message: &str, uri: &str) -> Fault {
    use ErrorNumber as N;
    let has = |part: &str| message.contains(part);
    let fault = |reason: &str| Fault::new(FaultKind::Unreachable, reason);
    if has("Permission denied") && has("socket")
        || matches!(number, Some(N::AuthUnavailable | N::AuthFailed | N::AuthCancelled))
    {
        return fault("Access to libvirt was denied").with_next(
            "Add the account that runs Belvedere to the group libvirt (usermod -aG libvirt NAME) and restart Belvedere",
        );
    }
    if has("Failed to connect socket") || has("Connection refused") {
        return if uri.contains("+ssh") || uri.contains("+tls") || uri.contains("+tcp") || uri.contains("+libssh") {
            fault("The host refused the connection")
                .with_next("Check the address and that the libvirt daemon accepts remote connections")
        } else {
            fault("The libvirt daemon is not running")
                .with_next("Start it on the host: systemctl start libvirtd (or virtqemud.socket)")
        };
    }
    if has("unable to connect to server") || has("resolve") || has("Name or service not known") {
        return fault(&format!("The host is unreachable: {message}")).with_next("Check the address and the network");
    }
    if matches!(number, Some(N::NoConnect | N::NoSupport | N::InvalidArg | N::ConfigUnsupported)) {
        return fault(&format!("libvirt does not support this connection URI: {message}")).with_next("Check the URI");
    }
    fault(message)
}

#[cfg(test)]
#[path = "error_tests.rs"]
mod tests;
