//! XML to model. It hides the parser, and is the only module that contains XML; unknown content is
//! left unchanged.

pub(crate) mod boot;

#[cfg_attr(not(test), expect(dead_code, reason = "devices are read; the commands that change them come with editing"))]
pub(crate) mod device;

pub(crate) mod domain;

pub(crate) mod edit;

pub(crate) mod element;

pub(crate) mod host;

pub(crate) mod network;

pub(crate) mod sources;

pub(crate) mod storage;

#[cfg(test)]
mod edit_tests;
#[cfg(test)]
mod schema_tests;

use roxmltree::Node;

/// Whether a node is libvirt's element with that name: foreign elements have a namespace.
fn is_own(node: Node<'_, '_>, name: &str) -> bool {
    node.tag_name().namespace().is_none() && node.tag_name().name() == name
}

/// The first child element of that name.
fn child<'a, 'i>(node: Node<'a, 'i>, name: &str) -> Option<Node<'a, 'i>> {
    node.children().find(|child| is_own(*child, name))
}

/// The text of the first child element of that name, trimmed, or empty.
fn child_text(node: Node<'_, '_>, name: &str) -> String {
    child(node, name).and_then(|child| child.text()).unwrap_or_default().trim().to_owned()
}

/// An attribute of the first child element of that name, or empty.
fn child_attribute(node: Node<'_, '_>, name: &str, attribute: &str) -> String {
    child(node, name).and_then(|child| child.attribute(attribute)).unwrap_or_default().to_owned()
}

/// A text escaped for content and attributes.
fn escape(text: &str) -> String {
    quick_xml::escape::escape(plain(text)).into_owned()
}

/// A text without what XML cannot hold. It is refused earlier; nothing written here may make a
/// definition unreadable.
fn plain(text: &str) -> String {
    text.chars().map(|c| if model::text::is_xml(c) { c } else { '\u{fffd}' }).collect()
}

/// A number of bytes with libvirt's unit (formatstorage, "General metadata").
fn bytes(node: Node<'_, '_>, name: &str) -> u64 {
    let Some(element) = child(node, name) else { return 0 };
    let value: u64 = element.text().unwrap_or_default().trim().parse().unwrap_or_default();
    to_bytes(value, element.attribute("unit").unwrap_or("bytes"))
}

/// libvirt's units of memory and storage (formatdomain, "Memory Allocation").
fn to_bytes(value: u64, unit: &str) -> u64 {
    let (power, thousands) = match unit.trim_end_matches("iB").trim_end_matches('B') {
        "K" | "k" => (1, unit.ends_with('B') && !unit.ends_with("iB")),
        "M" => (2, unit == "MB"),
        "G" => (3, unit == "GB"),
        "T" => (4, unit == "TB"),
        "P" => (5, unit == "PB"),
        "E" => (6, unit == "EB"),
        _ => (0, false),
    };
    let factor = if thousands { 1_000_u128.pow(power) } else { 1_024_u128.pow(power) };
    u64::try_from(u128::from(value) * factor).unwrap_or(u64::MAX)
}
