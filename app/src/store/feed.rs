//! A tab's end of the stream: finds or becomes the hub, applies frames, keeps the clock.
//!
//! One stream serves all tabs of a browser, through the first of these that works: a shared worker;
//! a leading tab, elected by a lock, that serves the others over a channel; a stream per tab. The
//! second needs a secure context, the others do not.

use std::{cell::RefCell, collections::HashMap, rc::Rc, sync::Arc};

use gloo_timers::callback::{Interval, Timeout};
use js_sys::{Array, Date, Function, Math, Promise, Reflect};
use leptos::prelude::*;
use model::{
    DomainRef, Task, Viewer,
    event::Change,
    inventory::Snapshot,
    read::read,
    stats::LATEST,
    window::{self, PageData, Window},
};
use wasm_bindgen::{JsCast, JsValue, closure::Closure, prelude::wasm_bindgen};
use web_sys::{BroadcastChannel, MessageEvent, MessagePort, SharedWorker, VisibilityState, WorkerOptions, WorkerType};

use super::{
    Freshness, Store,
    acts::Acts,
    draw,
    hub::{Asked, How, Hub, Tab, Told},
    post::Post,
};
use crate::routes;

/// Maximum number of frames queued for a hidden tab; beyond that it reads the whole inventory.
const MAX_WAITING: usize = 5_000;
/// Maximum number of queued frames with statistics, which are soon outdated.
const MAX_LATEST: usize = 240;
/// Shortest time between two reads of the inventory, in milliseconds.
const READ_PAUSE: u32 = 1_000;
/// Part of every bookmark from a server of this page's version.
const OUR_VERSION: &str = concat!("\"", env!("CARGO_PKG_VERSION"), "\"");

thread_local! {
    static CLIENT: RefCell<Option<Rc<Client>>> = const { RefCell::new(None) };
}

/// Sends a request to the hub.
type Ask = Box<dyn Fn(&Asked)>;

/// This tab's end of the stream.
struct Client {
    tab: Tab,
    store: Store,
    acts: Acts,
    /// The machine that this tab watches.
    watch: RefCell<Option<DomainRef>>,
    ask: RefCell<Ask>,
    /// Frames queued for rendering.
    waiting: RefCell<Vec<Told>>,
    /// Whether rendering them is scheduled.
    planned: std::cell::Cell<bool>,
    /// Whether any frame was applied yet.
    applied: std::cell::Cell<bool>,
    overflowed: std::cell::Cell<bool>,
    /// Whether the inventory is being read or about to be.
    reading: std::cell::Cell<bool>,
    /// Whether it must be read again after that.
    again: std::cell::Cell<bool>,
    /// Whether the stream began anew since the last window.
    reopened: std::cell::Cell<bool>,
    /// Whether more machines are mirrored than a browser should.
    many: std::cell::Cell<bool>,
}

/// Starts the stream of this tab.
pub(super) fn start(store: Store, acts: Acts) {
    let client = Rc::new(Client {
        tab: Math::random(),
        store,
        acts,
        watch: RefCell::default(),
        ask: RefCell::new(Box::new(|_| {})),
        waiting: RefCell::default(),
        planned: false.into(),
        applied: false.into(),
        reopened: false.into(),
        many: false.into(),
        overflowed: false.into(),
        reading: false.into(),
        again: false.into(),
    });
    CLIENT.set(Some(client.clone()));
    if !client.through_worker() && !client.through_leader() {
        client.alone();
    }
    client.join();
    client.follow_page();
    client.clone().tick();
}

/// Reconnects now.
pub(crate) fn reconnect() {
    if let Some(client) = CLIENT.with_borrow(Clone::clone) {
        (client.ask.borrow())(&Asked::Reconnect);
    }
}

/// The address of this tab's page, with its query.
fn here() -> String {
    let location = window().location();
    [location.pathname(), location.search()].map(Result::unwrap_or_default).concat()
}

/// Reads what the page at an address starts with.
async fn read_page(address: &str) -> Option<PageData> {
    let asked = gloo_net::http::Request::get(&routes::api_view(address)).header(routes::REFRESH_HEADER, "1");
    crate::api::answered(asked.send().await.ok()?).await.ok()
}

