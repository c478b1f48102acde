//! The machine's definition as libvirt writes it, to read and copy.

use leptos::prelude::*;
#[cfg(feature = "ssr")]
use model::{DomainRef, ObjectKind, ObjectRef, query::Definition};
use model::{Fault, Permission};

use super::Subject;
#[cfg(feature = "hydrate")]
use crate::api;
#[cfg(feature = "ssr")]
use crate::backend::{Backend, Loaded, ask};
use crate::{
    routes,
    store::use_store,
    ui::{controls::Empty, live::live},
};

/// The tab.
#[component]
pub(crate) fn DefinitionTab() -> impl IntoView {
    let subject: Subject = expect_context();
    let text = RwSignal::new(SharedValue::new(beforehand).into_inner());
    let id = subject.id.to_string();
    let secrets = use_store().may(Permission::ReadSecrets).is_ok().then(|| {
        view! {
            <form method="post" action=routes::at(routes::MANAGE_DEFINITION) class="push">
                <button class="btn small" name="machine" value=id>"Show with passwords"</button>
            </form>
        }
        .into_any()
    });
    follow(subject, text);
    view! {
        <section class="card spaced">
            <header><h2>"Definition"</h2><span class="muted">"without passwords"</span> {secrets}</header>
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

/// What is read of the definition.
type Read = Result<String, Fault>;

/// Reads the definition for the page.
#[cfg(feature = "ssr")]
pub(super) async fn load(id: &DomainRef, backend: &dyn Backend) -> Loaded {
    let on = ObjectRef::new(ObjectKind::Domain, id);
    Loaded::of::<Read>(ask(backend, &on, Definition {}).await)
}

/// What the server has read for the page.
fn beforehand() -> Option<Read> {
    #[cfg(feature = "ssr")]
    return crate::backend::loaded::<Read>().as_deref().cloned();
    #[cfg(not(feature = "ssr"))]
    None
}

/// Reads the definition when there is none yet, and again after the machine has
/// changed, which may have changed it.
#[cfg(feature = "hydrate")]
fn follow(Subject { id, domain, .. }: Subject, text: RwSignal<Option<Read>>) {
    let patience = crate::store::refresh::Patience { quiet: 100.0, most: 1_000.0 };
    let refresher = api::Refresher::new(patience, move || {
        let id = id.clone();
        async move {
            let read = api::definition(&id).await;
            // A refusal is an answer, too; and nobody wants one after the tab is gone.
            text.try_get_untracked().map(|_| {
                text.set(Some(read));
                true
            })
        }
    });
    Effect::new(move |before: Option<u64>| {
        let version = domain.with(|domain| domain.version);
        if before.is_some() || text.with_untracked(Option::is_none) {
            refresher.event();
        }
        version
    });
}

#[cfg(not(feature = "hydrate"))]
fn follow(_: Subject, _: RwSignal<Option<Read>>) {}
