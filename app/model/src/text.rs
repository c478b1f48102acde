//! Which texts can go where: the one place that says what a definition can hold.
//!
//! libvirt writes a character that XML has no place for, and cannot read the definition again: the
//! machine loses its devices on every page, and is gone after the daemon's next start.

use crate::Fault;

/// Whether a character can stand in XML (XML 1.0, 2.2).
pub fn is_xml(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// Whether a character can stand in a line: in XML, and without an effect of its own.
pub fn is_plain(c: char) -> bool {
    is_xml(c) && !c.is_control()
}

/// Whether a text can be one line of a definition.
///
/// # Errors
/// `Invalid`, with the field.
pub fn check_line(field: &str, text: &str) -> Result<(), Fault> {
    check(field, text, is_plain, "it must not hold line breaks or control characters")
}

/// Whether a text of several lines can stand in a definition.
///
/// # Errors
/// `Invalid`, with the field.
pub fn check_lines(field: &str, text: &str) -> Result<(), Fault> {
    let fine = |c| is_plain(c) || matches!(c, '\t' | '\n' | '\r');
    check(field, text, fine, "it must not hold control characters")
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
        /// What is accepted is what XML 1.0 holds, and nothing that a terminal obeys.
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
