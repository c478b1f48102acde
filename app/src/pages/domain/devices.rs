//! The devices of a machine, what changes with its next start, and what it boots from. The server
//! draws them, and they are read again when the machine has changed.

#[cfg(feature = "ssr")]
mod drawn;

use leptos::prelude::*;

use super::Subject;
use crate::ui::served::served;
#[cfg(feature = "ssr")]
pub(super) use drawn::load;

/// The tab.
#[component]
pub(crate) fn DevicesTab() -> impl IntoView {
    let Subject { domain, .. } = expect_context();
    #[cfg(feature = "ssr")]
    let drawn = drawn::draw(&domain.get_untracked());
    #[cfg(not(feature = "ssr"))]
    let drawn = ();
    crate::around::keep_fresh(domain, None);
    served(drawn)
}
