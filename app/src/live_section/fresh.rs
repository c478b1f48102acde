//! Refreshes server-rendered pages and sends their forms without leaving the page. In the browser
//! only.
//!
//! The whole page is read again, and its changed sections are replaced. A section that is being
//! edited stays as it is.

use leptos::prelude::*;
use model::Fault;
use wasm_bindgen::JsCast;
use web_sys::{DomParser, Element, HtmlButtonElement, HtmlFormElement, SupportedType, UrlSearchParams};

use crate::{
    api::Refresher,
    refresh::Patience,
    routes,
    store::{
        Store,
        acts::{self, Acts, Answer, Sent},
    },
};

/// The server-rendered part of this page.
const DRAWN: &str = ".served";

/// Refreshes the page until it is left: it is read again when `changed` returns another number.
/// `every` is in milliseconds.
pub(super) fn keep(store: Store, acts: Acts, every: Option<u32>, changed: impl Fn() -> u64 + 'static) {
    let patience = Patience { quiet: 150.0, most: 1_000.0 };
    let missed = StoredValue::new(false);
    let refresher = Refresher::new(patience, move || async move {
        missed.try_get_value()?;
        // Nothing is replaced in a hidden tab, nor in a section that is being edited.
        let read = if document().hidden() { Reading::Missed } else { read_again().await };
        missed.try_set_value(read == Reading::Missed);
        Some(read != Reading::NoAnswer)
    });
    // A missed update is read when the tab is shown or editing ends.
    let catches_up = ["visibilitychange", "focusout", "click"].map(|moment| {
        let refresher = refresher.clone();
        window_event_listener_untyped(moment, move |_| {
            if !document().hidden() && missed.try_get_value() == Some(true) {
                refresher.event();
            }
        })
    });
    let timer = every.map(|every| {
        let refresher = refresher.clone();
        StoredValue::new_local(gloo_timers::callback::Interval::new(every, move || refresher.event()))
    });
    let sent = window_event_listener(leptos::ev::submit, move |event| submitted(&event, acts));
    // A link within the page changes the address only.
    let location = leptos_router::hooks::use_location();
    // The effect of a task may not show in any machine: SSH keys, a volume's content, a freeze.
    let tasks = move || {
        store.tasks.with(|tasks| {
            let (ended, under_way): (Vec<_>, Vec<_>) = tasks.iter().partition(|task| task.outcome.is_some());
            (under_way.len(), ended.iter().map(|task| task.timestamp).max())
        })
    };
    Effect::new(move |before: Option<_>| {
        let now = (changed(), tasks(), location.search.get());
        if before.is_some_and(|before| before != now) {
            refresher.event();
        }
        now
    });
    on_cleanup(move || {
        timer.inspect(|timer| timer.dispose());
        catches_up.into_iter().for_each(|listener| listener.remove());
        sent.remove();
    });
}

/// The heading that the server rendered.
pub(super) fn heading() -> String {
    let heading = document().query_selector(".served :is(h1, h2)").ok().flatten();
    heading.and_then(|heading| heading.text_content()).unwrap_or_default()
}

/// The result of a refresh.
#[derive(Clone, Copy, PartialEq)]
enum Reading {
    /// Everything is up to date.
    Shown,
    /// A part was skipped because it is being edited.
    Missed,
    /// No response.
    NoAnswer,
}

/// Reads the page again and replaces what changed.
async fn read_again() -> Reading {
    let address = window().location().href().unwrap_or_default();
    let Ok(answer) = gloo_net::http::Request::get(&address).header(routes::REFRESH_HEADER, "1").send().await else {
        return Reading::NoAnswer;
    };
    let Ok(text) = answer.text().await else { return Reading::NoAnswer };
    let parsed = DomParser::new().and_then(|parser| parser.parse_from_string(&text, SupportedType::TextHtml));
    let next = parsed.ok().and_then(|document| document.query_selector(DRAWN).ok()?);
    let now = document().query_selector(DRAWN).ok().flatten();
    let (Some(next), Some(now)) = (next, now) else { return Reading::Shown };
    let (read, replaced) = bring_up_to_date(&now, &next);
    if replaced {
        shape_forms();
    }
    read
}

