//! A dialog above the page, based on the browser's `<dialog>`, which traps the focus, closes on
//! Escape and restores the focus.

use leptos::{html, prelude::*};

/// A dialog, controlled by `open`.
#[component]
pub(crate) fn Dialog(
    /// Whether it is open.
    #[prop(into)]
    open: Signal<bool>,
    /// Runs when it is closed with Escape.
    on_close: impl Fn() + Copy + 'static,
    /// The id of its heading.
    labelled_by: &'static str,
    /// Its content.
    children: Children,
) -> impl IntoView {
    let node = NodeRef::<html::Dialog>::new();
    Effect::new(move || {
        let open = open.get();
        if let Some(dialog) = node.get() {
            match (open, dialog.open()) {
                // Shown without modality if that fails.
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
