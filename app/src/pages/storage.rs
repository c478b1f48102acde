//! Storage pools, the volumes in one, and the forms for new ones.

#[cfg(feature = "ssr")]
mod drawn;
#[cfg(feature = "ssr")]
mod forms;
#[cfg(feature = "ssr")]
mod volumes;

use leptos::prelude::*;

/// All pools, one of them, or the form for a new one, by the address.
#[component]
pub(crate) fn StoragePage() -> impl IntoView {
    #[cfg(feature = "ssr")]
    let drawn = drawn::draw();
    #[cfg(not(feature = "ssr"))]
    let drawn = ((), ());
    crate::around::page(drawn, None)
}
