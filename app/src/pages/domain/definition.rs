//! The machine's definition in libvirt's XML, to read and copy.

use leptos::prelude::*;
use model::{Permission, query::Definition};

use super::Subject;
use crate::{
    question::answer,
    routes,
    store::use_store,
    ui::{controls::Empty, live::live},
};

/// The tab.
#[component]
pub(crate) fn DefinitionTab() -> impl IntoView {
    let Subject { id, domain, .. } = expect_context();
    let text = answer::<Definition>(id.clone(), domain);
    let id = id.to_string();
    let secrets = use_store().may(Permission::ReadSecrets).is_ok().then(|| {
        view! {
            <form method="post" action=routes::at(routes::MANAGE_DEFINITION) class="push">
                <button class="btn small" name="machine" value=id>"Show with passwords"</button>
            </form>
        }
        .into_any()
    });
    view! {
        <section class="card spaced">
            <header><h2>"Definition"</h2><span class="muted">"without passwords"</span> {secrets}</header>
            {live(move || text.with(|text| match text {
                None => view! { <p class="none muted">"Loading…"</p> }.into_any(),
                Some(Ok(text)) => view! { <pre class="xml" tabindex="0">{text.clone()}</pre> }.into_any(),
                Some(Err(fault)) => {
                    let why = fault.sentence();
                    view! { <Empty title="Definition unavailable">{why}</Empty> }.into_any()
                }
            }))}
        </section>
    }
}
