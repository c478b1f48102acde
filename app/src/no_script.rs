//! Pages without the frame: sign-in pages, and secrets that are shown only once. They contain no
//! host data, run no script, and are rendered by the server only.

use leptos::prelude::*;

use crate::{
    backend::{AssetNames, Theme},
    routes,
    ui::icons::icon,
};

/// The page.
#[derive(Clone, Debug)]
pub enum Page {
    /// Sign-in with name and password.
    LogIn {
        /// Address to continue at.
        next: String,
        /// The name entered before.
        name: String,
        /// Why the last attempt failed.
        why: Option<String>,
        /// Name of the OpenID provider, if there is one.
        provider: Option<String>,
    },
    /// The second factor, after the password.
    Code {
        /// Address to continue at.
        next: String,
        /// The secret that identifies the pending sign-in.
        between: String,
        /// Why the last attempt failed.
        why: Option<String>,
    },
    /// The button that uses a sign-in link.
    ByLink {
        /// Account name.
        name: String,
    },
    /// Name and password of the first account.
    SetUp {
        /// The name entered before.
        name: String,
        /// Why the last attempt failed.
        why: Option<String>,
    },
    /// QR code for an authenticator app, and a field for the first code.
    Factor {
        /// The QR code: side length and SVG path.
        picture: (i32, String),
        /// The key in the QR code, as text.
        letters: String,
        /// Why the last attempt failed.
        why: Option<String>,
    },
    /// Secrets that are shown only once.
    Secret {
        /// Title.
        title: String,
        /// What to do with them.
        text: String,
        /// The secrets, one per line.
        lines: Vec<String>,
        /// Path to continue at.
        back: &'static str,
    },
    /// A confirmation.
    Sure {
        /// The question.
        question: String,
        /// The consequence.
        text: String,
        /// Path and hidden fields of the form.
        form: (&'static str, Vec<(&'static str, String)>),
        /// Label of the button.
        button: String,
        /// Path to cancel to.
        back: &'static str,
    },
    /// An error message.
    Refused {
        /// The message.
        why: String,
        /// Path to continue at.
        back: &'static str,
    },
}

