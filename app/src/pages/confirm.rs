//! The confirmation page, for browsers without JavaScript. Opening it changes nothing.

use leptos::prelude::*;

#[cfg(feature = "ssr")]
pub(crate) use self::server_view::load;
use crate::ui::{served::served, title::Title};

/// The page. With JavaScript a dialog asks, so the browser needs no code for it.
#[component]
pub(crate) fn ConfirmPage() -> impl IntoView {
    #[cfg(feature = "ssr")]
    let asked = server_view::asked();
    #[cfg(not(feature = "ssr"))]
    let asked = ();
    view! { <Title text="Confirm"/> {served(asked)} }
}

#[cfg(feature = "ssr")]
mod server_view {
    use leptos::prelude::*;
    use leptos_router::hooks::use_query_map;
    use model::{
        Command, DomainCommand, DomainRef, Fault, ObjectRef, PoolCommand,
        command::DeletePool,
        query::{VolumeList, Volumes},
    };

    use crate::{
        backend::{Backend, Loaded, ask, loaded},
        format,
        live_section::server_view::hosts,
        routes,
        store::{Store, use_store},
        ui::controls::Empty,
        vm::form_token,
    };

    /// The volumes that are deleted with their pool.
    type Read = Result<VolumeList, Fault>;

    /// Reads the objects to list.
    pub(crate) async fn load(query: &str, backend: &dyn Backend) -> Loaded {
        match routes::pool_to_empty(query) {
            Some(pool) => Loaded::of::<Read>(ask(backend, &pool, Volumes {}).await),
            None => Loaded::default(),
        }
    }

    /// The confirmation, or a note that there is nothing to confirm.
    pub(super) fn asked() -> AnyView {
        let query = use_query_map();
        let given = |name: &str| query.with_untracked(|query| query.get(name)).unwrap_or_default();
        let targets: Vec<DomainRef> = given("on").split(',').filter_map(|id| id.parse().ok()).collect();
        match DomainCommand::button(&given("do")) {
            Some(command) if !targets.is_empty() => {
                question(use_store(), &command, &targets, back_to(given("back"))).into_any()
            }
            None if targets.len() == 1 => {
                let on = ObjectRef::new(Command::object_of(&given("do")), &targets[0].host, targets[0].id);
                around(&given("do"), &on, back_to(given("back")))
            }
            _ => view! { <Empty title="Nothing to confirm"><a href=routes::at(routes::VMS)>"See all virtual machines"</a></Empty> }.into_any(),
        }
    }

    /// Where to return to; external addresses are ignored.
    fn back_to(wished: String) -> String {
        if routes::is_local(&wished) { wished } else { routes::at(routes::VMS) }
    }

    /// The confirmation for a pool, a volume or a network.
    fn around(kind: &str, target: &ObjectRef, back: String) -> AnyView {
        let query = use_query_map().get_untracked();
        let fields: Vec<(String, String)> = query
            .into_iter()
            .filter_map(|(name, value)| Some((name.strip_prefix(routes::FIELD)?.to_owned(), value)))
            .collect();
        let field = |name: &str| fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        // Other query parameters are not arguments, and are ignored.
        let command = Command::from_form(kind, field).ok().filter(|command| command.asks(1).is_some());
        let hosts = hosts();
        let named = command.and_then(|command| {
            let name = command.target_name(hosts.hosts.get(&target.host)?, target.id)?;
            Some((command, name))
        });
        let Some((command, name)) = named else {
            return view! { <Empty title="Nothing to confirm">"The object may no longer exist. "<a href=back>"Go back"</a>"."</Empty> }.into_any();
        };
        let fields = command.form_fields().into_iter();
        let hidden = fields.map(|(name, value)| view! { <input type="hidden" name=name value=value/> }.into_any());
        view! {
            <section class="card ask">
                <h1>{heading(&command, &name)}</h1>
                <p>{command.loses()}</p>
                {lost(&command)}
                <form method="post" action=routes::at(routes::COMMANDS)>
                    {form_token()}
                    <input type="hidden" name="back" value=back.clone()/>
                    {said(command.typed(&name, 1))}
                    {hidden.collect_view()}
                    <div class="buttons">
                        <a class="btn" href=back>"Cancel"</a>
                        <button class="btn danger" name="do" value=format!("{kind}@{target}")>{command.label()}</button>
                    </div>
                </form>
            </section>
        }
        .into_any()
    }

    fn heading(command: &Command, name: &str) -> String {
        match command {
            Command::Pool(PoolCommand::DeletePool(DeletePool { content: true })) => {
                format!("Delete pool {name} and its volumes?")
            }
            _ => format!("{} {name}?", command.label()),
        }
    }

    /// The volumes that are deleted with their pool.
    fn lost(command: &Command) -> AnyView {
        if !matches!(command, Command::Pool(PoolCommand::DeletePool(DeletePool { content: true }))) {
            return ().into_any();
        }
        match loaded::<Read>().as_deref() {
            Some(Ok(list)) if list.volumes.is_empty() => view! { <p>"The pool has no volumes."</p> }.into_any(),
            Some(Ok(VolumeList { volumes })) => {
                let more = volumes.len().saturating_sub(20);
                let more = (more > 0).then(|| view! { <li>{format!("and {more} more")}</li> }.into_any());
                let list = volumes.iter().take(20).map(|volume| {
                    view! { <li><b>{volume.name.clone()}</b> ", " {format::size(volume.capacity_bytes)}</li> }
                        .into_any()
                });
                view! { <p>{format!("This also deletes {}:", format::count(volumes.len(), "volume"))}</p><ul class="doomed">{list.chain(more).collect_view()}</ul> }.into_any()
            }
            _ => view! { <p>"The list of volumes is unavailable. All volumes in the pool are deleted as well."</p> }
                .into_any(),
        }
    }

    /// The confirming field: hidden, or a text to type for severe losses.
    fn said(typed: Option<String>) -> AnyView {
        let Some(typed) = typed else { return view! { <input type="hidden" name="confirm" value="yes"/> }.into_any() };
        view! {
            <label class="typed">{format!("Type {typed} to confirm")}
                <input type="text" name="confirm" required="" autocomplete="off" spellcheck="false"/>
            </label>
        }
        .into_any()
    }

    fn question(store: Store, command: &DomainCommand, targets: &[DomainRef], back: String) -> impl IntoView + use<> {
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
                <p>{command.asks(named.len())}</p>
                <ul class="doomed">{list.collect_view()}</ul>
                <form method="post" action=routes::at(routes::COMMANDS)>
                    {form_token()}
                    <input type="hidden" name="back" value=back.clone()/>
                    {said(Command::from(command.clone()).typed("", named.len()))}
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