/// Replaces the sections that differ, adds new ones and removes those that are gone. A section that is being edited
/// stays where it is, whatever appears or disappears around it. Also returns whether anything was changed.
fn bring_up_to_date(now: &Element, next: &Element) -> (Reading, bool) {
    let (mut olds, news) = (named(now), named(next));
    let gone = olds.extract_if(.., |(name, _)| news.iter().all(|(next, _)| next != name)).collect::<Vec<_>>();
    if gone.iter().any(|(_, old)| is_busy(old)) {
        return (Reading::Missed, false);
    }
    gone.iter().for_each(|(_, old)| old.remove());
    let (mut read, mut changed) = (Reading::Shown, !gone.is_empty());
    let mut before: Option<Element> = None;
    for (name, new) in news {
        let old = olds.iter().find(|(old, _)| *old == name).map(|(_, old)| old.clone());
        let shown = match old {
            Some(old) if is_busy(&old) => {
                read = Reading::Missed;
                old
            }
            Some(old) if !differ(&old, &new) => old,
            Some(old) => {
                replace(&old, &new);
                changed = true;
                new
            }
            None => {
                changed = true;
                new
            }
        };
        let next = before.as_ref().map_or_else(|| now.first_element_child(), Element::next_element_sibling);
        // Moving an element takes the focus from its fields, so one that is in its place is not touched.
        if next.as_ref() != Some(&shown) {
            match &before {
                Some(before) => before.after_with_node_1(&shown),
                None => now.prepend_with_node_1(&shown),
            }
            .ok();
        }
        before = Some(shown);
    }
    (read, changed)
}

/// The sections below an element, each with a name that it has in the next version of the page, too.
fn named(below: &Element) -> Vec<(String, Element)> {
    let mut named: Vec<(String, Element)> = Vec::new();
    for section in children(below) {
        let label = ["id", "aria-label", "aria-labelledby"].iter().find_map(|name| section.get_attribute(name));
        let plain = format!("{} {}", section.tag_name(), label.unwrap_or_else(|| section.class_name()));
        let same =
            named.iter().filter(|(name, _)| name.rsplit_once(' ').is_some_and(|(other, _)| other == plain)).count();
        named.push((format!("{plain} {same}"), section));
    }
    named
}

/// The elements below an element that match a selector.
fn all(below: &Element, selector: &str) -> Vec<Element> {
    let found = below.query_selector_all(selector).ok();
    let found = found.into_iter().flat_map(|list| (0..list.length()).filter_map(move |at| list.item(at)));
    found.filter_map(|node| node.dyn_into().ok()).collect()
}

/// Whether two versions of a section differ. Changes by the page's own scripts are ignored, and so
/// are form tokens, which always differ.
fn differ(a: &Element, b: &Element) -> bool {
    let plain = |element: &Element| {
        let copy = element.clone_node_with_deep(true).ok()?.dyn_into::<Element>().ok()?;
        for token in all(&copy, "input[name=token]") {
            token.set_attribute("value", "").ok()?;
        }
        // Forms hide the fields that do not apply to their choice.
        for field in all(&copy, "[data-of]") {
            field.remove_attribute("hidden").ok()?;
        }
        // Times are in the viewer's zone, and so are the day headings.
        for time in all(&copy, "local-time") {
            time.set_text_content(None);
            time.remove_attribute("title").ok()?;
        }
        for field in all(&copy, "input[data-at]") {
            field.remove_attribute("value").ok()?;
        }
        all(&copy, ".timeline > .day").iter().for_each(Element::remove);
        Some(copy.outer_html())
    };
    plain(a) != plain(b)
}

/// Replaces a section and keeps the focus.
fn replace(old: &Element, new: &Element) {
    const TAKES_FOCUS: &str = "a, button, summary, input, select";
    let focused = document().active_element();
    let place = focused.and_then(|focused| all(old, TAKES_FOCUS).iter().position(|one| *one == focused));
    old.replace_with_with_node_1(new).ok();
    let next = place.and_then(|place| all(new, TAKES_FOCUS).into_iter().nth(place));
    if let Some(next) = next.and_then(|next| next.dyn_into::<web_sys::HtmlElement>().ok()) {
        next.focus().ok();
    }
}

fn children(element: &Element) -> Vec<Element> {
    let children = element.children();
    (0..children.length()).filter_map(|index| children.item(index)).collect()
}

/// Whether a section is being edited: a form is open, or a field has the focus.
fn is_busy(section: &Element) -> bool {
    let open = |what: &str| {
        section.matches(what).unwrap_or(false) || section.query_selector(what).is_ok_and(|found| found.is_some())
    };
    open("details[open]") || open(":is(input, select, textarea):focus") || is_typed(section)
}

/// Whether a form in this section has unsent changes.
fn is_typed(section: &Element) -> bool {
    all(section, "input:not([type=hidden]), textarea, option").iter().any(|field| {
        let input = field.dyn_ref::<web_sys::HtmlInputElement>();
        let area = field.dyn_ref::<web_sys::HtmlTextAreaElement>();
        let option = field.dyn_ref::<web_sys::HtmlOptionElement>();
        input.is_some_and(|input| input.value() != input.default_value() || input.checked() != input.default_checked())
            || area.is_some_and(|area| area.default_value().is_ok_and(|default| default != area.value()))
            // Without a default, the first option is selected.
            || option.is_some_and(|option| option.selected() != option.default_selected() && option.index() > 0)
    })
}

/// Makes forms show the fields of their choice, as `shell.js` does at load.
fn shape_forms() {
    if let Ok(event) = web_sys::Event::new("shape") {
        document().dispatch_event(&event).ok();
    }
}

