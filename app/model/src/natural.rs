//! Natural order of names: numbers are compared by value, so `web-2` comes before `web-10`. It is
//! case-sensitive; callers fold case first if needed.

use std::{cmp::Ordering, net::IpAddr};

/// Compares two texts with numbers by value. Different texts are never equal.
pub fn natural(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a.as_bytes(), b.as_bytes());
    while let (Some(x), Some(y)) = (left.first(), right.first()) {
        let order = if x.is_ascii_digit() && y.is_ascii_digit() {
            let (x, y) = (number(&mut left), number(&mut right));
            x.len().cmp(&y.len()).then_with(|| x.cmp(y))
        } else {
            (left, right) = (&left[1..], &right[1..]);
            x.cmp(y)
        };
        if order.is_ne() {
            return order;
        }
    }
    left.len().cmp(&right.len()).then_with(|| a.cmp(b))
}

/// Takes the leading digits, and returns them without leading zeros.
fn number<'a>(text: &mut &'a [u8]) -> &'a [u8] {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    *text = rest;
    let zeros = digits.iter().position(|byte| *byte != b'0').unwrap_or(digits.len());
    &digits[zeros..]
}

/// Compares IP addresses by number, IPv4 first; other texts come last.
pub fn by_address(a: &str, b: &str) -> Ordering {
    let read = |text: &str| text.split('/').next().and_then(|text| text.parse::<IpAddr>().ok());
    match (read(a), read(b)) {
        (Some(x), Some(y)) => x.cmp(&y).then_with(|| natural(a, b)),
        (x, y) => y.is_some().cmp(&x.is_some()).then_with(|| natural(a, b)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sorted(names: &[&str], order: fn(&str, &str) -> Ordering) -> Vec<String> {
        let mut sorted: Vec<String> = names.iter().rev().map(|name| (*name).to_owned()).collect();
        sorted.sort_by(|a, b| order(a, b));
        sorted
    }

    #[test]
    fn numbers_count_as_numbers() {
        let names =
            ["", "7", "web", "web-1", "web-2", "web-02", "web-10", "web-10-a", "web-99999999999999999999999", "x"];
        let expected =
            ["", "7", "web", "web-1", "web-02", "web-2", "web-10", "web-10-a", "web-99999999999999999999999", "x"];
        assert_eq!(sorted(&names, natural), expected);
        let addresses = ["9.0.0.1", "10.0.0.2", "10.0.0.10", "10.0.0.100/24", "fe80::9", "fe80::1a", "", "name"];
        assert_eq!(sorted(&addresses, by_address), addresses);
    }

    proptest! {
        #[test]
        fn it_is_an_order(a in "[a-c0-2]{0,6}", b in "[a-c0-2]{0,6}", c in "[a-c0-2]{0,6}") {
            prop_assert_eq!(natural(&a, &b), natural(&b, &a).reverse());
            prop_assert_eq!(natural(&a, &b).is_eq(), a == b);
            if natural(&a, &b).is_le() && natural(&b, &c).is_le() {
                prop_assert!(natural(&a, &c).is_le());
            }
        }
    }
}
