//! libvirt's errors, and their translation into words for a person.
//!
//! The number decides the kind of fault; the text of libvirt is kept where it
//! helps, shortened to one line.

use model::{Fault, FaultKind};
use virt::{enumutil::Enum, error::ErrorNumber};

/// What can go wrong between us and libvirt.
#[derive(Clone, Debug)]
pub(crate) enum Error {
    /// libvirt said no.
    Libvirt {
        /// Its error number; none for one that this version does not know.
        number: Option<ErrorNumber>,
        /// Its text.
        message: String,
    },
    /// libvirt said nothing in time.
    TimedOut {
        /// How long we waited, in seconds.
        seconds: u64,
    },
    /// The process of the machine that was asked does not answer libvirt.
    Unresponsive,
    /// The link was lost before or during the call.
    Disconnected,
    /// The call panicked; a defect of ours or of the binding.
    Panicked,
    /// What was found forbids it; it is said already.
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

/// The first 300 characters of a text on one line without control characters.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().filter(|c| !c.is_control()).take(300).collect()
}

impl Error {
    fn number(&self) -> Option<ErrorNumber> {
        match self {
            Self::Libvirt { number, .. } => *number,
            _ => None,
        }
    }

    /// Whether it is one of these refusals.
    pub(crate) fn is(&self, numbers: &[ErrorNumber]) -> bool {
        self.number().is_some_and(|number| numbers.contains(&number))
    }

    /// Whether what was asked about does not exist (any more).
    pub(crate) fn is_gone(&self) -> bool {
        use ErrorNumber as N;
        self.is(&[N::NoDomain, N::NoStoragePool, N::NoStorageVolume, N::NoNetwork, N::NoNodeDevice])
    }

    /// Whether this driver cannot do it at all, so that a caller can do without.
    pub(crate) fn is_unsupported(&self) -> bool {
        use ErrorNumber as N;
        matches!(
            self.number(),
            Some(
                N::NoSupport | N::ConfigUnsupported | N::ArgumentUnsupported | N::OperationUnsupported | N::InvalidArg
            )
        )
    }

    /// Whether an agent took a question and did not answer in time, so that the next question would
    /// only wait as long.
    pub(crate) fn is_silence(&self) -> bool {
        matches!(self.number(), Some(ErrorNumber::AgentUnresponsive | ErrorNumber::AgentCommandTimeout))
    }

    /// Whether the link itself is broken, whatever the call was.
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

    /// Why a host could not be reached, with the next step, in one text.
    pub(crate) fn of_link(&self, uri: &str) -> String {
        let fault = match self {
            Self::Libvirt { message, .. } if BROKEN.iter().any(|part| message.contains(part)) => broken(),
            Self::Libvirt { number, message } => unreachable(*number, message, uri),
            Self::TimedOut { seconds } => {
                Fault::new(FaultKind::Unreachable, format!("libvirt did not answer for {seconds} s"))
                    .with_next("Check whether its daemon hangs; it is tried again")
            }
            Self::Disconnected => broken(),
            Self::Unresponsive => Fault::new(FaultKind::TimedOut, "A machine does not answer libvirt"),
            Self::Panicked => internal(),
            Self::Said(fault) => fault.clone(),
        };
        fault.sentence()
    }

    /// The fault of a command on the named machine.
    pub(crate) fn of_command(&self, name: &str, host: &str) -> Fault {
        match self {
            Self::TimedOut { seconds } => Fault::new(
                FaultKind::TimedOut,
                format!("libvirt on {host} did not answer for {seconds} s, so what became of {name} is not known"),
            )
            .with_next("Watch its state; the command is not repeated"),
            Self::Unresponsive => Fault::new(FaultKind::TimedOut, format!("{name} does not answer libvirt"))
                .with_next("Look at its console and storage; Force off ends it if nothing else does"),
            Self::Disconnected => lost(name, host),
            Self::Panicked => internal(),
            Self::Said(fault) => fault.clone(),
            Self::Libvirt { .. } if self.is_link() => lost(name, host),
            Self::Libvirt { number, message } => refused(*number, message, name, host),
        }
    }
}

/// Turns "there is no such object" into none.
pub(crate) fn gone_is_none<T>(read: Result<T, Error>) -> Result<Option<T>, Error> {
    match read {
        Err(error) if error.is_gone() => Ok(None),
        read => read.map(Some),
    }
}

/// Parts of the messages of a link that broke under a call; libvirt gives them
/// no number of their own.
const BROKEN: [&str; 6] = [
    "client socket is closed",
    "connection closed",
    "while reading data",
    "while writing data",
    "Cannot recv data",
    "Cannot send data",
];

fn broken() -> Fault {
    Fault::new(FaultKind::Unreachable, "libvirt's daemon closed the link").with_next("It is tried again")
}

fn internal() -> Fault {
    Fault::new(FaultKind::Internal, "Belvedere made a mistake while it talked to libvirt")
        .with_next("See the server's log")
}

fn lost(name: &str, host: &str) -> Fault {
    Fault::new(FaultKind::Interrupted, format!("The link to {host} was lost, so what became of {name} is not known"))
        .with_next("Watch its state once the host is back; the command is not repeated")
}

fn taken(name: &str, host: &str) -> Fault {
    Fault::new(FaultKind::Conflict, format!("{host} has something named {name} already"))
        .with_next("Choose another name")
}

