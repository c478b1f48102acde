//! Edits an XML text and keeps everything else byte for byte: comments, foreign namespaces,
//! attribute order, quotes and blanks.
//!
//! The parser provides positions; edits replace ranges between them. The right edit is decided by
//! `device`.

use std::ops::Range;

use roxmltree::{Document, Node};

use super::{child, escape, is_own};

/// Why an edit was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Not well-formed.
    NotXml(String),
    /// The element does not exist.
    Missing,
    /// Text of an element with child elements.
    NotText,
}

/// An element: its index among the children of each parent, from the root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct At(Vec<usize>);

impl At {
    /// The position of an element.
    pub(crate) fn of(node: Node<'_, '_>) -> Self {
        let mut places: Vec<usize> = node
            .ancestors()
            .filter(|one| one.parent_element().is_some())
            .map(|one| one.prev_siblings().skip(1).filter(Node::is_element).count())
            .collect();
        places.reverse();
        Self(places)
    }

    /// A child element.
    fn child(&self, place: usize) -> Self {
        Self(self.0.iter().copied().chain([place]).collect())
    }

    /// The element at the position, if any.
    fn find<'a, 'i>(&self, document: &'a Document<'i>) -> Option<Node<'a, 'i>> {
        let step = |node: Node<'a, 'i>, place: &usize| node.children().filter(Node::is_element).nth(*place);
        self.0.iter().try_fold(document.root_element(), step)
    }
}

/// An attribute of a start tag.
struct Attribute<'t> {
    name: &'t str,
    /// The whole attribute with leading blanks.
    whole: Range<usize>,
    /// Its value without quotes.
    value: Range<usize>,
}

/// A start tag.
struct Tag<'t> {
    attributes: Vec<Attribute<'t>>,
    /// The end of the name.
    name_end: usize,
    /// The position of `>` or `/>`.
    end: usize,
    /// Whether it is an empty-element tag, `<a/>`.
    empty: bool,
}

impl<'t> Tag<'t> {
    /// Parses the start tag at a position of a well-formed text.
    fn read(text: &'t str, from: usize) -> Self {
        let bytes = text.as_bytes();
        let is_space = |at: usize| matches!(bytes[at], b' ' | b'\t' | b'\r' | b'\n');
        let spaces = |mut at: usize| {
            while is_space(at) {
                at += 1;
            }
            at
        };
        let word = |mut at: usize| {
            while !is_space(at) && !matches!(bytes[at], b'=' | b'>' | b'/') {
                at += 1;
            }
            at
        };
        let name_end = word(from + 1);
        let (mut attributes, mut before) = (Vec::new(), name_end);
        loop {
            let begin = spaces(before);
            if matches!(bytes[begin], b'>' | b'/') {
                return Self { attributes, name_end, end: begin, empty: bytes[begin] == b'/' };
            }
            let name = begin..word(begin);
            let quote = spaces(spaces(name.end) + 1);
            let value = quote + 1;
            let length = text[value..].find(bytes[quote] as char).unwrap_or_default();
            let after = value + length + 1;
            attributes.push(Attribute { name: &text[name], whole: before..after, value: value..value + length });
            before = after;
        }
    }
}

/// The path of a value in an element.
struct Path<'p> {
    /// The elements on the path.
    elements: Vec<&'p str>,
    /// The part of the last element.
    part: Part<'p>,
}

/// The part of an element that is a value.
enum Part<'p> {
    Attribute(&'p str),
    Text,
    Presence,
}

impl<'p> Path<'p> {
    fn read(path: &'p str) -> Self {
        let (elements, part) = match (path.split_once('@'), path.strip_suffix('?')) {
            (Some((elements, attribute)), _) => (elements, Part::Attribute(attribute)),
            (None, Some(elements)) => (elements, Part::Presence),
            (None, None) => (path, Part::Text),
        };
        Self { elements: elements.split('/').filter(|name| !name.is_empty()).collect(), part }
    }
}

/// A value in an element: `driver@cache` is an attribute of a child, `@type` an own attribute,
/// `model` the text of a child, and `readonly?` the existence of a child, which is an empty text.
pub(super) fn value<'a>(node: Node<'a, '_>, path: &str) -> Option<&'a str> {
    let path = Path::read(path);
    let node = path.elements.iter().try_fold(node, |node, name| child(node, name))?;
    match path.part {
        Part::Attribute(name) => node.attribute(name),
        Part::Text => Some(node.text().unwrap_or_default().trim()),
        Part::Presence => Some(""),
    }
}

/// A text being edited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Edit(String);

impl Edit {
    /// Starts with a text.
    ///
    /// # Errors
    /// `NotXml`.
    pub(crate) fn new(text: &str) -> Result<Self, Refused> {
        Self(text.to_owned()).checked()
    }

    /// The current text.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }

    fn checked(self) -> Result<Self, Refused> {
        match Document::parse(&self.0) {
            Ok(_) => Ok(self),
            Err(error) => Err(Refused::NotXml(error.to_string())),
        }
    }

    /// Reads an element of the current text.
    ///
    /// # Errors
    /// `Missing` if the element does not exist.
    pub(super) fn read<T>(&self, at: &At, ask: impl FnOnce(Node<'_, '_>) -> T) -> Result<T, Refused> {
        let document = Document::parse(&self.0).map_err(|error| Refused::NotXml(error.to_string()))?;
        at.find(&document).map(ask).ok_or(Refused::Missing)
    }

