//! A task as one line, for the task page and the drawer.

use std::sync::Arc;

use leptos::{ev::SubmitEvent, prelude::*};
use leptos_router::hooks::use_location;
use model::{Command, ObjectRef, RequestId, Task, TaskState};

use crate::{
    format, routes,
    store::Store,
    ui::{
        icons::icon,
        live::{live, live_text},
    },
};

/// A task: label, progress or result, and the cancel button.
pub(crate) fn task_line(store: Store, task: &Arc<Task>) -> AnyView {
    let since = task.created_at;
    let took = match task.outcome {
        None => live_text(move || format::span(store.second.get().saturating_sub(since))),
        Some(_) => format::took(task.duration_ms).into_any(),
    };
    let percent = task.progress.as_ref().and_then(|progress| progress.percent);
    let words = match (&task.progress, &task.fault) {
        (Some(progress), _) => progress.text.clone(),
        (None, Some(fault)) => fault.reason.clone(),
        (None, None) => task.state.label().to_owned(),
    };
    let picture = match task.state {
        TaskState::Succeeded => "check good",
        TaskState::Failed => "crashed bad",
        TaskState::Unknown => "unknown",
        TaskState::Accepted | TaskState::Running => "reboot ring",
    };
    let href = match task.target {
        Some(id) => routes::object(&ObjectRef::new(Command::object_of(&task.kind), &task.host_id, id)),
        None => routes::task(task.task_id),
    };
    let bar = percent.map(|percent| {
        view! { <progress max="100" value=percent.to_string() aria-label="Progress"></progress> }.into_any()
    });
    view! {
        <li class="task">
            {icon(picture)} <b>{task.label()}</b> <a href=href>{task.target_name.clone()}</a>
            {bar} <span class="muted">{words} ", " {took}</span>
            {(task.cancellable && store.viewer().may_end(task).is_ok()).then(|| cancel(task.task_id))}
        </li>
    }
    .into_any()
}

/// The cancel button of a request, while it can be cancelled; live.
pub(crate) fn cancel_of(store: Store, request: RequestId) -> AnyView {
    let possible = Memo::new(move |_| {
        let viewer = store.viewer();
        store.tasks.with(|tasks| {
            let task = tasks.iter().find(|task| task.task_id == request);
            task.is_some_and(|task| task.outcome.is_none() && task.cancellable && viewer.may_end(task).is_ok())
        })
    });
    live(move || possible.get().then(|| cancel(request)).into_any())
}

/// The cancel button of a task.
fn cancel(id: RequestId) -> AnyView {
    let back = use_location().pathname.get_untracked();
    let submit = move |event: SubmitEvent| {
        event.prevent_default();
        #[cfg(feature = "hydrate")]
        leptos::task::spawn_local(async move {
            // The result arrives as an event.
            gloo_net::http::Request::post(&routes::api_cancel(id)).send().await.ok();
        });
    };
    view! {
        <form class="inline" method="post" action=routes::at(routes::CANCEL) on:submit=submit>
            <input type="hidden" name="task" value=id.to_string()/>
            <input type="hidden" name="back" value=back/>
            <button class="btn small">"Cancel"</button>
        </form>
    }
    .into_any()
}
