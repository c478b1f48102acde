//! The devices of a machine, pending changes, and the boot order. Rendered by the server, and read
//! again when the machine has changed.

#[cfg(feature = "ssr")]
mod server_view;

use leptos::prelude::*;

use super::Subject;
use crate::ui::served::served;
#[cfg(feature = "ssr")]
pub(super) use server_view::load;

/// The tab.
#[component]
pub(crate) fn DevicesTab() -> impl IntoView {
    let Subject { domain, .. } = expect_context();
    #[cfg(feature = "ssr")]
    let drawn = server_view::draw(&domain.get_untracked());
    #[cfg(not(feature = "ssr"))]
    let drawn = ();
    crate::live_section::keep_fresh(domain, None);
    served(drawn)
}
