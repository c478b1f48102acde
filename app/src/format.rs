//! Formats sizes, rates and times for display. With whole numbers, because the code that writes
//! fractions is 15 kB of the browser's module.

/// Mebibytes, in MiB or GiB.
pub fn memory(mib: u64) -> String {
    match mib {
        0..1024 => format!("{mib} MiB"),
        _ if mib.is_multiple_of(1024) => format!("{} GiB", mib / 1024),
        _ => format!("{} GiB", tenths((mib * 10 + 512) / 1024)),
    }
}

/// Bytes, in the largest suitable binary unit.
pub fn size(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    // What has too many tenths for a number has none that are shown.
    let (mut tenths, mut unit) = if bytes < u64::MAX / 16 { (bytes * 10, 0) } else { (bytes / 1_024 * 10, 1) };
    while tenths >= 10_240 && unit + 1 < units.len() {
        (tenths, unit) = ((tenths + 512) / 1_024, unit + 1);
    }
    match tenths % 10 {
        0 => format!("{} {}", tenths / 10, units[unit]),
        _ if tenths >= 1_000 => format!("{} {}", (tenths + 5) / 10, units[unit]),
        tenth => format!("{}.{tenth} {}", tenths / 10, units[unit]),
    }
}

/// A fraction that is not negative, with this many decimals.
pub fn fraction(value: f64, decimals: u32) -> String {
    let unit = 10_u64.pow(decimals);
    let parts = (value * unit as f64).round() as u64;
    format!("{}.{:0width$}", parts / unit, parts % unit, width = decimals as usize)
}

/// A number that is given in tenths, for example "0.4".
fn tenths(tenths: u64) -> String {
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// A percentage, for example "14 %".
pub fn percent(percent: f64) -> String {
    format!("{} %", percent.round() as u64)
}

/// Bytes per second, in the largest suitable decimal unit.
pub fn rate(bytes: u64) -> String {
    let units = ["B/s", "kB/s", "MB/s", "GB/s", "TB/s"];
    let (mut tenths, mut unit) = (bytes.saturating_mul(10), 0);
    while tenths >= 10_000 && unit + 1 < units.len() {
        (tenths, unit) = (tenths.div_ceil(1_000), unit + 1);
    }
    match (unit, tenths) {
        (0, _) | (_, 1_000..) => format!("{} {}", tenths / 10, units[unit]),
        _ => format!("{}.{} {}", tenths / 10, tenths % 10, units[unit]),
    }
}

/// A duration in its two largest units, for example "41 d 6 h".
pub fn span(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

/// The duration of a command, for example "0.4 s".
pub fn took(milliseconds: u64) -> String {
    match milliseconds {
        0..100 => format!("{milliseconds} ms"),
        100..60_000 => format!("{} s", tenths((milliseconds + 50) / 100)),
        _ => span(milliseconds),
    }
}

/// A time as date and time in UTC (RFC 3339), for machines and for pages without JavaScript.
pub fn utc(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Days to civil date after Howard Hinnant's "chrono-compatible low-level date algorithms".
    let z = days + 719_468;
    let (era, day_of_era) = (z / 146_097, z % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
}

/// Parses a time: Unix milliseconds, or a date and time in UTC as written by `utc` and sent by
/// forms, with or without seconds.
#[cfg(feature = "ssr")]
pub fn parse_utc(text: &str) -> Option<u64> {
    if let Ok(milliseconds) = text.parse() {
        return Some(milliseconds);
    }
    let civil: jiff::civil::DateTime = text.strip_suffix('Z').unwrap_or(text).parse().ok()?;
    civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_millisecond().try_into().ok()
}

/// "1 machine", "2 machines".
pub fn count(number: usize, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}

/// A text in lower case, for searching and sorting. In the browser, letters beyond ASCII are left
/// to JavaScript, which keeps the case tables out of the module.
#[cfg_attr(not(feature = "hydrate"), expect(clippy::disallowed_methods, reason = "this is the one place"))]
pub fn folded(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    #[cfg(feature = "hydrate")]
    return js_sys::JsString::from(text).to_lower_case().into();
    #[cfg(not(feature = "hydrate"))]
    text.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_durations_are_short() {
        assert_eq!([memory(512), memory(4096), memory(1536)], ["512 MiB", "4 GiB", "1.5 GiB"]);
        assert_eq!(
            [span(59_999), span(61_000), span(7_260_000), span(3_560_400_000)],
            ["59 s", "1 min", "2 h 1 min", "41 d 5 h"]
        );
        assert_eq!(
            [fraction(0.0, 1), fraction(12.345, 2), fraction(1.05, 2), fraction(0.99, 1)],
            ["0.0", "12.35", "1.05", "1.0"]
        );
        assert_eq!([took(7), took(412), took(61_000)], ["7 ms", "0.4 s", "1 min"]);
    }

    #[test]
    fn rates_are_short() {
        assert_eq!(
            [rate(0), rate(999), rate(1_000), rate(1_234_567), rate(340_000_000)],
            ["0 B/s", "999 B/s", "1.0 kB/s", "1.3 MB/s", "340 MB/s"]
        );
        assert!(rate(u64::MAX).ends_with(" TB/s"));
        assert_eq!([percent(0.4), percent(13.6)], ["0 %", "14 %"]);
    }

    #[test]
    fn text_is_folded_in_every_script() {
        assert_eq!([folded("Web-01"), folded("ÄÖ Ω")], ["web-01", "äö ω"]);
    }

    #[test]
    fn a_time_is_formatted_as_in_rfc_3339() {
        assert_eq!(utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(utc(1_709_210_096_000), "2024-02-29T12:34:56Z");
        assert_eq!(utc(1_795_219_199_000), "2026-11-20T23:59:59Z");
    }

    #[cfg(feature = "ssr")]
    #[test]
    fn a_time_is_parsed_as_formatted() {
        for moment in [0, 1_709_210_096_000, 1_795_219_199_000, 951_782_400_000] {
            assert_eq!(parse_utc(&utc(moment)), Some(moment));
        }
        assert_eq!(parse_utc("1970-01-01T00:01"), Some(60_000));
        assert_eq!(parse_utc("2024-02-29"), Some(1_709_164_800_000));
        assert_eq!(parse_utc("1795219199000"), Some(1_795_219_199_000));
        for wrong in [
            "",
            "yesterday",
            "2024-13-01T00:00",
            "2024-01-01T25:00",
            "2024-01-01T",
            "-1",
            "2026-02-31T00:00",
            "2025-02-29",
        ] {
            assert_eq!(parse_utc(wrong), None, "{wrong}");
        }
    }
}
