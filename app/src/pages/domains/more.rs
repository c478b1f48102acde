//! The end of a long list: the range shown, and the link to the rest.
//!
//! Without JavaScript the rest is on further pages; with JavaScript the list grows as its end is
//! approached.

use super::view::{PAGE, View};
use crate::{format, store::use_store, ui::live::live};
use leptos::prelude::*;

/// The line below the table; nothing when all machines are shown.
#[component]
pub(super) fn More(
    /// The view in the address.
    view: Memo<View>,
    /// Number of matching machines.
    matching: Memo<usize>,
    /// Pages rendered beyond the one in the address.
    grown: RwSignal<usize>,
) -> impl IntoView {
    let store = use_store();
    let part = Memo::new(move |_| {
        let (all, whole) = (matching.get(), store.window.with(Option::is_none));
        (view.with(|view| view.drawn(all, if whole { grown.get() } else { 0 })), all)
    });
    let more = NodeRef::<leptos::html::A>::new();
    grow_when_seen(more, grown);
    live(move || {
        let (drawn, all) = part.get();
        let page = drawn.start / PAGE;
        let address = |page| view.with(|view| view.on_page(page));
        let previous =
            (page > 0).then(|| view! { <a class="btn small" href=address(page - 1)>"Previous page"</a> }.into_any());
        let next = (drawn.end < all).then(|| {
            // With a window, the rest is not here, and the next page replaces this one.
            if store.window.with(Option::is_some) {
                let next = address(drawn.end / PAGE);
                return view! { <a class="btn small" href=next>"Next page"</a> }.into_any();
            }
            let grow = move |event: leptos::ev::MouseEvent| {
                event.prevent_default();
                grown.update(|pages| *pages += 1);
            };
            view! { <a class="btn small" node_ref=more href=address(drawn.end / PAGE) on:click=grow>"Show more"</a> }
                .into_any()
        });
        let words = format!("{} to {} of {}", drawn.start + 1, drawn.end, format::count(all, "machine"));
        let came = store.came.get();
        if previous.is_none() && next.is_none() && came == 0 {
            return ().into_any();
        }
        let came = (came > 0).then(|| view! { <a class="btn small" href=move || view.with(|view| view.on_page(view.page)) rel="external">{format!("{} came into this list", format::count(came, "machine"))}</a> }.into_any());
        view! { <nav class="more" aria-label="Pagination">{previous} <span class="muted num">{words}</span> {next} {came}</nav> }.into_any()
    })
}

#[cfg(not(feature = "hydrate"))]
fn grow_when_seen(_: NodeRef<leptos::html::A>, _: RwSignal<usize>) {}

/// Renders the next page when the end of the list is less than half a screen away: early enough for
/// scrolling, and late enough to keep the first rendering small.
#[cfg(feature = "hydrate")]
fn grow_when_seen(more: NodeRef<leptos::html::A>, grown: RwSignal<usize>) {
    use leptos::web_sys::{
        IntersectionObserver, IntersectionObserverEntry, IntersectionObserverInit, js_sys,
        wasm_bindgen::closure::Closure,
    };
    use wasm_bindgen::JsCast;
    let seen = Closure::<dyn Fn(js_sys::Array)>::new(move |entries: js_sys::Array| {
        if entries.iter().any(|entry| entry.unchecked_into::<IntersectionObserverEntry>().is_intersecting()) {
            grown.update(|pages| *pages += 1);
        }
    });
    let options = IntersectionObserverInit::new();
    options.set_root_margin("50%");
    let Ok(observer) = IntersectionObserver::new_with_options(seen.as_ref().unchecked_ref(), &options) else { return };
    let kept = StoredValue::new_local((observer, seen));
    // The link is rendered again with each page, and each one is observed once.
    Effect::new(move |_| {
        let link = more.get();
        kept.with_value(|(observer, _)| {
            observer.disconnect();
            if let Some(link) = &link {
                observer.observe(link);
            }
        });
    });
    on_cleanup(move || kept.with_value(|(observer, _)| observer.disconnect()));
}
