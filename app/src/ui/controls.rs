//! Buttons, chips and tags. A disabled button always states why.

use leptos::prelude::*;

/// A submit button of a form elsewhere in the page.
#[derive(Clone, Debug, Default)]
pub(crate) struct Submit {
    /// The verb; its accessible name.
    pub(crate) label: String,
    /// Icon in front, if any.
    pub(crate) icon: Option<&'static str>,
    /// The form's id.
    pub(crate) form: &'static str,
    /// The value of `do`.
    pub(crate) value: String,
    /// Why it is not possible now; `None` if it is.
    pub(crate) denied: Option<String>,
    /// Whether the command is running.
    pub(crate) busy: bool,
    /// Extra classes.
    pub(crate) class: &'static str,
}

impl Submit {
    fn classes(&self) -> String {
        let picture = self.icon.map(|name| format!(" i-{name}")).unwrap_or_default();
        format!("btn{picture} {}", self.class).trim_end().to_owned()
    }

    /// Icon only; the verb is the accessible name and tooltip.
    pub(crate) fn compact(self) -> AnyView {
        let class = format!("{} compact", self.classes());
        let Self { label, form, value, denied, busy, .. } = self;
        let title = match &denied {
            Some(reason) => format!("{label}: {reason}"),
            None => label.clone(),
        };
        view! {
            <button
                form=form name="do" value=value class=class aria-label=label title=title
                aria-disabled=denied.is_some().then_some("true") aria-busy=busy.then_some("true")
            ></button>
        }
        .into_any()
    }

    /// Icon and verb; the reason is the accessible description.
    pub(crate) fn wide(self) -> AnyView {
        let class = self.classes();
        let Self { label, form, value, denied, busy, .. } = self;
        let reason_id = denied.is_some().then(|| format!("why-{}", value.replace(['@', '/'], "-")));
        view! {
            <button
                form=form name="do" value=value class=class title=denied.clone()
                aria-disabled=denied.is_some().then_some("true") aria-busy=busy.then_some("true")
                aria-describedby=reason_id.clone()
            >
                {label}
            </button>
            {denied.map(|reason| view! { <span class="hidden" id=reason_id>{reason}</span> }.into_any())}
        }
        .into_any()
    }
}

/// A link that filters a list, with a count.
pub(crate) fn chip(label: String, count: Option<usize>, href: String, on: bool, mark: Option<&'static str>) -> AnyView {
    view! {
        <a class="chip" href=href aria-current=on.then_some("true")>
            {mark.map(|mark| view! { <span class=format!("dot {mark}")></span> }.into_any())}
            {label} {count.map(|count| view! { " " <b>{count.to_string()}</b> }.into_any())}
        </a>
    }
    .into_any()
}

/// A tag.
pub(crate) fn tag(text: &str) -> AnyView {
    view! { <span class="tag">{text.to_owned()}</span> }.into_any()
}

/// One line of a fact list.
pub(crate) fn fact(name: &'static str, value: impl IntoView + 'static) -> AnyView {
    view! { <dt>{name}</dt> <dd>{value.into_any()}</dd> }.into_any()
}

/// A text, or a dash if it is empty.
pub(crate) fn or_dash(text: &str) -> AnyView {
    if text.is_empty() {
        return view! { <span class="faint">"–"</span> }.into_any();
    }
    text.to_owned().into_any()
}

/// The empty state of a list.
#[component]
pub(crate) fn Empty(
    /// What is missing.
    #[prop(into)]
    title: String,
    /// The next step.
    children: Children,
) -> impl IntoView {
    view! {
        <div class="empty">
            <h2>{title}</h2>
            <p>{children()}</p>
        </div>
    }
}
