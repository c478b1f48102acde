//! The title of the document.

use leptos::{prelude::*, text_prop::TextProp};

/// Sets the title to that of a page, followed by the product's name. The browser needs no library
/// for it.
#[component]
pub(crate) fn Title(
    /// The title of the page.
    #[prop(into)]
    text: TextProp,
) -> impl IntoView {
    let whole = move || format!("{} · Belvedere", text.get());
    // It is written into the head, so there is nothing at its place.
    #[cfg(feature = "ssr")]
    let _ = view! { <leptos_meta::Title text=whole/> };
    #[cfg(not(feature = "ssr"))]
    Effect::new(move || document().set_title(&whole()));
}