/// Sends a form of this page, unless it leads to another one.
fn submitted(event: &leptos::ev::SubmitEvent, acts: Acts) {
    let form = event.target().and_then(|target| target.dyn_into::<HtmlFormElement>().ok());
    let button = event.submitter().and_then(|button| button.dyn_into::<HtmlButtonElement>().ok());
    let (Some(form), Some(button)) = (form, button) else { return };
    let ours = form.closest(DRAWN).is_ok_and(|part| part.is_some());
    let commands = form.get_attribute("action").is_some_and(|action| action == routes::at(routes::COMMANDS));
    if !ours || !commands || event.default_prevented() {
        return;
    }
    event.prevent_default();
    if button.has_attribute("aria-busy") {
        return;
    }
    let label = button.text_content().unwrap_or_default();
    if button.get_attribute("aria-disabled").is_some() {
        acts.tell(&label, format!("{}.", button.title()), false);
        return;
    }
    let Some(body) = body(&form, &button) else { return };
    wrong::clear(&form);
    button.set_attribute("aria-busy", "true").ok();
    leptos::task::spawn_local(async move {
        match acts::form(body).await {
            Ok(Answer::Accepted(sent)) => accepted(sent, acts, &form, button.value().ends_with("@new")).await,
            Ok(Answer::Confirm { confirm }) => window().location().assign(&confirm).unwrap_or_default(),
            Err(fault) if wrong::shown(&form, &fault) => {}
            Err(fault) => acts.tell(&label, fault.sentence(), true),
        }
        button.remove_attribute("aria-busy").ok();
    });
}

/// Closes the form once its command succeeded, or takes longer. The form for a new object has its own page, which
/// is left only when the object was created.
async fn accepted(sent: Sent, acts: Acts, form: &HtmlFormElement, new: bool) {
    let Sent { request_ids, label, done, name } = sent;
    if new {
        match acts.ended(&request_ids).await {
            Some(Err(fault)) if wrong::shown(form, &fault) => {}
            // A slower one reports its result in a notice.
            Some(Err(_)) | None => acts.follow(&request_ids, label, done, &name),
            Some(Ok(())) => {
                let back = web_sys::FormData::new_with_form(form).ok().and_then(|data| data.get("back").as_string());
                let back = routes::with_results(&back.unwrap_or_default(), &request_ids);
                window().location().assign(&back).unwrap_or_default();
            }
        }
        return;
    }
    match acts.ended(&request_ids).await {
        // What was typed stays, to be mended; the fault stands at its field or in a notice.
        Some(Err(fault)) if wrong::shown(form, &fault) => return,
        Some(Err(_)) => {}
        Some(Ok(())) | None => {
            if let Ok(Some(open)) = form.closest("details") {
                open.remove_attribute("open").ok();
            }
            form.reset();
        }
    }
    acts.follow(&request_ids, label, done, &name);
}

/// The error of a field, shown beside it.
mod wrong {
    use super::*;

    /// Shows a fault beside its field; returns false if there is no visible one.
    pub(super) fn shown(form: &HtmlFormElement, fault: &Fault) -> bool {
        let Some(name) = fault.field.as_deref().filter(|_| form.is_connected()) else { return false };
        // A nested argument has both names.
        let selector =
            format!(":is(input, select, textarea):is([name='{name}'], [name$='.{name}']):not([type=hidden])");
        let field = form.query_selector(&selector).ok().flatten();
        let Some(field) = field.and_then(|field| field.dyn_into::<web_sys::HtmlElement>().ok()) else { return false };
        let Ok(note) = document().create_element("small") else { return false };
        note.set_class_name("wrong");
        note.set_attribute("role", "alert").ok();
        note.set_text_content(Some(&format!("{}.", fault.about_field())));
        // Not inside the label, whose text is the field's name.
        let id = format!("wrong-{name}");
        note.set_id(&id);
        let label = field.closest("label").ok().flatten();
        let beside = label.unwrap_or_else(|| field.clone().into());
        beside.after_with_node_1(&note).ok();
        field.set_attribute("aria-describedby", &id).ok();
        field.set_attribute("aria-invalid", "true").ok();
        field.focus().ok();
        true
    }

    /// Removes all shown errors.
    pub(super) fn clear(form: &HtmlFormElement) {
        all(form, ".wrong").iter().for_each(Element::remove);
        for field in all(form, "[aria-invalid]") {
            field.remove_attribute("aria-invalid").ok();
            field.remove_attribute("aria-describedby").ok();
        }
    }
}

/// The fields of a form with the pressed button, URL-encoded.
fn body(form: &HtmlFormElement, button: &HtmlButtonElement) -> Option<String> {
    let data = web_sys::FormData::new_with_form(form).ok()?;
    let fields = UrlSearchParams::new_with_str_sequence_sequence(&data).ok()?;
    // The form may be sent again with other values, so each request has its own token.
    fields.set("token", &acts::new_id().to_string());
    fields.append(&button.name(), &button.value());
    Some(fields.to_string().into())
}
