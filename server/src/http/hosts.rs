//! Hosts for programs: added, changed, tested and removed while the server runs. Forms that do the
//! same are in `manage`.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::{Path, State, rejection::JsonRejection},
    http::StatusCode,
};
use model::{Fault, HostId, Origin};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Failed, api::unreadable, login::Door};

/// Where a host is.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct HostRequest {
    /// libvirt's connection URI, such as `qemu+ssh://root@kvm-2/system`.
    uri: String,
}

fn name(text: &str) -> Result<HostId, Fault> {
    text.parse().map_err(|why: String| Fault::invalid("host", &why))
}

/// `PUT /api/v1/hosts/{host}`
pub(super) async fn put(
    State(door): State<Arc<Door>>,
    Extension(origin): Extension<Origin>,
    Path(host): Path<String>,
    request: Result<Json<HostRequest>, JsonRejection>,
) -> Result<StatusCode, Failed> {
    let Json(HostRequest { uri }) = request.map_err(unreadable)?;
    door.auth.may_add_hosts().await?;
    door.auth.backend().put_host(&name(&host)?, &uri, &origin).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `DELETE /api/v1/hosts/{host}`
pub(super) async fn remove(
    State(door): State<Arc<Door>>,
    Extension(origin): Extension<Origin>,
    Path(host): Path<String>,
) -> Result<StatusCode, Failed> {
    door.auth.backend().remove_host(&name(&host)?, &origin).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /api/v1/host-tests`
pub(super) async fn test(
    State(door): State<Arc<Door>>,
    request: Result<Json<HostRequest>, JsonRejection>,
) -> Result<StatusCode, Failed> {
    let Json(HostRequest { uri }) = request.map_err(unreadable)?;
    door.auth.backend().test_host(&uri).await?;
    Ok(StatusCode::NO_CONTENT)
}
