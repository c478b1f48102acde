//! Owns the one stream of a browser and passes its frames to tabs.
//!
//! `link` decides when to open it, when to wait and when to poll instead.
//!
//! Runs in a shared worker, in the leading tab or in a single tab, and does not know which. Keeps
//! recent frames, so that a tab that joins with the cursor of its page misses none. Does not
//! interpret events.

use std::{
    cell::RefCell,
    collections::VecDeque,
    rc::{Rc, Weak},
};

use gloo_timers::callback::{Interval, Timeout};
use js_sys::{Array, Date, Math};
use model::{Cursor, Event, stats::LATEST, window};
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use web_sys::{EventSource, MessageEvent};

use super::link::{Link, LinkStep, State};
use crate::routes;

/// Interval of the link's clock, in milliseconds.
const WATCH: u32 = 1_000;
/// Maximum number and total bytes of the frames kept for joining tabs.
const KEPT: (usize, usize) = (2_048, 2 << 20);

/// The server's limits of watched machines and of pages per stream.
const MAX_WATCHED: usize = 50;
const MAX_VIEWS: usize = 64;
/// Bytes of their addresses: escaped they are up to three times as long, and servers limit those of requests.
const MAX_VIEW_BYTES: usize = 4_096;

/// The id of a tab; random, so that no one has to assign ids.
pub(super) type Tab = f64;

/// The state of the link, as shown to the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// It is being restored.
    Lost,
    /// Changes arrive.
    Live,
    /// Changes arrive by polling.
    Polling,
    /// The server requires a new sign-in.
    SignedOut,
}

impl How {
    const ALL: [Self; 4] = [Self::Lost, Self::Live, Self::Polling, Self::SignedOut];

    fn of(link: &Link) -> Self {
        match (link.is_live(), link.state) {
            (true, State::Polling) => Self::Polling,
            (true, _) => Self::Live,
            (false, State::SignedOut) => Self::SignedOut,
            (false, _) => Self::Lost,
        }
    }

    fn is_live(self) -> bool {
        matches!(self, Self::Live | Self::Polling)
    }
}

/// Messages from the hub to tabs. They are sent as arrays, the cheapest type to post.
#[derive(Clone, Debug)]
pub(super) enum Told {
    /// One event of the stream.
    Frame { id: String, kind: String, data: String },
    /// The state of the link, and since when changes do not arrive (Unix milliseconds).
    Status { how: How, since: f64 },
    /// The cursor of the tab is too old: it must read the inventory.
    Behind,
    /// The stream of some windows begins anew, and brings only events of what they hold now.
    Reopened,
}

impl Told {
    pub(super) fn to_js(&self) -> JsValue {
        let text = |text: &str| JsValue::from_str(text);
        let parts = match self {
            Self::Frame { id, kind, data } => vec![text("frame"), text(id), text(kind), text(data)],
            Self::Status { how, since } => vec![text("status"), (*how as u32).into(), (*since).into()],
            Self::Behind => vec![text("behind")],
            Self::Reopened => vec![text("reopened")],
        };
        parts.into_iter().collect::<Array>().into()
    }

    pub(super) fn from_js(value: &JsValue) -> Option<Self> {
        let parts = value.dyn_ref::<Array>()?;
        let text = |at| parts.get(at).as_string();
        match text(0)?.as_str() {
            "frame" => Some(Self::Frame { id: text(1)?, kind: text(2)?, data: text(3)? }),
            "status" => {
                let how = How::ALL.into_iter().find(|how| parts.get(1).as_f64() == Some(f64::from(*how as u32)))?;
                Some(Self::Status { how, since: parts.get(2).as_f64()? })
            }
            "behind" => Some(Self::Behind),
            "reopened" => Some(Self::Reopened),
            _ => None,
        }
    }
}

/// Messages from tabs to the hub.
#[derive(Clone, Debug)]
pub(super) enum Asked {
    /// Requests the frames after this cursor.
    Join { tab: Tab, cursor: String },
    /// The tab is being closed.
    Leave { tab: Tab },
    /// The tab watches this machine, or none, and shows the part of all machines that belongs to
    /// this address, or all.
    Watch { tab: Tab, id: String, view: String },
    /// Reconnect now.
    Reconnect,
}

impl Asked {
    pub(super) fn to_js(&self) -> JsValue {
        let parts: Vec<JsValue> = match self {
            Self::Join { tab, cursor } => vec!["join".into(), (*tab).into(), cursor.into()],
            Self::Leave { tab } => vec!["leave".into(), (*tab).into()],
            Self::Watch { tab, id, view } => vec!["watch".into(), (*tab).into(), id.into(), view.into()],
            Self::Reconnect => vec!["reconnect".into()],
        };
        parts.into_iter().collect::<Array>().into()
    }

