//! Account forms: the own account, and for admins all accounts. Decisions and records are in
//! `auth`; forms are parsed here, and secrets shown once are rendered here.

use std::{collections::BTreeMap, sync::Arc};

use app::{backend::Refused, no_script::Page, routes};
use axum::{
    Extension, Form,
    extract::{FromRequestParts, State, rejection::ExtensionRejection},
    http::{HeaderMap, StatusCode, request::Parts},
    response::{IntoResponse, Redirect, Response},
};
use model::{DomainRef, Fault, HostId, Origin, Permission, Role, Scope};
use qrcodegen::{QrCode, QrCodeEcc};

use super::{
    authorize::Admitted,
    login::{Door, field},
    pages::Pages,
    same_origin::Addressed,
    status,
};
use crate::auth::Shown;

/// The fields of a form.
struct Fields(BTreeMap<String, String>);

impl Fields {
    fn text(&self, name: &str) -> &str {
        field(&self.0, name).trim()
    }

    fn is_sure(&self) -> bool {
        self.text("sure") == "yes"
    }

    /// Role and scope.
    fn may(&self) -> Result<(Role, Scope), Fault> {
        let role = Role::from_name(self.text("role")).ok_or_else(|| Fault::invalid("role", "unknown role"))?;
        let scope = Scope::from_words(self.text("scope")).map_err(|why| Fault::invalid("scope", &why))?;
        Ok((role, scope))
    }
}

/// A page, or a redirect to the form's page.
type Done = Result<Response, Fault>;

/// The extractors of every form.
type Sent = (State<Arc<Door>>, Again, Extension<Origin>, HeaderMap, Form<BTreeMap<String, String>>);

fn to(page: &str) -> Done {
    Ok(Redirect::to(&routes::at(page)).into_response())
}

/// Shows the page of a refused form again.
pub(crate) struct Again {
    pages: Arc<Pages>,
    admitted: Admitted,
}

impl<S: Send + Sync> FromRequestParts<S> for Again {
    type Rejection = ExtensionRejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let Extension(pages) = Extension::from_request_parts(parts, state).await?;
        let Extension(admitted) = Extension::from_request_parts(parts, state).await?;
        Ok(Self { pages, admitted })
    }
}

impl Again {
    /// The response, or the page of the form with the entered values and the error; `form` names
    /// the form. Passwords and codes must be entered again.
    async fn answer(self, headers: &HeaderMap, page: &'static str, form: (&str, &Fields), done: Done) -> Response {
        let fault = match done {
            Ok(answer) => return answer,
            Err(fault) => fault,
        };
        let (kind, Fields(fields)) = form;
        let shown = fields.iter().filter(|(name, _)| !["old", "new", "code"].contains(&name.as_str()));
        let fields: Vec<_> = shown.map(|(name, value)| (name.clone(), value.clone())).collect();
        let wish = form.1.text("do");
        let refused = Refused { wish: format!("{wish}@{kind}"), fields, fault };
        self.pages.refused((&routes::at(page), page), headers, &self.admitted.visit(), refused).await
    }
}

/// `POST /manage/password`
pub(crate) async fn password((State(door), again, Extension(origin), headers, Form(fields)): Sent) -> Response {
    let fields = Fields(fields);
    // Passwords are used unchanged, including surrounding spaces.
    let field = |name| field(&fields.0, name);
    let change = async {
        let (name, shown) = again.admitted.person()?;
        door.auth.change_password(shown, name, (field("old"), field("new")), &origin).await?;
        to(routes::ACCOUNT)
    };
    let done = change.await;
    again.answer(&headers, routes::ACCOUNT, ("password", &fields), done).await
}

/// `POST /manage/factor`
pub(crate) async fn factor((State(door), again, Extension(origin), headers, Form(fields)): Sent) -> Response {
    let fields = Fields(fields);
    let change = async {
        let (name, shown) = again.admitted.person()?;
        match fields.text("do") {
            "begin" => factor_page(&door, &headers, (shown, name), None).await,
            "confirm" => match door.auth.confirm_factor(shown, name, fields.text("code"), &origin).await {
                Ok(lines) => {
                    let text = "The second factor is on. Store these recovery codes outside of your phone: each signs \
                                you in once. They are shown only now.";
                    let (title, text) = ("Recovery codes".to_owned(), text.to_owned());
                    Ok(door.page(StatusCode::OK, &headers, Page::Secret { title, text, lines, back: routes::ACCOUNT }))
                }
                Err(fault) => factor_page(&door, &headers, (shown, name), Some(fault)).await,
            },
            "off" => {
                door.auth.drop_factor(name, fields.text("code"), &origin).await?;
                to(routes::ACCOUNT)
            }
            other => Err(unknown(other)),
        }
    };
    let done = change.await;
    again.answer(&headers, routes::ACCOUNT, ("factor", &fields), done).await
}

