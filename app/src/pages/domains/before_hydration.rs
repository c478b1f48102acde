//! Keeps selections and search text that were entered before hydration.
//!
//! Links, forms and checkboxes work from the first paint on. Hydration sets them to the store's
//! state, so the store has to take over theirs.

use leptos::{
    prelude::*,
    web_sys::{Element, HtmlInputElement},
};
use model::DomainRef;
use wasm_bindgen::JsCast;

use super::view::View;
use crate::store::Store;

/// Reads the page before hydration and applies its state afterwards. Does nothing on a page that
/// was rendered in the browser.
pub(super) fn keep(store: Store, view: Memo<View>, shown: Memo<Vec<DomainRef>>, search: impl Fn(String) + 'static) {
    if !Owner::current_shared_context().is_some_and(|context| context.during_hydration()) {
        return;
    }
    let ticked: Vec<DomainRef> =
        all("tbody .tick input:checked").filter_map(|input| input.value().parse().ok()).collect();
    let every = all("thead .tick input:checked").next().is_some();
    let typed = all("#filter").next().map(|input| input.value());
    Effect::new(move |_| {
        store.rows.select(&ticked, true);
        if every {
            shown.with_untracked(|shown| store.rows.select(shown, true));
        }
        if let Some(typed) = typed.clone().filter(|typed| view.with_untracked(|view| view.search != *typed)) {
            search(typed);
        }
    });
}

/// The inputs that match a selector.
fn all(selector: &str) -> impl Iterator<Item = HtmlInputElement> {
    let found = document().query_selector_all(selector).ok();
    let count = found.as_ref().map_or(0, |found| found.length());
    (0..count).filter_map(move |n| found.as_ref()?.get(n)?.dyn_into::<Element>().ok()?.dyn_into().ok())
}
