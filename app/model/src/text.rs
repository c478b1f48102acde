//! Which characters are allowed in definitions.
//!
//! libvirt writes characters that XML cannot represent, and then cannot read the definition: the
//! machine loses its devices on every page, and disappears after the next start of the daemon.

use crate::Fault;

/// Whether a character is allowed in XML (XML 1.0, 2.2).
pub fn is_xml(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// Whether a character is allowed in a line: allowed in XML and not a control character.
pub fn is_plain(c: char) -> bool {
    is_xml(c) && !c.is_control()
}

/// Whether a text is a valid single line.
///
/// # Errors
/// `Invalid`, with the field.
pub fn check_line(field: &str, text: &str) -> Result<(), Fault> {
    check(field, text, is_plain, "must not contain line breaks or control characters")
}

/// Whether a text is valid with several lines.
///
/// # Errors
/// `Invalid`, with the field.
pub fn check_lines(field: &str, text: &str) -> Result<(), Fault> {
    let fine = |c| is_plain(c) || matches!(c, '\t' | '\n' | '\r');
    check(field, text, fine, "must not contain control characters")
}

fn check(field: &str, text: &str, fine: impl Fn(char) -> bool, why: &str) -> Result<(), Fault> {
    match text.chars().find(|c| !fine(*c)) {
        None => Ok(()),
        Some(c) => Err(Fault::invalid(field, &format!("{why}, such as U+{:04X}", u32::from(c)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_xml_cannot_hold_is_refused_with_its_number() {
        for text in ["", "Main database", "Größe 😀", "a\u{a0}b", "\u{fffd}", "\u{10ffff}"] {
            assert_eq!(check_line("title", text), Ok(()), "{text:?}");
        }
        for (text, number) in [
            ("a\u{ffff}", "U+FFFF"),
            ("\u{fffe}b", "U+FFFE"),
            ("a\0", "U+0000"),
            ("a\u{1b}[0m", "U+001B"),
            ("a\u{7f}", "U+007F"),
            ("a\u{85}", "U+0085"),
            ("a\nb", "U+000A"),
        ] {
            let fault = check_line("title", text).expect_err("it cannot");
            assert!(fault.reason.starts_with("title: ") && fault.reason.contains(number), "{fault:?}");
        }
        assert_eq!(check_lines("description", "a\n\tb\r\n"), Ok(()));
        for text in ["\u{ffff}", "\u{b}", "\0"] {
            assert!(check_lines("description", text).is_err(), "{text:?}");
        }
    }

    proptest::proptest! {
        /// Accepted texts are valid in XML 1.0 and contain no terminal control characters.
        #[test]
        fn what_is_accepted_is_a_text_that_xml_holds(text in "\\PC*|(?s).*") {
            let held = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..='\u{10ffff}');
            let steers = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r');
            let fine = text.chars().all(|c| held(c) && !steers(c));
            proptest::prop_assert_eq!(check_lines("description", &text).is_ok(), fine);
            let one_line = fine && !text.chars().any(char::is_control);
            proptest::prop_assert_eq!(check_line("title", &text).is_ok(), one_line);
        }
    }
}
