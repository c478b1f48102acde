//! Forms of commands. A refused form is rendered again with the values entered and the error at its
//! field. On the server only: with JavaScript a form stays in place (`fresh`). It neither decodes
//! nor checks what was entered.

use std::sync::Arc;

use leptos::prelude::*;

use super::drawn::here;
use crate::{backend::Refused, routes, vm::form_token};

/// A form of one command.
#[derive(Clone)]
pub(crate) struct Form {
    wish: String,
    hidden: Vec<(&'static str, String)>,
    /// Why what it asked for was refused, if it is this form that was.
    refused: Option<Arc<Refused>>,
}

/// A field for a text.
#[derive(Default)]
pub(crate) struct Text {
    /// What it is called on the page.
    pub(crate) label: String,
    /// What it is called in the form.
    pub(crate) name: &'static str,
    /// What it holds at first.
    pub(crate) value: String,
    /// An example, shown while it is empty.
    pub(crate) place: &'static str,
    /// Whether it must not stay empty.
    pub(crate) required: bool,
    /// Characters at most; 0 for any number.
    pub(crate) longest: u16,
    /// Its type; none for text.
    pub(crate) kind: Option<&'static str>,
    /// The choices it belongs to, in a form that has one; none when it is always there.
    pub(crate) of: Option<String>,
    /// What it has to look like, as a regular expression and in words.
    pub(crate) pattern: Option<(&'static str, &'static str)>,
}

impl Form {
    /// The form that asks for this (`kind@target`), for what the hidden fields name.
    pub(crate) fn of(wish: String, hidden: Vec<(&'static str, String)>) -> Self {
        let refused = use_context::<Arc<Refused>>().filter(|refused| {
            refused.wish == wish && hidden.iter().all(|(name, value)| refused.typed(name) == Some(value))
        });
        Self { wish, hidden, refused }
    }

    /// Whether what it asked for was refused, so that it must not be folded.
    pub(crate) fn is_refused(&self) -> bool {
        self.refused.is_some()
    }

    /// What a field holds: what was typed, or this.
    pub(crate) fn value(&self, name: &str, otherwise: String) -> String {
        let typed = self.refused.as_ref().and_then(|refused| refused.typed(name));
        typed.map_or(otherwise, str::to_owned)
    }

    /// What is wrong with a field.
    pub(crate) fn wrong(&self, name: &str) -> AnyView {
        let fault = self.refused.as_ref().map(|refused| &refused.fault);
        let fault = fault.filter(|fault| fault.form_field() == Some(name));
        fault
            .map(|fault| view! { <small class="wrong">{format!("{}.", fault.about_field())}</small> }.into_any())
            .into_any()
    }

    /// A field for a text.
    pub(crate) fn text(&self, field: Text) -> AnyView {
        let Text { label, name, value, place, required, longest, kind, of, pattern } = field;
        // A password is typed again.
        let value = if kind == Some("password") { String::new() } else { self.value(name, value) };
        let (pattern, title) = pattern.unzip();
        // With scripts a field is there only when it is needed.
        let needed = of.as_ref().map(|of| of.replace(' ', ", "));
        view! {
            <label data-of=of>{label} " "
                <input name=name r#type=kind value=value placeholder=place required=required maxlength=(longest > 0).then_some(longest)
                    pattern=pattern title=title autocomplete=if kind == Some("password") { "new-password" } else { "off" } autocapitalize="none" spellcheck="false"/>
            </label>
            {needed.map(|of| view! { <small class="muted plain-only">{format!("Needed for: {of}")}</small> }.into_any())}
            {self.wrong(name)}
        }
        .into_any()
    }

    /// A field with a choice: what each is in the form and on the page, and whether it can be
    /// chosen. The first that can be is what it holds at first.
    pub(crate) fn choice(&self, label: &'static str, name: &'static str, all: Vec<(String, String, bool)>) -> AnyView {
        let chosen = self.value(name, String::new());
        let options = all.into_iter().map(|(value, words, possible)| {
            view! { <option selected=value == chosen disabled=!possible value=value>{words}</option> }.into_any()
        });
        view! { <label>{label} " " <select name=name>{options.collect_view()}</select></label> {self.wrong(name)} }
            .into_any()
    }

    /// A field that is ticked or not.
    pub(crate) fn tick(&self, label: &'static str, name: &'static str, otherwise: bool) -> AnyView {
        let on = self.refused.as_ref().map_or(otherwise, |refused| refused.typed(name).is_some());
        view! { <label class="tick"><input type="checkbox" name=name value="yes" checked=on/> {label}</label> }
            .into_any()
    }

    /// The form around its fields and its buttons. `choice` is the field that decides which others
    /// are shown, `back` the page that comes when it was carried out.
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

    /// The button that sends it.
    pub(crate) fn button(&self, class: &'static str, label: &'static str) -> AnyView {
        view! { <button class=class name="do" value=self.wish.clone()>{label}</button> }.into_any()
    }
}
