//! The only place where addresses are spelled. Pages are in `page`; everything else and shared
//! helpers are here.
//!
//! The constants are paths within Belvedere. `at` adds the base path of a reverse proxy; functions
//! that return addresses have added it.

mod page;

use std::sync::OnceLock;

use model::{DomainRef, HostId, ObjectKind, ObjectRef, RequestId};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

pub use self::page::{Page, Tab};

static BASE: OnceLock<String> = OnceLock::new();

/// Sets the base path. Called once, before anything is rendered; the browser reads it from the
/// page.
#[cfg(feature = "ssr")]
pub fn set_base(path: &str) {
    BASE.set(path.to_owned()).ok();
}

/// What the type of an error begins with (RFC 9457, 3.1.1); its code follows. It leads nowhere.
pub const ERROR_TYPE: &str = "/errors/";

/// The base path below a reverse proxy, such as `/belvedere`; empty at the root.
pub fn base() -> &'static str {
    #[cfg(feature = "hydrate")]
    return BASE.get_or_init(browser_base);
    #[cfg(not(feature = "hydrate"))]
    BASE.get().map_or("", String::as_str)
}

/// The base path from the page, or, in the shared worker, from its own address.
#[cfg(feature = "hydrate")]
fn browser_base() -> String {
    use wasm_bindgen::JsCast;
    if let Some(page) = leptos::web_sys::window().and_then(|window| window.document()) {
        return page.document_element().and_then(|root| root.get_attribute("data-base")).unwrap_or_default();
    }
    let worker = js_sys::global().unchecked_into::<web_sys::WorkerGlobalScope>();
    let address = worker.location().pathname();
    address.strip_suffix(WORKER).unwrap_or_default().to_owned()
}

/// The address of a path of this server.
pub fn at(path: &str) -> String {
    format!("{}{path}", base())
}

/// The path within this server for an address.
pub fn inner(address: &str) -> &str {
    within(base(), address)
}

/// An address without the base; unchanged if it does not start with it, since a proxy may strip the
/// base.
pub fn within<'a>(base: &str, address: &'a str) -> &'a str {
    match address.strip_prefix(base) {
        Some("") => OVERVIEW,
        Some(rest) if rest.starts_with(['/', '?']) => rest,
        _ => address,
    }
}

/// Whether a path of Belvedere starts with this segment.
#[cfg(feature = "ssr")]
pub fn is_own(segment: &str) -> bool {
    const OTHERS: [&str; 5] = ["api", "events", "manage", "pkg", "setup"];
    let more = [COMMANDS, RECONNECT, CANCEL, THEME, LOG_IN, LOG_OUT];
    OTHERS.contains(&segment) || more.iter().any(|path| path[1..] == *segment) || page::is_first_segment(segment)
}

/// Header of automatic requests by an open page; they do not keep a session alive.
pub const REFRESH_HEADER: &str = "x-belvedere-refresh";
/// The overview.
pub const OVERVIEW: &str = "/";
/// All virtual machines.
pub const VMS: &str = "/vms";
/// All hosts.
pub const HOSTS: &str = "/hosts";
/// All storage pools.
pub const STORAGE: &str = "/storage";
/// The form for a new pool.
pub const NEW_POOL: &str = "/storage/new";
/// All networks.
pub const NETWORKS: &str = "/networks";
/// The form for a new network.
pub const NEW_NETWORK: &str = "/networks/new";
/// All tasks.
pub const TASKS: &str = "/tasks";
/// Audit records.
pub const AUDIT: &str = "/audit";
/// Events.
pub const HISTORY: &str = "/history";
/// Errors.
pub const ERRORS: &str = "/history/errors";
/// The replay of events.
pub const REPLAY: &str = "/history/replay";
/// The confirmation page.
pub const CONFIRM: &str = "/confirm";
/// The reference of the interface for programs, and its document.
pub const API: &str = "/api";
pub const OPENAPI: &str = "/api/v1/openapi.json";