    /// Replaces a range; a result that is not XML is discarded.
    fn splice(&mut self, range: Range<usize>, text: &str) -> Result<(), Refused> {
        let next = Self(format!("{}{text}{}", &self.0[..range.start], &self.0[range.end..])).checked()?;
        *self = next;
        Ok(())
    }

    /// Sets or removes a value in an element; an equal value is left unchanged. See `value` for
    /// paths. Missing elements on the path are created; empty ones are removed.
    ///
    /// # Errors
    /// `Missing` if the element does not exist; `NotText` if the text would replace elements.
    pub(crate) fn set(&mut self, at: &At, path: &str, wanted: Option<&str>) -> Result<(), Refused> {
        let same = self.read(at, |node| value(node, path) == wanted)?;
        if same {
            return Ok(());
        }
        let Path { elements, part } = Path::read(path);
        let mut at = at.clone();
        for name in elements {
            let place =
                self.read(&at, |node| node.children().filter(Node::is_element).position(|child| is_own(child, name)))?;
            at = match place {
                Some(place) => at.child(place),
                // A missing value needs no removal.
                None if wanted.is_none() => return Ok(()),
                None => self.insert(&at, &format!("<{name}/>"))?,
            };
        }
        match (part, wanted) {
            (Part::Attribute(name), Some(text)) => self.set_attribute(&at, name, text),
            (Part::Attribute(name), None) => self.remove_attribute(&at, name),
            (Part::Text, Some(text)) => self.set_text(&at, text),
            (Part::Presence, Some(_)) => Ok(()),
            (Part::Text | Part::Presence, None) => self.remove(&at),
        }
    }

    fn set_attribute(&mut self, at: &At, name: &str, text: &str) -> Result<(), Refused> {
        let from = self.read(at, |node| node.range().start)?;
        let tag = Tag::read(&self.0, from);
        let text = escape(text).replace('\n', "&#10;").replace('\t', "&#9;").replace('\r', "&#13;");
        match tag.attributes.iter().find(|attribute| attribute.name == name) {
            Some(attribute) => self.splice(attribute.value.clone(), &text),
            None => {
                let end = tag.attributes.last().map_or(tag.name_end, |attribute| attribute.whole.end);
                self.splice(end..end, &format!(" {name}='{text}'"))
            }
        }
    }

    fn remove_attribute(&mut self, at: &At, name: &str) -> Result<(), Refused> {
        let from = self.read(at, |node| node.range().start)?;
        let tag = Tag::read(&self.0, from);
        if let Some(attribute) = tag.attributes.iter().find(|attribute| attribute.name == name) {
            let whole = attribute.whole.clone();
            self.splice(whole, "")?;
        }
        let is_bare = |node: Node<'_, '_>| {
            let text = |child: Node<'_, '_>| child.text().is_some_and(|text| text.trim().is_empty());
            node.attributes().len() == 0 && node.children().all(|child| child.is_text() && text(child))
        };
        // The device itself is kept, even if empty.
        if self.read(at, is_bare)?
            && self.read(at, |node| node.parent_element().is_some_and(|up| !is_own(up, "devices")))?
        {
            self.remove(at)?;
        }
        Ok(())
    }

    fn set_text(&mut self, at: &At, text: &str) -> Result<(), Refused> {
        let (range, notes) = self.read(at, |node| {
            if node.children().any(|child| child.is_element()) {
                return Err(Refused::NotText);
            }
            let notes = node.children().filter(|child| !child.is_text()).map(|note| &self.0[note.range()]);
            Ok((node.range(), notes.collect::<String>()))
        })??;
        let content = format!("{}{notes}", escape(text));
        let tag = Tag::read(&self.0, range.start);
        if tag.empty {
            let name = self.0[range.start + 1..tag.name_end].to_owned();
            let end = tag.end;
            return self.splice(end..range.end, &format!(">{content}</{name}>"));
        }
        let close = range.start + self.0[range.clone()].rfind("</").unwrap_or_default();
        let open = tag.end + 1;
        self.splice(open..close, &content)
    }

    /// Appends a child element with the indentation of its siblings; returns its position.
    ///
    /// # Errors
    /// `Missing` if the element does not exist; `NotXml` if the new one is not well-formed.
    pub(crate) fn insert(&mut self, at: &At, element: &str) -> Result<At, Refused> {
        let (range, last, indent, place) = self.read(at, |node| {
            let first = node.first_child().filter(|child| child.is_text() && child.next_sibling().is_some());
            let indent = first.and_then(|text| text.text()).filter(|text| text.trim().is_empty()).unwrap_or_default();
            let elements = || node.children().filter(Node::is_element);
            (node.range(), elements().next_back().map(|last| last.range().end), indent.to_owned(), elements().count())
        })?;
        let tag = Tag::read(&self.0, range.start);
        if tag.empty {
            let name = self.0[range.start + 1..tag.name_end].to_owned();
            let end = tag.end;
            self.splice(end..range.end, &format!(">{element}</{name}>"))?;
        } else {
            let behind = last.unwrap_or(tag.end + 1);
            self.splice(behind..behind, &format!("{indent}{element}"))?;
        }
        Ok(at.child(place))
    }

    /// Removes an element with leading blanks.
    ///
    /// # Errors
    /// `Missing` if the element does not exist.
    pub(crate) fn remove(&mut self, at: &At) -> Result<(), Refused> {
        let range = self.read(at, |node| node.range())?;
        let before = self.0[..range.start].trim_end_matches([' ', '\t', '\r', '\n']).len();
        // Blanks after a text belong to the text.
        let start = if self.0[..before].ends_with('>') { before } else { range.start };
        self.splice(start..range.end, "")
    }
}
