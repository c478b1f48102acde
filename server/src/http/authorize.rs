//! Who may come in where: what the table of routes and the pages need, and whether who asks has it.
//!
//! Who somebody is decides `auth`, what a role may do `model::user`. Signing in is in `login`.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use app::{backend::Visit, plain, routes};
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
    sight::Sight,
};

/// Whether somebody may have a page at an address of ours, as when it is asked for by itself.
pub(super) fn may_see(viewer: &Viewer, address: &str) -> bool {
    let path = routes::inner(address.split(['?', '#']).next().unwrap_or_default());
    !super::guard::leaves(path) && viewer.role.may(page(path)).is_ok()
}

/// What a request needs; none closes it.
fn access(decisions: &Decisions, method: &Method, route: Option<&str>, path: &str) -> Option<Access> {
    match route {
        Some(route) => decisions.of(method, route),
        // Pages have no route of their own; the interface knows what each needs.
        None if matches!(*method, Method::GET | Method::HEAD) => Some(Access::Needs(page(path))),
        None => None,
    }
}

/// What the page at a path needs.
fn page(path: &str) -> Permission {
    routes::Page::parse(path).map_or(Permission::View, |page| page.permission())
}

/// Who came in, and by what, for handlers that look again later.
#[derive(Clone)]
pub(crate) struct Admitted {
    auth: Arc<Auth>,
    shown: Option<Shown>,
    /// Whether the kernel says who it is, and nothing has to be shown.
    local: bool,
    viewer: Viewer,
}

impl Admitted {
    /// Whether who came in would still be let in as the same one.
    pub(crate) async fn still(&self, by: By) -> bool {
        if self.local {
            return true;
        }
        self.auth.viewer(self.shown.as_ref(), by).await.is_ok_and(|viewer| viewer.as_ref() == Some(&self.viewer))
    }

    /// When a stream has to look again.
    pub(crate) fn next_look() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    /// Who came in.
    pub(crate) fn viewer(&self) -> &Viewer {
        &self.viewer
    }

    /// Who came in, and by what.
    pub(crate) fn holder(&self) -> Holder {
        (self.shown.clone(), self.viewer.clone())
    }

    /// Who came in, for their pages.
    pub(crate) fn visit(&self) -> Visit {
        let session = match self.shown {
            Some(Shown::Session(hash)) => Some(hash),
            _ => None,
        };
        Visit { viewer: self.viewer.clone(), session }
    }

    /// The account and the session of a person; programs and those who need no account have
    /// none.
    ///
    /// # Errors
    /// `Denied`.
    pub(crate) fn person(&self) -> Result<(&str, &Shown), Fault> {
        match (&self.viewer.name, &self.shown) {
            (Some(name), Some(shown @ Shown::Session(_))) => Ok((name, shown)),
            _ => Err(Fault::denied("Only a person who is signed in has an account")),
        }
    }
}

/// How often it is looked whether a long body may go on.
const LOOK: Duration = Duration::from_secs(2);

/// Parts of a long answer as long as who came in would still be let in as the same one, with the
/// same role and scope. After that the answer is cut short.
pub(crate) fn while_allowed<T: Send + 'static>(
    parts: impl Stream<Item = io::Result<T>> + Send + 'static,
    admitted: Admitted,
) -> impl Stream<Item = io::Result<T>> + Send + 'static {
    let begin = (Box::pin(parts), Instant::now() + LOOK, admitted);
    stream::try_unfold(begin, async |(mut parts, mut look, admitted)| {
        let Some(part) = parts.try_next().await? else { return Ok(None) };
        if look <= Instant::now() {
            if !admitted.still(By::Page).await {
                return Err(io::Error::other("the right to this has ended"));
            }
            look = Instant::now() + LOOK;
        }
        Ok(Some((part, (parts, look, admitted))))
    })
}

/// Middleware: lets in, asks who it is, or says why not.
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
    // An open page asks for these by itself, again and again, and says so when it reads itself anew.
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
        // Health is told although accounts cannot be read.
        (Access::Public, Err(_)) => None,
        (_, Err(fault)) => return Failed(fault).into_response(),
    };
    if let Access::Needs(permission) | Access::NeedsAll(permission) = access {
        let Some(viewer) = &viewer else { return stranger(&request, is_page, shown.is_some()) };
        let all = matches!(access, Access::NeedsAll(_)) && !viewer.scope.is_everything();
        let some = Fault::new(FaultKind::NotAllowed, "This covers all machines, and you see some of them");
        let allowed = viewer.role.may(permission).and(if all { Err(some) } else { Ok(()) });
        if let Err(fault) = allowed {
            if is_page {
                return door.page(
                    StatusCode::FORBIDDEN,
                    request.headers(),
                    plain::Page::Refused { why: fault.sentence(), back: routes::OVERVIEW },
                );
            }
            return Failed(fault).into_response();
        }
    }
    if viewer.is_some() && request.extensions().get::<Connection>().is_some_and(|connection| !connection.is_known()) {
        let fault = Fault::new(FaultKind::TooMany, "There are too many connections from your address");
        return Failed(fault.with_next("Close some of them")).into_response();
    }
    if let Some(viewer) = viewer {
        request.extensions_mut().insert(Sight::new(door.auth.backend().clone(), viewer.clone()));
        request.extensions_mut().insert(Admitted { auth: door.auth.clone(), shown, local: is_local, viewer });
    }
    next.run(request).await
}

/// Where somebody goes of whom nothing is known.
fn stranger(request: &Request, is_page: bool, showed: bool) -> Response {
    let path = request.uri().path();
    let form = matches!(path, routes::COMMANDS | routes::CANCEL | routes::RECONNECT) || path.starts_with("/manage/");
    if !is_page && !form {
        let fault = Fault::new(FaultKind::SignedOut, "Belvedere does not know who you are");
        return Failed(fault.with_next("Log in, or send a token as Authorization: Bearer")).into_response();
    }
    let there = request.uri().path_and_query().map_or(routes::OVERVIEW, |there| there.as_str());
    let there = routes::at(if is_page && routes::is_local(there) { there } else { routes::OVERVIEW });
    // A link on another site brings no cookie that is for this site only. The second request
    // is our own and does.
    let elsewhere = request.headers().get("sec-fetch-site").is_some_and(|site| site == "cross-site");
    if is_page && elsewhere && !showed {
        return ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], plain::again(&there)).into_response();
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
