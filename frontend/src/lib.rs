//! The WebAssembly client: hydrates the app.
//!
//! The shared worker that holds the stream loads this module too and calls
//! `stream_worker`, which comes from `app`.

use wasm_bindgen::prelude::wasm_bindgen;

pub use app::stream_worker;

/// Takes the page that the server rendered over.
#[wasm_bindgen]
pub fn hydrate() {
    // The page's own script sends it to the server's log.
    std::panic::set_hook(Box::new(|panic| leptos::logging::error!("{panic}")));
    app::hydrate();
}
