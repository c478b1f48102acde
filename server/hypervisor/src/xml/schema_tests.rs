//! Parses documents generated from libvirt's schemas with hostile texts in every place, intact and
//! damaged.

use std::{cell::Cell, collections::HashMap, fs, path::Path};

use model::device::Device;
use proptest::prelude::*;
use roxmltree::{Document, Node};

use super::{child, device, domain, host};

/// The directory of the schemas in libvirt-common (RELAX NG).
const FOLDER: &str = "/usr/share/libvirt/schemas";

fn read_domain(text: &str) -> Option<model::Domain> {
    domain::of(Document::parse(text).ok()?.root_element())
}

/// Texts for every place where a schema allows text: markup, numbers out of range, line separators,
/// bidirectional controls, and long texts.
const TEXTS: [&str; 14] = [
    "0",
    "1",
    "-1",
    "4096",
    "18446744073709551616",
    "1e9",
    "",
    " ",
    "</script><script>alert(1)</script>",
    "]]>&amp;",
    "a\nb\r\nevent: x\n\n",
    "\u{202e}txt\u{feff}",
    "😀é\u{301}",
    "../../etc/passwd",
];

/// One schema with its includes.
struct Grammar {
    start: Node<'static, 'static>,
    defines: HashMap<&'static str, Vec<Node<'static, 'static>>>,
}

impl Grammar {
    fn load(name: &str) -> Self {
        let (mut starts, mut defines) = (Vec::new(), HashMap::new());
        load(name, &mut starts, &mut defines);
        Self { start: starts[0], defines }
    }

    fn write(&self, seed: u64) -> String {
        let mut writer = Writer { grammar: self, seed, text: String::new(), attributes: HashMap::new(), depth: 0 };
        writer.each(self.start);
        writer.text
    }
}

thread_local! {
    static DOMAINS: Grammar = Grammar::load("domain.rng");
}

/// A definition that the schema allows.
pub(super) fn a_domain(seed: u64) -> String {
    DOMAINS.with(|grammar| grammar.write(seed))
}

fn load(
    name: &str,
    starts: &mut Vec<Node<'static, 'static>>,
    defines: &mut HashMap<&'static str, Vec<Node<'static, 'static>>>,
) {
    let text = fs::read_to_string(Path::new(FOLDER).join(name)).expect("libvirt-common is installed");
    // Parsed once in a short-lived process.
    let document: &'static Document<'static> = Box::leak(Box::new(Document::parse(text.leak()).expect("XML")));
    for node in document.descendants() {
        match (node.tag_name().name(), node.attribute("name"), node.attribute("href")) {
            ("start", ..) => starts.push(node),
            ("define", Some(name), _) => defines.entry(name).or_default().push(node),
            ("include", _, Some(file)) => load(file, starts, defines),
            _ => {}
        }
    }
}

struct Writer<'a> {
    grammar: &'a Grammar,
    seed: u64,
    text: String,
    /// Attributes of the element being written.
    attributes: HashMap<String, String>,
    depth: usize,
}

impl Writer<'_> {
    /// A number below `below`, by SplitMix64.
    fn pick(&mut self, below: usize) -> usize {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % below as u64).expect("small")
    }

    fn each(&mut self, node: Node<'_, '_>) {
        for part in node.children().filter(Node::is_element) {
            self.part(part);
        }
    }

    fn part(&mut self, node: Node<'_, '_>) {
        // Schemas are recursive; deep content is omitted.
        if self.depth > 80 {
            return;
        }
        self.depth += 1;
        match node.tag_name().name() {
            "element" => self.element(node),
            "attribute" => self.attribute(node),
            "ref" => {
                let bodies = &self.grammar.defines[node.attribute("name").expect("a name")];
                self.each(bodies[0]);
            }
            "optional" if self.pick(2) == 0 => self.each(node),
            "zeroOrMore" => {
                // Many devices with little deep content.
                let most = if self.depth < 16 { 12 } else { 3 };
                (0..self.pick(most)).for_each(|_| self.each(node));
            }
            "oneOrMore" => (0..=self.pick(2)).for_each(|_| self.each(node)),
            "choice" => {
                let parts: Vec<_> = node.children().filter(Node::is_element).collect();
                let part = parts[self.pick(parts.len())];
                self.part(part);
            }
            "group" | "interleave" | "list" | "mixed" => self.each(node),
            "value" => escape_into(&mut self.text, node.text().unwrap_or_default()),
            "text" | "data" => {
                let text = TEXTS[self.pick(TEXTS.len())];
                let times = if self.pick(50) == 0 { 2_000 } else { 1 };
                escape_into(&mut self.text, &text.repeat(times));
            }
            _ => {}
        }
        self.depth -= 1;
    }

    /// Attributes are collected with the content, so the content is written first.
    fn element(&mut self, node: Node<'_, '_>) {
        let name = node.attribute("name").unwrap_or("anything");
        let outer = (std::mem::take(&mut self.text), std::mem::take(&mut self.attributes));
        self.each(node);
        let inner = (std::mem::replace(&mut self.text, outer.0), std::mem::replace(&mut self.attributes, outer.1));
        let name = name.rsplit(':').next().expect("a part");
        self.text += &format!("<{name}");
        if let Some(space) = node.attribute("ns") {
            self.text += &format!(" xmlns='{space}'");
        }
        for (name, value) in inner.1 {
            self.text += &format!(" {name}='{value}'");
        }
        self.text += &format!(">{}</{name}>", inner.0);
    }

    fn attribute(&mut self, node: Node<'_, '_>) {
        let Some(name) = node.attribute("name") else { return };
        let outer = std::mem::take(&mut self.text);
        self.each(node);
        let value = std::mem::replace(&mut self.text, outer);
        if !name.contains(':') {
            self.attributes.insert(name.to_owned(), value);
        }
    }
}

