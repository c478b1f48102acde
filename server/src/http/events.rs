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

use super::{Failed, authorize::Admitted, held::Connection, takeover::Endless};
use crate::{Backend, auth::By, feed::Filter, sight::Sight};

/// The query of a stream.
#[derive(Deserialize)]
pub(crate) struct Wish {
    since: Option<String>,
    #[serde(default)]
    topics: String,
    #[serde(default)]
    hosts: String,
    /// Machines of which details are wanted, as `host/uuid`.
    #[serde(default)]
    watch: String,
    /// Answer with what there is after at most so many seconds, instead of a stream.
    poll: Option<u64>,
}

/// Machines that one reader may watch.
const MAX_WATCHED: usize = 50;

impl Wish {
    /// What is asked for, as far as a role may hear of it: of all that there is, it misses
    /// what it may not; asked for by name, that is refused.
    fn filter(&self, role: Role) -> Result<Filter, Fault> {
        let may = |kind: &str| Event::permission_of(kind).map_or(Ok(()), |permission| role.may(permission));
        let hidden = Event::KINDS.iter().copied().filter(|kind| may(kind).is_err());
        let mut filter = Filter { hidden: hidden.collect(), ..Filter::default() };
        for topic in self.topics.split(',').map(str::trim).filter(|topic| !topic.is_empty()) {
            if Event::permission_of(topic).is_none() {
                return Err(Fault::invalid("topics", &format!("there is no event \"{}\"", topic.escape_debug())));
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

    /// The position to go on from. The header wins, because the browser sends it
    /// when it reconnects on its own with the old address. What cannot be read is
    /// no position, and the stream begins with the inventory.
    fn cursor(&self, headers: &HeaderMap) -> Option<Cursor> {
        let header = headers.get("last-event-id").and_then(|value| value.to_str().ok());
        header.or(self.since.as_deref())?.parse().ok()
    }
}

/// How long an answer may be held back until there is something to answer.
const LONGEST_POLL: Duration = Duration::from_secs(25);

pub(crate) async fn stream(
    State(backend): State<Arc<Backend>>,
    Query(wish): Query<Wish>,
    Extension(admitted): Extension<Admitted>,
    Extension(sight): Extension<Sight>,
    connection: Option<Extension<Connection>>,
    headers: HeaderMap,
) -> Result<Response, Failed> {
    let mut filter = wish.filter(admitted.viewer().role)?;
    filter.viewer = sight.narrowed();
    filter.watch.retain(|id| sight.machine(id).is_ok());
    // Who is somebody has so many, and those that all share are left for others.
    let named = admitted.viewer().name.is_some();
    let place = named.then(|| backend.streams.take(sight.account()));
    let too_many = || {
        Fault::new(FaultKind::TooMany, "You have too many streams").with_next("Close other tabs or programs of yours")
    };
    let place = place.map(|place| place.ok_or_else(too_many)).transpose()?;
    let reader = backend.feed().subscribe(wish.cursor(&headers), filter).ok_or_else(|| {
        Fault::new(FaultKind::Busy, "There are too many streams").with_next("Close other tabs or try again in a moment")
    })?;
    if let Some(seconds) = wish.poll {
        let wait = Duration::from_secs(seconds).min(LONGEST_POLL);
        let text = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
        let answer = reader.once(wait).await;
        if !admitted.still(By::Page).await {
            return Err(Fault::new(FaultKind::SignedOut, "You are signed out").into());
        }
        return Ok((text, answer).into_response());
    }
    // A stream counts as a connection to its end, also once it was taken over.
    let begin = (reader, admitted, Admitted::next_look(), (place, connection));
    let chunks = stream::unfold(begin, async |(mut reader, admitted, mut look, place)| {
        let chunk = reader.next().await?;
        // Whoever was sent away meanwhile, or may do something else now, begins anew.
        if look <= Instant::now() {
            if !admitted.still(By::Page).await {
                return None;
            }
            look = Admitted::next_look();
        }
        Some((Ok::<_, std::convert::Infallible>(chunk), (reader, admitted, look, place)))
    });
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        // Proxies that know it do not hold frames back.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, Extension(Endless), Body::from_stream(chunks)).into_response())
}