async fn factor_page(door: &Door, headers: &HeaderMap, (shown, name): (&Shown, &str), fault: Option<Fault>) -> Done {
    let made = door.auth.new_factor(shown, name).await?;
    let status = fault.as_ref().map_or(StatusCode::OK, status);
    let page = Page::Factor {
        picture: picture(&made.address),
        letters: made.letters,
        why: fault.map(|fault| fault.sentence()),
    };
    Ok(door.page(status, headers, page))
}

/// A text as a QR code: its side length, and a path of its dark squares.
fn picture(text: &str) -> (i32, String) {
    let Ok(code) = QrCode::encode_text(text, QrCodeEcc::Medium) else { return (1, String::new()) };
    let side = code.size();
    let dark = (0..side).flat_map(|y| (0..side).map(move |x| (x, y))).filter(|(x, y)| code.get_module(*x, *y));
    (side, dark.map(|(x, y)| format!("M{x} {y}h1v1h-1z")).collect())
}

/// `POST /manage/sessions`: users end their own sessions, admins all.
pub(crate) async fn sessions((State(door), again, Extension(origin), headers, Form(fields)): Sent) -> Response {
    let fields = Fields(fields);
    let back = if routes::inner(fields.text("back")) == routes::SESSIONS { routes::SESSIONS } else { routes::ACCOUNT };
    let change = async {
        if fields.text("others") == "yes" {
            let (name, shown) = again.admitted.person()?;
            door.auth.end_others(shown, name, &origin).await?;
            return to(back);
        }
        let id = fields.text("id").parse().map_err(|_| Fault::invalid("id", "must be a session ID"))?;
        let of = match again.admitted.viewer().role.may(Permission::ManageAccounts) {
            Ok(()) => None,
            Err(_) => Some(again.admitted.person()?.0),
        };
        door.auth.end_session(id, of, &origin).await?;
        to(back)
    };
    let done = change.await;
    again.answer(&headers, back, ("sessions", &fields), done).await
}

/// `POST /manage/users`
pub(crate) async fn users(
    Extension(at): Extension<Addressed>,
    (State(door), again, Extension(origin), headers, Form(fields)): Sent,
) -> Response {
    let fields = Fields(fields);
    let name = fields.text("name");
    let ask = |question: String, text: &str, action: &'static str, button: &str| {
        let fields = vec![("do", action.to_owned()), ("name", name.to_owned())];
        let (text, button) = (text.to_owned(), button.to_owned());
        let form = (routes::MANAGE_USERS, fields);
        Ok(door.page(StatusCode::OK, &headers, Page::Sure { question, text, form, button, back: routes::USERS }))
    };
    let change = async {
        match fields.text("do") {
            "add" => {
                let secret = door.auth.add_user(name, fields.may()?, &origin).await?;
                Ok(link_page(&door, (&headers, &at), name, &secret))
            }
            "link" => Ok(link_page(&door, (&headers, &at), name, &door.auth.make_link(name, &origin).await?)),
            "role" => {
                door.auth.set_role(name, fields.may()?, &origin).await?;
                to(routes::USERS)
            }
            "remove" if !fields.is_sure() => ask(
                format!("Remove {name}?"),
                "Its sessions end immediately. Its records in the audit log are kept.",
                "remove",
                "Remove",
            ),
            "remove" => {
                door.auth.remove_user(name, &origin).await?;
                to(routes::USERS)
            }
            "factor" if !fields.is_sure() => ask(
                format!("Turn off the second factor of {name}?"),
                "The account then signs in with the password alone. Its recovery codes become invalid.",
                "factor",
                "Turn off",
            ),
            "factor" => {
                door.auth.reset_factor(name, &origin).await?;
                to(routes::USERS)
            }
            other => Err(unknown(other)),
        }
    };
    let done = change.await;
    again.answer(&headers, routes::USERS, ("users", &fields), done).await
}

fn link_page(door: &Door, (headers, at): (&HeaderMap, &Addressed), name: &str, secret: &str) -> Response {
    let text =
        format!("This link signs {name} in once within 15 minutes and lets them set a password. It is shown only now.");
    let lines = vec![format!("{}/login/{secret}", door.address(at))];
    door.page(StatusCode::OK, headers, Page::Secret { title: "Sign-in link".into(), text, lines, back: routes::USERS })
}

