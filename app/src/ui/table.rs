//! Table headers that sort by a link, so that they work without JavaScript and the order is part of
//! the address.

use leptos::prelude::*;

/// A column.
pub(crate) struct Column {
    /// Its header.
    pub(crate) label: &'static str,
    /// Its name in addresses; empty if it is not sortable.
    pub(crate) key: &'static str,
    /// Whether its values are numbers.
    pub(crate) numeric: bool,
}

/// The head of a column; `href` gives the address of the list in another order.
pub(crate) fn head(column: &Column, (key, descending): (&str, bool), href: impl Fn(String) -> String) -> AnyView {
    let kind = if column.numeric { "num " } else { "" };
    let class = format!("{kind}c-{}", column.label.to_ascii_lowercase());
    if column.key.is_empty() {
        return view! { <th scope="col" class=class>{column.label}</th> }.into_any();
    }
    let current = key == column.key;
    let sorted = current.then_some(if descending { "descending" } else { "ascending" });
    // Numbers are sorted in descending order first.
    let down = if current { !descending } else { column.numeric };
    let next = if down { format!("-{}", column.key) } else { column.key.to_owned() };
    view! {
        <th scope="col" class=class aria-sort=sorted>
            <a href=href(next)>{column.label}</a>
        </th>
    }
    .into_any()
}
