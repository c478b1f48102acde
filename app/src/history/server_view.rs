//! Renders the parts. On the server only.

use std::sync::Arc;

use leptos::{either::Either, prelude::*};
use model::{
    AuditRecord, Command, DomainCommand, Event, Fault, HostId, NetworkCommand, NoteKind, ObjectRef, PoolCommand, Task,
    TaskState,
    command::{CloneVolume, RemoveStaticHost, Rename, ResizeVolume, SetStaticHost, SetTags, SetTitle},
    event::Severity,
    task::Outcome,
};
use uuid::Uuid;

use super::{Part, words};
use crate::{
    backend::{Backend, HistoryRequest, Loaded, Past, PastEvent, loaded},
    format, routes,
    ui::{
        controls::{Empty, fact, or_dash},
        icons::icon,
        moment::{Cut, moment, moment_field, utc_note},
    },
};

/// The data of a page.
type Read = Result<Past, Fault>;

/// Reads a part of the journal for a page.
pub(crate) async fn load(backend: &dyn Backend, wish: &HistoryRequest, query: &str) -> Loaded {
    Loaded::of::<Read>(backend.past(wish, query).await)
}

/// Renders the data of the page.
pub(super) fn draw(part: Part) -> AnyView {
    match loaded::<Read>().as_deref() {
        Some(Ok(past)) => match part {
            Part::Tasks => tasks(past),
            Part::Task => task(past),
            Part::Audit => audit(past),
            Part::History => history(past),
            Part::Recent => recent(past),
            Part::Errors => errors(past),
            Part::Replay => super::replay::draw(past),
            Part::Machine => machine(past),
        },
        Some(Err(fault)) => {
            if fault.kind == model::FaultKind::NotFound {
                crate::ui::not_found::answer_not_found();
            }
            let why = fault.sentence();
            view! { <Empty title="Unavailable">{why}</Empty> }.into_any()
        }
        None => ().into_any(),
    }
}

/// A time, to the second.
pub(crate) fn time(at: u64) -> AnyView {
    moment(at, Cut::Whole)
}

/// The name of an object, as a link if it has a page.
fn object(kind: &str, host: Option<&HostId>, target: Option<Uuid>, name: &str) -> AnyView {
    match (host, target) {
        (Some(host), Some(id)) => {
            let href = routes::object(&ObjectRef::new(Command::object_of(kind), host, id));
            view! { <a href=href>{name.to_owned()}</a> " " <small class="muted">{host.to_string()}</small> }.into_any()
        }
        (Some(host), None) => {
            view! { {name.to_owned()} " " <small class="muted">{host.to_string()}</small> }.into_any()
        }
        (None, _) => or_dash(name),
    }
}

fn outcome(state: TaskState, text: String) -> AnyView {
    let class = match state {
        TaskState::Succeeded => "outcome i-check good",
        TaskState::Failed => "outcome i-crashed bad",
        TaskState::Unknown => "outcome i-unknown",
        TaskState::Accepted | TaskState::Running => "outcome i-reboot",
    };
    view! { <span class=class>{text}</span> }.into_any()
}

fn task_rows(tasks: &[Arc<Task>]) -> AnyView {
    let rows = tasks.iter().map(|task| {
        let why = task.fault.as_ref().map(|fault| view! { <small class="line">{fault.sentence()}</small> }.into_any());
        let took = if task.outcome.is_some() { format::took(task.duration_ms) } else { String::new() };
        view! {
            <tr>
                <th scope="row"><a href=routes::task(task.task_id) rel="external">{task.label()}</a></th>
                <td data-label="Object">{object(&task.kind, Some(&task.host_id), task.target, &task.target_name)}</td>
                <td class="wrap" data-label="Outcome">{outcome(task.state, task.state.label().to_owned())} {why}</td>
                <td class="num" data-label="Duration">{took}</td>
                <td data-label="Requested">{time(task.created_at)}</td>
            </tr>
        }
        .into_any()
    });
    view! {
        <thead><tr>
            <th scope="col">"Task"</th><th scope="col">"Object"</th><th scope="col">"Outcome"</th>
            <th scope="col" class="num">"Duration"</th><th scope="col">"Requested" {utc_note()}</th>
        </tr></thead>
        <tbody>{rows.collect_view()}</tbody>
    }
    .into_any()
}

fn tasks(past: &Past) -> AnyView {
    let states =
        [TaskState::Succeeded, TaskState::Failed, TaskState::Unknown].map(|state| (state.key(), state.label()));
    view! {
        {filters(past, routes::TASKS, "state", "Outcome", &states)}
        {if past.tasks.is_empty() {
            nothing(past, "No tasks yet", "Start, stop or change a machine. Each command is listed here with its result.")
        } else {
            view! { <div class="card list"><div class="scroll"><table aria-label="Tasks">{task_rows(&past.tasks)}</table></div></div> }.into_any()
        }}
        {older(past, routes::TASKS)}
    }
    .into_any()
}

