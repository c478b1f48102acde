//! Authorisation: what routes and pages require, and whether the client has it.
//!
//! Authentication is in `auth`, permissions of roles in `model::user`, sign-in pages in `login`.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use app::{backend::Visit, no_script, routes};
use axum::{
    extract::{MatchedPath, Request, State},
    http::{Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Redirect, Response},
};
use futures_util::{Stream, TryStreamExt, stream};
use model::{Fault, FaultKind, Permission, Viewer};

use super::{
    Failed,
    held::Connection,
    login::Door,
    table::{Access, Decisions},
};
use crate::{
    auth::{Auth, By, Shown},
    backend::console::Holder,
    local::LocalViewer,
    visibility::Sight,
};

/// Whether a viewer may see the page at a local URL.
pub(super) fn may_see(viewer: &Viewer, address: &str) -> bool {
    let path = routes::inner(address.split(['?', '#']).next().unwrap_or_default());
    !super::same_origin::leaves(path) && viewer.role.may(page(path)).is_ok()
}

/// What a request requires; none means closed.
fn access(decisions: &Decisions, method: &Method, route: Option<&str>, path: &str) -> Option<Access> {
    match route {
        Some(route) => decisions.of(method, route),
        // Pages have no route of their own; the interface knows their permissions.
        None if matches!(*method, Method::GET | Method::HEAD) => Some(Access::Needs(page(path))),
        None => None,
    }
}

/// The permission of the page at a path.
fn page(path: &str) -> Permission {
    routes::Page::parse(path).map_or(Permission::View, |page| page.permission())
}

/// The authenticated client, for handlers that check again later.
#[derive(Clone)]
pub(crate) struct Admitted {
    auth: Arc<Auth>,
    shown: Option<Shown>,
    /// Whether it is identified by the kernel without credentials.
    local: bool,
    viewer: Viewer,
}

impl Admitted {
    /// Whether the client would still be admitted with the same rights.
    pub(crate) async fn still(&self, by: By) -> bool {
        if self.local {
            return true;
        }
        self.auth.viewer(self.shown.as_ref(), by).await.is_ok_and(|viewer| viewer.as_ref() == Some(&self.viewer))
    }

    /// When a stream must check again.
    pub(crate) fn next_look() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    /// The viewer.
    pub(crate) fn viewer(&self) -> &Viewer {
        &self.viewer
    }

    /// The viewer and its credentials.
    pub(crate) fn holder(&self) -> Holder {
        (self.shown.clone(), self.viewer.clone())
    }

    /// The visit, for pages.
    pub(crate) fn visit(&self) -> Visit {
        let session = match self.shown {
            Some(Shown::Session(hash)) => Some(hash),
            _ => None,
        };
        Visit { viewer: self.viewer.clone(), session }
    }

    /// The account and session of a user; programs and clients without accounts have none.
    ///
    /// # Errors
    /// `Denied`.
    pub(crate) fn person(&self) -> Result<(&str, &Shown), Fault> {
        match (&self.viewer.name, &self.shown) {
            (Some(name), Some(shown @ Shown::Session(_))) => Ok((name, shown)),
            _ => Err(Fault::denied("This is only possible with a signed-in user account")),
        }
    }
}

/// Interval of checks during a long response.
const LOOK: Duration = Duration::from_secs(2);

/// The parts of a long response while the client would still be admitted with the same role and
/// scope. Otherwise the response is cut off.
pub(crate) fn while_allowed<T: Send + 'static>(
    parts: impl Stream<Item = io::Result<T>> + Send + 'static,
    admitted: Admitted,
) -> impl Stream<Item = io::Result<T>> + Send + 'static {
    let begin = (Box::pin(parts), Instant::now() + LOOK, admitted);
    stream::try_unfold(begin, async |(mut parts, mut look, admitted)| {
        let Some(part) = parts.try_next().await? else { return Ok(None) };
        if look <= Instant::now() {
            if !admitted.still(By::Page).await {
                return Err(io::Error::other("access revoked"));
            }
            look = Instant::now() + LOOK;
        }
        Ok(Some((part, (parts, look, admitted))))
    })
}

