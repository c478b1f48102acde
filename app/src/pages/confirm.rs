//! The question before something is lost, for browsers without JavaScript.
//! Looking at it changes nothing.

use leptos::prelude::*;
use leptos_meta::Title;

use crate::ui::served::served;

/// The page. With scripts a dialog asks, so the browser needs no code for it.
#[component]
pub(crate) fn ConfirmPage() -> impl IntoView {
    #[cfg(feature = "ssr")]
    let asked = drawn::asked();
    #[cfg(not(feature = "ssr"))]
    let asked = ();
    view! { <Title text="Confirm"/> {served(asked)} }
}

#[cfg(feature = "ssr")]
mod drawn {
    use leptos::prelude::*;
    use leptos_router::hooks::use_query_map;
    use model::{Command, DomainRef};

    use crate::{
        format, routes,
        store::{Store, use_store},
        ui::controls::Empty,
        vm::form_token,
    };

    /// The question, or that there is none.
    pub(super) fn asked() -> AnyView {
        let query = use_query_map();
        let given = |name: &str| query.with_untracked(|query| query.get(name)).unwrap_or_default();
        let targets: Vec<DomainRef> = given("on").split(',').filter_map(|id| id.parse().ok()).collect();
        match Command::button(&given("do")) {
            Some(command) if !targets.is_empty() => {
                question(use_store(), &command, &targets, back_to(given("back"))).into_any()
            }
            _ => view! { <Empty title="There is nothing to confirm"><a href=routes::at(routes::VMS)>"See all virtual machines"</a></Empty> }.into_any(),
        }
    }

    /// Where to go back to; an address from outside is not followed.
    fn back_to(wished: String) -> String {
        if routes::is_local(&wished) { wished } else { routes::at(routes::VMS) }
    }

    fn question(store: Store, command: &Command, targets: &[DomainRef], back: String) -> impl IntoView + use<> {
        let named: Vec<(DomainRef, String, Option<u64>)> = targets
            .iter()
            .filter_map(|id| {
                let domain = store.rows.get(id)?.domain.get();
                Some((id.clone(), domain.name.clone(), domain.since))
            })
            .collect();
        let heading = match &named[..] {
            [(_, name, _)] => format!("{} {name}?", command.label()),
            many => format!("{} {}?", command.label(), format::count(many.len(), "machine")),
        };
        let now = store.minute.get_untracked();
        let fields = named
            .iter()
            .map(|(id, ..)| view! { <input type="hidden" name="select" value=id.to_string()/> }.into_any())
            .collect_view();
        let list = named.iter().map(|(id, name, since)| {
            let age = since.map(|since| format!(", in this state for {}", format::span(now.saturating_sub(since))));
            view! { <li><b>{name.clone()}</b> " on " {id.host.to_string()} {age}</li> }.into_any()
        });
        view! {
            <section class="card ask">
                <h1>{heading.clone()}</h1>
                <p>{command.loses()}</p>
                <ul class="doomed">{list.collect_view()}</ul>
                <form method="post" action=routes::at(routes::COMMANDS)>
                    {form_token()}
                    <input type="hidden" name="back" value=back.clone()/>
                    <input type="hidden" name="confirm" value="yes"/>
                    {fields}
                    <div class="buttons">
                        <a class="btn" href=back>"Cancel"</a>
                        <button class="btn danger" name="do" value=format!("{}@selected", command.kind())>{command.label()}</button>
                    </div>
                </form>
            </section>
        }
    }
}