    pub(super) fn from_js(value: &JsValue) -> Option<Self> {
        let parts = value.dyn_ref::<Array>()?;
        match parts.get(0).as_string()?.as_str() {
            "join" => Some(Self::Join { tab: parts.get(1).as_f64()?, cursor: parts.get(2).as_string()? }),
            "leave" => Some(Self::Leave { tab: parts.get(1).as_f64()? }),
            "watch" => {
                let (id, view) = (parts.get(2).as_string()?, parts.get(3).as_string()?);
                Some(Self::Watch { tab: parts.get(1).as_f64()?, id, view })
            }
            "reconnect" => Some(Self::Reconnect),
            _ => None,
        }
    }
}

/// Sends to one tab, or with `None` to all.
pub(super) type Outlet = Rc<dyn Fn(Option<Tab>, &Told)>;

struct Kept {
    cursor: Cursor,
    id: String,
    kind: String,
    data: String,
}

struct Inner {
    outlet: Outlet,
    source: Option<Source>,
    /// The cursor of the last frame.
    position: Option<Cursor>,
    /// The cursor before the first kept frame.
    from: Option<Cursor>,
    /// The machine that each tab watches, and the address of its part of all machines.
    watching: Vec<(Tab, String, String)>,
    kept: VecDeque<Kept>,
    bytes: usize,
    link: Link,
    /// The state last reported to tabs.
    told: Option<How>,
    /// When the connection was lost.
    lost: f64,
    retry: Option<Timeout>,
    _watch: Option<Interval>,
}

/// The stream and its readers.
#[derive(Clone)]
pub(super) struct Hub(Rc<RefCell<Inner>>);

/// An open stream; dropping it closes it.
struct Source {
    source: EventSource,
    _frames: Closure<dyn Fn(web_sys::Event)>,
    _error: Closure<dyn Fn(web_sys::Event)>,
}

impl Drop for Source {
    fn drop(&mut self) {
        self.source.set_onerror(None);
        self.source.close();
    }
}

impl Hub {
    pub(super) fn new(outlet: Outlet) -> Self {
        let inner = Inner {
            outlet,
            source: None,
            position: None,
            from: None,
            watching: Vec::new(),
            kept: VecDeque::new(),
            bytes: 0,
            link: Link::new(Date::now()),
            told: None,
            lost: Date::now(),
            retry: None,
            _watch: None,
        };
        let hub = Self(Rc::new(RefCell::new(inner)));
        let weak = Rc::downgrade(&hub.0);
        let watch = Interval::new(WATCH, move || with(&weak, |hub| hub.step(|link, now| link.tick(now))));
        hub.0.borrow_mut()._watch = Some(watch);
        hub
    }

    /// Handles a message of a tab.
    pub(super) fn asked(&self, asked: &Asked) {
        match asked {
            Asked::Join { tab, cursor } => self.join(*tab, cursor),
            Asked::Leave { tab } => self.watch(*tab, None),
            Asked::Watch { tab, id, view } => self.watch(*tab, Some((id, view))),
            Asked::Reconnect => self.step(Link::wanted),
        }
    }

    /// What tabs watch is part of the stream's address, so it is reopened from its cursor when that
    /// changes.
    fn watch(&self, tab: Tab, what: Option<(&str, &str)>) {
        let mut inner = self.0.borrow_mut();
        let before = (inner.watched(), inner.views());
        inner.watching.retain(|(known, ..)| *known != tab);
        inner.watching.extend(what.map(|(id, view)| (tab, id.to_owned(), view.to_owned())));
        let now = (inner.watched(), inner.views());
        let changed = now != before && inner.source.is_some();
        // What was kept lacks what the windows do not show.
        if now.1.is_empty() && !before.1.is_empty() {
            inner.kept.clear();
            (inner.bytes, inner.from) = (0, inner.position);
        }
        drop(inner);
        if changed {
            self.connect();
        }
    }

    fn join(&self, tab: Tab, cursor: &str) {
        let cursor: Option<Cursor> = cursor.parse().ok();
        if self.0.borrow().link.state == State::Idle {
            let mut inner = self.0.borrow_mut();
            (inner.position, inner.from) = (cursor, cursor);
            drop(inner);
            self.step(Link::joined);
            return;
        }
        let inner = self.0.borrow();
        let outlet = inner.outlet.clone();
        let missed = match (cursor, inner.from) {
            (Some(cursor), Some(from)) if cursor.epoch == from.epoch && cursor.seq >= from.seq => Some(cursor),
            _ => None,
        };
        let mut told: Vec<Told> = inner.told.map(|_| inner.status()).into_iter().collect();
        match missed {
            Some(cursor) => {
                told.extend(inner.kept.iter().filter(|kept| kept.cursor.seq > cursor.seq).map(|kept| Told::Frame {
                    id: kept.id.clone(),
                    kind: kept.kind.clone(),
                    data: kept.data.clone(),
                }));
            }
            None => told.push(Told::Behind),
        }
        drop(inner);
        told.iter().for_each(|told| outlet(Some(tab), told));
        self.step(Link::joined);
    }

