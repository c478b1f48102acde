//! Networks, one network with its machines and leases, and the form for a new one.

#[cfg(feature = "ssr")]
mod drawn;
#[cfg(feature = "ssr")]
mod forms;
#[cfg(feature = "ssr")]
mod picture;

use leptos::prelude::*;

#[cfg(feature = "ssr")]
pub(crate) use self::drawn::load;
use crate::routes::Page;

/// All networks, one network, or the form for a new one.
#[component]
pub(crate) fn NetworksPage(page: Page) -> impl IntoView {
    #[cfg(feature = "ssr")]
    let drawn = drawn::draw(&page);
    #[cfg(not(feature = "ssr"))]
    let drawn = {
        drop(page);
        ((), ())
    };
    crate::around::page(drawn, None)
}
