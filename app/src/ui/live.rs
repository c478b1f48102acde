//! Parts of a page that change by themselves.
//!
//! Each kind of view that a closure may return costs kilobytes in the browser's
//! module, so there are two kinds only: a text, and any view.

use leptos::{prelude::*, tachys::reactive_graph::ReactiveFunction};

/// A text that changes with the signals it reads.
pub(crate) fn live_text(text: impl FnMut() -> String + Send + 'static) -> AnyView {
    text.into_shared().into_any()
}

/// A view that changes with the signals it reads.
pub(crate) fn live(view: impl FnMut() -> AnyView + Send + 'static) -> AnyView {
    view.into_shared().into_any()
}
