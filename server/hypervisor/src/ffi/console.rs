//! Non-blocking streams with readiness notification, and sockets of graphical consoles. The binding
//! treats "would block" as an error, and its callback refers to the stream by address after it was
//! moved.

use std::{
    ffi::{c_char, c_int, c_void},
    os::{fd::FromRawFd, unix::net::UnixStream},
    sync::Arc,
};

use tokio::sync::Notify;
use virt::{connect::Connect, domain::Domain, error::Error, stream::Stream};
use virt_sys as sys;

/// Returned by a stream call that would block (`virStreamRecv`, `virStreamSend`).
const NOT_NOW: c_int = -2;

/// A non-blocking stream. Calls may still block briefly, because they may call the daemon; so does
/// dropping it, which ends the stream.
pub(crate) struct Tube {
    stream: Stream,
    /// Notified once after each `listen`.
    pub(crate) ready: Arc<Notify>,
}

impl Tube {
    /// Opens a stream, connects it to a console with `connect_to`, and registers for events.
    pub(crate) fn open(
        connect: &Connect,
        connect_to: impl FnOnce(&Stream) -> Result<(), Error>,
    ) -> Result<Self, Error> {
        let stream = Stream::new(connect, sys::VIR_STREAM_NONBLOCK)?;
        connect_to(&stream)?;
        let ready = Arc::new(Notify::new());
        let opaque = Box::into_raw(Box::new(ready.clone())).cast::<c_void>();
        let events = sys::VIR_STREAM_EVENT_READABLE as c_int;
        // SAFETY: the stream is valid, the callback has libvirt's signature, and `opaque` is a
        // box of its own that libvirt frees once with `free_ready`.
        let added = unsafe {
            sys::virStreamEventAddCallback(stream.as_ptr(), events, Some(on_ready), opaque, Some(free_ready))
        };
        if added < 0 {
            let error = Error::last_error();
            // SAFETY: libvirt does not free `opaque` of a failed registration.
            unsafe { free_ready(opaque) };
            return Err(error);
        }
        Ok(Self { stream, ready })
    }

    /// Reads available data: none if there is none now, empty at the end.
    pub(crate) fn recv(&self, buffer: &mut [u8]) -> Result<Option<usize>, Error> {
        // SAFETY: the stream is valid, and the buffer is as long as is said.
        let count =
            unsafe { sys::virStreamRecv(self.stream.as_ptr(), buffer.as_mut_ptr().cast::<c_char>(), buffer.len()) };
        match count {
            NOT_NOW => Ok(None),
            count => usize::try_from(count).map(Some).map_err(|_| Error::last_error()),
        }
    }

    /// Writes as much as possible and returns the number of bytes.
    pub(crate) fn send(&self, data: &[u8]) -> Result<usize, Error> {
        // SAFETY: the stream is valid, the data is as long as is said, and it is only read.
        let count = unsafe { sys::virStreamSend(self.stream.as_ptr(), data.as_ptr().cast::<c_char>(), data.len()) };
        match count {
            NOT_NOW => Ok(0),
            count => usize::try_from(count).map_err(|_| Error::last_error()),
        }
    }

    /// Requests one notification when there is data or the end, or optionally space to write.
    pub(crate) fn listen(&self, to_write: bool) {
        let write = if to_write { sys::VIR_STREAM_EVENT_WRITABLE } else { 0 };
        let events = sys::VIR_STREAM_EVENT_READABLE | write;
        // SAFETY: the stream is valid and has a callback. A failure is reported by the next call
        // on the stream.
        unsafe { sys::virStreamEventUpdateCallback(self.stream.as_ptr(), events as c_int) };
    }
}

impl Drop for Tube {
    fn drop(&mut self) {
        // SAFETY: the stream is valid; both may fail when it has ended already.
        unsafe {
            sys::virStreamEventRemoveCallback(self.stream.as_ptr());
            sys::virStreamAbort(self.stream.as_ptr());
        }
    }
}

unsafe extern "C" fn on_ready(stream: sys::virStreamPtr, _: c_int, opaque: *mut c_void) {
    // SAFETY: libvirt calls this with a valid stream and the box made in `open`. It repeats
    // the call while data is pending, so events are switched off here.
    let ready = unsafe {
        sys::virStreamEventUpdateCallback(stream, 0);
        &*opaque.cast::<Arc<Notify>>()
    };
    ready.notify_one();
}

unsafe extern "C" fn free_ready(opaque: *mut c_void) {
    // SAFETY: `opaque` is the box made in `open`, freed once.
    drop(unsafe { Box::from_raw(opaque.cast::<Arc<Notify>>()) });
}

/// A socket to a graphical console; its password is not needed (`virDomainOpenGraphicsFD`).
pub(crate) fn open_screen(domain: &Domain, index: u32) -> Result<UnixStream, Error> {
    let socket = domain.open_graphics_fd(index, sys::VIR_DOMAIN_OPEN_GRAPHICS_SKIPAUTH)?;
    // SAFETY: libvirt made the socket for this call, and it has no other owner.
    Ok(unsafe { UnixStream::from_raw_fd(socket as c_int) })
}
