//! The local socket: root and the server's own account need no credentials. The kernel identifies
//! the peer (`SO_PEERCRED`).
//!
//! It is `belvedere.sock` in the data directory and serves the same routes as the port.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use axum::{
    Router,
    extract::{ConnectInfo, Request, connect_info::Connected},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    serve::IncomingStream,
};
use model::{Fault, FaultKind, Role, Scope, Viewer};
use tokio::{net::UnixListener, task::JoinHandle};

use crate::http::Failed;

/// The socket's name in the data directory.
const NAME: &str = "belvedere.sock";

/// The peer of a connection to the local socket.
#[derive(Clone, Debug)]
pub(crate) struct LocalPeer(Option<u32>);

impl Connected<IncomingStream<'_, UnixListener>> for LocalPeer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        Self(stream.io().peer_cred().ok().map(|peer| peer.uid()))
    }
}

impl LocalPeer {
    /// The viewer of a peer; none except for root and our own account.
    pub(crate) fn viewer(&self) -> Option<Viewer> {
        let uid = self.0.filter(|uid| *uid == 0 || *uid == nix::unistd::Uid::effective().as_raw())?;
        let user = nix::unistd::User::from_uid(uid.into()).ok().flatten();
        let name = user.map_or_else(|| uid.to_string(), |user| user.name);
        Some(Viewer { name: Some(format!("{name} (local)")), role: Role::Admin, scope: Scope::default(), open: false })
    }
}

/// The socket while it is served.
pub(crate) struct LocalSocket {
    path: PathBuf,
    serving: JoinHandle<()>,
}

impl LocalSocket {
    /// Serves the routes on the socket of a directory locked by this process.
    ///
    /// # Errors
    /// If the socket cannot be created.
    pub(crate) fn serve(folder: &Path, router: Router) -> io::Result<Self> {
        let path = folder.join(NAME);
        // Left by an earlier process; the directory is locked.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        let router = router.layer(middleware::from_fn(known));
        let service = router.into_make_service_with_connect_info::<LocalPeer>();
        let serving = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, service).await {
                tracing::warn!(%error, "the local socket is no longer served");
            }
        });
        Ok(Self { path, serving })
    }
}

impl LocalSocket {
    /// Stops serving and releases the routes.
    pub(crate) async fn stop(mut self) {
        self.serving.abort();
        (&mut self.serving).await.ok();
    }
}

impl Drop for LocalSocket {
    fn drop(&mut self) {
        self.serving.abort();
        fs::remove_file(&self.path).ok();
    }
}

/// Middleware: admits root and our own account.
async fn known(mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<LocalPeer>>().map(|ConnectInfo(peer)| peer.clone());
    let Some(viewer) = peer.and_then(|peer| peer.viewer()) else {
        let fault = Fault::new(FaultKind::NotAllowed, "This socket is only for root and the account of the server");
        return Failed(fault).into_response();
    };
    request.extensions_mut().insert(LocalViewer(viewer));
    next.run(request).await
}

/// The viewer identified by the kernel.
#[derive(Clone, Debug)]
pub(crate) struct LocalViewer(pub(crate) Viewer);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_and_our_own_account_are_let_in_and_nobody_else() {
        let own = nix::unistd::Uid::effective().as_raw();
        for uid in [0, own] {
            let viewer = LocalPeer(Some(uid)).viewer().expect("let in");
            assert!(viewer.role == Role::Admin && viewer.name.is_some_and(|name| name.ends_with(" (local)")));
        }
        assert_eq!(LocalPeer(Some(own + 12_345)).viewer(), None);
        assert_eq!(LocalPeer(None).viewer(), None, "the kernel does not say who it is");
    }
}
