//! Redirects to an OpenID Connect provider and back.

use std::{collections::BTreeMap, sync::Arc};

use app::routes;
use axum::{
    Extension,
    extract::{Query, State},
    http::{HeaderMap, header},
    response::{IntoResponse, Redirect, Response},
};
use cookie::{Cookie, SameSite};
use model::{Fault, FaultKind, Origin};

use super::{
    cookies,
    login::{Door, field, next_page, peer},
    same_origin::Addressed,
};

/// The cookie of a pending sign-in. Unlike the session cookie it is sent when the provider
/// redirects back.
const COOKIE: &str = "belvedere-away";
/// Its lifetime in seconds.
const KEPT: u64 = 600;

fn with_cookie(door: &Door, value: &str, kept: u64, response: Response) -> Response {
    let cookie = Cookie::build((COOKIE, value)).path(routes::at(routes::LOG_IN)).max_age(cookies::lasting(kept));
    cookies::set(response, &cookie.http_only(true).same_site(SameSite::Lax).secure(door.is_secure()).build())
}

/// `GET /login/provider`
pub(crate) async fn begin(
    State(door): State<Arc<Door>>,
    (Extension(at), Extension(origin)): (Extension<Addressed>, Extension<Origin>),
    Query(fields): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let Some(provider) = &door.provider else {
        return door.refused(
            &Fault::new(FaultKind::NotFound, "No OpenID Connect provider is configured"),
            &headers,
            routes::LOG_IN,
        );
    };
    let redirect = format!("{}{}", door.address(&at), routes::BACK_FROM_PROVIDER);
    // A client with an IPv6 address has a network of them.
    let from = origin.address.as_deref().and_then(|address| address.parse().ok()).map(super::held::network_of);
    let from = from.map(|network| network.to_string()).unwrap_or_default();
    match provider.begin(redirect, next_page(&fields), &from).await {
        Ok((address, state)) => with_cookie(&door, &state, KEPT, Redirect::to(&address).into_response()),
        Err(fault) => door.refused(&fault, &headers, routes::LOG_IN),
    }
}

/// `GET /login/provider/back`: starts a session for the sign-in that this browser started.
pub(crate) async fn back(
    State(door): State<Arc<Door>>,
    Extension(origin): Extension<Origin>,
    Query(fields): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let field = |name| field(&fields, name);
    let kept = cookies::get(&headers, COOKIE).unwrap_or_default();
    let enter = async {
        let provider = door
            .provider
            .as_ref()
            .ok_or_else(|| Fault::new(FaultKind::NotFound, "No OpenID Connect provider is configured"))?;
        let (known, next) = provider.finish(field("state"), kept, field("code")).await?;
        let secret = door.auth.log_in_by_provider(&known, &peer(origin, &headers)).await?;
        Ok((secret, next))
    };
    let response = match enter.await {
        // The session cookie is same-site only, and this request is cross-site: the next one is
        // same-site.
        Ok((secret, next)) => {
            let page = ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], app::no_script::again(&next));
            door.with_cookie(&secret, page.into_response())
        }
        Err(fault) => door.refused(&fault, &headers, routes::LOG_IN),
    };
    with_cookie(&door, "", 0, response)
}
