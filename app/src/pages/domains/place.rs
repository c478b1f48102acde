//! Scroll position of the list across Back and Forward. The browser cannot restore it, because the
//! list is rendered again and shorter than before; it is stored in the history entry. Does not
//! decide which machines are listed.

use gloo_timers::callback::Timeout;
use leptos::prelude::*;
use wasm_bindgen::{JsCast, JsValue};

use super::view::View;

/// Time without scrolling before the position is stored, in milliseconds. Browsers limit the rate
/// of history updates.
const REST: u32 = 150;

/// Stores the position, and restores it when the list is shown again.
pub(super) fn keep(view: Memo<View>, grown: RwSignal<usize>) {
    let address = move || view.with_untracked(|view| view.on_page(view.page));
    let later = StoredValue::new_local(None::<Timeout>);
    let scrolled = window_event_listener_untyped("scroll", move |_| {
        let (at, here) = (address(), path());
        let save = move || {
            // Another list or page may be shown by now.
            if let Some(grown) = grown.try_get_untracked().filter(|_| address() == at && path() == here) {
                save(&at, grown);
            }
        };
        later.try_set_value(Some(Timeout::new(REST, save)));
    });
    // A click may leave the page before scrolling has settled. History updates are limited, so a
    // key that is held down stores nothing.
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
            // The rows exist after the next frame.
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

/// Stores the position in the current history entry.
fn save(address: &str, grown: usize) {
    let y = window().scroll_y().unwrap_or_default();
    let place = [JsValue::from_str(address), JsValue::from_f64(grown as f64), JsValue::from_f64(y)];
    let place: js_sys::Array = place.into_iter().collect();
    if let Ok(history) = window().history() {
        history.replace_state(&place, "").ok();
    }
}

/// The stored position of this list: pages beyond the first, and scroll offset.
fn kept(address: &str) -> Option<(usize, f64)> {
    let state = window().history().ok()?.state().ok()?;
    let place = state.dyn_into::<js_sys::Array>().ok()?;
    let of_this = place.get(0).as_string().is_some_and(|of| of == address);
    of_this.then(|| Some((place.get(1).as_f64()? as usize, place.get(2).as_f64()?)))?
}