/// Reads what the next page starts with, if this tab has a part of all machines only.
pub(crate) async fn bring(address: &str) -> Option<PageData> {
    let client = CLIENT.with_borrow(Clone::clone)?;
    if client.view()? == address {
        return None;
    }
    let page = read_page(address).await;
    if page.is_none() {
        client.read_everything();
    }
    page
}

/// Shows the next page.
pub(crate) fn show(page: PageData) {
    if let Some(client) = CLIENT.with_borrow(Clone::clone) {
        client.show(page);
    }
}

/// Watches a machine in detail, or none.
pub(crate) fn watch(id: Option<DomainRef>) {
    if let Some(client) = CLIENT.with_borrow(Clone::clone) {
        *client.watch.borrow_mut() = id;
        client.tell_watch();
    }
}

/// The entry point of the shared worker: one hub for all tabs that connect.
#[wasm_bindgen]
pub fn stream_worker(early: Array) {
    let ports: Rc<RefCell<HashMap<u64, MessagePort>>> = Rc::default();
    let post = {
        let ports = ports.clone();
        Post::new(move |letters| {
            for (tab, port) in ports.borrow().iter() {
                let own = letters.iter().filter(|(to, _)| to.is_none_or(|to| to.to_bits() == *tab));
                let message: Array = own.map(|(_, told)| told).collect();
                // A port of a closed tab discards the message.
                if message.length() > 0 {
                    port.post_message(&message).unwrap_or_default();
                }
            }
        })
    };
    let hub = Hub::new(post.outlet());
    let serve = move |port: MessagePort| {
        let (hub, post, ports, own) = (hub.clone(), post.clone(), ports.clone(), port.clone());
        let heard = Closure::<dyn Fn(MessageEvent)>::new(move |event: MessageEvent| {
            let Some(asked) = Asked::from_js(&event.data()) else { return };
            match &asked {
                Asked::Join { tab, .. } => {
                    // Flush what is queued for the other tabs, as this tab gets it with the frames
                    // it missed.
                    post.send();
                    ports.borrow_mut().insert(tab.to_bits(), own.clone());
                }
                Asked::Leave { tab } => {
                    ports.borrow_mut().remove(&tab.to_bits());
                }
                Asked::Watch { .. } | Asked::Reconnect => {}
            }
            hub.asked(&asked);
        });
        port.set_onmessage(Some(heard.as_ref().unchecked_ref()));
        // The port lives as long as the worker.
        heard.forget();
    };
    early.iter().filter_map(|port| port.dyn_into().ok()).for_each(&serve);
    let connected = Closure::<dyn Fn(MessageEvent)>::new(move |event: MessageEvent| {
        if let Ok(port) = event.ports().get(0).dyn_into() {
            serve(port);
        }
    });
    Reflect::set(&js_sys::global(), &"onconnect".into(), connected.as_ref()).ok();
    connected.forget();
}

impl Client {
    /// Tabs share a stream only for the same user, role and scope, so that the next user of a
    /// browser never receives another one's events.
    fn stream_name(&self) -> String {
        let Viewer { name, role, scope, .. } = self.store.viewer();
        format!("belvedere-stream{} {} {} {}", routes::base(), name.unwrap_or_default(), role.name(), scope.words())
    }

    /// Joins the hub in a shared worker, if the browser supports them.
    fn through_worker(self: &Rc<Self>) -> bool {
        if !Reflect::has(&window(), &"SharedWorker".into()).unwrap_or(false) {
            return false;
        }
        let options = WorkerOptions::new();
        options.set_type(WorkerType::Module);
        options.set_name(&self.stream_name());
        let Ok(worker) = SharedWorker::new_with_worker_options(&routes::at(routes::WORKER), &options) else {
            return false;
        };
        let port = worker.port();
        self.listen(|heard| port.set_onmessage(Some(heard)));
        // If the worker fails to start, this tab opens its own stream.
        let client = self.clone();
        let failed = Closure::once_into_js(move || {
            client.alone();
            client.join();
        });
        worker.set_onerror(failed.dyn_ref());
        *self.ask.borrow_mut() = Box::new(move |asked| {
            // The worker must live as long as its port is used.
            let _held = &worker;
            port.post_message(&asked.to_js()).unwrap_or_default();
        });
        true
    }

