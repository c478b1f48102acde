//! The only place where an address is spelled.
//! Pages are in `page`; here are the rest, and what all addresses share.
//!
//! The constants are paths within Belvedere. Browsers find them with `at`, which puts the
//! path in front below which a proxy shows it; the functions that make addresses do that.

mod page;

use std::sync::OnceLock;

use model::{DomainRef, HostId, NetworkCommand, PoolCommand, RequestId};

pub use self::page::{Page, Tab};

static BASE: OnceLock<String> = OnceLock::new();

/// Says below which path browsers find this process. It is said once, before anything is
/// drawn; the browser reads it from the page.
#[cfg(feature = "ssr")]
pub fn set_base(path: &str) {
    BASE.set(path.to_owned()).ok();
}

/// The path below which a proxy shows the server, such as `/belvedere`; empty at the root.
pub fn base() -> &'static str {
    #[cfg(feature = "hydrate")]
    return BASE.get_or_init(browser_base);
    #[cfg(not(feature = "hydrate"))]
    BASE.get().map_or("", String::as_str)
}

/// What the page says of it, or, in the worker that pages share, its own address.
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

/// Where browsers find a path of this server.
pub fn at(path: &str) -> String {
    format!("{}{path}", base())
}

/// The path within this server that browsers find at an address.
pub fn inner(address: &str) -> &str {
    within(base(), address)
}

/// What of an address lies below a base; all of it when it does not begin so, as a proxy
/// may take the base away.
pub fn within<'a>(base: &str, address: &'a str) -> &'a str {
    match address.strip_prefix(base) {
        Some("") => OVERVIEW,
        Some(rest) if rest.starts_with(['/', '?']) => rest,
        _ => address,
    }
}

/// Whether a path of Belvedere begins with this segment.
#[cfg(feature = "ssr")]
pub fn is_own(segment: &str) -> bool {
    const OTHERS: [&str; 5] = ["api", "events", "manage", "pkg", "setup"];
    let more = [COMMANDS, RECONNECT, CANCEL, THEME, LOG_IN, LOG_OUT];
    OTHERS.contains(&segment) || more.iter().any(|path| path[1..] == *segment) || page::is_first_segment(segment)
}

/// The header of what an open page reads by itself: it keeps no session alive.
pub const REFRESH_HEADER: &str = "x-belvedere-refresh";
/// Everything at a glance.
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
/// What was done and is being done.
pub const TASKS: &str = "/tasks";
/// Who did what.
pub const AUDIT: &str = "/audit";
/// What happened.
pub const HISTORY: &str = "/history";
/// What went wrong.
pub const ERRORS: &str = "/history/errors";
/// What happened, step by step.
pub const REPLAY: &str = "/history/replay";
/// The question before something is lost.
pub const CONFIRM: &str = "/confirm";
/// What this server is.
pub const ABOUT: &str = "/about";
/// Where forms with commands go.
pub const COMMANDS: &str = "/commands";
/// Where the wish to try a host again goes.
pub const RECONNECT: &str = "/reconnect";
/// Where the wish to end a task goes.
pub const CANCEL: &str = "/cancel";
/// Where the choice of light or dark goes.
pub const THEME: &str = "/theme";
/// Where people say who they are.
pub const LOG_IN: &str = "/login";
/// Where they leave.
pub const LOG_OUT: &str = "/logout";
/// Where the code after the password goes.
pub const CODE: &str = "/login/code";
/// The way to the provider that logs people in.
pub const LOG_IN_BY_PROVIDER: &str = "/login/provider";
/// The way back from it.
pub const BACK_FROM_PROVIDER: &str = "/login/provider/back";
/// One's own account.
pub const ACCOUNT: &str = "/account";
/// All accounts.
pub const USERS: &str = "/account/users";
/// What programs log in with.
pub const TOKENS: &str = "/account/tokens";
/// Who is logged in.
pub const SESSIONS: &str = "/account/sessions";
/// Where a new password goes.
pub const MANAGE_PASSWORD: &str = "/manage/password";
/// Where the wish for a second factor goes.
pub const MANAGE_FACTOR: &str = "/manage/factor";
/// Where the wish to end sessions goes.
pub const MANAGE_SESSIONS: &str = "/manage/sessions";
/// Where changes of accounts go.
pub const MANAGE_USERS: &str = "/manage/users";
/// Where changes of tokens go.
pub const MANAGE_TOKENS: &str = "/manage/tokens";
/// Where the wish to read passwords of a machine goes.
pub const MANAGE_DEFINITION: &str = "/manage/definition";
/// Where commands of scripts go.
pub const API_COMMANDS: &str = "/api/v1/commands";
/// Everything that is known, with its position.
pub const API_INVENTORY: &str = "/api/v1/inventory";
/// Where tickets for consoles are, and what they open.
pub const API_CONSOLES: &str = "/api/v1/consoles";
/// The script of the shared worker.
pub const WORKER: &str = "/worker.js";
/// The picture of the browser's tab.
pub const ICON: &str = "/favicon.svg";