/// What libvirt's refusal of a command means.
fn refused(number: Option<ErrorNumber>, message: &str, name: &str, host: &str) -> Fault {
    use ErrorNumber as N;
    let has = |part: &str| message.contains(part);
    if has("failed to set MSR") || has("Could not access KVM") || has("failed to initialize kvm") || has("kvm: No such")
    {
        return Fault::new(FaultKind::Unsupported, format!("{name} needs KVM, which does not work on {host}"))
            .with_next("Turn virtualisation on in the host's firmware, or let the machine be emulated (type qemu instead of kvm)");
    }
    let unsupported = || Fault::new(FaultKind::Unsupported, format!("{host} cannot do this to {name}: {message}"));
    match number {
        Some(N::NoDomain) => Fault::new(FaultKind::NotFound, format!("{name} does not exist on {host} any more")),
        Some(N::NoStoragePool | N::NoStorageVolume | N::NoNetwork) => {
            Fault::new(FaultKind::NotFound, format!("{name} does not exist on {host} any more"))
        }
        Some(N::StorageVolExist | N::NetworkExist) => taken(name, host),
        // The test driver gives it no number.
        Some(N::OperationFailed) if has("already exists") => taken(name, host),
        Some(N::StoragePoolBuilt) => {
            Fault::new(FaultKind::Denied, format!("{name} was not built: there is data on its device already"))
                .with_next("Start it as it is, or clear the device by hand")
        }
        _ if has("No space left on device") => {
            Fault::new(FaultKind::Refused, format!("There is no room left on {host} for {name}"))
                .with_next("Delete what is not needed any more, or choose another pool")
        }
        Some(N::OperationDenied | N::AccessDenied | N::AuthFailed | N::AuthUnavailable) => Fault::new(
            FaultKind::Forbidden,
            format!("libvirt on {host} does not let Belvedere do this to {name}: {message}"),
        )
        .with_next("Give the account that Belvedere runs as the right to manage machines"),
        Some(N::InvalidArg) if has("unsupported flags") => unsupported(),
        Some(N::NoSupport | N::ConfigUnsupported | N::ArgumentUnsupported | N::OperationUnsupported) => unsupported(),
        Some(N::DomExist) => Fault::new(FaultKind::Conflict, format!("{host} has a machine of that name already"))
            .with_next("Choose another name"),
        Some(N::AgentUnresponsive | N::AgentCommandTimeout) => {
            Fault::new(FaultKind::Refused, format!("The guest agent of {name} does not answer"))
                .with_next("Check that qemu-guest-agent runs in the guest")
        }
        Some(N::OperationTimeout | N::ResourceBusy) => {
            Fault::new(FaultKind::Busy, format!("{name} is busy with something else: {message}"))
                .with_next("Try again in a moment")
        }
        _ => Fault::new(FaultKind::Refused, format!("libvirt on {host} refused this for {name}: {message}")),
    }
}

/// Why a connection could not be opened.
fn unreachable(number: Option<ErrorNumber>, message: &str, uri: &str) -> Fault {
    use ErrorNumber as N;
    let has = |part: &str| message.contains(part);
    let fault = |reason: &str| Fault::new(FaultKind::Unreachable, reason);
    if has("Permission denied") && has("socket")
        || matches!(number, Some(N::AuthUnavailable | N::AuthFailed | N::AuthCancelled))
    {
        return fault("Permission to use libvirt was denied").with_next(
            "Add the account that Belvedere runs as to the group libvirt (usermod -aG libvirt NAME) and start it again",
        );
    }
    if has("Failed to connect socket") || has("Connection refused") {
        return if uri.contains("+ssh") || uri.contains("+tls") || uri.contains("+tcp") || uri.contains("+libssh") {
            fault("Nothing listens at that address")
                .with_next("Check the address and that libvirt's daemon accepts remote connections")
        } else {
            fault("libvirt's daemon is not running")
                .with_next("Start it on that host: systemctl start libvirtd (or virtqemud.socket)")
        };
    }
    if has("unable to connect to server") || has("resolve") || has("Name or service not known") {
        return fault(&format!("The host could not be reached: {message}"))
            .with_next("Check the address and the network");
    }
    if has("Host key verification failed") {
        return fault("The SSH host key is not known")
            .with_next("Connect once with ssh as the same account and accept the key");
    }
    if matches!(number, Some(N::NoConnect | N::NoSupport | N::InvalidArg | N::ConfigUnsupported)) {
        return fault(&format!("libvirt does not know this kind of connection: {message}")).with_next("Check the URI");
    }
    fault(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(number: ErrorNumber, message: &str, uri: &str) -> String {
        Error::Libvirt { number: Some(number), message: message.into() }.of_link(uri)
    }

    #[test]
    fn a_daemon_that_does_not_run_is_told_apart_from_a_permission_that_is_missing() {
        let socket = "Failed to connect socket to '/var/run/libvirt/libvirt-sock'";
        let off = link(ErrorNumber::SystemError, &format!("{socket}: No such file or directory"), "qemu:///system");
        assert!(off.contains("daemon is not running") && off.contains("systemctl start"), "{off}");
        let denied = link(ErrorNumber::SystemError, &format!("{socket}: Permission denied"), "qemu:///system");
        assert!(denied.contains("usermod -aG libvirt"), "{denied}");
    }

    #[test]
    fn a_host_whose_kvm_does_not_work_is_told_to_emulate() {
        let error = Error::Libvirt {
            number: Some(ErrorNumber::InternalError),
            message: "process exited: error: failed to set MSR 0x10a to 0x0".into(),
        };
        let fault = error.of_command("web-01", "atlas");
        assert_eq!(fault.kind, FaultKind::Unsupported);
        assert!(fault.sentence().contains("web-01 needs KVM"), "{fault:?}");
    }

    #[test]
    fn a_text_of_libvirt_becomes_one_short_line() {
        let line = one_line(&format!("a\nb\u{7}\t{}", "c".repeat(500)));
        assert!(line.starts_with("a b") && line.chars().count() <= 300 && !line.contains('\n'));
    }
}
