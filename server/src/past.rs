//! The past as pages and programs read it: what is on disk, with what is known
//! of it in memory laid over it.

use std::sync::Arc;

use model::{Fault, Task};

use crate::{
    Backend,
    journal::{Paged, Query},
    tasks::task_of_record,
};

/// The tasks that are wanted, the newest first; those under way as they are now.
pub(crate) async fn tasks(backend: &Backend, query: Query) -> Result<Paged<Arc<Task>>, Fault> {
    let page = backend.journal.audit.records(Query { tasks: true, ..query }).await?;
    let tasks = page.items.into_iter().filter_map(task_of_record).map(|task| match task.outcome {
        Some(_) => Arc::new(task),
        None => backend.live(task.task_id).unwrap_or_else(|| Arc::new(task)),
    });
    Ok(Paged { items: tasks.collect(), next: page.next })
}