    /// Uses the hub of the leading tab over a channel, and waits to become the leader.
    fn through_leader(self: &Rc<Self>) -> bool {
        let locks = Reflect::get(&window().navigator(), &"locks".into()).unwrap_or(JsValue::UNDEFINED);
        if locks.is_undefined() || !Reflect::has(&window(), &"BroadcastChannel".into()).unwrap_or(false) {
            return false;
        }
        let name = self.stream_name();
        let (Ok(channel), Ok(request)) = (BroadcastChannel::new(&name), Reflect::get(&locks, &"request".into())) else {
            return false;
        };
        let Some(request) = request.dyn_ref::<Function>().cloned() else { return false };
        let client = self.clone();
        let heard = Closure::<dyn Fn(MessageEvent)>::new(move |event: MessageEvent| {
            // Messages to one tab start with its number.
            let Some(parts) = event.data().dyn_into::<Array>().ok() else { return };
            let to = parts.get(0).as_f64();
            if to.is_none_or(|to| to == client.tab)
                && let Some(told) = Told::from_js(&parts.get(1))
            {
                client.told([told]);
            }
        });
        channel.set_onmessage(Some(heard.as_ref().unchecked_ref()));
        heard.forget();
        let lead = {
            let (client, channel) = (self.clone(), channel.clone());
            Closure::once_into_js(move || {
                client.lead(&channel);
                // Holds the lock until the tab is closed.
                Promise::new(&mut |_, _| {})
            })
        };
        *self.ask.borrow_mut() = Box::new(move |asked| {
            let message = Array::of2(&"ask".into(), &asked.to_js());
            channel.post_message(&message).unwrap_or_default();
        });
        request.call2(&locks, &name.into(), &lead).is_ok()
    }

    /// Becomes the leading tab: runs the hub for itself and the others.
    fn lead(self: &Rc<Self>, channel: &BroadcastChannel) {
        let (own, to_others) = (self.clone(), channel.clone());
        let hub = Hub::new(Rc::new(move |to, told| {
            if to.is_none_or(|to| to == own.tab) {
                own.told([told.clone()]);
            }
            let to = to.map_or(JsValue::NULL, JsValue::from);
            to_others.post_message(&Array::of2(&to, &told.to_js())).unwrap_or_default();
        }));
        let heard = Closure::<dyn Fn(MessageEvent)>::new({
            let hub = hub.clone();
            move |event: MessageEvent| {
                let Some(parts) = event.data().dyn_into::<Array>().ok() else { return };
                if let Some(asked) = Asked::from_js(&parts.get(1)) {
                    hub.asked(&asked);
                }
            }
        });
        channel.set_onmessage(Some(heard.as_ref().unchecked_ref()));
        heard.forget();
        *self.ask.borrow_mut() = Box::new(move |asked| hub.asked(asked));
        self.join();
    }

    /// Opens a stream for this tab alone.
    fn alone(self: &Rc<Self>) {
        let client = self.clone();
        let hub = Hub::new(Rc::new(move |_, told| client.told([told.clone()])));
        *self.ask.borrow_mut() = Box::new(move |asked| hub.asked(asked));
    }

    fn listen(self: &Rc<Self>, attach: impl FnOnce(&Function)) {
        let client = self.clone();
        let heard = Closure::<dyn Fn(MessageEvent)>::new(move |event: MessageEvent| {
            let Ok(all) = event.data().dyn_into::<Array>() else { return };
            client.told(all.iter().filter_map(|told| Told::from_js(&told)));
        });
        attach(heard.as_ref().unchecked_ref());
        // It lives as long as the tab.
        heard.forget();
    }

    fn join(&self) {
        // First, so that the stream does not begin with machines that this tab does not show.
        self.tell_watch();
        let cursor = self.store.cursor.get_untracked().to_string();
        (self.ask.borrow())(&Asked::Join { tab: self.tab, cursor });
    }

    fn tell_watch(&self) {
        let id = self.watch.borrow().as_ref().map(DomainRef::to_string).unwrap_or_default();
        (self.ask.borrow())(&Asked::Watch { tab: self.tab, id, view: self.view().unwrap_or_default() });
    }

    /// The address of this tab's part of all machines; none if it has all of them.
    fn view(&self) -> Option<String> {
        self.store.window.with_untracked(|window| window.as_ref().map(|window| window.view.clone()))
    }