    /// Advances the link and carries out its step.
    fn step(&self, decide: impl FnOnce(&mut Link, f64) -> LinkStep) {
        let step = decide(&mut self.0.borrow_mut().link, Date::now());
        match step {
            LinkStep::Rest => {}
            LinkStep::Open => self.connect(),
            LinkStep::Wait(pause) => {
                let hub = Rc::downgrade(&self.0);
                let waited = Timeout::new(pause as u32, move || with(&hub, |hub| hub.step(Link::waited)));
                let mut inner = self.0.borrow_mut();
                (inner.source, inner.retry) = (None, Some(waited));
            }
            LinkStep::Close => {
                let mut inner = self.0.borrow_mut();
                (inner.source, inner.retry) = (None, None);
            }
            LinkStep::Poll { first } => {
                if first {
                    self.0.borrow_mut().source = None;
                }
                self.poll(first);
            }
        }
        self.tell_status();
    }

    /// Opens the stream from the last cursor on.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that opens the stream")]
    fn connect(&self) {
        self.tell_reopened();
        let address = {
            let mut inner = self.0.borrow_mut();
            inner.source = None;
            inner.retry = None;
            routes::events(inner.position.map(|cursor| cursor.to_string()).as_deref(), &inner.watched(), &inner.views())
        };
        let Ok(source) = EventSource::new(&address) else {
            self.failed_later();
            return;
        };
        let weak = Rc::downgrade(&self.0);
        // The stream's own event type "error" and a connection error have the same name; only the
        // former is a message.
        let frames = Closure::<dyn Fn(web_sys::Event)>::new({
            let weak = weak.clone();
            move |event: web_sys::Event| {
                if let Some(message) = event.dyn_ref::<MessageEvent>() {
                    with(&weak, |hub| hub.frame(message));
                }
            }
        });
        for kind in Event::KINDS.iter().chain(&LATEST).chain(&["inventory", "bookmark", window::KIND]) {
            source.add_event_listener_with_callback(kind, frames.as_ref().unchecked_ref()).ok();
        }
        let error = Closure::<dyn Fn(web_sys::Event)>::new(move |event: web_sys::Event| {
            if !event.is_instance_of::<MessageEvent>() {
                with(&weak, |hub| hub.failed_later());
            }
        });
        source.set_onerror(Some(error.as_ref().unchecked_ref()));
        self.0.borrow_mut().source = Some(Source { source, _frames: frames, _error: error });
    }

    fn frame(&self, event: &MessageEvent) {
        let data = event.data().as_string().unwrap_or_default();
        self.0.borrow_mut().link.frame(Date::now());
        self.tell_status();
        self.pass(event.last_event_id(), event.type_(), data);
    }

    /// Keeps a frame and passes it on to all tabs.
    fn pass(&self, id: String, kind: String, data: String) {
        let mut inner = self.0.borrow_mut();
        // What is outside of the log has no id; the browser reports that of the frame before.
        let id = if kind == window::KIND || LATEST.contains(&kind.as_str()) { String::new() } else { id };
        if let Ok(cursor) = id.parse::<Cursor>() {
            inner.keep(cursor, &id, &kind, &data);
        }
        let outlet = inner.outlet.clone();
        drop(inner);
        outlet(None, &Told::Frame { id, kind, data });
    }

    /// Polls once for frames after the last cursor.
    fn poll(&self, first: bool) {
        self.tell_reopened();
        let address = self.0.borrow().poll_address(first);
        let hub = Rc::downgrade(&self.0);
        wasm_bindgen_futures::spawn_local(async move {
            let answer = gloo_net::http::Request::get(&address).send().await;
            let text = match answer {
                Ok(answer) if is_refusal(&answer) => return with(&hub, |hub| hub.step(Link::refused)),
                Ok(answer) if answer.ok() => answer.text().await.ok(),
                _ => None,
            };
            with(&hub, |hub| {
                let polling = hub.0.borrow().link.state == State::Polling;
                // A stream that has taken over delivers the same frames, in order.
                for frame in text.iter().flat_map(|text| text.split("\n\n")).filter(|_| polling) {
                    let field = |name: &str| {
                        frame.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().to_owned()
                    };
                    if frame.starts_with("id: ") || frame.starts_with("event: ") {
                        hub.pass(field("id: "), field("event: "), field("data: "));
                    }
                }
                hub.step(|link, now| link.polled(now, text.is_some(), Math::random()));
            });
        });
    }

