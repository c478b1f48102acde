//! Storage pools, the volumes of one pool, and the forms for new ones.

#[cfg(feature = "ssr")]
mod forms;
#[cfg(feature = "ssr")]
mod server_view;
#[cfg(feature = "ssr")]
mod volumes;

use leptos::prelude::*;

#[cfg(feature = "ssr")]
pub(crate) use self::server_view::load;
use crate::routes::Page;

/// All pools, one pool, or the form for a new one.
#[component]
pub(crate) fn StoragePage(page: Page) -> impl IntoView {
    #[cfg(feature = "ssr")]
    let drawn = server_view::draw(&page);
    #[cfg(not(feature = "ssr"))]
    let drawn = {
        drop(page);
        ((), ())
    };
    crate::live_section::page(drawn, None)
}