/// One machine.
pub fn vm(id: &DomainRef) -> String {
    vm_tab(id, Tab::Overview)
}

/// A tab of one machine.
pub fn vm_tab(id: &DomainRef, tab: Tab) -> String {
    Page::Vm(id.clone(), tab).href()
}

/// One storage pool.
pub fn pool(id: &DomainRef) -> String {
    Page::Pool(id.clone()).href()
}

/// One network.
pub fn network(id: &DomainRef) -> String {
    Page::Network(id.clone()).href()
}

/// One host.
pub fn host(id: &HostId) -> String {
    Page::Host(id.clone()).href()
}

/// One task.
pub fn task(id: RequestId) -> String {
    Page::Task(id).href()
}

/// The page of what a command of a kind is about.
pub fn object(kind: &str, id: &DomainRef) -> String {
    if PoolCommand::about_kind(kind).is_some() {
        pool(id)
    } else if NetworkCommand::about_kind(kind).is_some() {
        network(id)
    } else {
        vm(id)
    }
}

/// A machine's page with what it used in a range of time.
pub fn vm_range(id: &DomainRef, range: &str) -> String {
    if range.is_empty() { vm(id) } else { format!("{}?range={range}", vm(id)) }
}

/// Where the wish to end a task goes.
pub fn api_cancel(id: RequestId) -> String {
    at(&format!("/api/v1/tasks/{id}/cancel"))
}

/// What all machines used in the last minutes.
pub const API_STATS: &str = "/api/v1/stats";
/// Where several commands at once go.
pub const API_BATCHES: &str = "/api/v1/batches";
/// Where the wish to try the journal again goes.
pub const API_JOURNAL: &str = "/api/v1/journal/check";
/// All records as JSON lines.
pub const AUDIT_EXPORT: &str = "/api/v1/audit.jsonl";

/// What names the console in the address of that tab.
pub const CONSOLE_OF: &str = "show";

/// One console of a machine.
pub fn console(id: &DomainRef, name: &str) -> String {
    format!("{}?{CONSOLE_OF}={}", vm_tab(id, Tab::Console), escape(name))
}

/// The page that asks who somebody is and leads on to another one.
pub fn log_in(next: &str) -> String {
    format!("{}?next={}", at(LOG_IN), escape(next))
}

/// The machines of one host.
pub fn vms_of(host: &HostId) -> String {
    format!("{}?host={host}", at(VMS))
}

/// A question about a machine.
#[cfg(feature = "hydrate")]
pub(crate) fn api_question(id: &DomainRef, about: &model::query::About) -> String {
    at(&format!("/api/v1/{}/{id}/{}", about.on.plural(), about.name))
}

/// A volume as a file.
#[cfg(feature = "ssr")]
pub(crate) fn api_content(pool: &DomainRef, volume: &str) -> String {
    at(&format!("/api/v1/pools/{}/{}/content?volume={}", pool.host, pool.id, escape(volume)))
}

/// One task, for the browser.
#[cfg(feature = "hydrate")]
pub(crate) fn api_task(id: RequestId) -> String {
    at(&format!("/api/v1/tasks/{id}"))
}

/// Where the pieces of an upload go.
#[cfg(feature = "hydrate")]
pub(crate) fn api_upload(id: RequestId, offset: Option<u64>) -> String {
    let offset = offset.map(|offset| format!("?offset={offset}")).unwrap_or_default();
    at(&format!("/api/v1/uploads/{id}{offset}"))
}

/// Asks for a new attempt to connect to a host.
pub fn api_reconnect(host: &HostId) -> String {
    at(&format!("/api/v1/hosts/{host}/reconnect"))
}

