//! The consoles of a machine, and whether one can be opened now.
//!
//! Opening and displaying a console is done elsewhere.

use serde::{Deserialize, Serialize};

use crate::{Domain, Fault, FaultKind, Host, host::is_local};

/// A serial port or virtio console (libvirt: `<serial>`, `<console>`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Serial {
    /// libvirt's name of the device, such as `serial0`.
    pub name: String,
    /// The type of its host end: `pty`, `unix`, `tcp`, `file`, …
    pub kind: String,
}

/// The type of a console.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConsoleKind {
    /// Graphical, over the RFB protocol of VNC (RFC 6143).
    Screen,
    /// Text, as on a terminal.
    Serial,
}

/// One console of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Console {
    /// Its name in URLs: `screen`, or the name of the serial port.
    pub name: String,
    /// Its type.
    pub kind: ConsoleKind,
}

impl Console {
    /// The name of the graphical console.
    pub const SCREEN: &str = "screen";

    /// The consoles of a machine, the graphical one first.
    pub fn all(domain: &Domain) -> Vec<Self> {
        let screen = Self { name: Self::SCREEN.into(), kind: ConsoleKind::Screen };
        let screen = (!domain.graphics.is_empty()).then_some(screen);
        let lines = domain.serials.iter().map(|line| Self { name: line.name.clone(), kind: ConsoleKind::Serial });
        screen.into_iter().chain(lines).collect()
    }

    /// The label on screen.
    pub fn label(&self) -> String {
        match self.kind {
            ConsoleKind::Screen => "Screen".into(),
            ConsoleKind::Serial => match self.name.split_at_checked(6) {
                Some(("serial", number)) => format!("Serial {number}"),
                _ => self.name.clone(),
            },
        }
    }

    /// Whether it can be opened now; used by the page and the server.
    ///
    /// # Errors
    /// `NotFound`, `Denied` or `Unsupported`, with the next step.
    pub fn check(&self, domain: &Domain, host: &Host) -> Result<(), Fault> {
        let name = &domain.name;
        if !Self::all(domain).contains(self) {
            let reason = format!("{name} has no console {:?}", self.name);
            return Err(Fault::new(FaultKind::NotFound, reason).with_next("Choose a console listed on its Devices tab"));
        }
        if !host.connection.connected {
            return Err(Fault::denied(format!("{} is not connected, so {name} cannot be reached", host.id)));
        }
        let unsupported =
            |reason: String, next: String| Err(Fault::new(FaultKind::Unsupported, reason).with_next(next));
        if host.info.as_ref().is_some_and(|info| info.is_test_driver()) {
            let reason = format!("{name} is on libvirt's test driver, which provides no consoles");
            return unsupported(reason, "Use a host with QEMU".into());
        }
        if !domain.state.is_active() {
            return Err(Fault::denied(format!("{name} is not running")).with_next("Start it first"));
        }
        match self.kind {
            ConsoleKind::Screen => {
                let (uri, machine) = (quoted(&host.connection.uri), quoted(name));
                let viewer = format!("Open it with: virt-viewer --connect {uri} {machine}");
                if !domain.graphics.iter().any(|graphics| graphics.kind == "vnc") {
                    let kind = &domain.graphics[0].kind;
                    return unsupported(format!("The screen of {name} uses {kind}, and only VNC is supported"), viewer);
                }
                if !is_local(&host.connection.uri) {
                    let reason = format!("libvirt cannot open screens of remote hosts, and {} is remote", host.id);
                    return unsupported(reason, viewer);
                }
            }
            ConsoleKind::Serial => {
                let line = domain.serials.iter().find(|line| line.name == self.name);
                let kind = line.map_or("", |line| line.kind.as_str());
                // libvirt opens no other type: "character device serial0 is not using a PTY".
                if kind != "pty" {
                    let reason = format!("{} of {name} has type {kind}, which libvirt cannot open", self.name);
                    return unsupported(reason, "Change the type of the port to pty".into());
                }
            }
        }
        Ok(())
    }
}

/// A text quoted as one shell word.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        DomainState,
        domain::Graphics,
        host::{HostInfo, Link},
    };

    fn host(uri: &str, driver: &str) -> Host {
        Host {
            id: "atlas".parse().expect("a name"),
            connection: Link { connected: true, uri: uri.into(), ..Link::default() },
            info: Some(HostInfo { driver: driver.into(), ..HostInfo::default() }),
            demo: false,
            managed: false,
        }
    }

    fn domain() -> Domain {
        let line = |name: &str, kind: &str| Serial { name: name.into(), kind: kind.into() };
        Domain {
            name: "web".into(),
            state: DomainState::Running,
            graphics: vec![Graphics { kind: "vnc".into(), ..Graphics::default() }],
            serials: vec![line("serial0", "pty"), line("ua-log", "file")],
            ..Domain::default()
        }
    }

    #[test]
    fn a_machine_has_its_screen_and_each_of_its_lines() {
        let all = Console::all(&domain());
        let labels: Vec<_> = all.iter().map(Console::label).collect();
        assert_eq!(labels, ["Screen", "Serial 0", "ua-log"]);
        assert!(Console::all(&Domain::default()).is_empty());
    }

    #[test]
    fn what_cannot_be_opened_says_why_and_what_to_do() {
        let (local, domain) = (host("qemu:///system", "QEMU"), domain());
        let [screen, line, file] = Console::all(&domain).try_into().expect("three");
        assert_eq!(screen.check(&domain, &local), Ok(()));
        assert_eq!(line.check(&domain, &local), Ok(()));
        let why = |console: &Console, domain: &Domain, host: &Host| {
            let fault = console.check(domain, host).expect_err("not possible");
            (fault.kind, fault.sentence())
        };
        assert_eq!(
            why(&file, &domain, &local),
            (
                FaultKind::Unsupported,
                "ua-log of web has type file, which libvirt cannot open. Change the type of the port to pty.".into()
            )
        );
        for kind in ["unix", "tcp", "udp", "dev", "null", ""] {
            let serials = vec![Serial { name: "serial0".into(), kind: kind.into() }];
            let elsewhere = Domain { serials, ..domain.clone() };
            assert_eq!(why(&line, &elsewhere, &local).0, FaultKind::Unsupported, "libvirt opens no {kind}");
        }
        let off = Domain { state: DomainState::Stopped, ..domain.clone() };
        assert_eq!(why(&line, &off, &local), (FaultKind::Denied, "web is not running. Start it first.".into()));
        let spice =
            Domain { graphics: vec![Graphics { kind: "spice".into(), ..Graphics::default() }], ..domain.clone() };
        assert_eq!(why(&screen, &spice, &local).0, FaultKind::Unsupported);
        let far = host("qemu+ssh://root@kvm-2/system", "QEMU");
        assert!(why(&screen, &domain, &far).1.contains("virt-viewer --connect 'qemu+ssh://root@kvm-2/system' 'web'"));
        let hostile = Domain { name: "x'; reboot; '".into(), ..spice };
        assert!(why(&screen, &hostile, &local).1.contains("'qemu:///system' 'x'\\''; reboot; '\\'''"), "one word");
        assert_eq!(line.check(&domain, &far), Ok(()), "lines come over any link");
        assert_eq!(why(&line, &domain, &host("test:///default", "TEST")).0, FaultKind::Unsupported);
        let mut away = host("qemu:///system", "QEMU");
        away.connection.connected = false;
        assert_eq!(why(&line, &domain, &away).0, FaultKind::Denied);
        let other = Console { name: "serial7".into(), kind: ConsoleKind::Serial };
        assert_eq!(why(&other, &domain, &local).0, FaultKind::NotFound);
    }
}
