//! Edits of handwritten and hostile definitions, and of those generated from libvirt's schemas.

use proptest::prelude::*;
use roxmltree::{Document, Node};

use super::{
    edit::{At, Edit, Refused, value},
    is_own,
    schema_tests::a_domain,
};

/// Text by users and other tools: comments, foreign namespaces, both quotes, blanks anywhere.
const WRITTEN: &str = "<?xml version='1.0'?>\n<!-- kept by hand -->\n<domain type=\"kvm\" xmlns:x='urn:x' >\n  <name>a &amp; b</name>\n  \
<devices>\n    <!-- the system disk -->\n    <disk  type = 'file'\n          device=\"disk\" x:note='1 > 0'>\n      <x:driver cache='theirs'/>\n      <driver name='qemu' cache='none'/><!-- c -->\n      <source file='/a&apos;b'/>\n      <target dev='vda' bus='virtio'/>\n      <serial>old<!-- why --></serial>\n    </disk>\n    <watchdog/>\n  </devices>\n</domain>\n";

fn the<'a, 'i>(document: &'a Document<'i>, name: &str) -> Node<'a, 'i> {
    document.descendants().find(|node| is_own(*node, name)).expect("it is there")
}

fn at(text: &str, name: &str) -> At {
    At::of(the(&Document::parse(text).expect("XML"), name))
}

/// The text after an edit, and the expected one.
fn changed(name: &str, path: &str, wanted: Option<&str>) -> String {
    let mut edit = Edit::new(WRITTEN).expect("XML");
    edit.set(&at(WRITTEN, name), path, wanted).expect("changed");
    edit.text().to_owned()
}

#[test]
fn a_change_touches_its_place_and_nothing_else() {
    for (name, path, wanted, from, to) in [
        ("disk", "driver@cache", Some("writeback"), "cache='none'", "cache='writeback'"),
        ("disk", "driver@io", Some("native"), "cache='none'/>", "cache='none' io='native'/>"),
        ("disk", "driver@cache", None, "<driver name='qemu' cache='none'/>", "<driver name='qemu'/>"),
        ("disk", "@device", Some("lun"), "device=\"disk\"", "device=\"lun\""),
        ("disk", "@type", Some("block"), "type = 'file'", "type = 'block'"),
        ("disk", "source@file", Some("/<\"'\n>"), "/a&apos;b", "/&lt;&quot;&apos;&#10;&gt;"),
        ("disk", "source@file", None, "\n      <source file='/a&apos;b'/>", ""),
        ("disk", "serial", Some("new]]>"), "old<!-- why -->", "new]]&gt;<!-- why -->"),
        ("disk", "readonly?", Some(""), "</serial>", "</serial>\n      <readonly/>"),
        ("disk", "target?", None, "\n      <target dev='vda' bus='virtio'/>", ""),
        ("watchdog", "@model", Some("i6300esb"), "<watchdog/>", "<watchdog model='i6300esb'/>"),
        ("watchdog", "alias@name", Some("ua-w"), "<watchdog/>", "<watchdog><alias name='ua-w'/></watchdog>"),
    ] {
        let expected = WRITTEN.replacen(from, to, 1);
        assert_ne!(expected, WRITTEN, "{path}");
        assert_eq!(changed(name, path, wanted), expected, "{path}");
    }
}

#[test]
fn what_is_so_already_or_not_there_stays_byte_for_byte() {
    for (path, wanted) in [
        ("driver@cache", Some("none")),
        ("source@file", Some("/a'b")),
        ("serial", Some("old")),
        ("readonly?", None),
        ("backingStore/source@file", None),
        ("@device", Some("disk")),
    ] {
        assert_eq!(changed("disk", path, wanted), WRITTEN, "{path}");
    }
}

#[test]
fn a_device_comes_with_the_indentation_of_the_others_and_goes_with_it() {
    let mut edit = Edit::new(WRITTEN).expect("XML");
    let devices = at(WRITTEN, "devices");
    let made = edit.insert(&devices, "<rng model='virtio'/>").expect("put in");
    assert_eq!(edit.text(), WRITTEN.replacen("<watchdog/>", "<watchdog/>\n    <rng model='virtio'/>", 1));
    edit.remove(&made).expect("taken out");
    assert_eq!(edit.text(), WRITTEN);
}

