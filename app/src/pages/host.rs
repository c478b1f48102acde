//! One host: hardware, devices with their users, and guest capabilities. Its load is on the page of
//! all hosts.

#[cfg(feature = "ssr")]
mod server_view;

use leptos::prelude::*;
use model::HostId;

#[cfg(feature = "ssr")]
pub(crate) use self::server_view::load;

/// The page; read again every 30 s, as free huge pages change without an event.
#[component]
pub(crate) fn HostPage(id: HostId) -> impl IntoView {
    #[cfg(feature = "ssr")]
    let drawn = server_view::draw(&id);
    #[cfg(not(feature = "ssr"))]
    let drawn = {
        let _ = id;
        ((), ())
    };
    crate::live_section::page(drawn, Some(30_000))
}
