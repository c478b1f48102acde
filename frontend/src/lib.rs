//! The WebAssembly client: hydrates the app.
//!
//! The shared worker that holds the stream loads this module as well and calls `stream_worker`,
//! which is part of `app`.

use wasm_bindgen::prelude::wasm_bindgen;

pub use app::stream_worker;

/// Hydrates the page that the server rendered.
#[wasm_bindgen]
pub fn hydrate() {
    // The page's own script reports it to the server's log.
    std::panic::set_hook(Box::new(|panic| leptos::logging::error!("{panic}")));
    app::hydrate();
}