fn task(past: &Past) -> AnyView {
    let Some(task) = past.tasks.first() else { return ().into_any() };
    let log = task.log.iter().map(|line| view! { <li>{time(line.at)} " " {line.text.clone()}</li> }.into_any());
    let why = task.fault.as_ref().map(|fault| fault.sentence()).unwrap_or_default();
    view! {
        <section class="card spaced">
            <header><h2>"Result"</h2></header>
            <dl>
                {fact("Object", object(&task.kind, Some(&task.host_id), task.target, &task.target_name))}
                {fact("Outcome", outcome(task.state, task.state.label().to_owned()))}
                {fact("Reason", or_dash(&why))}
                {fact("Requested", view! { {time(task.created_at)} {utc_note()} })}
                {fact("Duration", format::took(task.duration_ms))}
                {fact("Source", source(task.source, task.who.as_deref(), None))}
                {fact("Request ID", view! { <span class="mono">{task.task_id.to_string()}</span> })}
            </dl>
        </section>
        {(!task.log.is_empty()).then(|| view! {
            <section class="card spaced"><header><h2>"Log"</h2></header><ul class="log">{log.collect_view()}</ul></section>
        }.into_any())}
        {(!past.records.is_empty()).then(|| view! {
            <section class="card spaced"><header><h2>"Machines"</h2></header>
            <div class="scroll"><table aria-label="Machines">{record_rows(&past.records)}</table></div></section>
        }.into_any())}
    }
    .into_any()
}

fn source(source: model::Source, who: Option<&str>, address: Option<&str>) -> String {
    let door = match source {
        model::Source::Api => "API",
        model::Source::Page => "Page",
        model::Source::Form => "Page without JavaScript",
        model::Source::Cli => "Command line",
        model::Source::Server => "Server",
    };
    [who.unwrap_or_default(), door, address.unwrap_or_default()]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(", ")
}

/// The command with its arguments.
fn wish(record: &AuditRecord) -> String {
    match &record.command {
        Some(Command::Domain(DomainCommand::Rename(Rename { name }))) => format!("Rename to {name}"),
        Some(Command::Domain(DomainCommand::SetTags(SetTags { tags }))) if tags.is_empty() => {
            "Remove all tags".to_owned()
        }
        Some(Command::Domain(DomainCommand::SetTags(SetTags { tags }))) => format!("Set tags {}", tags.join(", ")),
        Some(Command::Domain(DomainCommand::SetTitle(SetTitle { title }))) => format!("Set title \"{title}\""),
        Some(Command::Pool(PoolCommand::ResizeVolume(ResizeVolume { capacity_bytes, .. }))) => {
            format!("Resize volume to {}", format::size(*capacity_bytes))
        }
        Some(Command::Pool(PoolCommand::CloneVolume(CloneVolume { to, .. }))) => format!("Clone volume to {to}"),
        Some(Command::Network(NetworkCommand::SetStaticHost(SetStaticHost { mac, address, .. }))) => {
            format!("Set static address {address} for {mac}")
        }
        Some(Command::Network(NetworkCommand::RemoveStaticHost(RemoveStaticHost { mac, .. }))) => {
            format!("Remove static address of {mac}")
        }
        Some(command) => command.label().to_owned(),
        None => NoteKind::from_key(&record.kind).map_or_else(|| record.kind.clone(), |kind| kind.words().to_owned()),
    }
}

fn record_state(record: &AuditRecord) -> (TaskState, &'static str) {
    match record.outcome {
        Outcome::Succeeded => (TaskState::Succeeded, "Succeeded"),
        Outcome::Failed => (TaskState::Failed, "Failed"),
        Outcome::Refused => (TaskState::Failed, "Refused"),
        Outcome::Unknown => (TaskState::Unknown, "Unknown"),
        Outcome::Accepted | Outcome::Running => (TaskState::Running, "In progress"),
    }
}