fn escape_into(text: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            '<' | '>' | '&' | '\'' | '\n' | '\r' => *text += &format!("&#{};", u32::from(c)),
            c => text.push(c),
        }
    }
}

/// Damages a text in some places, like a cut connection or a broken tool.
fn damaged(text: &str, damage: &[(usize, usize, u8)]) -> String {
    let mut text = text.to_owned();
    for (at, length, kind) in damage {
        let boundary = |text: &str, at: usize| (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        let from = boundary(&text, at % (text.len() + 1));
        let to = boundary(&text, (from + length).min(text.len())).max(from);
        match kind % 5 {
            0 => text.replace_range(from..to, ""),
            1 => {
                let again = text[from..to].to_owned();
                text.insert_str(from, &again);
            }
            2 => text.truncate(from),
            3 => text.insert_str(from, "<!DOCTYPE a [<!ENTITY b '&b;&b;'>]>&b;"),
            _ => text.replace_range(from..to, "\0<![CDATA[&#0;"),
        }
    }
    text
}

fn count(text: &str, device: &str) -> usize {
    let document = Document::parse(text).expect("XML");
    let devices = child(document.root_element(), "devices");
    devices.map_or(0, |devices| devices.children().filter(|node| node.tag_name().name() == device).count())
}

fn damage() -> impl Strategy<Value = Vec<(usize, usize, u8)>> {
    prop::collection::vec((any::<usize>(), 0..200_usize, any::<u8>()), 1..5)
}

#[test]
fn every_domain_that_libvirts_grammar_allows_is_read_with_all_its_devices() {
    let seen = Cell::new(0);
    proptest!(|(seed: u64, damage in damage())| {
        let text = a_domain(seed);
        let read = read_domain(&text).expect("a domain");
        let document = Document::parse(&text).expect("XML");
        let disks = device::all(&document).iter().filter(|one| matches!(one.device, Device::Disk(_))).count();
        let told = [disks, read.interfaces.len(), read.graphics.len()];
        prop_assert_eq!(told, ["disk", "interface", "graphics"].map(|device| count(&text, device)));
        seen.set(seen.get() + told.iter().sum::<usize>());
        read_domain(&damaged(&text, &damage));
    });
    assert!(seen.get() > 50, "the grammar wrote devices: {}", seen.get());
}

#[test]
fn capabilities_and_networks_of_the_grammars_are_read() {
    let (capabilities, network) = (Grammar::load("capability.rng"), Grammar::load("network.rng"));
    proptest!(|(seed: u64, damage in damage())| {
        let text = capabilities.write(seed);
        let arch = Document::parse(&text).expect("XML").descendants().any(|node| node.has_tag_name("arch"));
        let read = host::capabilities(&text);
        prop_assert!(arch || read.arch.is_empty());
        host::capabilities(&damaged(&text, &damage));
        let text = network.write(seed);
        let addressed = text.contains("<ip ") || text.contains("<ip>");
        prop_assert!(addressed || !host::network_has_addresses(&text));
        host::network_has_addresses(&damaged(&text, &damage));
    });
}
