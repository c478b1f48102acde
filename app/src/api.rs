//! What pages read besides the store: the same question on both sides, asked
//! directly on the server and over HTTP in the browser.

use model::{DomainRef, Fault};

/// A machine's definition as libvirt writes it.
#[cfg(feature = "ssr")]
pub(crate) async fn definition(id: DomainRef) -> Result<String, Fault> {
    use std::sync::Arc;
    let backend = leptos::prelude::use_context::<Arc<dyn crate::backend::Backend>>();
    match backend {
        Some(backend) => backend.definition(&id).await,
        None => Err(Fault::new(model::FaultKind::Internal, "The page has no server")),
    }
}

/// A machine's definition as libvirt writes it.
#[cfg(all(feature = "hydrate", not(feature = "ssr")))]
pub(crate) async fn definition(id: DomainRef) -> Result<String, Fault> {
    use crate::{act::no_answer, routes};
    // The browser has one thread, which the type of a resource does not know.
    send_wrapper::SendWrapper::new(async move {
        let response =
            gloo_net::http::Request::get(&routes::api_definition(&id)).send().await.map_err(|_| no_answer())?;
        if response.ok() {
            return response.text().await.map_err(|_| no_answer());
        }
        Err(response.json::<Fault>().await.unwrap_or_else(|_| no_answer()))
    })
    .await
}

/// Without either side there is nobody to ask; it exists so that the crate's
/// pure parts build and are tested alone.
#[cfg(not(any(feature = "hydrate", feature = "ssr")))]
pub(crate) async fn definition(id: DomainRef) -> Result<String, Fault> {
    Err(Fault::new(model::FaultKind::Internal, format!("There is nobody to ask about {id}")))
}