/// The whole document.
pub fn html(names: &AssetNames, theme: Theme, page: Page) -> String {
    let (title, content) = match page {
        Page::LogIn { next, name, why, provider } => ("Sign in".to_owned(), log_in(next, name, why, provider)),
        Page::Code { next, between, why } => ("Sign in".to_owned(), code(next, between, why)),
        Page::ByLink { name } => ("Sign in".to_owned(), by_link(name)),
        Page::SetUp { name, why } => ("Welcome".to_owned(), set_up(name, why)),
        Page::Factor { picture, letters, why } => ("Second factor".to_owned(), factor(picture, letters, why)),
        Page::Secret { title, text, lines, back } => (title.clone(), secret(title, text, lines, back)),
        Page::Sure { question, text, form, button, back } => {
            (question.clone(), sure((question, text), form, button, back))
        }
        Page::Refused { why, back } => ("Not possible".to_owned(), refused(why, back)),
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
                    <link rel="icon" href=routes::ICON/>
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

fn log_in(next: String, name: String, why: Option<String>, provider: Option<String>) -> AnyView {
    let other = provider.map(|provider| {
        let href = routes::with(&routes::at(routes::LOG_IN_BY_PROVIDER), &[("next", &next)]);
        view! { <a class="btn" href=href>"Sign in with " {provider}</a> }.into_any()
    });
    view! {
        <form class="card" method="post" action=routes::at(routes::LOG_IN)>
            <h1>"Sign in"</h1>
            {wrong(why)}
            <input type="hidden" name="next" value=next/>
            <label>"Name" <input name="name" value=name autocomplete="username" autocapitalize="none" spellcheck="false" required autofocus/></label>
            <label>"Password" <input name="password" type="password" autocomplete="current-password" required/></label>
            <button class="btn primary">"Sign in"</button>
            {other}
        </form>
    }
    .into_any()
}

fn by_link(name: String) -> AnyView {
    view! {
        <form class="card" method="post">
            <h1>"Sign in"</h1>
            <p>"This link signs in this browser and works only once."</p>
            <button class="btn primary">"Sign in as " {name}</button>
        </form>
    }
    .into_any()
}

/// The reason for a failed attempt.
fn wrong(why: Option<String>) -> AnyView {
    why.map(|why| view! { <p class="banner warn" role="alert">{why}</p> }).into_any()
}

fn code(next: String, between: String, why: Option<String>) -> AnyView {
    view! {
        <form class="card" method="post" action=routes::at(routes::CODE)>
            <h1>"Second factor"</h1>
            {wrong(why)}
            <input type="hidden" name="next" value=next/>
            <input type="hidden" name="between" value=between/>
            <label>"Authenticator code or recovery code" <input name="code" autocomplete="one-time-code" autocapitalize="none" spellcheck="false" required autofocus/></label>
            <button class="btn primary">"Sign in"</button>
        </form>
    }
    .into_any()
}

fn set_up(name: String, why: Option<String>) -> AnyView {
    view! {
        <form class="card" method="post">
            <h1>"Welcome"</h1>
            <p>"This browser is signed in until the server stops. Create an account to sign in from anywhere with a name and password. The first account is an admin. Creating it disables this link."</p>
            {wrong(why)}
            <label>"Name" <input name="name" value=name autocomplete="username" autocapitalize="none" spellcheck="false" maxlength="64" required autofocus/></label>
            <label>"Password" <input name="password" type="password" autocomplete="new-password" minlength="12" maxlength="256" required aria-describedby="rule"/></label>
            <small class="muted" id="rule">"At least 12 characters."</small>
            <button class="btn primary">"Create account"</button>
            <a class="btn" href=routes::at(routes::OVERVIEW)>"Continue without an account"</a>
        </form>
    }
    .into_any()
}

fn factor((side, path): (i32, String), letters: String, why: Option<String>) -> AnyView {
    let grouped: Vec<&str> = letters.as_bytes().chunks(4).filter_map(|part| std::str::from_utf8(part).ok()).collect();
    let frame = format!("-3 -3 {} {}", side + 6, side + 6);
    view! {
        <form class="card" method="post" action=routes::at(routes::MANAGE_FACTOR)>
            <h1>"Second factor"</h1>
            <p>"Scan the QR code with an authenticator app, or type the key into it. Then enter the code that the app shows."</p>
            <svg class="qr" viewBox=frame role="img" aria-label="QR code"><path d=path/></svg>
            <code class="break">{grouped.join(" ")}</code>
            {wrong(why)}
            <label>"Authenticator code" <input name="code" autocomplete="one-time-code" inputmode="numeric" maxlength="7" required autofocus/></label>
            <button class="btn primary" name="do" value="confirm">"Turn on"</button>
            <a class="btn" href=routes::at(routes::ACCOUNT)>"Cancel"</a>
        </form>
    }
    .into_any()
}

fn secret(title: String, text: String, lines: Vec<String>, back: &'static str) -> AnyView {
    let lines = lines.into_iter().map(|line| view! { <li><code class="break">{line}</code></li> }).collect_view();
    view! {
        <section class="card">
            <h1>{title}</h1>
            <p>{text}</p>
            <ul class="secret">{lines}</ul>
            <a class="btn primary" href=routes::at(back)>"Done"</a>
        </section>
    }
    .into_any()
}

fn sure(
    (question, text): (String, String),
    (action, fields): (&'static str, Vec<(&'static str, String)>),
    button: String,
    back: &'static str,
) -> AnyView {
    let fields =
        fields.into_iter().map(|(name, value)| view! { <input type="hidden" name=name value=value/> }).collect_view();
    view! {
        <form class="card" method="post" action=routes::at(action)>
            <h1>{question}</h1>
            <p>{text}</p>
            {fields}
            <button class="btn danger" name="sure" value="yes">{button}</button>
            <a class="btn" href=routes::at(back)>"Cancel"</a>
        </form>
    }
    .into_any()
}

fn refused(why: String, back: &'static str) -> AnyView {
    view! {
        <section class="card">
            <h1>"Not possible"</h1>
            <p role="alert">{why}</p>
            <a class="btn" href=routes::at(back)>"Back"</a>
        </section>
    }
    .into_any()
}

/// A document that redirects to an address of this server.
pub fn again(address: &str) -> String {
    let address =
        Owner::new().with(|| view! { <meta http-equiv="refresh" content=format!("0; url={address}")/> }.to_html());
    format!("<!DOCTYPE html><html lang=\"en\"><head>{address}<title>Belvedere</title></head><body></body></html>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_input_stays_text() {
        let bad = "\"><script>alert(1)</script>";
        let (text, why) = (|| bad.to_owned(), Some(bad.to_owned()));
        let pages = [
            Page::LogIn { next: text(), name: text(), why: why.clone(), provider: Some(text()) },
            Page::Code { next: text(), between: text(), why: why.clone() },
            Page::ByLink { name: text() },
            Page::SetUp { name: text(), why: why.clone() },
            Page::Factor { picture: (1, text()), letters: text(), why },
            Page::Secret { title: text(), text: text(), lines: vec![text()], back: "/" },
            Page::Sure {
                question: text(),
                text: text(),
                form: ("/", vec![("name", text())]),
                button: text(),
                back: "/",
            },
            Page::Refused { why: text(), back: "/" },
        ];
        for page in pages {
            let text = html(&AssetNames::default(), Theme::Auto, page) + &again(bad);
            assert!(!text.contains("<script"), "{text}");
        }
    }
}
