//! Renders the account pages. On the server only.

use leptos::prelude::*;
use model::{
    Fault, Role, Scope,
    command::{Field, Input},
};

use crate::{
    backend::{Accounts, AccountsRequest, Backend, Loaded, SessionLine, TokenLine, UserLine, Visit, loaded},
    format,
    history::time,
    live_section::{
        form::{Form, With},
        server_view::hosts,
    },
    routes::{self, Page},
    ui::{
        controls::{Empty, or_dash},
        moment::utc_note,
    },
};

/// The name field of accounts and tokens.
const NAME: &[Field] = &[Field::new("name", "Name", Input::Line(64)).required()];

/// The data of an account page.
type Read = Result<Accounts, Fault>;

/// Reads the data of an account page.
pub(crate) async fn load(backend: &dyn Backend, wish: AccountsRequest, visit: &Visit) -> Loaded {
    Loaded::of::<Read>(backend.accounts(wish, visit).await)
}

/// Renders the data that was read.
pub(super) fn draw(page: &Page) -> AnyView {
    match loaded::<Read>().as_deref() {
        Some(Ok(accounts)) => match page {
            Page::Users => users(accounts),
            Page::Tokens => tokens(accounts),
            Page::Sessions => sessions(true, &accounts.sessions),
            _ => own(accounts),
        },
        Some(Err(fault)) => {
            let why = fault.sentence();
            view! { <Empty title="Unavailable">{why}</Empty> }.into_any()
        }
        None => ().into_any(),
    }
}

fn own(accounts: &Accounts) -> AnyView {
    let Some(user) = accounts.users.first() else {
        return view! { <Empty title="No account">"You are not signed in with an account. Create one: belvedere user add NAME --role admin"</Empty> }.into_any();
    };
    view! {
        <div class="grid g2">
            {password(user, accounts.needs_no_password)}
            {factor(user)}
        </div>
        {sessions(false, &accounts.sessions)}
    }
    .into_any()
}

fn password(user: &UserLine, needs_none: bool) -> AnyView {
    let old = (!needs_none && user.has_password).then(|| {
        view! { <label>"Current password" <input type="password" name="old" autocomplete="current-password" required/></label> }
            .into_any()
    });
    let none = (!user.has_password).then(|| {
        view! { <p class="muted">"This account has no password yet. It can sign in only with a sign-in link."</p> }
            .into_any()
    });
    // Not asked for after sign-in with a link, or when the account has no password.
    let missing = (!needs_none && !user.has_password)
        .then(|| view! { <p class="muted">"To set a password, sign in with a new sign-in link."</p> }.into_any());
    view! {
        <section class="card spaced">
            <header><h2>"Password"</h2></header>
            <form class="fields" method="post" action=routes::at(routes::MANAGE_PASSWORD)>
                {none} {missing}
                // For password managers, which store a password with its user name.
                <input class="hidden" name="username" value=user.name.clone() autocomplete="username" readonly tabindex="-1" aria-hidden="true"/>
                {old}
                <label>"New password" <input type="password" name="new" autocomplete="new-password" minlength="12" maxlength="256" required aria-describedby="password-rule"/></label>
                <small class="muted" id="password-rule">"At least 12 characters. Your other sessions are signed out."</small>
                <button class="btn">"Change password"</button>
            </form>
        </section>
    }
    .into_any()
}

fn factor(user: &UserLine) -> AnyView {
    let content = match user.recovery_codes {
        None => view! {
            <p>"One-time codes from an authenticator app protect your account even if its password is stolen."</p>
            <button class="btn" name="do" value="begin">"Turn on"</button>
        }
        .into_any(),
        Some(left) => view! {
            <p>"Enabled. " {format::count(left, "recovery code")} " left."</p>
            <label>"Authenticator code or recovery code" <input name="code" autocomplete="one-time-code" inputmode="text" required/></label>
            <button class="btn danger" name="do" value="off">"Turn off"</button>
        }
        .into_any(),
    };
    view! {
        <section class="card spaced">
            <header><h2>"Second factor"</h2></header>
            <form class="fields" method="post" action=routes::at(routes::MANAGE_FACTOR)>{content}</form>
        </section>
    }
    .into_any()
}

