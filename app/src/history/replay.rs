//! Renders a moment of the past, with links to earlier and later ones. On the server only; replay
//! runs no commands.

use leptos::{either::Either, prelude::*};
use model::DomainState;

use super::{
    server_view::{nothing, time},
    words,
};
use crate::{
    backend::{Bar, Moment, Past, PastEvent, Then},
    format, routes,
    ui::{icons::icon, moment::moment_field},
};

/// The moment, or an empty state.
pub(super) fn draw(past: &Past) -> AnyView {
    let Some(moment) = &past.moment else {
        return nothing(
            past,
            "No events yet",
            "Events on the hosts are kept for 7 days and can be stepped through here.",
        );
    };
    let playing = past.wishes.contains_key("play");
    view! {
        {strip(&moment.bars, moment.event.at)}
        {steps(moment, playing)}
        {what(&moment.event)}
        {counts(&moment.machines)}
        <div class="card list"><div class="scroll"><table aria-label="Machines at that time">
            <thead><tr>
                <th scope="col">"Name"</th><th scope="col">"State"</th><th scope="col">"Host"</th><th scope="col">"Unchanged for"</th>
            </tr></thead>
            <tbody>{moment.machines.iter().map(|then| row(then, moment.event.at)).collect_view()}</tbody>
        </table></div></div>
    }
    .into_any()
}

fn at(n: u64) -> String {
    format!("{}?n={n}", routes::at(routes::REPLAY))
}

/// The controls: first, previous, play, next, latest, go to a time.
fn steps(moment: &Moment, playing: bool) -> AnyView {
    let [first, before, after, last] = moment.steps;
    let step = |label: &'static str, to: Option<u64>, rel: &'static str| match to.filter(|to| *to != moment.n) {
        Some(n) => Either::Left(view! { <a class="btn small" rel=format!("external {rel}") href=at(n)>{label}</a> }),
        None => Either::Right(view! { <span class="btn small off" aria-disabled="true">{label}</span> }),
    };
    // With JavaScript the page continues automatically; the attribute holds the next address.
    let play = after.map(|n| match playing {
        true => view! { <a class="btn small" rel="external" href=at(moment.n) data-play=format!("{}&play=1", at(n))>"Pause"</a> }.into_any(),
        false => view! { <a class="btn small needs-js" rel="external" href=format!("{}&play=1", at(n))>"Play"</a> }.into_any(),
    });
    view! {
        <form class="filters" method="get" action=routes::at(routes::REPLAY)>
            {step("First", first, "first")} {step("Previous", before, "prev")} {play} {step("Next", after, "next")} {step("Latest", last, "last")}
            {moment_field("Go to", "at", Some(moment.event.at))}
            <button class="btn small">"Go"</button>
        </form>
    }
    .into_any()
}

fn what(event: &PastEvent) -> AnyView {
    let (mark, text) = words::event(event).unwrap_or(("unknown", event.kind.clone()));
    let host = event.host.as_ref().map(|host| view! { <small class="muted">{host.to_string()}</small> }.into_any());
    view! { <p class="moment">{time(event.at)} " " {icon(mark)} " " <b>{text}</b> " " {host}</p> }.into_any()
}

/// Machines per state.
fn counts(machines: &[Then]) -> AnyView {
    let count = |state| machines.iter().filter(|then| then.state == state).count();
    let known = DomainState::ALL.into_iter().map(Some).chain([None]);
    let parts = known.map(|state| (state, count(state))).filter(|(_, count)| *count > 0).map(|(state, count)| {
        let (class, label) = look(state);
        view! { <span class=format!("state {class}")>{count.to_string()} " " {label}</span> " " }.into_any()
    });
    view! { <p class="counts">{parts.collect_view()}</p> }.into_any()
}

fn look(state: Option<DomainState>) -> (String, &'static str) {
    state.map_or(("i-unknown".into(), "Unavailable"), |state| (format!("i-{0} {0}", state.key()), state.label()))
}

fn row(then: &Then, now: u64) -> AnyView {
    let (class, label) = look(then.state);
    let name = match then.exists {
        true => Either::Left(view! { <a href=routes::vm(&then.id)>{then.name.clone()}</a> }),
        false => Either::Right(view! { {then.name.clone()} " " <small class="muted">"deleted since"</small> }),
    };
    let since = then.since.map(|since| format::span(now.saturating_sub(since)));
    view! {
        <tr class:changed=then.changed>
            <th scope="row">{name}</th>
            <td data-label="State"><span class=format!("state {class}")>{label}</span></td>
            <td data-label="Host">{then.id.host.to_string()}</td>
            <td data-label="Unchanged for">{since}</td>
        </tr>
    }
    .into_any()
}

/// The number of events over time, each bar a link to its end.
fn strip(bars: &[Bar], here: u64) -> AnyView {
    const HEIGHT: u64 = 36;
    let most = bars.iter().map(|bar| bar.count).max().unwrap_or(1).max(1);
    let current = bars.iter().position(|bar| bar.to >= here);
    let drawn = bars.iter().enumerate().filter(|(_, bar)| bar.count > 0).map(|(x, bar)| {
        // A single event stays visible beside a thousand.
        let height = (bar.count * HEIGHT).div_ceil(most).max(3);
        let when = format::utc(bar.to).replace('T', " ").replace('Z', " UTC");
        let label = format!("{}, until {when}", format::count(bar.count as usize, "event"));
        let class = if current == Some(x) { "here" } else { "" };
        view! {
            <a href=format!("{}?at={}", routes::at(routes::REPLAY), bar.to) rel="external" aria-label=label>
                <rect class=class x=(x * 8).to_string() y=(HEIGHT - height).to_string() width="7" height=height.to_string()><title>{label.clone()}</title></rect>
            </a>
        }
        .into_any()
    });
    let ends = [bars.first(), bars.last()].map(|bar| bar.map(|bar| time(bar.to)));
    view! {
        <nav class="strip card" aria-label="Events over time">
            <svg viewBox=format!("0 0 {} {HEIGHT}", bars.len() * 8) preserveAspectRatio="none">{drawn.collect_view()}</svg>
            <p class="muted">{ends.into_iter().collect_view()}</p>
        </nav>
    }
    .into_any()
}