/// Middleware: admits, redirects to sign-in, or refuses.
pub(super) async fn check(
    State((door, decisions)): State<(Arc<Door>, Arc<Decisions>)>,
    mut request: Request,
    next: Next,
) -> Response {
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let is_page = route.is_none();
    let Some(access) = access(&decisions, request.method(), route.as_deref(), request.uri().path()) else {
        let fault = Fault::new(FaultKind::NotAllowed, "This route is not allowed");
        return Failed(fault).into_response();
    };
    let shown = door.shown(request.headers());
    // An open page requests these automatically, and marks its automatic reloads.
    let by_itself = ["/events", "/api/v1/consoles"].contains(&request.uri().path())
        || request.headers().contains_key(routes::REFRESH_HEADER);
    let by = if by_itself { By::Page } else { By::Person };
    let local = request.extensions().get::<LocalViewer>().map(|LocalViewer(viewer)| viewer.clone());
    let is_local = local.is_some();
    let viewer = match local {
        Some(viewer) => Ok(Some(viewer)),
        None => door.auth.viewer(shown.as_ref(), by).await,
    };
    let viewer = match (access, viewer) {
        (_, Ok(viewer)) => viewer,
        // Health checks work even if accounts cannot be read.
        (Access::Public, Err(_)) => None,
        (_, Err(fault)) => return Failed(fault).into_response(),
    };
    if let Access::Needs(permission) | Access::NeedsAll(permission) = access {
        let Some(viewer) = &viewer else { return stranger(&request, is_page, shown.is_some()) };
        let all = matches!(access, Access::NeedsAll(_)) && !viewer.scope.is_everything();
        let some = Fault::new(FaultKind::NotAllowed, "This covers all machines, but your scope is limited");
        let allowed = viewer.role.may(permission).and(if all { Err(some) } else { Ok(()) });
        if let Err(fault) = allowed {
            if is_page {
                return door.page(
                    StatusCode::FORBIDDEN,
                    request.headers(),
                    no_script::Page::Refused { why: fault.sentence(), back: routes::OVERVIEW },
                );
            }
            return Failed(fault).into_response();
        }
    }
    if viewer.is_some() && request.extensions().get::<Connection>().is_some_and(|connection| !connection.is_known()) {
        let fault = Fault::new(FaultKind::TooMany, "Too many connections from your address");
        return Failed(fault.with_next("Close some of them")).into_response();
    }
    if let Some(viewer) = viewer {
        request.extensions_mut().insert(Sight::new(door.auth.backend().clone(), viewer.clone()));
        request.extensions_mut().insert(Admitted { auth: door.auth.clone(), shown, local: is_local, viewer });
    }
    next.run(request).await
}

/// The response for an unauthenticated client.
fn stranger(request: &Request, is_page: bool, showed: bool) -> Response {
    let path = request.uri().path();
    let form = matches!(path, routes::COMMANDS | routes::CANCEL | routes::RECONNECT) || path.starts_with("/manage/");
    if !is_page && !form {
        let fault = Fault::new(FaultKind::SignedOut, "Not signed in");
        return Failed(fault.with_next("Sign in, or send a token as Authorization: Bearer")).into_response();
    }
    let there = request.uri().path_and_query().map_or(routes::OVERVIEW, |there| there.as_str());
    let there = routes::at(if is_page && routes::is_local(there) { there } else { routes::OVERVIEW });
    // A cross-site link sends no `SameSite=Strict` cookie. A second, same-site request does.
    let elsewhere = request.headers().get("sec-fetch-site").is_some_and(|site| site == "cross-site");
    if is_page && elsewhere && !showed {
        return ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], no_script::again(&there)).into_response();
    }
    Redirect::to(&routes::log_in(&there)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_need_what_they_say_and_are_only_read() {
        let needed = |method, path| access(&Decisions::default(), &method, None, path);
        assert_eq!(needed(Method::GET, "/pkgs"), Some(Access::Needs(Permission::View)));
        assert_eq!(needed(Method::POST, "/vms"), None);
        assert_eq!(needed(Method::GET, "/audit"), Some(Access::Needs(Permission::ReadAudit)));
        assert_eq!(needed(Method::GET, "/account/"), Some(Access::Needs(Permission::OwnAccount)));
        for managed in ["/account/users", "/account/tokens", "/account/sessions"] {
            assert_eq!(needed(Method::GET, managed), Some(Access::Needs(Permission::ManageAccounts)), "{managed}");
        }
        assert_eq!(access(&Decisions::default(), &Method::GET, Some("/new"), "/new"), None);
    }
}
