//! Networks, one network with its machines and leases, and the form for a new one.

#[cfg(feature = "ssr")]
mod forms;
#[cfg(feature = "ssr")]
mod picture;
#[cfg(feature = "ssr")]
mod server_view;

use leptos::prelude::*;

#[cfg(feature = "ssr")]
pub(crate) use self::server_view::load;
use crate::routes::Page;

/// All networks, one network, or the form for a new one.
#[component]
pub(crate) fn NetworksPage(page: Page) -> impl IntoView {
    #[cfg(feature = "ssr")]
    let drawn = server_view::draw(&page);
    #[cfg(not(feature = "ssr"))]
    let drawn = {
        drop(page);
        ((), ())
    };
    crate::live_section::page(drawn, None)
}
