//! Text to model. It hides the parser, and is the only place where XML is
//! spelled; unknown content is left alone.

pub(crate) mod domain;

pub(crate) mod host;

pub(crate) mod storage;

#[cfg(test)]
mod schema_tests;

use roxmltree::Node;

/// The first child element of that name.
fn child<'a, 'i>(node: Node<'a, 'i>, name: &str) -> Option<Node<'a, 'i>> {
    node.children().find(|child| child.tag_name().name() == name)
}

/// The text of the first child element of that name, trimmed, or empty.
fn child_text(node: Node<'_, '_>, name: &str) -> String {
    child(node, name).and_then(|child| child.text()).unwrap_or_default().trim().to_owned()
}

/// An attribute of the first child element of that name, or empty.
fn child_attribute(node: Node<'_, '_>, name: &str, attribute: &str) -> String {
    child(node, name).and_then(|child| child.attribute(attribute)).unwrap_or_default().to_owned()
}

/// A text as it may stand between tags.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            other => escaped.push(other),
        }
    }
    escaped
}