fn sessions(all: bool, sessions: &[SessionLine]) -> AnyView {
    let title = if all { "All sessions" } else { "Your sessions" };
    let rows = sessions.iter().map(|session| {
        let end = if session.current {
            view! { <span class="tag">"This session"</span> }.into_any()
        } else {
            let label = format!("End session of {} from {}", session.user, session.address);
            let back = routes::at(if all { routes::SESSIONS } else { routes::ACCOUNT });
            view! {
                <form method="post" action=routes::at(routes::MANAGE_SESSIONS)>
                    <input type="hidden" name="back" value=back/>
                    <button class="btn small" name="id" value=session.id.to_string() aria-label=label>"End session"</button>
                </form>
            }
            .into_any()
        };
        view! {
            <tr>
                <th scope="row">{if all { session.user.clone() } else { browser(&session.agent) }}</th>
                {all.then(|| view! { <td data-label="Browser">{browser(&session.agent)}</td> }.into_any())}
                <td data-label="IP address" class="mono">{or_dash(&session.address)}</td>
                <td data-label="Signed in">{time(session.created)}</td>
                <td data-label="Last active">{time(session.seen)}</td>
                <td class="actions">{end}</td>
            </tr>
        }
        .into_any()
    });
    let others = (!all && sessions.len() > 1).then(|| {
        view! {
            <form method="post" action=routes::at(routes::MANAGE_SESSIONS) class="push">
                <input type="hidden" name="back" value=routes::at(routes::ACCOUNT)/>
                <button class="btn small" name="others" value="yes">"End all other sessions"</button>
            </form>
        }
        .into_any()
    });
    view! {
        <section class="card list spaced">
            <header><h2>{title}</h2> {others}</header>
            <div class="scroll"><table aria-label=title>
                <thead><tr>
                    {all.then(|| view! { <th scope="col">"Account"</th> }.into_any())}
                    <th scope="col">"Browser"</th><th scope="col">"IP address"</th><th scope="col">"Signed in" {utc_note()}</th>
                    <th scope="col">"Last active" {utc_note()}</th><th scope="col"><span class="hidden">"Action"</span></th>
                </tr></thead>
                <tbody>{rows.collect_view()}</tbody>
            </table></div>
        </section>
    }
    .into_any()
}

