//! Pieces about hosts that several pages show.

use leptos::{ev::SubmitEvent, prelude::*};
use leptos_router::hooks::use_location;
use model::HostId;

use crate::routes;

/// Asks for a new attempt to reach a host now; whether it helped is told by an
/// event, or by the page that comes back.
#[component]
pub(crate) fn Reconnect(
    /// The host that is not connected.
    host: HostId,
) -> impl IntoView {
    let back = use_location().pathname;
    let name = host.to_string();
    view! {
        <form class="inline" method="post" action=routes::RECONNECT on:submit=move |event| submitted(&event, &host)>
            <input type="hidden" name="host" value=name/>
            <input type="hidden" name="back" value=back/>
            <button class="btn small">"Reconnect now"</button>
        </form>
    }
}

fn submitted(event: &SubmitEvent, host: &HostId) {
    event.prevent_default();
    #[cfg(feature = "hydrate")]
    {
        let address = routes::api_reconnect(host);
        leptos::task::spawn_local(async move {
            gloo_net::http::Request::post(&address).send().await.ok();
        });
    }
    #[cfg(not(feature = "hydrate"))]
    let _ = host;
}
