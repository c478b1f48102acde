//! Forms of commands. A refused form is rendered again with the values entered and the error at its
//! field. On the server only: with JavaScript a form stays in place (`fresh`). Neither decodes nor
//! validates the input.

use std::sync::Arc;

use leptos::prelude::*;
use model::command::{
    Field, Input, Verb,
    form::{UNIT, UNITS},
};

use super::server_view::here;
use crate::{backend::Refused, routes, vm::form_token};

/// The form of one command, with the fields that the command declares.
#[derive(Clone)]
pub(crate) struct Form {
    label: &'static str,
    fields: &'static [Field],
    wish: String,
    hidden: Vec<(&'static str, String)>,
    /// Why it was refused, if this form was.
    refused: Option<Arc<Refused>>,
}

/// What a page adds to the command's own description of a field.
#[derive(Default)]
pub(crate) struct With {
    /// Another label.
    pub(crate) label: Option<String>,
    /// The initial value.
    pub(crate) value: Option<String>,
    /// The placeholder.
    pub(crate) place: &'static str,
    /// Whether it is required, if different here.
    pub(crate) required: Option<bool>,
    /// The choices that the field belongs to, in a form with a choice; `None` if it is always
    /// shown.
    pub(crate) of: Option<String>,
    /// A pattern, as a regular expression and as text.
    pub(crate) pattern: Option<(&'static str, &'static str)>,
    /// The options: value, label, and whether it can be selected.
    pub(crate) choices: Vec<(String, String, bool)>,
}

impl Form {
    /// The form of this command on a target, with hidden fields.
    pub(crate) fn of<V: Verb>(target: &str, hidden: Vec<(&'static str, String)>) -> Self {
        Self::with((V::ABOUT.label, V::FIELDS), format!("{}@{target}", V::ABOUT.kind), hidden)
    }

    /// A form that is not of a command, with these fields.
    pub(crate) fn with(
        (label, fields): (&'static str, &'static [Field]),
        wish: String,
        hidden: Vec<(&'static str, String)>,
    ) -> Self {
        let refused = use_context::<Arc<Refused>>().filter(|refused| {
            refused.wish == wish && hidden.iter().all(|(name, value)| refused.typed(name) == Some(value))
        });
        Self { label, fields, wish, hidden, refused }
    }

    /// Whether it was refused, so that it must stay open.
    pub(crate) fn is_refused(&self) -> bool {
        self.refused.is_some()
    }

    /// The value of a field: as entered, or this default.
    pub(crate) fn value(&self, name: &str, otherwise: String) -> String {
        let typed = self.refused.as_ref().and_then(|refused| refused.typed(name));
        typed.map_or(otherwise, str::to_owned)
    }

    /// The error of a field.
    pub(crate) fn wrong(&self, name: &str) -> AnyView {
        let fault = self.refused.as_ref().map(|refused| &refused.fault);
        let fault = fault.filter(|fault| fault.is_about(name));
        fault
            .map(|fault| view! { <small class="wrong">{format!("{}.", fault.about_field())}</small> }.into_any())
            .into_any()
    }

    /// A field of the command.
    pub(crate) fn field(&self, name: &str, with: With) -> AnyView {
        let Some(field) = self.fields.iter().find(|field| field.name == name) else { return ().into_any() };
        let label = with.label.clone().unwrap_or_else(|| field.label.to_owned());
        let drawn = match field.input {
            Input::Flag => return self.tick(label, field),
            Input::Choice => self.choice(label, field, &with.choices),
            Input::Lines => {
                let value = self.value(field.name, with.value.clone().unwrap_or_default());
                view! { <label>{label} " " <textarea name=field.name required=field.required rows="2" spellcheck="false" placeholder=with.place>{value}</textarea></label> }.into_any()
            }
            Input::Bytes => self.size(label, field, &with),
            _ => self.line(label, field, &with),
        };
        // With JavaScript a field is shown only when it applies.
        let needed = with.of.map(|of| of.replace(' ', ", "));
        view! {
            {drawn}
            {needed.map(|of| view! { <small class="muted plain-only">{format!("Applies to: {of}")}</small> }.into_any())}
            {self.wrong(field.name)}
        }
        .into_any()
    }

    /// A single-line field: text, number or address.
    fn line(&self, label: String, field: &'static Field, with: &With) -> AnyView {
        let secret = matches!(field.input, Input::Secret);
        let preset = with.value.clone().unwrap_or_else(|| field.preset.to_owned());
        // Passwords are not repeated.
        let value = if secret { String::new() } else { self.value(field.name, preset) };
        let (longest, (least, most)) = match field.input {
            Input::Line(longest) => ((longest > 0).then_some(longest), (None, None)),
            Input::Number(least, most) => (None, (Some(least), Some(most))),
            _ => (None, (None, None)),
        };
        let kind = match field.input {
            Input::Secret => Some("password"),
            Input::Number(..) => Some("number"),
            _ => None,
        };
        let (pattern, title) = with.pattern.unzip();
        let required = with.required.unwrap_or(field.required);
        view! {
            <label data-of=with.of.clone()>{label} " "
                <input name=field.name r#type=kind value=value placeholder=with.place required=required maxlength=longest min=least max=most
                    pattern=pattern title=title autocomplete=if secret { "new-password" } else { "off" } autocapitalize="none" spellcheck="false"/>
            </label>
        }
        .into_any()
    }

    /// A size with its unit.
    fn size(&self, label: String, field: &'static Field, with: &With) -> AnyView {
        let first = with.value.clone().unwrap_or_else(|| field.preset.to_owned());
        let (number, unit) = first.split_once(' ').unwrap_or((&first, "GiB"));
        let (value, unit) = (self.value(field.name, number.to_owned()), self.value(UNIT, unit.to_owned()));
        let units = UNITS.map(|(name, _)| view! { <option selected=name == unit>{name}</option> }.into_any());
        view! {
            <label>{label} <span class="pair"><input name=field.name inputmode="decimal" required size="8" value=value autocomplete="off"/><select name=UNIT aria-label="Unit">{units.into_iter().collect_view()}</select></span></label>
        }
        .into_any()
    }

    /// A select field. The first selectable option is the default.
    fn choice(&self, label: String, field: &'static Field, all: &[(String, String, bool)]) -> AnyView {
        let chosen = self.value(field.name, String::new());
        let options = all.iter().map(|(value, words, possible)| {
            view! { <option selected=*value == chosen disabled=!possible value=value.clone()>{words.clone()}</option> }
                .into_any()
        });
        view! { <label>{label} " " <select name=field.name>{options.collect_view()}</select></label> }.into_any()
    }

    /// A checkbox.
    fn tick(&self, label: String, field: &'static Field) -> AnyView {
        let otherwise = !field.preset.is_empty();
        let on = self.refused.as_ref().map_or(otherwise, |refused| refused.typed(field.name).is_some());
        view! { <label class="tick"><input type="checkbox" name=field.name value="yes" checked=on/> {label}</label> }
            .into_any()
    }

    /// The form with its fields and buttons. `choice` is the field that decides which others are
    /// shown, `back` the page to load after success.
    pub(crate) fn draw(
        self,
        class: &'static str,
        choice: Option<&'static str>,
        back: String,
        content: AnyView,
    ) -> AnyView {
        let hidden = self
            .hidden
            .into_iter()
            .map(|(name, value)| view! { <input type="hidden" name=name value=value/> }.into_any());
        view! {
            <form class=class method="post" action=routes::at(routes::COMMANDS) data-choice=choice>
                {form_token()}
                <input type="hidden" name="back" value=back/>
                <input type="hidden" name="from" value=here()/>
                {hidden.collect_view()}
                {content}
            </form>
        }
        .into_any()
    }

    /// This form with another button label.
    pub(crate) fn named(self, label: &'static str) -> Self {
        Self { label, ..self }
    }

    /// The submit button.
    pub(crate) fn button(&self, class: &'static str) -> AnyView {
        view! { <button class=class name="do" value=self.wish.clone()>{self.label}</button> }.into_any()
    }

    /// The submit button with its label here, and the reason if it is not possible.
    pub(crate) fn button_unless(&self, label: &'static str, denied: Option<String>, about: Option<String>) -> AnyView {
        let name = about.map(|about| format!("{label} {about}"));
        let why_id = denied.is_some().then(|| format!("why-{}", self.wish.replace(['@', '/'], "-")));
        let class = if name.is_some() { "btn small" } else { "btn" };
        view! {
            <button class=class name="do" value=self.wish.clone() aria-label=name title=denied.clone()
                aria-disabled=denied.is_some().then_some("true") aria-describedby=why_id.clone()>{label}</button>
            {denied.map(|why| view! { <small class="muted" id=why_id>{why}</small> }.into_any())}
        }
        .into_any()
    }
}
