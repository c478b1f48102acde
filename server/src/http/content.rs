//! Volume content: uploaded chunks, and downloads.

use std::{collections::BTreeMap, time::Duration};

use axum::{
    Extension, Json,
    body::{Body, Bytes},
    extract::{Path, Query, Request},
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use futures_util::{StreamExt, stream};
use http_body_util::BodyExt;
use model::{Fault, FaultKind, ObjectKind, ObjectRef, Origin, RequestId};
use tokio::{
    sync::mpsc::{self, error::SendError},
    time::{Instant, timeout, timeout_at},
};

use super::{
    Failed,
    answers::Offset,
    authorize::{Admitted, while_allowed},
    history::request_id,
    login::field,
};
use crate::{auth::By, backend::operations::upload::WAITING, limits::Place, visibility::Sight};

/// Maximum size of a chunk.
pub(super) const MAX_PIECE: usize = 64 << 20;
/// Bytes of a refused chunk that are still read.
const UNWANTED: usize = 32 << 20;
/// Time limit of a chunk.
const PIECE_WITHIN: Duration = Duration::from_secs(300);

/// Interval of permission checks during a chunk.
const LOOK: Duration = Duration::from_secs(2);

/// A transfer slot of an account on a host.
fn place(sight: &Sight, pool: &ObjectRef) -> Result<Place, Fault> {
    sight.backend.contents.take(format!("{} on {}", sight.account(), pool.host)).ok_or_else(|| {
        let reason = format!("You have too many concurrent uploads and downloads on {}", pool.host);
        Fault::new(FaultKind::TooMany, reason).with_next("Wait until one of them has finished")
    })
}

/// `GET /api/v1/uploads/{id}`: its progress.
pub(crate) async fn offset(
    Extension(sight): Extension<Sight>,
    Extension(origin): Extension<Origin>,
    Path(id): Path<String>,
) -> Result<Json<Offset>, Failed> {
    Ok(Json(Offset { offset: sight.backend.uploads.offset(request_id(&id)?, &origin)? }))
}

/// The upload of a chunk, its offset and length, and its transfer slot.
///
/// # Errors
/// `Invalid`, `NotFound` or `TooMany`.
fn admitted_piece(
    sight: &Sight,
    origin: &Origin,
    id: &str,
    fields: &BTreeMap<String, String>,
    headers: &HeaderMap,
) -> Result<(RequestId, (u64, u64), Place), Fault> {
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<u64>().ok());
    let from = number(Some(field(fields, "offset"))).ok_or_else(|| Fault::invalid("offset", "must be a number"))?;
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let length = number(length).ok_or_else(|| Fault::invalid("Content-Length", "is required"))?;
    let id = request_id(id)?;
    let pool = sight.backend.uploads.pool(id, origin)?;
    sight.object(&pool)?;
    Ok((id, (from, length), place(sight, &pool)?))
}

/// Reads a refused chunk, up to a limit: a connection whose request was not read is closed, and
/// takes the client's next request with it.
async fn read_unwanted(body: &mut Body) {
    let read = async {
        let mut unwanted = 0;
        while let Some(Ok(frame)) = body.frame().await {
            unwanted += frame.data_ref().map_or(0, Bytes::len);
            if unwanted >= UNWANTED {
                break;
            }
        }
    };
    timeout(LOOK, read).await.ok();
}

/// `PUT /api/v1/uploads/{id}?offset=`: the next chunk.
pub(crate) async fn piece(
    Extension(sight): Extension<Sight>,
    (Extension(admitted), Extension(origin)): (Extension<Admitted>, Extension<Origin>),
    Path(id): Path<String>,
    Query(fields): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
    request: Request,
) -> Result<Json<Offset>, Failed> {
    let mut body = request.into_body();
    let (id, range, _place) = match admitted_piece(&sight, &origin, &id, &fields, &headers) {
        Ok(piece) => piece,
        Err(fault) => {
            read_unwanted(&mut body).await;
            return Err(fault.into());
        }
    };
    let (parts, taken) = mpsc::channel(WAITING);
    let written = sight.backend.write_piece(id, &origin, range, taken);
    let feed = async {
        let (mut unwanted, mut look) = (0, Instant::now() + LOOK);
        loop {
            let frame = timeout_at(look, body.frame()).await;
            if look <= Instant::now() {
                look = Instant::now() + LOOK;
                if !admitted.still(By::Page).await {
                    let fault = Fault::new(FaultKind::NotAllowed, "You no longer have write access to this pool");
                    parts.send(Err(fault)).await.ok();
                    break;
                }
            }
            // No data for a while; it may still arrive.
            let Ok(frame) = frame else { continue };
            let Some(frame) = frame else { break };
            let part = match frame.map(|frame| frame.into_data()) {
                Ok(Ok(data)) => Ok(data),
                // Trailers are ignored.
                Ok(Err(_)) => continue,
                Err(_) => Err(Fault::invalid("body", "the chunk is incomplete")),
            };
            // The receiver reports the error. A sender that is cut off while sending never reads
            // it, so a limited rest is read.
            if let Err(SendError(part)) = parts.send(part).await {
                unwanted += part.map_or(UNWANTED, |data| data.len());
                if unwanted >= UNWANTED {
                    break;
                }
            }
        }
        drop(parts);
    };
    // A slow chunk is cancelled; what was not written is sent again.
    let both = async { tokio::join!(written, feed) };
    let late = |_| Fault::new(FaultKind::TimedOut, "The chunk timed out").with_next("Send smaller chunks");
    let (written, ()) = timeout(PIECE_WITHIN, both).await.map_err(late)?;
    Ok(Json(Offset { offset: written? }))
}

/// `GET /api/v1/pools/{host}/{uuid}/content?volume=`: a volume as a file.
pub(crate) async fn download(
    Extension(sight): Extension<Sight>,
    (Extension(admitted), Extension(origin)): (Extension<Admitted>, Extension<Origin>),
    Path((host, uuid)): Path<(String, String)>,
    Query(fields): Query<BTreeMap<String, String>>,
) -> Result<Response, Failed> {
    let id = super::object(ObjectKind::Pool, &host, &uuid)?;
    sight.object(&id)?;
    let place = place(&sight, &id)?;
    let name = field(&fields, "volume").to_owned();
    let parts = sight.backend.volume_content(&id, &name, &origin).await?;
    let parts = stream::unfold(parts, async |mut parts| parts.recv().await.map(|part| (part, parts))).fuse();
    // A started response can only be cut off; browsers then report a failure.
    let parts = parts.map(move |part| {
        // Held to the end of the response.
        let _held = &place;
        part.map_err(|fault| std::io::Error::other(fault.sentence()))
    });
    let parts = while_allowed(parts, admitted);
    let plain: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' }).collect();
    let shown = format!(
        "attachment; filename=\"{plain}\"; filename*=UTF-8''{}",
        app::routes::escape(&name).replace('/', "%2F")
    );
    let mut response = Body::from_stream(parts).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    if let Ok(value) = HeaderValue::from_str(&shown) {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
    Ok(response)
}
