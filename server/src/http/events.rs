//! `GET /events`: the feed as server-sent events.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Extension,
    body::Body,
    extract::{Query, State},
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use futures_util::stream;
use model::{Cursor, Event, Fault, FaultKind, Role};
use serde::Deserialize;

use super::{Failed, authorize::Admitted, held::Connection, takeover::Endless, views::Views};
use crate::{Backend, auth::By, feed::Filter, visibility::Sight};

/// The query of a stream.
#[derive(Deserialize)]
pub(crate) struct StreamQuery {
    since: Option<String>,
    #[serde(default)]
    topics: String,
    #[serde(default)]
    hosts: String,
    /// Machines with detailed statistics, as `host/uuid`.
    #[serde(default)]
    watch: String,
    /// The addresses of the browser's pages, one a line, when these show a part of many machines.
    #[serde(default)]
    view: String,
    /// Respond with available frames after at most this many seconds, instead of a stream.
    poll: Option<u64>,
}

/// Machines that one reader may watch.
const MAX_WATCHED: usize = 50;

impl StreamQuery {
    /// The requested kinds allowed for a role: without names, forbidden kinds are omitted; a
    /// forbidden kind requested by name is refused.
    fn filter(&self, role: Role) -> Result<Filter, Fault> {
        let may = |kind: &str| Event::permission_of(kind).map_or(Ok(()), |permission| role.may(permission));
        let hidden = Event::KINDS.iter().copied().filter(|kind| may(kind).is_err());
        let mut filter = Filter { hidden: hidden.collect(), ..Filter::default() };
        for topic in self.topics.split(',').map(str::trim).filter(|topic| !topic.is_empty()) {
            if Event::permission_of(topic).is_none() {
                return Err(Fault::invalid("topics", &format!("unknown event \"{}\"", topic.escape_debug())));
            }
            may(topic)?;
            filter.topics.insert(topic.to_owned());
        }
        for host in self.hosts.split(',').map(str::trim).filter(|host| !host.is_empty()) {
            filter.hosts.insert(host.parse().map_err(|why: String| Fault::invalid("hosts", &why))?);
        }
        for id in self.watch.split(',').map(str::trim).filter(|id| !id.is_empty()) {
            filter.watch.insert(id.parse().map_err(|why: String| Fault::invalid("watch", &why))?);
        }
        if filter.watch.len() > MAX_WATCHED {
            return Err(Fault::invalid("watch", "at most 50 machines can be watched"));
        }
        Ok(filter)
    }

    /// The position to resume from. The header takes precedence, because the browser sends it when
    /// it reconnects with the old URL. An invalid value counts as none, and the stream starts with
    /// the inventory.
    fn cursor(&self, headers: &HeaderMap) -> Option<Cursor> {
        let header = headers.get("last-event-id").and_then(|value| value.to_str().ok());
        header.or(self.since.as_deref())?.parse().ok()
    }
}

/// Maximum time a poll response is held back.
const LONGEST_POLL: Duration = Duration::from_secs(25);

pub(crate) async fn stream(
    State(backend): State<Arc<Backend>>,
    Query(wish): Query<StreamQuery>,
    Extension(admitted): Extension<Admitted>,
    Extension(sight): Extension<Sight>,
    connection: Option<Extension<Connection>>,
    headers: HeaderMap,
) -> Result<Response, Failed> {
    let mut filter = wish.filter(admitted.viewer().role)?;
    filter.viewer = sight.narrowed();
    filter.watch.retain(|id| sight.machine(id).is_ok());
    // Accounts have a limit each; anonymous clients share the total.
    let named = admitted.viewer().name.is_some();
    let place = named.then(|| backend.streams.take(sight.account()));
    let too_many =
        || Fault::new(FaultKind::TooMany, "You have too many open streams").with_next("Close other tabs or clients");
    let place = place.map(|place| place.ok_or_else(too_many)).transpose()?;
    let (views, first) = match &*wish.view {
        "" => (None, None),
        view => {
            let (views, first) = Views::begin(&sight, view).await;
            filter.shown = Some(views.shown.clone());
            (Some(views), Some(first))
        }
    };
    let reader = backend.feed().subscribe(wish.cursor(&headers), filter).ok_or_else(|| {
        Fault::new(FaultKind::Busy, "Too many open streams").with_next("Close other tabs or try again in a moment")
    })?;
    if let Some(seconds) = wish.poll {
        let wait = Duration::from_secs(seconds).min(LONGEST_POLL);
        let text = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
        let mut answer = Vec::from(reader.once(wait).await);
        answer.extend(first.into_iter().flatten());
        if !admitted.still(By::Page).await {
            return Err(Fault::new(FaultKind::SignedOut, "You are signed out").into());
        }
        return Ok((text, answer).into_response());
    }
    // A stream counts as a connection to its end, even after it was taken over.
    let begin = ((reader, views, first), admitted, Admitted::next_look(), (place, connection));
    let chunks = stream::unfold(begin, async |((mut reader, mut views, first), admitted, mut look, place)| {
        let chunk = match (&mut views, first) {
            // Whatever the first window names comes behind the inventory, if that comes.
            (_, Some(first)) => [reader.next().await?, first].concat().into(),
            (None, None) => reader.next().await?,
            (Some(views), None) => tokio::select! {
                chunk = reader.next() => chunk?,
                windows = views.next() => windows,
            },
        };
        // A client that was signed out or has other rights starts over.
        if look <= Instant::now() {
            if !admitted.still(By::Page).await {
                return None;
            }
            look = Admitted::next_look();
        }
        Some((Ok::<_, std::convert::Infallible>(chunk), ((reader, views, None), admitted, look, place)))
    });
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        // Proxies with this extension do not buffer frames.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, Extension(Endless), Body::from_stream(chunks)).into_response())
}
