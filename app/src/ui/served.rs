//! Parts of a page that only the server renders. The browser keeps their HTML, so they cost it no
//! code; they do not change by themselves.

use leptos::prelude::*;

/// A server-rendered part. In the browser `view` is empty.
pub(crate) fn served(view: impl RenderHtml) -> AnyView {
    #[cfg(feature = "ssr")]
    let html = view.to_html();
    #[cfg(not(feature = "ssr"))]
    let html = {
        drop(view);
        load_when_not_drawn();
        String::new()
    };
    // The HTML is from the server's own view, in which all external text is escaped.
    view! { <div class="served" inner_html=html></div> }.into_any()
}

/// After navigation in the browser there is nothing to show, so the page is loaded from the server.
#[cfg(not(feature = "ssr"))]
fn load_when_not_drawn() {
    let hydrating = Owner::current_shared_context().is_some_and(|context| context.during_hydration());
    #[cfg(feature = "hydrate")]
    if !hydrating {
        window().location().reload().ok();
    }
    #[cfg(not(feature = "hydrate"))]
    let _ = hydrating;
}
