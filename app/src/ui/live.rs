//! Reactive parts of a page.
//!
//! Each view type returned by a closure costs kilobytes in the browser's module, so there are only
//! two: a text, and any view.

use leptos::{prelude::*, tachys::reactive_graph::ReactiveFunction};

/// A text that follows its signals.
pub(crate) fn live_text(text: impl FnMut() -> String + Send + 'static) -> AnyView {
    text.into_shared().into_any()
}

/// A view that follows its signals.
pub(crate) fn live(view: impl FnMut() -> AnyView + Send + 'static) -> AnyView {
    view.into_shared().into_any()
}
