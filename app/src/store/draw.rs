//! Schedules page updates: a few at a time, then a frame is painted and the main thread is left
//! free for as long as that took. So a thousand changes delay no click, even in a slow browser.
//! Does not know what is rendered.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
};

use gloo_timers::{callback::Timeout, future::TimeoutFuture};
use js_sys::{Function, Promise};
use leptos::{prelude::*, task::tick};
use wasm_bindgen_futures::JsFuture;

use super::shown::Turn;

/// Milliseconds of updates per frame.
const PART: f64 = 8.0;
/// Longest pause after a frame, in milliseconds.
const LONGEST_REST: f64 = 250.0;
/// Milliseconds between two runs of updates that read all machines.
const LOOK: f64 = 100.0;

thread_local! {
    static WAITING: RefCell<VecDeque<Turn>> = const { RefCell::new(VecDeque::new()) };
    static BUSY: Cell<bool> = const { Cell::new(false) };
    /// When such an update last ran.
    static LOOKED: Cell<f64> = const { Cell::new(f64::NEG_INFINITY) };
    static PLANNED: Cell<bool> = const { Cell::new(false) };
}

/// Queues updates; they run at once while the queue is empty and time is left.
pub(super) fn soon(turns: impl Iterator<Item = Turn>) {
    WAITING.with_borrow_mut(|waiting| waiting.extend(turns));
    wake();
}

/// Queues an update ahead of all others.
pub(super) fn first(turn: impl FnOnce() + 'static) {
    WAITING.with_borrow_mut(|waiting| waiting.push_front(Box::new(turn)));
    wake();
}

/// Queues an update that reads all machines: soon if the last one was long enough ago, else merged
/// with those that follow.
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
            // The effects of the update run in this tick.
            tick().await;
        }
        let took = now() - began + picture().await;
        TimeoutFuture::new(took.min(LONGEST_REST) as u32).await;
    }
    BUSY.set(false);
}

/// Waits for a frame; returns how long it took to paint.
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