/// The stream of events from a position on, with details of the machines that are
/// looked at.
pub fn events(since: Option<&str>, watch: &str) -> String {
    let since = since.map(|since| format!("since={since}"));
    let watch = (!watch.is_empty()).then(|| format!("watch={watch}"));
    let parts: Vec<String> = since.into_iter().chain(watch).collect();
    if parts.is_empty() { at("/events") } else { at(&format!("/events?{}", parts.join("&"))) }
}

/// The same log, answer by answer: at once, or as soon as there is something.
pub fn poll(since: Option<&str>, at_once: bool) -> String {
    let wait = if at_once { 0 } else { 20 };
    let since = since.map(|since| format!("&since={since}")).unwrap_or_default();
    at(&format!("/events?poll={wait}{since}"))
}

/// The question before something is lost, for browsers without JavaScript. `fields` are the
/// command's own.
pub fn confirm(kind: &str, targets: &[DomainRef], back: &str, fields: &[(&str, &str)]) -> String {
    let targets: Vec<String> = targets.iter().map(DomainRef::to_string).collect();
    let fields: String =
        fields.iter().map(|(name, value)| format!("&{FIELD}{}={}", escape(name), escape(value))).collect();
    at(&format!("{CONFIRM}?do={kind}&on={}&back={}{fields}", targets.join(","), escape(back)))
}

/// The pool that a question is about, by the query of its address, where all that it holds would go
/// with it.
#[cfg(any(feature = "ssr", test))]
pub(crate) fn pool_to_empty(query: &str) -> Option<DomainRef> {
    let value = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    let whole = value("do") == Some("deletePool") && value("field-content").is_some();
    value("on").filter(|_| whole)?.parse().ok()
}

/// What stands before the names of a command's own fields in the address of that question.
pub const FIELD: &str = "field-";

/// A page that shows how requests ended.
pub fn with_results(back: &str, ids: &[RequestId]) -> String {
    let ids: Vec<String> = ids.iter().map(RequestId::to_string).collect();
    let (path, query) = back.split_once('?').unwrap_or((back, ""));
    let kept = query.split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("result="));
    let mut pairs: Vec<String> = kept.map(str::to_owned).collect();
    pairs.push(format!("result={}", ids.join(",")));
    format!("{path}?{}", pairs.join("&"))
}

/// Whether an address leads back to this server and nowhere else.
pub fn is_local(address: &str) -> bool {
    address.starts_with('/') && !address.starts_with("//") && !address.contains(|c: char| c == '\\' || c.is_control())
}

/// The value of a name in a query, the first one.
#[cfg(feature = "ssr")]
pub(crate) fn value_of(query: &str, name: &str) -> Option<String> {
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// A text as it may stand in a query (RFC 3986, 2.1).
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => escaped.push(byte as char),
            other => {
                escaped.push('%');
                escaped.push(char::from_digit((other >> 4).into(), 16).unwrap_or('0').to_ascii_uppercase());
                escaped.push(char::from_digit((other & 15).into(), 16).unwrap_or('0').to_ascii_uppercase());
            }
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_below_a_base_is_found_with_and_without_it() {
        let found = |address| within("/lab/vm", address);
        assert_eq!(found("/lab/vm"), "/");
        assert_eq!(found("/lab/vm/vms?q=a"), "/vms?q=a");
        assert_eq!(found("/lab/vm?result=x"), "?result=x");
        assert_eq!(found("/lab/vms"), "/lab/vms", "that is another path");
        assert_eq!(found("/vms"), "/vms", "the proxy has taken the base away");
        assert_eq!(within("", "/vms"), "/vms");
    }

    #[test]
    fn results_replace_older_ones_and_keep_the_filter() {
        let id: RequestId = "9d5815f3-0942-43f7-bd25-8c0cb4800b49".parse().expect("an id");
        let there = with_results("/vms?q=a&result=old&host=b", &[id]);
        assert_eq!(there, "/vms?q=a&host=b&result=9d5815f3-0942-43f7-bd25-8c0cb4800b49");
    }

    #[test]
    fn an_address_that_leads_elsewhere_is_known() {
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
    fn a_text_in_a_query_can_not_break_out_of_it() {
        assert_eq!(escape("a b&c=ä?/#"), "a%20b%26c%3D%C3%A4%3F/%23");
    }
}
