//! The answer to a query about the machine of a page. The server reads it before rendering, the
//! browser reads it again when the machine has changed.

use std::sync::Arc;

use leptos::prelude::*;
use model::{Domain, DomainRef, Fault, query::Query};
#[cfg(feature = "ssr")]
use model::{ObjectRef, query::Listed};

#[cfg(feature = "ssr")]
use crate::backend::{Backend, Loaded, ask, loaded};
use crate::store::shown::Shown;
#[cfg(feature = "hydrate")]
use crate::{api, api::no_answer, routes};

/// The current answer; `None` before the first one.
pub(crate) type CurrentAnswer<Q> = RwSignal<Option<Read<Q>>>;

/// The result of a query.
type Read<Q> = Result<<Q as Query>::Answer, Fault>;

/// Reads the answer for the page to render.
#[cfg(feature = "ssr")]
pub(crate) async fn load<Q: Listed>(id: &DomainRef, question: Q, backend: &dyn Backend) -> Loaded {
    let on = ObjectRef::from(id);
    Loaded::of::<Read<Q>>(ask(backend, &on, question).await)
}

/// The answer to a query without parameters.
pub(crate) fn answer<Q: Query>(id: DomainRef, domain: Shown<Arc<Domain>>) -> CurrentAnswer<Q> {
    let beforehand = || {
        #[cfg(feature = "ssr")]
        return loaded::<Read<Q>>().as_deref().cloned();
        #[cfg(not(feature = "ssr"))]
        None
    };
    let known = RwSignal::new(SharedValue::new(beforehand).into_inner());
    follow::<Q>(id, domain, known);
    known
}

/// Reads the answer if there is none yet, and again when the machine has changed.
#[cfg(feature = "hydrate")]
fn follow<Q: Query>(id: DomainRef, domain: Shown<Arc<Domain>>, known: CurrentAnswer<Q>) {
    let patience = crate::refresh::Patience { quiet: 100.0, most: 1_000.0 };
    let address = routes::api_question(&id, &Q::ABOUT);
    let refresher = api::Refresher::new(patience, move || {
        let address = address.clone();
        async move {
            let read = read::<Q>(&address).await;
            // A refusal is an answer, too. After the page is left the answer is dropped.
            known.try_get_untracked().map(|_| {
                known.set(Some(read));
                true
            })
        }
    });
    Effect::new(move |before: Option<u64>| {
        let version = domain.with(|domain| domain.version);
        if before.is_some() || known.with_untracked(Option::is_none) {
            refresher.event();
        }
        version
    });
}

#[cfg(not(feature = "hydrate"))]
fn follow<Q: Query>(_: DomainRef, _: Shown<Arc<Domain>>, _: CurrentAnswer<Q>) {}

/// Sends the query to the server.
#[cfg(feature = "hydrate")]
async fn read<Q: Query>(address: &str) -> Read<Q> {
    let response = gloo_net::http::Request::get(address).send().await.map_err(|_| no_answer())?;
    let ok = response.ok();
    let text = response.text().await.map_err(|_| no_answer())?;
    match (ok, Q::ABOUT.text) {
        (false, _) => Err(api::fault(&text)),
        (true, true) => serde_json::from_value(text.into()).map_err(|_| no_answer()),
        (true, false) => model::read::read(&text).map_err(|_| no_answer()),
    }
}
