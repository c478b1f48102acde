//! Scroll position of the list across Back and Forward. The browser cannot restore it, because the
//! list is rendered again and shorter than before; it is stored in the history entry. Which machines
//! are listed is not its business.

use gloo_timers::callback::Timeout;
use leptos::prelude::*;
use wasm_bindgen::{JsCast, JsValue};

use super::view::View;

/// How long the page has to stand still before its place is kept, in milliseconds. Browsers take
/// only so many changes of the history.
const REST: u32 = 150;

/// Keeps the place, and goes to the one that was kept when the list is shown again.
pub(super) fn keep(view: Memo<View>, grown: RwSignal<usize>) {
    let address = move || view.with_untracked(|view| view.on_page(view.page));
    let later = StoredValue::new_local(None::<Timeout>);
    let scrolled = window_event_listener_untyped("scroll", move |_| {
        let (at, here) = (address(), path());
        let save = move || {
            // It may be another list by now, or another page.
            if let Some(grown) = grown.try_get_untracked().filter(|_| address() == at && path() == here) {
                save(&at, grown);
            }
        };
        later.try_set_value(Some(Timeout::new(REST, save)));
    });
    // Who clicks may leave before the page has stood still. Browsers count these changes, so no
    // key that is held down makes one.
    let pressed = window_event_listener_untyped("pointerdown", move |_| save(&address(), grown.get_untracked()));
    let typed = window_event_listener(leptos::ev::keydown, move |event| {
        if event.key() == "Enter" && !event.repeat() {
            save(&address(), grown.get_untracked());
        }
    });
    Effect::new(move || {
        view.track();
        let (pages, y) = kept(&address()).unwrap_or_default();
        grown.set(pages);
        if y > 0.0 {
            // The rows are there with the next picture.
            request_animation_frame(move || request_animation_frame(move || window().scroll_to_with_x_and_y(0.0, y)));
        }
    });
    on_cleanup(move || {
        [scrolled, pressed, typed].into_iter().for_each(|listener| listener.remove());
        later.dispose();
    });
}

/// The path of the page.
fn path() -> String {
    window().location().pathname().unwrap_or_default()
}

/// Puts the place into the current entry of the history.
fn save(address: &str, grown: usize) {
    let y = window().scroll_y().unwrap_or_default();
    let place = [JsValue::from_str(address), JsValue::from_f64(grown as f64), JsValue::from_f64(y)];
    let place: js_sys::Array = place.into_iter().collect();
    if let Ok(history) = window().history() {
        history.replace_state(&place, "").ok();
    }
}

/// The place of this list in the current entry: pages that were drawn beyond the first, and how
/// far the page was scrolled.
fn kept(address: &str) -> Option<(usize, f64)> {
    let state = window().history().ok()?.state().ok()?;
    let place = state.dyn_into::<js_sys::Array>().ok()?;
    let of_this = place.get(0).as_string().is_some_and(|of| of == address);
    of_this.then(|| Some((place.get(1).as_f64()? as usize, place.get(2).as_f64()?)))?
}
