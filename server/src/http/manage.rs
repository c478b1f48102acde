//! Forms about accounts: one's own, and for admins all of them. What is done is decided
//! and recorded by `auth`; here forms are read, and what is shown once is drawn.

use std::{collections::BTreeMap, sync::Arc};

use app::{backend::Refused, plain::Page, routes};
use axum::{
    Extension, Form,
    extract::{FromRequestParts, State, rejection::ExtensionRejection},
    http::{HeaderMap, StatusCode, request::Parts},
    response::{IntoResponse, Redirect, Response},
};
use model::{DomainRef, Fault, Origin, Permission, Role, Scope};
use qrcodegen::{QrCode, QrCodeEcc};

use super::{
    authorize::Admitted,
    guard::Addressed,
    login::{Door, field},
    pages::Pages,
    status,
};
use crate::auth::Shown;

/// What a form sends.
struct Fields(BTreeMap<String, String>);

impl Fields {
    fn text(&self, name: &str) -> &str {
        field(&self.0, name).trim()
    }

    fn is_sure(&self) -> bool {
        self.text("sure") == "yes"
    }

    /// What somebody may do and sees.
    fn may(&self) -> Result<(Role, Scope), Fault> {
        let role = Role::from_name(self.text("role")).ok_or_else(|| Fault::invalid("role", "there is no such role"))?;
        let scope = Scope::from_words(self.text("scope")).map_err(|why| Fault::invalid("scope", &why))?;
        Ok((role, scope))
    }
}

/// A page of its own, or back to where the form was.
type Done = Result<Response, Fault>;

/// What every form here comes with.
type Sent = (State<Arc<Door>>, Again, Extension<Origin>, HeaderMap, Form<BTreeMap<String, String>>);

fn to(page: &str) -> Done {
    Ok(Redirect::to(&routes::at(page)).into_response())
}

/// What shows the page of a form again when what it asked for is refused.
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
    /// The answer, or the page of the form with what was typed and why not; `form` is what the form
    /// asks for. Passwords and codes are typed again.
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
    // Passwords are taken as they are, with spaces at their ends.
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
                    let text = "The second factor is on. Keep these recovery codes where you find them without your \
                                phone: each logs you in once, and they are shown only now.";
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

/// A text as a QR code: the length of its side, and a path over its dark squares.
fn picture(text: &str) -> (i32, String) {
    let Ok(code) = QrCode::encode_text(text, QrCodeEcc::Medium) else { return (1, String::new()) };
    let side = code.size();
    let dark = (0..side).flat_map(|y| (0..side).map(move |x| (x, y))).filter(|(x, y)| code.get_module(*x, *y));
    (side, dark.map(|(x, y)| format!("M{x} {y}h1v1h-1z")).collect())
}

/// `POST /manage/sessions`: everybody ends their own, admins all.
pub(crate) async fn sessions((State(door), again, Extension(origin), headers, Form(fields)): Sent) -> Response {
    let fields = Fields(fields);
    let back = if routes::inner(fields.text("back")) == routes::SESSIONS { routes::SESSIONS } else { routes::ACCOUNT };
    let change = async {
        if fields.text("others") == "yes" {
            let (name, shown) = again.admitted.person()?;
            door.auth.end_others(shown, name, &origin).await?;
            return to(back);
        }
        let id = fields.text("id").parse().map_err(|_| Fault::invalid("id", "it is no number of a session"))?;
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
                "Its sessions end at once. What it did stays recorded.",
                "remove",
                "Remove",
            ),
            "remove" => {
                door.auth.remove_user(name, &origin).await?;
                to(routes::USERS)
            }
            "factor" if !fields.is_sure() => ask(
                format!("Turn off the second factor of {name}?"),
                "Its password alone logs in then, and its recovery codes are worth nothing.",
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
    let text = format!(
        "This link logs {name} in once, within a quarter of an hour, and lets them choose a password. It is shown only now."
    );
    let lines = vec![format!("{}/login/{secret}", door.address(at))];
    door.page(
        StatusCode::OK,
        headers,
        Page::Secret { title: "Link to log in".into(), text, lines, back: routes::USERS },
    )
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
                            .ok_or_else(|| Fault::invalid("days", "it is a number from 1 to 3650, or nothing"))?,
                    ),
                };
                let secret = door.auth.add_token(name, fields.may()?, days, &origin).await?;
                let text = "Programs send it as \"Authorization: Bearer\". It is shown only now.".into();
                let (title, lines) = (format!("Token {name}"), vec![secret]);
                Ok(door.page(StatusCode::OK, &headers, Page::Secret { title, text, lines, back: routes::TOKENS }))
            }
            "revoke" if !fields.is_sure() => {
                let form = (routes::MANAGE_TOKENS, vec![("do", "revoke".to_owned()), ("name", name.to_owned())]);
                let (question, text) =
                    (format!("Revoke {name}?"), "Programs that use it are signed out at once.".to_owned());
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

/// `POST /manage/definition`: the definition of a machine with its passwords.
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
        let about = "It holds passwords, and that you read it is recorded.".into();
        let page = Page::Secret { title: "Definition".into(), text: about, lines: vec![text], back: routes::VMS };
        Ok(door.page(StatusCode::OK, &headers, page))
    };
    read.await.unwrap_or_else(|fault| door.refused(&fault, &headers, routes::VMS))
}

fn unknown(word: &str) -> Fault {
    Fault::invalid("do", &format!("\"{}\" is nothing that can be done here", word.escape_debug()))
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
