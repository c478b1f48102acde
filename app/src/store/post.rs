//! Delivery from the shared worker to tabs: at once after a pause, else batched with what follows
//! within a frame of the display. A message costs a slow tab half a millisecond, whatever its size.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use gloo_timers::callback::Timeout;
use js_sys::Date;
use wasm_bindgen::JsValue;

use super::hub::{Outlet, Tab, Told};

/// Duration of a frame, in milliseconds.
const PICTURE: f64 = 16.0;

/// A message and its tab; `None` for all tabs.
pub(super) type Letter = (Option<Tab>, JsValue);

/// Sends a batch.
type Send = dyn Fn(&[Letter]);

/// Batches messages to tabs in other threads.
pub(super) struct Post {
    send: Box<Send>,
    waiting: RefCell<Vec<Letter>>,
    planned: Cell<bool>,
    /// When the last batch was sent.
    sent: Cell<f64>,
}

impl Post {
    /// `send` takes batches, in order.
    pub(super) fn new(send: impl Fn(&[Letter]) + 'static) -> Rc<Self> {
        Rc::new(Self { send: Box::new(send), waiting: RefCell::default(), planned: false.into(), sent: 0.0.into() })
    }

    pub(super) fn outlet(self: &Rc<Self>) -> Outlet {
        let post = self.clone();
        Rc::new(move |to, told| post.tell(to, told))
    }

    fn tell(self: &Rc<Self>, to: Option<Tab>, told: &Told) {
        self.waiting.borrow_mut().push((to, told.to_js()));
        if self.planned.get() {
            return;
        }
        let wait = self.sent.get() + PICTURE - Date::now();
        if wait <= 0.0 {
            self.send();
            return;
        }
        self.planned.set(true);
        let post = self.clone();
        // Limited, in case the clock was set back.
        Timeout::new(wait.min(PICTURE) as u32, move || {
            post.planned.set(false);
            post.send();
        })
        .forget();
    }

    /// Sends the queued messages.
    pub(super) fn send(&self) {
        self.sent.set(Date::now());
        (self.send)(&self.waiting.take());
    }
}