fn record_rows(records: &[AuditRecord]) -> AnyView {
    let rows = records.iter().map(|record| {
        let (state, word) = record_state(record);
        let why =
            record.fault.as_ref().map(|fault| view! { <small class="line">{fault.sentence()}</small> }.into_any());
        let what = match record.request_id.filter(|_| record.outcome != Outcome::Refused) {
            Some(id) => Either::Left(view! { <a href=routes::task(id) rel="external">{wish(record)}</a> }),
            None => Either::Right(wish(record)),
        };
        let from = source(record.origin.source, record.origin.who.as_deref(), record.origin.address.as_deref());
        view! {
            <tr>
                <td data-label="Time">{time(record.timestamp)}</td>
                <th scope="row" class="wrap">{what}</th>
                <td data-label="Object">{object(&record.kind, record.host_id.as_ref(), record.target, &record.target_name)}</td>
                <td data-label="Source">{from}</td>
                <td class="wrap" data-label="Outcome">{outcome(state, word.to_owned())} {why}</td>
            </tr>
        }
        .into_any()
    });
    view! {
        <thead><tr>
            <th scope="col">"Time" {utc_note()}</th><th scope="col">"Action"</th><th scope="col">"Object"</th>
            <th scope="col">"User and source"</th><th scope="col">"Outcome"</th>
        </tr></thead>
        <tbody>{rows.collect_view()}</tbody>
    }
    .into_any()
}

fn audit(past: &Past) -> AnyView {
    let outcomes = [
        ("succeeded", "Succeeded"),
        ("failed", "Failed"),
        ("refused", "Refused"),
        ("unknown", "Unknown"),
        ("accepted", "In progress"),
    ];
    view! {
        {filters(past, routes::AUDIT, "outcome", "Outcome", &outcomes)}
        {if past.records.is_empty() {
            nothing(past, "No records", "Every command is recorded here with its user, source and outcome.")
        } else {
            view! { <div class="card list"><div class="scroll"><table aria-label="Audit">{record_rows(&past.records)}</table></div></div> }.into_any()
        }}
        {older(past, routes::AUDIT)}
    }
    .into_any()
}

/// Entries, newest first, with a heading per day.
fn timeline(lines: Vec<(u64, words::Mark, String, AnyView)>) -> AnyView {
    let mut day = String::new();
    let items = lines.into_iter().map(|(at, mark, text, about)| {
        let utc = format::utc(at);
        let (date, _) = utc.split_once('T').unwrap_or_default();
        let heading = (date != day).then(|| view! { <li class="day"><h2>{date.to_owned()}</h2></li> }.into_any());
        date.clone_into(&mut day);
        view! {
            {heading}
            <li>{moment(at, Cut::Clock)} {icon(mark)} <span class="said">{text}</span> {about}</li>
        }
        .into_any()
    });
    view! { <ol class="timeline" aria-label="Events">{items.collect_view()}</ol> }.into_any()
}

fn event_lines(events: &[PastEvent]) -> impl Iterator<Item = (u64, words::Mark, String, AnyView)> {
    events.iter().filter_map(|past| {
        let (mark, text) = words::event(past)?;
        let host = past.host.as_ref().map(|host| view! { <small class="muted">{host.to_string()}</small> }.into_any());
        Some((past.at, mark, text, host.into_any()))
    })
}

fn history(past: &Past) -> AnyView {
    let kinds = [
        ("vm-state-changed", "States"),
        ("vm-created,vm-deleted,vm-updated", "Machines created, deleted or changed"),
        ("task-created,task-completed", "Tasks"),
        ("storage-pool-changed,volume-changed", "Storage"),
        ("network-changed", "Networks"),
        ("host-devices-changed", "Host devices"),
        ("connection-status-changed", "Connections"),
    ];
    let lines: Vec<_> = event_lines(&past.events).collect();
    view! {
        {filters(past, routes::HISTORY, "topics", "Event type", &kinds)}
        {if lines.is_empty() {
            nothing(past, "No events yet", "Events on the hosts are kept for 7 days and listed here.")
        } else {
            view! { <div class="card">{timeline(lines)}</div> }.into_any()
        }}
        {older(past, routes::HISTORY)}
    }
    .into_any()
}

/// The latest events, without a form.
fn recent(past: &Past) -> AnyView {
    let lines: Vec<_> = event_lines(&past.events).take(RECENT).collect();
    if lines.is_empty() {
        return view! { <p class="muted calm">"No events yet."</p> }.into_any();
    }
    timeline(lines)
}

/// Events on the overview.
const RECENT: usize = 8;

