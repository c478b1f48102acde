//! One host: what it is made of, who has its devices, and what machines it can run. How busy
//! it is, is on the page of all hosts.

#[cfg(feature = "ssr")]
mod drawn;

use leptos::prelude::*;
use model::HostId;

#[cfg(feature = "ssr")]
pub(crate) use self::drawn::load;

/// The page; free pages of memory come and go without an event, so it is read again.
#[component]
pub(crate) fn HostPage(id: HostId) -> impl IntoView {
    #[cfg(feature = "ssr")]
    let drawn = drawn::draw(&id);
    #[cfg(not(feature = "ssr"))]
    let drawn = {
        let _ = id;
        ((), ())
    };
    crate::around::page(drawn, Some(30_000))
}