    /// Takes messages of the hub: applied at once after a pause, else together with those that
    /// follow until the next rendering.
    fn told(self: &Rc<Self>, told: impl IntoIterator<Item = Told>) {
        told.into_iter().for_each(|told| self.keep(told));
        if !self.is_hidden() {
            self.plan();
        }
    }

    /// Schedules the queued frames for rendering.
    fn plan(self: &Rc<Self>) {
        if !self.planned.replace(true) {
            let client = self.clone();
            draw::first(move || {
                client.planned.set(false);
                client.apply();
            });
        }
    }

    fn keep(&self, told: Told) {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.len() >= MAX_WAITING {
            waiting.clear();
            self.overflowed.set(true);
        }
        // A hidden tab keeps only as many statistics as it would show.
        // Of each window only the last one counts.
        if let Some(view) = view_of(&told) {
            waiting.retain(|other| view_of(other) != Some(view));
        }
        let is_latest = |told: &Told| matches!(told, Told::Frame { kind, .. } if LATEST.contains(&kind.as_str()));
        if is_latest(&told)
            && waiting.len() > MAX_LATEST
            && let Some(oldest) = waiting.iter().position(is_latest)
        {
            waiting.remove(oldest);
        }
        waiting.push(told);
    }

    fn is_hidden(&self) -> bool {
        document().visibility_state() == VisibilityState::Hidden
    }

    fn apply(self: &Rc<Self>) {
        self.applied.set(true);
        let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
        if self.overflowed.replace(false) {
            self.read_everything();
        }
        for told in waiting {
            match told {
                Told::Frame { id, kind, data } => self.frame(&id, &kind, &data),
                Told::Status { how, since } => {
                    let fresh = match how {
                        How::Live => Freshness::Live { polling: false },
                        How::Polling => Freshness::Live { polling: true },
                        How::Lost => Freshness::Lost { since: since as u64, signed_out: false },
                        How::SignedOut => Freshness::Lost { since: since as u64, signed_out: true },
                    };
                    if self.store.freshness.get_untracked() != fresh {
                        self.store.freshness.set(fresh);
                        self.acts.look_after_held();
                    }
                }
                Told::Behind => self.read_everything(),
                Told::Reopened => self.reopened.set(true),
            }
        }
    }

    fn frame(self: &Rc<Self>, id: &str, kind: &str, data: &str) {
        if kind == "inventory" {
            // With a window, it has the machines of other tabs, too.
            if self.view().is_some() {
                return self.read_everything();
            }
            if let Ok(snapshot) = read::<Snapshot>(data) {
                self.begin_anew(&snapshot);
            }
            return;
        }
        match LATEST.iter().position(|latest| *latest == kind) {
            Some(0) => return self.store.measured(read(data).unwrap_or_default()),
            Some(_) => {
                return read(data).map(|stats| self.store.host_measured(stats)).unwrap_or_default();
            }
            None if kind == window::KIND => {
                return read(data).map(|window| self.window_changed(window)).unwrap_or_default();
            }
            None => {}
        }
        if kind == "bookmark" && !data.contains(OUR_VERSION) && !self.store.outdated.get_untracked() {
            self.store.outdated.set(true);
        }
        // A payload that this version cannot read is from a newer one.
        if let Ok(change) = Change::read(kind, data) {
            self.acts.happened(&change);
            let host_changed = matches!(change, Change::Host(_));
            self.store.take(change);
            self.read_again_if_outgrown(host_changed);
        }
        if let Ok(cursor) = id.parse() {
            self.store.cursor.set(cursor);
        }
    }

    /// Applies a snapshot, including the results of tasks that ended meanwhile.
    fn begin_anew(&self, snapshot: &Snapshot) {
        self.store.replace(snapshot);
        self.begun(snapshot.tasks.clone());
    }

    fn begun(&self, tasks: Vec<Arc<Task>>) {
        self.acts.mark_held();
        tasks.into_iter().for_each(|task| self.acts.happened(&Change::Task(task)));
    }

    /// Reads the page again after an event that its current data cannot follow: when the mirror
    /// exceeds `window::WHOLE` machines, so that the page becomes windowed, and when a host connects
    /// or disconnects, since a windowed page gets no events for machines that it does not show.
    fn read_again_if_outgrown(self: &Rc<Self>, host_changed: bool) {
        let windowed = self.view().is_some();
        let many = !windowed && self.store.rows.count() > window::WHOLE;
        let were_many = self.many.replace(many);
        if many && !were_many || windowed && host_changed {
            self.read_everything();
        }
    }

