//! XML that is written: definitions of new objects, and elements for updates. `edit` changes what
//! exists.

use std::fmt;

use quick_xml::{
    Writer,
    events::{BytesEnd, BytesStart, BytesText, Event},
};

use super::plain;

/// An element with its attributes and content.
#[derive(Clone, Debug)]
pub(crate) struct Element {
    name: &'static str,
    attributes: Vec<(&'static str, String)>,
    content: Vec<Content>,
}

#[derive(Clone, Debug)]
enum Content {
    Element(Element),
    Text(String),
}

impl Element {
    /// An element without attributes and content.
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, attributes: Vec::new(), content: Vec::new() }
    }

    /// An element with a text.
    pub(crate) fn of(name: &'static str, text: impl fmt::Display) -> Self {
        let content = vec![Content::Text(text.to_string())];
        Self { content, ..Self::new(name) }
    }

    /// With an attribute.
    pub(crate) fn with(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.attributes.push((name, value.to_string()));
        self
    }

    /// With an attribute, unless its value is empty.
    pub(crate) fn with_some(self, name: &'static str, value: &str) -> Self {
        if value.is_empty() { self } else { self.with(name, value) }
    }

    /// With elements inside, after those that it has.
    pub(crate) fn holding(mut self, elements: impl IntoIterator<Item = Self>) -> Self {
        self.content.extend(elements.into_iter().map(Content::Element));
        self
    }

    /// Whether it has neither attributes nor content.
    pub(crate) fn is_bare(&self) -> bool {
        self.attributes.is_empty() && self.content.is_empty()
    }

    fn write(&self, writer: &mut Writer<Vec<u8>>) -> std::io::Result<()> {
        let mut start = BytesStart::new(self.name);
        for (name, value) in &self.attributes {
            start.push_attribute((*name, plain(value).as_str()));
        }
        if self.content.is_empty() {
            return writer.write_event(Event::Empty(start));
        }
        writer.write_event(Event::Start(start))?;
        for part in &self.content {
            match part {
                Content::Element(element) => element.write(writer)?,
                Content::Text(text) => writer.write_event(Event::Text(BytesText::new(&plain(text))))?,
            }
        }
        writer.write_event(Event::End(BytesEnd::new(self.name)))
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut writer = Writer::new(Vec::new());
        self.write(&mut writer).map_err(|_| fmt::Error)?;
        f.write_str(&String::from_utf8_lossy(&writer.into_inner()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_element_is_written_with_what_it_holds() {
        let element =
            Element::new("a").with("b", 7).with_some("c", "").holding([Element::new("d"), Element::of("e", "f")]);
        assert_eq!(element.to_string(), "<a b=\"7\"><d/><e>f</e></a>");
        assert!(Element::new("a").is_bare() && !element.is_bare());
    }

    proptest! {
        #[test]
        fn texts_and_values_are_read_back_as_they_were_written(text in "\\PC{0,20}", value in "\\PC{0,20}") {
            let written = Element::of("a", &text).with("b", &value).to_string();
            let document = roxmltree::Document::parse(&written).expect("it is well-formed");
            prop_assert_eq!(document.root_element().text().unwrap_or_default(), plain(&text));
            prop_assert_eq!(document.root_element().attribute("b").unwrap_or_default(), plain(&value));
        }
    }
}
