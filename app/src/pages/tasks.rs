//! Running tasks, live; completed tasks, from the journal; and one task.

use leptos::prelude::*;
use model::RequestId;

use crate::{
    history::{Part, newer, past},
    routes,
    store::{Store, use_store},
    task::task_line,
    ui::{live::live, title::Title},
};

/// All tasks.
#[component]
pub(crate) fn TasksPage() -> impl IntoView {
    let store = use_store();
    let at_first: Vec<RequestId> = ended(store);
    view! {
        <Title text="Tasks"/>
        <div class="head"><h1>"Tasks"</h1></div>
        {live(move || under_way(store, None))}
        {live(move || {
            let fresh = ended(store).into_iter().filter(|id| !at_first.contains(id)).count();
            newer(fresh, "task finished", "tasks finished", routes::at(routes::TASKS))
        })}
        {past(Part::Tasks)}
    }
}

/// The completed tasks in the store.
fn ended(store: Store) -> Vec<RequestId> {
    store.tasks.with(|tasks| tasks.iter().filter(|task| task.outcome.is_some()).map(|task| task.task_id).collect())
}

/// One task.
#[component]
pub(crate) fn TaskPage(id: RequestId) -> impl IntoView {
    let store = use_store();
    let find = move || store.tasks.with(|tasks| tasks.iter().find(|task| task.task_id == id).cloned());
    let first = untrack(find);
    let was_running = first.as_ref().is_some_and(|task| task.outcome.is_none());
    view! {
        <Title text="Task"/>
        <p class="crumbs muted"><a href=routes::at(routes::TASKS) rel="external">"Tasks"</a></p>
        <div class="head"><h1>{first.as_ref().map_or_else(|| "Task".to_owned(), |task| format!("{} {}", task.label(), task.target_name))}</h1></div>
        {live(move || match find() {
            Some(task) if task.outcome.is_none() => under_way(store, Some(task.task_id)),
            Some(_) if was_running => newer(1, "result recorded", "", routes::task(id)),
            _ => ().into_any(),
        })}
        {past(Part::Task)}
    }
}

/// The running tasks, or one of them.
fn under_way(store: Store, only: Option<RequestId>) -> AnyView {
    let running = store.tasks.with(|tasks| {
        let running = tasks.iter().filter(|task| task.outcome.is_none());
        running.filter(|task| only.is_none_or(|id| task.task_id == id)).rev().cloned().collect::<Vec<_>>()
    });
    if running.is_empty() {
        return ().into_any();
    }
    view! {
        <section class="card spaced" aria-label="In progress">
            <header><h2>"In progress"</h2></header>
            <ul class="log">{running.iter().map(|task| task_line(store, task)).collect_view()}</ul>
        </section>
    }
    .into_any()
}
