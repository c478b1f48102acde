//! The machine's definition as libvirt writes it, to read and copy.

use leptos::prelude::*;
use model::Fault;

use super::Subject;
use crate::{
    api,
    ui::{controls::Empty, live::live},
};

/// The tab.
#[component]
pub(crate) fn DefinitionTab() -> impl IntoView {
    let subject: Subject = expect_context();
    let text = RwSignal::new(SharedValue::new(api::definition_beforehand).into_inner());
    follow(subject, text);
    view! {
        <section class="card spaced">
            <header><h2>"Definition"</h2><span class="muted">"without passwords"</span></header>
            {live(move || text.with(|text| match text {
                None => view! { <p class="none muted">"Reading…"</p> }.into_any(),
                Some(Ok(text)) => view! { <pre class="xml" tabindex="0">{text.clone()}</pre> }.into_any(),
                Some(Err(fault)) => {
                    let why = fault.sentence();
                    view! { <Empty title="The definition could not be read">{why}</Empty> }.into_any()
                }
            }))}
        </section>
    }
}

/// Reads the definition when there is none yet, and again with each new version
/// of the machine, which may have a new one.
#[cfg(feature = "hydrate")]
fn follow(Subject { id, domain }: Subject, text: RwSignal<Option<Result<String, Fault>>>) {
    let version = Memo::new(move |_| domain.with(|domain| domain.version));
    Effect::new(move |before: Option<u64>| {
        let (now, id) = (version.get(), id.clone());
        if before.is_some() || text.with_untracked(Option::is_none) {
            leptos::task::spawn_local(async move {
                let read = api::definition(&id).await;
                // An answer that comes after a newer question, or after the tab is gone, is not used.
                if version.try_get_untracked() == Some(now) {
                    text.set(Some(read));
                }
            });
        }
        now
    });
}

#[cfg(not(feature = "hydrate"))]
fn follow(_: Subject, _: RwSignal<Option<Result<String, Fault>>>) {}
