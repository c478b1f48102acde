//! Icons: the shapes are in the style sheet, so pages only name them.

use leptos::prelude::*;

/// An icon; decorative, so always with text.
pub(crate) fn icon(name: &str) -> impl IntoView + use<> {
    let class = format!("icon i-{name}");
    view! { <i class=class aria-hidden="true"></i> }
}