/// Browser and system from a user agent, as far as known.
fn browser(agent: &str) -> String {
    let first =
        |names: &[(&str, &'static str)]| names.iter().find(|(mark, _)| agent.contains(mark)).map(|(_, name)| *name);
    let name = first(&[
        ("Edg/", "Edge"),
        ("OPR/", "Opera"),
        ("Firefox/", "Firefox"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
    ]);
    let system = first(&[
        ("Android", "Android"),
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Windows", "Windows"),
        ("Mac OS X", "macOS"),
        ("Linux", "Linux"),
    ]);
    match (name, system) {
        (Some(name), Some(system)) => format!("{name} on {system}"),
        (Some(name), None) => name.to_owned(),
        (None, _) if agent.is_empty() => "Unknown".to_owned(),
        (None, _) => agent.chars().take(40).collect(),
    }
}

/// The role select field.
fn role_choice(form: &Form, chosen: Role, label: String) -> AnyView {
    let chosen = Role::from_name(&form.value("role", chosen.name().into())).unwrap_or(chosen);
    let options = Role::ALL
        .map(|role| view! { <option value=role.name() selected=role == chosen>{role.name()}</option> }.into_any());
    view! { <select name="role" aria-label=label>{options.into_iter().collect_view()}</select> }.into_any()
}

/// The scope field.
fn scope_field(form: &Form, scope: &Scope, label: String) -> AnyView {
    view! { <input name="scope" value=form.value("scope", scope.words()) placeholder="All" aria-label=label title=SCOPE autocomplete="off" autocapitalize="none" spellcheck="false"/> }.into_any()
}

/// Hosts and tags of a scope that do not exist at present; a mistyped one hides everything.
fn not_there(scope: &Scope) -> AnyView {
    let known = hosts();
    let hosts = scope.hosts.iter().filter(|host| !known.hosts.contains_key(host)).map(|host| format!("host {host}"));
    let has = |tag: &String| known.domains().any(|(_, domain)| domain.tags.contains(tag));
    let tags = scope.tags.iter().filter(|tag| !has(tag)).map(|tag| format!("tag #{tag}"));
    let missing: Vec<String> = hosts.chain(tags).collect();
    if missing.is_empty() {
        return ().into_any();
    }
    view! { <small class="wrong">{format!("Not found: {}.", missing.join(", "))}</small> }.into_any()
}

/// The help text of the scope field.
const SCOPE: &str = "Host names and #tags, separated by spaces, for example: atlas #web. Leave empty for all.";

fn users(accounts: &Accounts) -> AnyView {
    let rows = accounts.users.iter().map(user_row);
    let form = Form::with(("Add account", NAME), "add@users".into(), Vec::new());
    view! {
        <div class="card list spaced"><div class="scroll"><table aria-label="Accounts">
            <thead><tr>
                <th scope="col">"Account"</th><th scope="col">"Role and scope"</th><th scope="col">"Password"</th>
                <th scope="col">"Second factor"</th><th scope="col" class="num">"Sessions"</th>
                <th scope="col"><span class="hidden">"Actions"</span></th>
            </tr></thead>
            <tbody>{rows.collect_view()}</tbody>
        </table></div>
        {accounts.users.is_empty().then(|| view! { <Empty title="No accounts">"Until you create one, only the link printed at startup signs in, with full access. With --auth off, or with only the demo host, anyone who can reach this server has full access."</Empty> })}
        </div>
        <section class="card spaced">
            <header><h2>"Add account"</h2></header>
            <form class="fields across" method="post" action=routes::at(routes::MANAGE_USERS)>
                {form.field("name", With::default())}
                <label>"Role" {role_choice(&form, Role::Viewer, "Role".into())}</label>
                <label>"Scope" {scope_field(&form, &Scope::default(), "Scope".into())}</label>
                {form.wrong("scope")}
                <button class="btn primary" name="do" value="add">"Add account"</button>
                <small class="muted">{SCOPE}</small>
                <small class="muted">"Creates a one-time sign-in link. Its recipient signs in with it and sets a password."</small>
            </form>
        </section>
    }
    .into_any()
}

fn user_row(user: &UserLine) -> AnyView {
    let name = &user.name;
    let form = Form::with(("Set role", &[]), "role@users".into(), vec![("name", name.clone())]);
    let button = |what: &'static str, label: &'static str, class: &'static str| {
        view! { <button class=class name="do" value=what aria-label=format!("{label}: {name}")>{label}</button> }
            .into_any()
    };
    let factor = match user.recovery_codes {
        Some(_) => view! { "On " {button("factor", "Turn off", "btn small quiet")} }.into_any(),
        None => or_dash(""),
    };
    view! {
        <tr>
            <th scope="row">{name.clone()}</th>
            <td data-label="Role">
                <form method="post" action=routes::at(routes::MANAGE_USERS) class="inline">
                    <input type="hidden" name="name" value=name.clone()/>
                    {role_choice(&form, user.role, format!("Role of {name}"))}
                    {scope_field(&form, &user.scope, format!("Scope of {name}"))}
                    {button("role", "Save", "btn small")}
                    {form.wrong("scope")}
                    {not_there(&user.scope)}
                </form>
            </td>
            <td data-label="Password">{if user.has_password { "Set" } else { "Sign-in link only" }}</td>
            <td data-label="Second factor">
                <form method="post" action=routes::at(routes::MANAGE_USERS)><input type="hidden" name="name" value=name.clone()/>{factor}</form>
            </td>
            <td class="num" data-label="Sessions">{user.sessions}</td>
            <td class="actions">
                <form method="post" action=routes::at(routes::MANAGE_USERS) class="inline">
                    <input type="hidden" name="name" value=name.clone()/>
                    {button("link", "Create sign-in link", "btn small")}
                    {button("remove", "Remove", "btn small danger")}
                </form>
            </td>
        </tr>
    }
    .into_any()
}

fn tokens(accounts: &Accounts) -> AnyView {
    let rows = accounts.tokens.iter().map(token_row);
    let form = Form::with(("Create token", NAME), "add@tokens".into(), Vec::new());
    view! {
        <div class="card list spaced"><div class="scroll"><table aria-label="Tokens">
            <thead><tr>
                <th scope="col">"Token"</th><th scope="col">"Role"</th><th scope="col">"Scope"</th><th scope="col">"Created" {utc_note()}</th>
                <th scope="col">"Expires" {utc_note()}</th><th scope="col"><span class="hidden">"Action"</span></th>
            </tr></thead>
            <tbody>{rows.collect_view()}</tbody>
        </table></div>
        {accounts.tokens.is_empty().then(|| view! { <Empty title="No tokens">"Create one for each program, so that each can be revoked separately."</Empty> })}
        </div>
        <section class="card spaced">
            <header><h2>"Create token"</h2></header>
            <form class="fields across" method="post" action=routes::at(routes::MANAGE_TOKENS)>
                {form.field("name", With::default())}
                <label>"Role" {role_choice(&form, Role::Viewer, "Role".into())}</label>
                <label>"Scope" {scope_field(&form, &Scope::default(), "Scope".into())}</label>
                {form.wrong("scope")}
                <label>"Expires after (days)" <input name="days" type="number" min="1" max="3650" placeholder="Never" value=form.value("days", String::new())/></label>
                {form.wrong("days")}
                <button class="btn primary" name="do" value="add">"Create token"</button>
            </form>
        </section>
    }
    .into_any()
}

fn token_row(token: &TokenLine) -> AnyView {
    let expires = match token.expires {
        Some(at) => time(at),
        None => "Never".into_any(),
    };
    view! {
        <tr>
            <th scope="row">{token.name.clone()}</th>
            <td data-label="Role">{token.role.name()}</td>
            <td data-label="Scope">{if token.scope.is_everything() { "All".to_owned() } else { token.scope.words() }} {not_there(&token.scope)}</td>
            <td data-label="Created">{time(token.created)}</td>
            <td data-label="Expires">{expires}</td>
            <td class="actions">
                <form method="post" action=routes::at(routes::MANAGE_TOKENS)>
                    <input type="hidden" name="name" value=token.name.clone()/>
                    <button class="btn small danger" name="do" value="revoke" aria-label=format!("Revoke: {}", token.name)>"Revoke"</button>
                </form>
            </td>
        </tr>
    }
    .into_any()
}

#[cfg(test)]
mod tests {
    use super::browser;

    #[test]
    fn browsers_are_recognised_by_user_agent() {
        let chrome =
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36";
        assert_eq!(browser(chrome), "Chrome on Linux");
        assert_eq!(browser("Mozilla/5.0 (Windows NT 10.0) Gecko/20100101 Firefox/140.0"), "Firefox on Windows");
        assert_eq!((browser(""), browser("curl/8")), ("Unknown".into(), "curl/8".into()));
        assert_eq!(browser(&"<b>".repeat(100)).len(), 40);
    }
}