    /// The source is dropped outside of its own callback.
    fn failed_later(&self) {
        let hub = self.clone();
        let now = Timeout::new(0, move || hub.step(|link, now| link.failed(now, Math::random())));
        let mut inner = self.0.borrow_mut();
        // A broken stream reconnects by itself. A closed one got an unexpected response, whose
        // status only a request of our own can read.
        if inner.source.as_ref().is_some_and(|source| source.source.ready_state() == EventSource::CLOSED) {
            self.ask_why(inner.poll_address(true));
        }
        // A stream that was tried during polling must not reconnect by itself.
        if inner.link.state == State::Polling {
            now.forget();
            return;
        }
        inner.retry = Some(now);
    }

    /// Tells tabs with windows that their stream begins anew.
    fn tell_reopened(&self) {
        let inner = self.0.borrow();
        let (windows, outlet) = (!inner.views().is_empty(), inner.outlet.clone());
        drop(inner);
        if windows {
            outlet(None, &Told::Reopened);
        }
    }

    /// Finds out why the stream was refused.
    fn ask_why(&self, address: String) {
        let hub = Rc::downgrade(&self.0);
        wasm_bindgen_futures::spawn_local(async move {
            let answer = gloo_net::http::Request::get(&address).send().await;
            if answer.is_ok_and(|answer| is_refusal(&answer)) {
                with(&hub, |hub| hub.step(Link::refused));
            }
        });
    }

    /// Reports the state of the link to tabs when it has changed.
    fn tell_status(&self) {
        let mut inner = self.0.borrow_mut();
        let now = How::of(&inner.link);
        // Before the first attempt has ended there is nothing to report.
        let at_first = inner.told.is_none() && now == How::Lost && inner.link.state != State::Waiting;
        if at_first || inner.told == Some(now) {
            return;
        }
        if inner.told.is_none_or(How::is_live) && !now.is_live() {
            inner.lost = Date::now();
        }
        inner.told = Some(now);
        let (outlet, told) = (inner.outlet.clone(), inner.status());
        drop(inner);
        outlet(None, &told);
    }
}

impl Inner {
    /// Where the frames after the last cursor are polled.
    fn poll_address(&self, at_once: bool) -> String {
        let since = self.position.map(|cursor| cursor.to_string());
        routes::poll(since.as_deref(), at_once, &self.views())
    }

    fn status(&self) -> Told {
        Told::Status { how: How::of(&self.link), since: self.lost }
    }

    /// The machines watched by any tab, for the stream's address.
    fn watched(&self) -> String {
        // The server has a limit; tabs that disappeared without a message are the oldest.
        let mut all: Vec<&str> = Vec::new();
        let ids = self.watching.iter().rev().filter(|(_, id, _)| !id.is_empty());
        for (_, id, _) in ids.take(MAX_WATCHED) {
            if let Err(at) = all.binary_search(&id.as_str()) {
                all.insert(at, id);
            }
        }
        all.join(",")
    }

    /// The addresses of the tabs that have a part of all machines, one a line; nothing when any tab
    /// has all of them.
    fn views(&self) -> String {
        let (mut all, mut length): (Vec<&str>, usize) = (Vec::new(), 0);
        for (.., view) in self.watching.iter().rev() {
            if view.is_empty() {
                return String::new();
            }
            // One long address must not keep the others from being followed.
            let fits = all.len() < MAX_VIEWS && length + view.len() <= MAX_VIEW_BYTES;
            if fits && !all.contains(&view.as_str()) {
                length += view.len();
                all.push(view);
            }
        }
        all.join("\n")
    }

    /// Keeps a frame for tabs that join.
    fn keep(&mut self, cursor: Cursor, id: &str, kind: &str, data: &str) {
        self.position = Some(cursor);
        if kind == "inventory" {
            self.kept.clear();
            self.bytes = 0;
            self.from = Some(cursor);
            return;
        }
        if kind == "bookmark" {
            return;
        }
        self.from.get_or_insert(Cursor { seq: cursor.seq.saturating_sub(1), ..cursor });
        self.bytes += data.len();
        self.kept.push_back(Kept { cursor, id: id.to_owned(), kind: kind.to_owned(), data: data.to_owned() });
        while self.kept.len() > KEPT.0 || self.bytes > KEPT.1 {
            let Some(oldest) = self.kept.pop_front() else { break };
            self.bytes -= oldest.data.len();
            self.from = Some(oldest.cursor);
        }
    }
}

/// Whether a response means that the server, or a proxy in front of it, requires sign-in.
fn is_refusal(answer: &gloo_net::http::Response) -> bool {
    matches!(answer.status(), 401 | 403)
}

/// Runs something on a hub, if it still exists.
fn with(weak: &Weak<RefCell<Inner>>, run: impl FnOnce(&Hub)) {
    if let Some(inner) = weak.upgrade() {
        run(&Hub(inner));
    }
}
