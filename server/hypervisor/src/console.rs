//! Consoles of machines: bytes that come and bytes that go, until either side ends it.
//!
//! It does not know what the bytes mean, who looks at them, or whether they may.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use bytes::Bytes;
use model::{Console, ConsoleKind, Domain, Fault, FaultKind};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    sync::mpsc,
};
use uuid::Uuid;
use virt::connect::Connect;

use crate::{
    error::Error,
    ffi::{self, Tube},
    link::{Lane, Session, blocking},
};

/// Parts that wait on each way; a line or a screen that nobody takes anything of stands still.
const WAITING: usize = 32;
/// Largest part.
const PART: usize = 32 * 1024;

/// An open console. It ends when either half is dropped.
#[derive(Debug)]
pub struct OpenConsole {
    /// What the machine shows; it ends with the console.
    pub shown: mpsc::Receiver<Bytes>,
    /// What is typed.
    pub typed: mpsc::Sender<Bytes>,
}

/// The lines that are open by us, or that libvirt has yet to let go of, by machine and name.
#[derive(Debug, Default)]
pub(crate) struct Lines(Mutex<HashMap<(Uuid, String), Weak<()>>>);

impl Lines {
    fn lock(&self) -> MutexGuard<'_, HashMap<(Uuid, String), Weak<()>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a line is ours for as long as what this gives lives.
    fn hold(&self, id: Uuid, name: String) -> Arc<()> {
        let mut lines = self.lock();
        lines.retain(|_, held| held.strong_count() > 0);
        let held = Arc::new(());
        lines.insert((id, name), Arc::downgrade(&held));
        held
    }

    fn are_ours(&self, id: Uuid, name: &str) -> bool {
        self.lock().get(&(id, name.to_owned())).is_some_and(|held| held.strong_count() > 0)
    }
}

/// The halves that are here.
struct Ends {
    shown: mpsc::Sender<Bytes>,
    typed: mpsc::Receiver<Bytes>,
}

fn halves() -> (OpenConsole, Ends) {
    let ((shown, taken), (typed, given)) = (mpsc::channel(WAITING), mpsc::channel(WAITING));
    (OpenConsole { shown: taken, typed }, Ends { shown, typed: given })
}

/// Opens a console of a machine.
pub(crate) async fn open(session: &Arc<Session>, domain: &Domain, console: &Console) -> Result<OpenConsole, Error> {
    let (id, name) = (domain.id, console.name.clone());
    let (open, ends) = halves();
    match console.kind {
        ConsoleKind::Serial => {
            // What nobody takes waits in the daemon, which reads no more of a connection then.
            let own = session.clone();
            let opened = move |_: &Connect| {
                let tube = line(&own.connection_of_its_own()?, id, &name, &own.lines)?;
                Ok((tube, own.lines.hold(id, name)))
            };
            let (tube, held) = session.call(Lane::Console, opened).await?;
            tokio::spawn(pump(Arc::new(tube), ends, held));
        }
        ConsoleKind::Screen => {
            let index = domain.graphics.iter().position(|graphics| graphics.kind == "vnc").unwrap_or_default();
            // QEMU is asked for it, which may hang.
            let socket = session.ask(id, move |connect| screen(connect, id, index as u32)).await?;
            tokio::spawn(carry(UnixStream::from_std(socket).map_err(|_| Error::Panicked)?, ends));
        }
    }
    Ok(open)
}

/// Opens a serial line (`virDomainOpenConsole`).
fn line(connect: &Connect, id: Uuid, name: &str, lines: &Lines) -> Result<Tube, Error> {
    let handle = connect.lookup_domain_by_uuid(id)?;
    // Whoever has it already, such as `virsh console`, keeps it.
    let opened = Tube::open(connect, |stream| handle.open_console(Some(name), stream, 0));
    opened.map_err(|error| match Error::from(error) {
        Error::Libvirt { message, .. } if message.contains("Active console session") => {
            Error::Said(taken(lines.are_ours(id, name)))
        }
        error => error,
    })
}

/// Why a line that somebody has cannot be opened.
fn taken(by_us: bool) -> Fault {
    if by_us {
        return Fault::new(FaultKind::Busy, "libvirt has not let go of this line since it was open here last")
            .with_next("Try again in a moment");
    }
    Fault::new(FaultKind::Conflict, "Somebody else has this line open outside of Belvedere")
        .with_next("End their session, such as virsh console, and try again")
}

/// Opens a screen.
fn screen(connect: &Connect, id: Uuid, index: u32) -> Result<std::os::unix::net::UnixStream, Error> {
    let socket = ffi::open_screen(&connect.lookup_domain_by_uuid(id)?, index)?;
    socket.set_nonblocking(true).map_err(|_| Error::Panicked)?;
    Ok(socket)
}

/// Carries a line's bytes until one side ends it, and lets go of it then.
async fn pump(tube: Arc<Tube>, Ends { shown, mut typed }: Ends, held: Arc<()>) {
    // What could not be written yet.
    let mut left = Bytes::new();
    loop {
        tokio::select! {
            () = tube.ready.notified() => {}
            part = typed.recv(), if left.is_empty() => match part {
                Some(part) => left = part,
                None => break,
            },
            () = shown.closed() => break,
        }
        let (reading, writing) = (tube.clone(), left.clone());
        let Ok(Some(moved)) = blocking(move || both_ways(&reading, &writing)).await else { break };
        left = left.slice(moved.written..);
        for part in moved.read {
            // That nobody takes it any more is seen below.
            shown.send(part).await.ok();
        }
        if moved.ended || shown.is_closed() {
            break;
        }
        tube.listen(!left.is_empty());
    }
    // Ending a stream talks to the daemon.
    blocking(move || {
        drop(tube);
        drop(held);
    });
}

/// What went through a line at once.
struct Moved {
    read: Vec<Bytes>,
    written: usize,
    ended: bool,
}

/// Reads what there is, up to some parts, and writes what goes; none when the line broke.
fn both_ways(tube: &Tube, typed: &[u8]) -> Option<Moved> {
    let mut moved = Moved { read: Vec::new(), written: 0, ended: false };
    if !typed.is_empty() {
        moved.written = tube.send(typed).ok()?;
    }
    let mut buffer = vec![0; PART];
    while moved.read.len() < WAITING {
        match tube.recv(&mut buffer) {
            Ok(Some(0)) => moved.ended = true,
            Ok(Some(count)) => {
                moved.read.push(Bytes::copy_from_slice(&buffer[..count]));
                continue;
            }
            Ok(None) => {}
            // What came before is shown still.
            Err(_) => moved.ended = true,
        }
        break;
    }
    Some(moved)
}

/// Carries a screen's bytes until one side ends it.
async fn carry(socket: UnixStream, Ends { shown, mut typed }: Ends) {
    let (mut from, mut to) = socket.into_split();
    let reading = async {
        let mut buffer = vec![0; PART];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            if shown.send(Bytes::copy_from_slice(&buffer[..count])).await.is_err() {
                break;
            }
        }
    };
    let writing = async {
        while let Some(part) = typed.recv().await {
            if to.write_all(&part).await.is_err() {
                break;
            }
        }
    };
    tokio::select! {
        () = reading => {}
        () = writing => {}
        () = shown.closed() => {}
    }
}
