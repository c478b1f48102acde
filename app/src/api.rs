//! What the browser reads beside the stream. On the server the same was read
//! before the page was rendered.

use model::Fault;

/// A machine's definition as libvirt writes it.
#[cfg(feature = "hydrate")]
pub(crate) async fn definition(id: &model::DomainRef) -> Result<String, Fault> {
    use crate::{act::no_answer, routes};
    let response = gloo_net::http::Request::get(&routes::api_definition(id)).send().await.map_err(|_| no_answer())?;
    if response.ok() {
        return response.text().await.map_err(|_| no_answer());
    }
    Err(response.json::<Fault>().await.unwrap_or_else(|_| no_answer()))
}

/// A machine's definition, when the page that is rendered shows one.
pub(crate) fn definition_beforehand() -> Option<Result<String, Fault>> {
    #[cfg(feature = "ssr")]
    return leptos::prelude::use_context::<crate::backend::Beforehand>().and_then(|read| read.definition);
    #[cfg(not(feature = "ssr"))]
    None
}