#[test]
fn what_would_not_be_xml_or_would_lose_elements_is_refused_and_changes_nothing() {
    let mut edit = Edit::new(WRITTEN).expect("XML");
    let devices = at(WRITTEN, "devices");
    assert!(matches!(edit.insert(&devices, "<rng>"), Err(Refused::NotXml(_))));
    assert_eq!(edit.set(&At::default(), "devices", Some("none")), Err(Refused::NotText));
    assert_eq!(edit.remove(&at("<a><b/><b/><b/><e/></a>", "e")), Err(Refused::Missing));
    assert_eq!(edit.text(), WRITTEN);
    for hostile in ["", "<", "<a>", "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", "<a b='1' b='2'/>"] {
        assert!(matches!(Edit::new(hostile), Err(Refused::NotXml(_))), "{hostile}");
    }
}

#[test]
fn strange_but_well_formed_texts_are_edited_in_the_right_place() {
    let blanks = " ".repeat(70_000);
    let name = "n".repeat(70_000);
    for (text, path, wanted, expected) in [
        (format!("<a><d b{blanks}={blanks}'1'/></a>"), "@b", Some("2"), format!("<a><d b{blanks}={blanks}'2'/></a>")),
        (format!("<a><d {name}='1' b='1'/></a>"), "@b", Some("2"), format!("<a><d {name}='1' b='2'/></a>")),
        ("<a><d b='>' c=\"'\"/></a>".into(), "@c", Some("2"), "<a><d b='>' c=\"2\"/></a>".into()),
        (
            "<a><d xmlns='urn:y' b='1'/><d b='1'/></a>".into(),
            "@b",
            Some("2"),
            "<a><d xmlns='urn:y' b='1'/><d b='2'/></a>".into(),
        ),
        (
            "<a><d><![CDATA[<e b='1'/>]]><e/></d></a>".into(),
            "e@b",
            Some("2"),
            "<a><d><![CDATA[<e b='1'/>]]><e b='2'/></d></a>".into(),
        ),
        ("<a><d><e><![CDATA[x]]></e></d></a>".into(), "e", Some("y"), "<a><d><e>y</e></d></a>".into()),
        ("<a><d>😀<e f='é'/></d></a>".into(), "e@f", Some("ü"), "<a><d>😀<e f='ü'/></d></a>".into()),
    ] {
        let mut edit = Edit::new(&text).expect("XML");
        edit.set(&at(&text, "d"), path, wanted).expect("changed");
        assert!(edit.text() == expected, "{path}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn of_any_definition_that_the_grammar_allows_only_the_element_changes(seed: u64, which: usize, text in "[ -~\n😀é]{0,12}") {
        let written = a_domain(seed);
        let document = Document::parse(&written).expect("the grammar writes XML");
        let elements: Vec<Node<'_, '_>> = document.descendants().filter(Node::is_element).collect();
        let node = elements[which % elements.len()];
        let (place, range) = (At::of(node), node.range());
        // An equal value is left unchanged.
        let mut edit = Edit::new(&written).expect("XML");
        for attribute in node.attributes().filter(|attribute| attribute.namespace().is_none()) {
            edit.set(&place, &format!("@{}", attribute.name()), Some(attribute.value())).expect("the same");
        }
        prop_assert_eq!(edit.text(), &written);
        edit.set(&place, "@novel", Some(&text)).expect("changed");
        prop_assert_eq!(&edit.text()[..range.start], &written[..range.start]);
        prop_assert!(edit.text().ends_with(&written[range.end..]));
        let after = Document::parse(edit.text()).expect("XML");
        prop_assert_eq!(value(after.descendants().filter(Node::is_element).nth(which % elements.len()).expect("there"), "@novel"), Some(&*text));
        // And back.
        if !range.is_empty() && node.attributes().len() > 0 {
            edit.set(&place, "@novel", None).expect("changed");
            prop_assert_eq!(edit.text(), &written);
        }
    }
}
