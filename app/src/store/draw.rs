//! Gives turns to what changes the page: a few at a time, then a picture is shown, and as long as
//! all of that took, others may work. So a thousand changes keep no click waiting, however slow
//! the browser is. It does not know what is drawn.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
};

use gloo_timers::{callback::Timeout, future::TimeoutFuture};
use js_sys::{Function, Promise};
use leptos::{prelude::*, task::tick};
use wasm_bindgen_futures::JsFuture;

use super::shown::Turn;

/// Milliseconds that turns take before a picture is shown.
const PART: f64 = 8.0;
/// Longest rest after one.
const LONGEST_REST: f64 = 250.0;
/// Milliseconds between two looks at all machines.
const LOOK: f64 = 100.0;

thread_local! {
    static WAITING: RefCell<VecDeque<Turn>> = const { RefCell::new(VecDeque::new()) };
    static BUSY: Cell<bool> = const { Cell::new(false) };
    /// When all machines were looked at last.
    static LOOKED: Cell<f64> = const { Cell::new(f64::NEG_INFINITY) };
    static PLANNED: Cell<bool> = const { Cell::new(false) };
}

/// Gives turns at once when nothing waits, as far as there is time for them, and else soon.
pub(super) fn soon(turns: impl Iterator<Item = Turn>) {
    WAITING.with_borrow_mut(|waiting| waiting.extend(turns));
    wake();
}

/// The same of one that comes before all others.
pub(super) fn first(turn: impl FnOnce() + 'static) {
    WAITING.with_borrow_mut(|waiting| waiting.push_front(Box::new(turn)));
    wake();
}

/// Gives a turn to what looks at all machines: soon when it had none lately, else with what
/// else comes meanwhile.
pub(super) fn seldom(look: impl FnOnce() + 'static) {
    if PLANNED.replace(true) {
        return;
    }
    let look = move || {
        PLANNED.set(false);
        LOOKED.set(now());
        look();
    };
    let look = move || soon(std::iter::once(Box::new(look) as Turn));
    let wait = LOOKED.get() + LOOK - now();
    if wait > 0.0 {
        Timeout::new(wait as u32, look).forget();
    } else {
        look();
    }
}

fn wake() {
    if !BUSY.replace(true) {
        leptos::task::spawn_local(draw());
    }
}

async fn draw() {
    while WAITING.with_borrow(|waiting| !waiting.is_empty()) {
        let began = now();
        while now() < began + PART
            && let Some(turn) = WAITING.with_borrow_mut(VecDeque::pop_front)
        {
            turn();
            // What follows it is run by others, now.
            tick().await;
        }
        let took = now() - began + picture().await;
        TimeoutFuture::new(took.min(LONGEST_REST) as u32).await;
    }
    BUSY.set(false);
}

/// Waits for a picture; gives how long it took to make.
async fn picture() -> f64 {
    let begins = Promise::new(&mut |begins: Function, _| drop(window().request_animation_frame(&begins)));
    JsFuture::from(begins).await.ok();
    let began = now();
    TimeoutFuture::new(0).await;
    now() - began
}

fn now() -> f64 {
    window().performance().map_or(0.0, |performance| performance.now())
}