/// `POST /manage/tokens`
pub(crate) async fn tokens((State(door), again, Extension(origin), headers, Form(fields)): Sent) -> Response {
    let fields = Fields(fields);
    let name = fields.text("name");
    let change = async {
        match fields.text("do") {
            "add" => {
                let days = match fields.text("days") {
                    "" => None,
                    days => Some(
                        days.parse::<u32>()
                            .ok()
                            .filter(|days| (1..=3650).contains(days))
                            .ok_or_else(|| Fault::invalid("days", "must be 1 to 3650, or empty for no expiry"))?,
                    ),
                };
                let secret = door.auth.add_token(name, fields.may()?, days, &origin).await?;
                let text = "Send it in the header \"Authorization: Bearer\". It is shown only now.".into();
                let (title, lines) = (format!("Token {name}"), vec![secret]);
                Ok(door.page(StatusCode::OK, &headers, Page::Secret { title, text, lines, back: routes::TOKENS }))
            }
            "revoke" if !fields.is_sure() => {
                let form = (routes::MANAGE_TOKENS, vec![("do", "revoke".to_owned()), ("name", name.to_owned())]);
                let (question, text) =
                    (format!("Revoke {name}?"), "Programs that use it lose access immediately.".to_owned());
                let page = Page::Sure { question, text, form, button: "Revoke".into(), back: routes::TOKENS };
                Ok(door.page(StatusCode::OK, &headers, page))
            }
            "revoke" => {
                door.auth.revoke_token(name, &origin).await?;
                to(routes::TOKENS)
            }
            other => Err(unknown(other)),
        }
    };
    let done = change.await;
    again.answer(&headers, routes::TOKENS, ("tokens", &fields), done).await
}

/// `POST /manage/hosts`
pub(crate) async fn hosts((State(door), again, Extension(origin), headers, Form(fields)): Sent) -> Response {
    let fields = Fields(fields);
    let (backend, uri) = (door.auth.backend(), fields.text("uri"));
    let change = async {
        let name = || fields.text("name").parse().map_err(|why: String| Fault::invalid("name", &why));
        match fields.text("do") {
            word @ ("add" | "change") => {
                let name: HostId = name()?;
                door.auth.may_add_hosts().await?;
                if word == "add" && backend.hosts.get(&name).is_some() {
                    return Err(Fault::invalid("name", "there is a host with this name already"));
                }
                backend.put_host(&name, uri, &origin).await?;
                to(routes::MANAGED_HOSTS)
            }
            "test" => {
                // What is wrong is said at the field, as nothing else was entered.
                let tested = backend.test_host(uri).await;
                tested.map_err(|fault| Fault::invalid("uri", fault.about_field()))?;
                let (title, text) = ("Connection works".to_owned(), format!("libvirt answers at {uri}."));
                let page = Page::Secret { title, text, lines: Vec::new(), back: routes::MANAGED_HOSTS };
                Ok(door.page(StatusCode::OK, &headers, page))
            }
            "remove" if !fields.is_sure() => {
                let name: HostId = name()?;
                let question = format!("Remove {name}?");
                let text = "Its machines disappear from the lists and keep running. Its history stays.".to_owned();
                let form = (routes::MANAGE_HOSTS, vec![("do", "remove".to_owned()), ("name", name.to_string())]);
                let page = Page::Sure { question, text, form, button: "Remove".into(), back: routes::MANAGED_HOSTS };
                Ok(door.page(StatusCode::OK, &headers, page))
            }
            "remove" => {
                backend.remove_host(&name()?, &origin).await?;
                to(routes::MANAGED_HOSTS)
            }
            other => Err(unknown(other)),
        }
    };
    let done = change.await;
    // A test is a button of the form that it tests for.
    let of = if fields.text("do") == "test" { fields.text("form") } else { fields.text("do") }.to_owned();
    let mut fields = fields;
    fields.0.insert("do".into(), of);
    again.answer(&headers, routes::MANAGED_HOSTS, ("hosts", &fields), done).await
}

/// `POST /manage/definition`: the domain XML with passwords.
pub(crate) async fn definition(
    State(door): State<Arc<Door>>,
    Extension(origin): Extension<Origin>,
    headers: HeaderMap,
    Form(fields): Form<BTreeMap<String, String>>,
) -> Response {
    let fields = Fields(fields);
    let read = async {
        let id: DomainRef = fields.text("machine").parse().map_err(|why: String| Fault::invalid("machine", &why))?;
        let text = door.auth.backend().definition_with_secrets(&id, &origin).await?;
        let about = "This definition contains passwords. Reading it is recorded in the audit log.".into();
        let page = Page::Secret { title: "Definition".into(), text: about, lines: vec![text], back: routes::VMS };
        Ok(door.page(StatusCode::OK, &headers, page))
    };
    read.await.unwrap_or_else(|fault| door.refused(&fault, &headers, routes::VMS))
}

fn unknown(word: &str) -> Fault {
    Fault::invalid("do", &format!("unknown action \"{}\"", word.escape_debug()))
}

#[cfg(test)]
mod tests {
    use super::picture;

    #[test]
    fn a_picture_holds_the_marks_in_its_corners() {
        let (side, path) = picture("otpauth://totp/Belvedere:jane?secret=GEZDGNBVGY3TQOJQ");
        assert!(side >= 21);
        for (x, y) in [(0, 0), (side - 7, 0), (0, side - 7)] {
            assert!(path.contains(&format!("M{x} {y}h1v1h-1z")), "{x} {y}");
        }
        assert!(!path.contains("M1 1h"), "light inside the mark");
    }
}
