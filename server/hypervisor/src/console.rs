//! Consoles of machines: bytes in both directions until either side ends.
//!
//! The meaning of the bytes, the viewers and their permissions are handled elsewhere.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use parking_lot::{Mutex, MutexGuard};

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

/// Maximum number of chunks queued in each direction; without a reader the console stalls.
const WAITING: usize = 32;
/// Maximum size of a chunk.
const PART: usize = 32 * 1024;

/// An open console. It ends when either half is dropped.
#[derive(Debug)]
pub struct OpenConsole {
    /// Output of the machine; it ends with the console.
    pub shown: mpsc::Receiver<Bytes>,
    /// Input.
    pub typed: mpsc::Sender<Bytes>,
}

/// Serial consoles that we opened, or that libvirt has not released yet, by machine and name.
#[derive(Debug, Default)]
pub(crate) struct Lines(Mutex<HashMap<(Uuid, String), Weak<()>>>);

impl Lines {
    fn lock(&self) -> MutexGuard<'_, HashMap<(Uuid, String), Weak<()>>> {
        self.0.lock()
    }

    /// Registers a serial console as ours while the result lives.
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

/// Our halves.
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
            // Unread data waits in the daemon, which then stops reading from the connection.
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
            // QEMU is involved and may hang.
            let socket = session.ask(id, move |connect| screen(connect, id, index as u32)).await?;
            tokio::spawn(carry(UnixStream::from_std(socket).map_err(|_| Error::Panicked)?, ends));
        }
    }
    Ok(open)
}

/// Opens a serial console (`virDomainOpenConsole`).
fn line(connect: &Connect, id: Uuid, name: &str, lines: &Lines) -> Result<Tube, Error> {
    let handle = connect.lookup_domain_by_uuid(id)?;
    // Other clients such as `virsh console` keep their session.
    let opened = Tube::open(connect, |stream| handle.open_console(Some(name), stream, 0));
    opened.map_err(|error| match Error::from(error) {
        Error::Libvirt { message, .. } if message.contains("Active console session") => {
            Error::Said(taken(lines.are_ours(id, name)))
        }
        error => error,
    })
}

/// The error for a serial console that is already open.
fn taken(by_us: bool) -> Fault {
    if by_us {
        return Fault::new(FaultKind::Busy, "libvirt has not yet released this console")
            .with_next("Try again in a moment");
    }
    Fault::new(FaultKind::Conflict, "This console is open in another program")
        .with_next("Close the other session, such as virsh console, and try again")
}

/// Opens a graphical console.
fn screen(connect: &Connect, id: Uuid, index: u32) -> Result<std::os::unix::net::UnixStream, Error> {
    let socket = ffi::open_screen(&connect.lookup_domain_by_uuid(id)?, index)?;
    socket.set_nonblocking(true).map_err(|_| Error::Panicked)?;
    Ok(socket)
}

/// Transfers the bytes of a serial console until one side ends, then releases it.
async fn pump(tube: Arc<Tube>, Ends { shown, mut typed }: Ends, held: Arc<()>) {
    // Input not written yet.
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
            // A closed receiver is detected below.
            shown.send(part).await.ok();
        }
        if moved.ended || shown.is_closed() {
            break;
        }
        tube.listen(!left.is_empty());
    }
    // Ending a stream calls the daemon.
    blocking(move || {
        drop(tube);
        drop(held);
    });
}

/// The bytes transferred in one step.
struct Moved {
    read: Vec<Bytes>,
    written: usize,
    ended: bool,
}

/// Reads available output and writes input; none if the stream broke.
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
            // Earlier output is still delivered.
            Err(_) => moved.ended = true,
        }
        break;
    }
    Some(moved)
}

/// Transfers the bytes of a graphical console until one side ends.
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
