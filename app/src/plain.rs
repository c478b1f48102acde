//! Pages for those of whom nothing is known yet: they tell nothing of any host, run no
//! script, and are drawn by the server only.

use leptos::prelude::*;

use crate::{
    backend::{AssetNames, Theme},
    routes,
    ui::icons::icon,
};

/// Which page.
#[derive(Clone, Debug)]
pub enum Page {
    /// Name and password.
    LogIn {
        /// Where to go afterwards.
        next: String,
        /// The name that was given before.
        name: String,
        /// Why that did not work.
        why: Option<String>,
    },
    /// One button that uses a link up.
    ByLink {
        /// Whom it logs in.
        name: String,
    },
    /// A sentence that says what is not possible.
    Refused(String),
}

/// The whole document.
pub fn html(names: &AssetNames, theme: Theme, page: Page) -> String {
    let (title, content) = match page {
        Page::LogIn { next, name, why } => ("Log in", log_in(next, name, why)),
        Page::ByLink { name } => ("Log in", by_link(name)),
        Page::Refused(why) => ("Not possible", refused(why)),
    };
    let style = names.style.clone();
    let document = Owner::new().with(|| {
        view! {
            <html lang="en" data-theme=theme.name()>
                <head>
                    <meta charset="utf-8"/>
                    <meta name="viewport" content="width=device-width, initial-scale=1"/>
                    <meta name="color-scheme" content="light dark"/>
                    <title>{title} " · Belvedere"</title>
                    <link rel="icon" href="/favicon.svg"/>
                    {style.map(|style| view! { <link rel="stylesheet" href=style/> })}
                </head>
                <body class="plain">
                    <main>
                        <div class="brand">{icon("logo")}"Belvedere"</div>
                        {content}
                    </main>
                </body>
            </html>
        }
        .to_html()
    });
    format!("<!DOCTYPE html>{document}")
}

fn log_in(next: String, name: String, why: Option<String>) -> AnyView {
    view! {
        <form class="card" method="post" action=routes::LOG_IN>
            <h1>"Log in"</h1>
            {why.map(|why| view! { <p class="banner warn" role="alert">{why}</p> })}
            <input type="hidden" name="next" value=next/>
            <label>"Name" <input name="name" value=name autocomplete="username" autocapitalize="none" spellcheck="false" required autofocus/></label>
            <label>"Password" <input name="password" type="password" autocomplete="current-password" required/></label>
            <button class="btn primary">"Log in"</button>
        </form>
    }
    .into_any()
}

fn by_link(name: String) -> AnyView {
    view! {
        <form class="card" method="post">
            <h1>"Log in"</h1>
            <p>"This link logs this browser in once."</p>
            <button class="btn primary">"Log in as " {name}</button>
        </form>
    }
    .into_any()
}

fn refused(why: String) -> AnyView {
    view! {
        <section class="card">
            <h1>"Not possible"</h1>
            <p role="alert">{why}</p>
            <a class="btn" href=routes::OVERVIEW>"Overview"</a>
        </section>
    }
    .into_any()
}

/// A document that asks for an address of ours once more, by itself.
pub fn again(address: &str) -> String {
    let address =
        Owner::new().with(|| view! { <meta http-equiv="refresh" content=format!("0; url={address}")/> }.to_html());
    format!("<!DOCTYPE html><html lang=\"en\"><head>{address}<title>Belvedere</title></head><body></body></html>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_typed_stays_text() {
        let bad = "\"><script>alert(1)</script>";
        let page = Page::LogIn { next: bad.into(), name: bad.into(), why: Some(bad.into()) };
        let text = html(&AssetNames::default(), Theme::Auto, page) + &again(bad);
        assert!(!text.contains("<script"), "{text}");
        assert!(text.contains("autocomplete=\"current-password\""));
    }
}