/// About this server.
pub const ABOUT: &str = "/about";
/// Forms with commands.
pub const COMMANDS: &str = "/commands";
/// Reconnect to a host.
pub const RECONNECT: &str = "/reconnect";
/// Cancel a task.
pub const CANCEL: &str = "/cancel";
/// Set the colour theme.
pub const THEME: &str = "/theme";
/// Sign in.
pub const LOG_IN: &str = "/login";
/// Sign out.
pub const LOG_OUT: &str = "/logout";
/// The second factor.
pub const CODE: &str = "/login/code";
/// Sign in with the OpenID provider.
pub const LOG_IN_BY_PROVIDER: &str = "/login/provider";
/// The redirect back from the OpenID provider.
pub const BACK_FROM_PROVIDER: &str = "/login/provider/back";
/// The viewer's own account.
pub const ACCOUNT: &str = "/account";
/// All accounts.
pub const USERS: &str = "/account/users";
/// All tokens.
pub const TOKENS: &str = "/account/tokens";
/// All sessions.
pub const SESSIONS: &str = "/account/sessions";
/// The hosts that can be changed here.
pub const MANAGED_HOSTS: &str = "/account/hosts";
/// Add, change and remove hosts.
pub const MANAGE_HOSTS: &str = "/manage/hosts";
/// Change the password.
pub const MANAGE_PASSWORD: &str = "/manage/password";
/// Change the second factor.
pub const MANAGE_FACTOR: &str = "/manage/factor";
/// End sessions.
pub const MANAGE_SESSIONS: &str = "/manage/sessions";
/// Change accounts.
pub const MANAGE_USERS: &str = "/manage/users";
/// Change tokens.
pub const MANAGE_TOKENS: &str = "/manage/tokens";
/// Show a definition with passwords.
pub const MANAGE_DEFINITION: &str = "/manage/definition";
/// Commands of API clients.
pub const API_COMMANDS: &str = "/api/v1/commands";
/// Console tickets, and the consoles they open.
pub const API_CONSOLES: &str = "/api/v1/consoles";
/// The script of the shared worker.
pub const WORKER: &str = "/worker.js";
/// The icon of every page. It needs no request of its own.
pub const ICON: &str = concat!(
    "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 20 20'>",
    "<rect width='20' height='20' rx='4' fill='%230b6e6a'/>",
    "<path d='M4 16h12M5 16V9.5m3.3 6.5V9.5m3.4 6.5V9.5M15 16V9.5M4.5 9.5h11L10 5z' fill='none' stroke='%23fff' ",
    "stroke-width='1.3' stroke-linejoin='round' stroke-linecap='round'/></svg>",
);

/// Time ranges of charts: name in the query, label, length in milliseconds.
pub const RANGES: [(&str, &str, u64); 5] = [
    ("5m", "5 min", 300_000),
    ("1h", "1 h", 3_600_000),
    ("24h", "24 h", 86_400_000),
    ("14d", "14 d", 1_209_600_000),
    ("1y", "1 y", 31_536_000_000),
];

/// One machine.
pub fn vm(id: &DomainRef) -> String {
    vm_tab(id, Tab::Overview)
}

/// A tab of one machine.
pub fn vm_tab(id: &DomainRef, tab: Tab) -> String {
    Page::Vm(id.clone(), tab).href()
}

/// One host.
pub fn host(id: &HostId) -> String {
    Page::Host(id.clone()).href()
}

/// One task.
pub fn task(id: RequestId) -> String {
    Page::Task(id).href()
}

/// The page of an object.
pub fn object(on: &ObjectRef) -> String {
    match on.kind {
        ObjectKind::Domain => vm(&DomainRef { host: on.host.clone(), id: on.id }),
        ObjectKind::Pool => Page::Pool(on.clone()).href(),
        ObjectKind::Network => Page::Network(on.clone()).href(),
        ObjectKind::Host => host(&on.host),
    }
}

/// A machine's page with its usage in a time range.
pub fn vm_range(id: &DomainRef, range: &str) -> String {
    if range.is_empty() { vm(id) } else { format!("{}?range={range}", vm(id)) }
}

/// Cancel a task.
pub fn api_cancel(id: RequestId) -> String {
    at(&format!("/api/v1/tasks/{id}/cancel"))
}

/// What the page at an address starts with.
pub fn api_view(address: &str) -> String {
    at(&format!("/api/v1/view?of={}", escape(address)))
}

/// Usage of all machines in the last minutes.
pub const API_STATS: &str = "/api/v1/stats";
/// Batches of commands.
pub const API_BATCHES: &str = "/api/v1/batches";
/// Check whether the journal is writable again.
pub const API_JOURNAL: &str = "/api/v1/journal/check";
/// All audit records as JSON Lines.
pub const AUDIT_EXPORT: &str = "/api/v1/audit.jsonl";

/// The query parameter with the console's name.
pub const CONSOLE_OF: &str = "show";

/// One console of a machine.
pub fn console(id: &DomainRef, name: &str) -> String {
    format!("{}?{CONSOLE_OF}={}", vm_tab(id, Tab::Console), escape(name))
}

/// The sign-in page, continuing at another address.
pub fn log_in(next: &str) -> String {
    format!("{}?next={}", at(LOG_IN), escape(next))
}

/// The machines of one host.
pub fn vms_of(host: &HostId) -> String {
    with(&at(VMS), &[("host", &host.to_string())])
}

/// A query about a machine.
#[cfg(feature = "hydrate")]
pub(crate) fn api_question(id: &DomainRef, about: &model::query::About) -> String {
    at(&format!("/api/v1/{}/{id}/{}", about.on.plural(), about.name))
}

/// The content of a volume.
#[cfg(feature = "ssr")]
pub(crate) fn api_content(pool: &ObjectRef, volume: &str) -> String {
    with(&at(&format!("/api/v1/pools/{}/{}/content", pool.host, pool.id)), &[("volume", volume)])
}

/// One task, for the browser.
#[cfg(feature = "hydrate")]
pub(crate) fn api_task(id: RequestId) -> String {
    at(&format!("/api/v1/tasks/{id}"))
}

/// Upload of a volume, in pieces.
#[cfg(feature = "hydrate")]
pub(crate) fn api_upload(id: RequestId, offset: Option<u64>) -> String {
    let offset = offset.map(|offset| format!("?offset={offset}")).unwrap_or_default();
    at(&format!("/api/v1/uploads/{id}{offset}"))
}

