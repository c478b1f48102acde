//! Parts of a page that only the server draws. The browser leaves them as they
//! came, so they cost it no code; what they show does not change by itself.

use leptos::prelude::*;

/// Such a part. In the browser `view` is nothing.
pub(crate) fn served(view: impl RenderHtml) -> AnyView {
    #[cfg(feature = "ssr")]
    let html = view.to_html();
    #[cfg(not(feature = "ssr"))]
    let html = {
        drop(view);
        load_when_not_drawn();
        String::new()
    };
    // The text comes from the server's own view, in which every foreign text is escaped.
    view! { <div class="served" inner_html=html></div> }.into_any()
}

/// A page that was reached without the server has nothing to show yet.
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
