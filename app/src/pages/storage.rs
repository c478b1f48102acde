//! Storage pools, the volumes of one pool, and the forms for new ones.

#[cfg(feature = "ssr")]
mod drawn;
#[cfg(feature = "ssr")]
mod forms;
#[cfg(feature = "ssr")]
mod volumes;

use leptos::prelude::*;

#[cfg(feature = "ssr")]
pub(crate) use self::drawn::load;
use crate::routes::Page;

/// All pools, one pool, or the form for a new one.
#[component]
pub(crate) fn StoragePage(page: Page) -> impl IntoView {
    #[cfg(feature = "ssr")]
    let drawn = drawn::draw(&page);
    #[cfg(not(feature = "ssr"))]
    let drawn = {
        drop(page);
        ((), ())
    };
    crate::around::page(drawn, None)
}
