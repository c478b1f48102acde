//! Commands and events of a machine.

use leptos::prelude::*;

use super::Subject;
use crate::{
    history::{Part, newer, past},
    routes::{self, Tab},
    ui::live::live,
};

/// The tab.
#[component]
pub(crate) fn HistoryTab() -> impl IntoView {
    let Subject { id, domain, .. } = expect_context();
    let first = domain.with_untracked(|domain| domain.version);
    view! {
        {live(move || {
            let changed = usize::from(domain.with(|domain| domain.version != first));
            newer(changed, "or more changes", "", routes::vm_tab(&id, Tab::History))
        })}
        {past(Part::Machine)}
    }
}
