//! Networks, one of them with its machines and leases, and the form for a new one.

#[cfg(feature = "ssr")]
mod drawn;
#[cfg(feature = "ssr")]
mod forms;
#[cfg(feature = "ssr")]
mod picture;

use leptos::prelude::*;

/// All networks, one of them, or the form for a new one, by the address.
#[component]
pub(crate) fn NetworksPage() -> impl IntoView {
    #[cfg(feature = "ssr")]
    let drawn = drawn::draw();
    #[cfg(not(feature = "ssr"))]
    let drawn = ((), ());
    crate::around::page(drawn, None)
}
