//! Pictures: shapes are in the style sheet, so a page names them only.

use leptos::prelude::*;

/// One picture; decoration, so always beside or inside words.
pub(crate) fn icon(name: &str) -> impl IntoView + use<> {
    let class = format!("icon i-{name}");
    view! { <i class=class aria-hidden="true"></i> }
}