/// Reconnect to a host.
pub fn api_reconnect(host: &HostId) -> String {
    at(&format!("/api/v1/hosts/{host}/reconnect"))
}

/// The event stream from a cursor on, with details of the watched machines; for the pages at some
/// addresses, or for everything.
pub fn events(since: Option<&str>, watch: &str, views: &str) -> String {
    at(&with("/events", &[("since", since.unwrap_or_default()), ("watch", watch), ("view", views)]))
}

/// The same log by polling: at once, or as soon as there is an event.
pub fn poll(since: Option<&str>, at_once: bool, views: &str) -> String {
    let wait = if at_once { "0" } else { "20" };
    at(&with("/events", &[("poll", wait), ("since", since.unwrap_or_default()), ("view", views)]))
}

/// The confirmation page, for browsers without JavaScript. `fields` are the command's own.
pub fn confirm(kind: &str, targets: &[ObjectRef], back: &str, fields: &[(&str, &str)]) -> String {
    let targets: Vec<String> = targets.iter().map(ObjectRef::to_string).collect();
    let first = with(CONFIRM, &[("do", kind), ("on", &targets.join(",")), ("back", back)]);
    let fields: Vec<(String, &str)> = fields.iter().map(|(name, value)| (format!("{FIELD}{name}"), *value)).collect();
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    at(&with(&first, &fields))
}

/// The pool of a confirmation that also deletes its volumes, by the page's query.
#[cfg(any(feature = "ssr", test))]
pub(crate) fn pool_to_empty(query: &str) -> Option<ObjectRef> {
    let value = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    let whole = value("do") == Some("deletePool") && value("field-content").is_some();
    ObjectRef::parse(ObjectKind::Pool, value("on").filter(|_| whole)?).ok()
}

/// Prefix of a command's own fields in the query of the confirmation page.
pub const FIELD: &str = "field-";

/// A page with the results of requests.
pub fn with_results(back: &str, ids: &[RequestId]) -> String {
    let ids: Vec<String> = ids.iter().map(RequestId::to_string).collect();
    with(&without_results(back), &[("result", &ids.join(","))])
}

/// A page without the results of earlier requests.
pub fn without_results(address: &str) -> String {
    let (path, query) = address.split_once('?').unwrap_or((address, ""));
    let kept: Vec<&str> = query.split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("result=")).collect();
    if kept.is_empty() { path.to_owned() } else { format!("{path}?{}", kept.join("&")) }
}

/// Whether an address leads to this server and nowhere else.
pub fn is_local(address: &str) -> bool {
    address.starts_with('/') && !address.starts_with("//") && !address.contains(|c: char| c == '\\' || c.is_control())
}

/// An address with parameters, after those that it has; those without a value are left out.
pub fn with(address: &str, parameters: &[(&str, &str)]) -> String {
    let mut all = address.to_owned();
    for (name, value) in parameters.iter().filter(|(_, value)| !value.is_empty()) {
        all.push(if all.contains('?') { '&' } else { '?' });
        all.push_str(&escape(name));
        all.push('=');
        all.push_str(&escape(value));
    }
    all
}

#[cfg(feature = "ssr")]
pub(crate) fn value_of(query: &str, name: &str) -> Option<String> {
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// What stays as it is in a query string (RFC 3986, 2.3 and 3.4).
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// Percent-encodes a text for a query string.
pub fn escape(text: &str) -> String {
    utf8_percent_encode(text, KEPT).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_found_with_and_without_the_base() {
        let found = |address| within("/lab/vm", address);
        assert_eq!(found("/lab/vm"), "/");
        assert_eq!(found("/lab/vm/vms?q=a"), "/vms?q=a");
        assert_eq!(found("/lab/vm?result=x"), "?result=x");
        assert_eq!(found("/lab/vms"), "/lab/vms", "a different path");
        assert_eq!(found("/vms"), "/vms", "the proxy has stripped the base");
        assert_eq!(within("", "/vms"), "/vms");
    }

    #[test]
    fn results_replace_older_ones_and_keep_the_filter() {
        let id: RequestId = "9d5815f3-0942-43f7-bd25-8c0cb4800b49".parse().expect("an id");
        let there = with_results("/vms?q=a&result=old&host=b", &[id]);
        assert_eq!(there, "/vms?q=a&host=b&result=9d5815f3-0942-43f7-bd25-8c0cb4800b49");
    }

    #[test]
    fn external_addresses_are_detected() {
        assert!(is_local("/vms?q=a") && is_local("/"));
        for elsewhere in [
            "//evil.example",
            "https://evil.example",
            "javascript:alert(1)",
            "/\\evil.example",
            "/\t/evil.example",
            "/\u{1}",
            "",
        ] {
            assert!(!is_local(elsewhere), "{elsewhere:?}");
        }
    }

    #[test]
    fn escaped_text_stays_within_its_parameter() {
        assert_eq!(escape("a b&c=ä?/#"), "a%20b%26c%3D%C3%A4%3F/%23");
    }
}
