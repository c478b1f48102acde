//! The machine's definition as libvirt writes it, to read and copy.

use leptos::prelude::*;

use super::Subject;
use crate::{api, ui::controls::Empty};

/// The tab.
#[component]
pub(crate) fn DefinitionTab() -> impl IntoView {
    let Subject { id, domain } = expect_context();
    // A new version of the machine may have a new definition.
    let version = Memo::new(move |_| domain.with(|domain| domain.version));
    let text = Resource::new_blocking(move || version.get(), move |_| api::definition(id.clone()));
    view! {
        <section class="card spaced">
            <header><h2>"Definition"</h2><span class="muted">"without passwords"</span></header>
            <Transition fallback=|| view! { <p class="none muted">"Reading…"</p> }>
                {move || Suspend::new(async move {
                    match text.await {
                        Ok(text) => view! { <pre class="xml" tabindex="0">{text}</pre> }.into_any(),
                        Err(fault) => view! { <Empty title="The definition could not be read">{fault.sentence()}</Empty> }.into_any(),
                    }
                })}
            </Transition>
        </section>
    }
}