/// Errors, newest first.
fn errors(past: &Past) -> AnyView {
    let rows =
        past.events.iter().filter_map(|past| {
            let error = match Event::parse(&past.kind, &past.data) {
                Ok(Some(Event::Error(error))) => error,
                Ok(Some(Event::ConnectionStatusChanged(told))) => {
                    let message = format!("{} is not connected: {}", told.host_id, told.error.unwrap_or_default());
                    model::event::Error::of_background(Some(told.host_id), "connect", message, told.timestamp)
                }
                _ => return None,
            };
            let class = match error.severity {
                Severity::Critical | Severity::Error => "outcome i-crashed bad",
                Severity::Warning => "outcome i-unknown",
                Severity::Info => "outcome i-check good",
            };
            Some(view! {
            <tr>
                <td data-label="Time">{time(past.at)}</td>
                <td data-label="Severity"><span class=class>{error.severity.label()}</span></td>
                <th scope="row" class="wrap">{error.message}</th>
                <td data-label="Context">{or_dash(error.context.as_deref().unwrap_or_default())}</td>
                <td data-label="Host">{or_dash(error.host_id.as_ref().map(HostId::as_str).unwrap_or_default())}</td>
            </tr>
        }
        .into_any())
        });
    let severities = Severity::ALL.map(|severity| (severity.key(), severity.label()));
    view! {
        {filters(past, routes::ERRORS, "severity", "Severity", &severities)}
        {if past.events.is_empty() {
            nothing(past, "No errors", "Background errors are kept for 7 days and listed here.")
        } else {
            view! {
                <div class="card list"><div class="scroll" tabindex="0" role="region" aria-label="Error log"><table aria-label="Errors">
                    <thead><tr>
                        <th scope="col">"Time" {utc_note()}</th><th scope="col">"Severity"</th><th scope="col">"Message"</th>
                        <th scope="col">"Context"</th><th scope="col">"Host"</th>
                    </tr></thead>
                    <tbody>{rows.collect_view()}</tbody>
                </table></div></div>
            }.into_any()
        }}
        {older(past, routes::ERRORS)}
    }
    .into_any()
}

fn machine(past: &Past) -> AnyView {
    let done = past.records.iter().map(|record| {
        let (state, word) = record_state(record);
        let mark = match state {
            TaskState::Succeeded => "check",
            TaskState::Failed => "crashed",
            _ => "unknown",
        };
        let from = source(record.origin.source, record.origin.who.as_deref(), record.origin.address.as_deref());
        let why = record.fault.as_ref().map(|fault| format!(": {}", fault.sentence())).unwrap_or_default();
        let text = format!("{}: {}{why}", wish(record), word.to_ascii_lowercase());
        (record.timestamp, mark, text, view! { <small class="muted">{from}</small> }.into_any())
    });
    // Commands are shown by their audit records, which name the user.
    let happened = event_lines(&past.events).collect::<Vec<_>>();
    let mut lines: Vec<_> = done.chain(happened).collect();
    lines.sort_by_key(|line| std::cmp::Reverse(line.0));
    if lines.is_empty() {
        return view! { <Empty title="No events yet">"Commands and events of this machine are listed here."</Empty> }
            .into_any();
    }
    view! { <section class="card">{timeline(lines)}</section> }.into_any()
}

/// The filter form of a list; its values are part of the address.
fn filters(
    past: &Past,
    action: &'static str,
    choice: &'static str,
    label: &'static str,
    choices: &[(&'static str, &'static str)],
) -> AnyView {
    let wished = |name: &str| past.wishes.get(name).cloned().unwrap_or_default();
    let chosen = wished(choice);
    let options = choices
        .iter()
        .map(|(key, label)| view! { <option value=*key selected=*key == chosen>{*label}</option> }.into_any());
    let search = ![routes::HISTORY, routes::ERRORS].contains(&action);
    view! {
        <form class="filters" method="get" action=routes::at(action)>
            {search.then(|| view! { <label class="search">{icon("search")}<input type="search" name="q" value=wished("q") placeholder="Search" aria-label="Search"/></label> }.into_any())}
            <label>{label} <select name=choice><option value="">"All"</option>{options.collect_view()}</select></label>
            {moment_field("From", "from", format::parse_utc(&wished("from")))}
            {moment_field("To", "to", format::parse_utc(&wished("to")))}
            <button class="btn small">"Filter"</button>
            {(!past.wishes.is_empty()).then(|| view! { <a href=routes::at(action) rel="external">"Clear filter"</a> }.into_any())}
        </form>
    }
    .into_any()
}

pub(super) fn nothing(past: &Past, title: &'static str, text: &'static str) -> AnyView {
    let narrowed = past.wishes.iter().any(|(name, value)| name != "after" && !value.is_empty());
    if narrowed {
        return view! { <Empty title="No matches">"Change the filter or the time range."</Empty> }.into_any();
    }
    view! { <Empty title=title>{text}</Empty> }.into_any()
}

/// The link to older entries.
fn older(past: &Past, path: &str) -> AnyView {
    let Some(next) = past.next else { return ().into_any() };
    let kept = past.wishes.iter().filter(|(name, _)| *name != "after");
    let kept: Vec<(&str, &str)> = kept.map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let href = routes::with(&routes::with(&routes::at(path), &kept), &[("after", &next.to_string())]);
    view! { <nav class="more" aria-label="Pagination"><a class="btn small" rel="external" href=href>"Older"</a></nav> }
        .into_any()
}