    /// Takes a window of this tab's page. It moves no rows: machines that come into a full list are
    /// announced.
    fn window_changed(self: &Rc<Self>, new: Window) {
        let Some(had) = self.store.window.get_untracked().filter(|had| had.view == new.view) else { return };
        // Few enough machines are mirrored.
        if new.figures.all() == 0 {
            return self.read_everything();
        }
        let is_shown = |id: &DomainRef| had.machines.iter().any(|member| member.id == *id);
        let came = new.machines.iter().filter(|member| !is_shown(&member.id)).count();
        let is_missed = |member: &&window::Member| {
            let row = self.store.rows.get_untracked(&member.id);
            row.is_none_or(|row| row.domain.with_untracked(|domain| domain.version < member.version))
        };
        let missed = new.machines.iter().filter(|member| is_shown(&member.id)).any(|member| is_missed(&member));
        // A stream that was opened again tells nothing of machines that have left the window.
        let gone = had.machines.iter().any(|had| new.machines.iter().all(|member| member.id != had.id));
        let reopened = self.reopened.replace(false);
        let again = (came > 0 || gone) && !new.still || gone && reopened || missed;
        self.store.window.set(Some(Window { machines: had.machines.clone(), ..new }.into()));
        self.store.came.set(came);
        if again {
            self.read_everything();
        }
    }

    /// Shows what a page starts with, from its position on.
    fn show(&self, page: PageData) {
        let tasks = page.snapshot.tasks.clone();
        self.store.turn_to(page);
        self.begun(tasks);
        self.join();
    }

    /// Reads the whole inventory and joins the hub from there; one read at a time, repeated until
    /// it succeeds.
    fn read_everything(self: &Rc<Self>) {
        if self.reading.replace(true) {
            self.again.set(true);
            return;
        }
        let client = self.clone();
        leptos::task::spawn_local(async move {
            let view = here();
            let page = read_page(&view).await;
            let answered = page.is_some();
            match page {
                // Another page may have been opened meanwhile.
                Some(_) if here() != view => client.again.set(true),
                Some(page) => client.show(page),
                None => {}
            }
            // Pause before the next read: the tab may stay behind while the server is unreachable
            // or the stream is from before its restart.
            Timeout::new(READ_PAUSE, move || {
                client.reading.set(false);
                if !answered || client.again.take() {
                    client.read_everything();
                }
            })
            .forget();
        });
    }

    /// Renders queued frames when the tab is shown again, and leaves the hub when the page is
    /// closed. A page restored from the cache joins again.
    fn follow_page(self: &Rc<Self>) {
        let client = self.clone();
        on_window("visibilitychange", &document(), move || {
            if !client.is_hidden() {
                client.plan();
            }
        });
        let client = self.clone();
        on_window("pagehide", &window(), move || (client.ask.borrow())(&Asked::Leave { tab: client.tab }));
        let client = self.clone();
        on_window("pageshow", &window(), move || {
            if client.applied.get() {
                client.join();
            }
        });
    }

    /// Updates the clocks of the store while the tab is visible.
    fn tick(self: Rc<Self>) {
        let started = Date::now();
        self.store.minute.set(started as u64);
        Interval::new(1_000, move || {
            if self.is_hidden() {
                return;
            }
            let now = Date::now() as u64;
            self.store.second.set(now);
            self.acts.look_after_held();
            if now.saturating_sub(self.store.minute.get_untracked()) >= 30_000 {
                self.store.minute.set(now);
            }
        })
        .forget();
    }
}

/// The page that a window is of, as text, since most windows are not read; none of other messages.
fn view_of(told: &Told) -> Option<&str> {
    match told {
        Told::Frame { kind, data, .. } if kind == window::KIND => data.split("\",\"").next(),
        _ => None,
    }
}

fn on_window(kind: &str, target: &web_sys::EventTarget, run: impl Fn() + 'static) {
    let heard = Closure::<dyn Fn()>::new(run);
    target.add_event_listener_with_callback(kind, heard.as_ref().unchecked_ref()).ok();
    // It lives as long as the tab.
    heard.forget();
}
