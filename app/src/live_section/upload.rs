//! Uploads files into a pool in pieces and resumes after a lost connection. In the browser only;
//! progress is reported by the task, as for any command.

use gloo_timers::future::TimeoutFuture;
use leptos::prelude::*;
use model::{Fault, FaultKind, ObjectKind, ObjectRef, PoolCommand, RequestId, command::UploadVolume};
use serde::Deserialize;
use wasm_bindgen::JsCast;
use web_sys::{DragEvent, Element, Event, File, FileList, HtmlInputElement};

use crate::{
    api::no_answer,
    routes,
    store::acts::{Acts, begin_upload},
};

/// Bytes per piece: large enough to keep the request overhead low, small enough to send again.
const PIECE: f64 = 16_777_216.0;
/// Attempts per piece; the pause between them grows by 1 s.
const TRIES: u32 = 20;

/// Uploads files that are selected or dropped on a page with an upload field.
pub(super) fn listen(acts: Acts) {
    let chosen = window_event_listener_untyped("change", move |event| {
        let input = event.target().and_then(|target| target.dyn_into::<HtmlInputElement>().ok());
        let Some(input) = input.filter(|input| input.has_attribute("data-upload")) else { return };
        take(input.files(), &input.get_attribute("data-upload").unwrap_or_default(), acts);
        input.set_value("");
    });
    let over = window_event_listener_untyped("dragover", |event| {
        if pool_below(&event).is_some() {
            event.prevent_default();
        }
    });
    let dropped = window_event_listener_untyped("drop", move |event| {
        let Some(pool) = pool_below(&event) else { return };
        event.prevent_default();
        let files = event.dyn_ref::<DragEvent>().and_then(DragEvent::data_transfer).and_then(|data| data.files());
        take(files, &pool, acts);
    });
    on_cleanup(move || {
        chosen.remove();
        over.remove();
        dropped.remove();
    });
}

/// The pool of the page, if it has an upload field.
fn pool_below(event: &Event) -> Option<String> {
    event.target()?.dyn_into::<Element>().ok()?;
    document().query_selector("[data-upload]").ok()??.get_attribute("data-upload")
}

/// Sends files one after the other.
fn take(files: Option<FileList>, pool: &str, acts: Acts) {
    let Some(files) = files else { return };
    let files: Vec<File> = (0..files.length()).filter_map(|index| files.item(index)).collect();
    let pool = pool.to_owned();
    leptos::task::spawn_local(async move {
        for file in files {
            if let Err(fault) = send(&file, &pool, acts).await {
                acts.tell("Upload volume", fault.sentence(), true);
            }
        }
    });
}

/// The response to a request of an upload.
#[derive(Deserialize)]
struct Progress {
    offset: f64,
}

async fn send(file: &File, pool: &str, acts: Acts) -> Result<(), Fault> {
    let (name, size) = (file.name(), file.size());
    let on = ObjectRef::parse(ObjectKind::Pool, pool).map_err(|why| Fault::invalid("pool", &why))?;
    let mark = format!("belvedere-upload {pool} {} {} {name}", size as u64, file.last_modified() as u64);
    let request = match begun(&mark).await {
        Some(request) => request,
        None => {
            let command = UploadVolume { name: name.clone(), capacity_bytes: size as u64 };
            let request = begin_upload(&on, PoolCommand::UploadVolume(command)).await?;
            remember(&mark, Some(request));
            request
        }
    };
    acts.follow(&[request], "Upload volume".into(), "is uploaded".into(), &name);
    let (mut offset, mut tries) = (None, 0);
    while offset.is_none_or(|offset| offset < size) {
        let next = match offset {
            // The volume is created first; then the offset of the next piece is requested.
            None => ask(request).await,
            Some(from) => piece(file, request, from).await,
        };
        match next {
            Ok(next) => (offset, tries) = (Some(next), 0),
            // The task has ended and has reported why.
            Err(fault) if fault.kind == FaultKind::NotFound && has_ended(request).await => break,
            Err(fault) if tries >= TRIES => return Err(fault),
            Err(_) => {
                tries += 1;
                TimeoutFuture::new(200 + 1_000 * (tries - 1).min(10)).await;
                // Part of the piece may have arrived, so the offset is requested again.
                offset = None;
            }
        }
    }
    remember(&mark, None);
    Ok(())
}

/// A resumable upload of the same file, started by a tab of this browser.
async fn begun(mark: &str) -> Option<RequestId> {
    let known = window().local_storage().ok()??.get_item(mark).ok()??.parse().ok()?;
    ask(known).await.is_ok().then_some(known)
}

/// Stores the request id of a file's upload, or removes it. Without local storage an upload starts
/// over.
fn remember(mark: &str, request: Option<RequestId>) {
    let Ok(Some(storage)) = window().local_storage() else { return };
    let done = match request {
        Some(request) => storage.set_item(mark, &request.to_string()),
        None => storage.remove_item(mark),
    };
    done.ok();
}

/// The current offset of an upload.
async fn ask(request: RequestId) -> Result<f64, Fault> {
    let asked = gloo_net::http::Request::get(&routes::api_upload(request, None)).send().await;
    answered(asked.map_err(|_| no_answer())?).await
}

/// Whether the task of an upload has ended.
async fn has_ended(request: RequestId) -> bool {
    #[derive(Deserialize)]
    struct Ended {
        outcome: Option<String>,
    }
    let Ok(answer) = gloo_net::http::Request::get(&routes::api_task(request)).send().await else { return false };
    crate::api::answered::<Ended>(answer).await.is_ok_and(|task| task.outcome.is_some())
}

/// Sends the piece at an offset; returns the new offset.
async fn piece(file: &File, request: RequestId, from: f64) -> Result<f64, Fault> {
    let part = file.slice_with_f64_and_f64(from, (from + PIECE).min(file.size())).map_err(|_| no_answer())?;
    let sent = gloo_net::http::Request::put(&routes::api_upload(request, Some(from as u64)))
        .header("content-type", "application/octet-stream")
        .body(part)
        .map_err(|_| no_answer())?;
    answered(sent.send().await.map_err(|_| no_answer())?).await
}

/// Decodes the offset from a response.
async fn answered(answer: gloo_net::http::Response) -> Result<f64, Fault> {
    crate::api::answered::<Progress>(answer).await.map(|progress| progress.offset)
}
