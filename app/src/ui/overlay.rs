//! What lies above the page: a dialog on the browser's own `<dialog>`, which
//! keeps focus inside, closes on Escape, and gives focus back.

use leptos::{html, prelude::*};

/// A dialog that is open while `open` says so.
#[component]
pub(crate) fn Dialog(
    /// Whether it is open.
    #[prop(into)]
    open: Signal<bool>,
    /// Runs when it is closed by Escape.
    on_close: impl Fn() + Copy + 'static,
    /// The id of its heading.
    labelled_by: &'static str,
    /// What it holds.
    children: Children,
) -> impl IntoView {
    let node = NodeRef::<html::Dialog>::new();
    Effect::new(move || {
        let open = open.get();
        if let Some(dialog) = node.get() {
            match (open, dialog.open()) {
                // A dialog that cannot be shown modally is shown all the same.
                (true, false) if dialog.show_modal().is_err() => dialog.set_open(true),
                (false, true) => dialog.close(),
                _ => {}
            }
        }
    });
    view! {
        <dialog node_ref=node class="dialog" aria-labelledby=labelled_by on:close=move |_| on_close()>
            {children()}
        </dialog>
    }
}
