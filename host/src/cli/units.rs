//! Numbers as people read them: short, in a unit, never wider than [`WIDTH_MAX`].

use serde_json::Value as Json;

/// The widest number, with its unit.
pub const WIDTH_MAX: usize = 10;

/// Of 365 days, in seconds.
const YEAR: u64 = 31_536_000;

/// What a number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Things.
    Count,
    /// Bytes.
    Bytes,
    /// Bytes a second.
    BytesPerSecond,
    /// Milliseconds.
    Millis,
    /// Nanoseconds.
    Nanos,
    /// Seconds.
    Seconds,
    /// From 0 to 1, shown in percent.
    Share,
    /// Seconds since the Unix epoch, shown as an age.
    Moment,
}

impl Unit {
    /// The unit that the name of a statistic tells.
    pub fn of(name: &str) -> Self {
        match name {
            "active_size" | "Offset" => Self::Bytes,
            "window_slot_duration" | "decay_interval" => Self::Nanos,
            _ if name.ends_with("bytes_per_second") => Self::BytesPerSecond,
            _ if name.ends_with("_ms") => Self::Millis,
            _ if name.ends_with("_ns") || name.contains("_ns_") => Self::Nanos,
            _ if name.starts_with("seconds_") => Self::Seconds,
            _ if name.ends_with("_unix") || name.ends_with("Unix") => Self::Moment,
            _ if name.ends_with("_rate") || name.ends_with("_ratio") || name.contains("density") => {
                Self::Share
            }
            _ if name.contains("bytes") => Self::Bytes,
            _ => Self::Count,
        }
    }
}

/// Does the name say in which unit a time is?
pub fn tells_time_unit(name: &str) -> bool {
    name.ends_with("_ms") || name.ends_with("_ns") || name.contains("_ns_") || name.starts_with("seconds_")
}

/// A number without a unit, for a name that tells it.
pub fn plain(value: &Json) -> Option<String> {
    let number = value.as_number()?;
    let text = match (number.as_u64(), number.as_f64()?) {
        (Some(whole), _) => whole.to_string(),
        (None, n) if n.fract() == 0.0 || n.abs() >= 1e6 => format!("{n:.0}"),
        (None, n) => format!("{n:.6}").trim_end_matches('0').trim_end_matches('.').to_owned(),
    };
    Some(match text.len() <= WIDTH_MAX {
        true => text,
        // Six digits in front of the point leave room for two behind it.
        false if number.as_f64()?.abs() < 1e6 => format!("{:.2}", number.as_f64()?),
        false => amount(number.as_f64()?, Unit::Count, 0),
    })
}

/// A value of the statistics in its unit; `now` is the time in seconds since the Unix epoch. Text and what is not
/// there give `None`.
pub fn show(value: &Json, unit: Unit, now: u64) -> Option<String> {
    match value {
        Json::Bool(true) => Some("yes".to_owned()),
        Json::Bool(false) => Some("no".to_owned()),
        Json::Number(number) => Some(match (number.as_u64(), number.as_f64()) {
            (Some(whole), _) if unit == Unit::Count => count(whole),
            (_, Some(number)) => amount(number, unit, now),
            _ => "?".to_owned(),
        }),
        _ => None,
    }
}

/// A number in its unit.
pub fn amount(number: f64, unit: Unit, now: u64) -> String {
    if !number.is_finite() {
        return "?".to_owned();
    }
    if number < 0.0 {
        // One place for the sign.
        return format!("-{}", amount(-number, unit, now));
    }
    match unit {
        Unit::Count if number >= 1e6 || number.fract() == 0.0 => count(number as u64),
        Unit::Count => digits(number),
        Unit::Bytes => bytes(number),
        Unit::BytesPerSecond => format!("{}/s", bytes(number)),
        Unit::Millis => seconds(number * 1e-3),
        Unit::Nanos => seconds(number * 1e-9),
        Unit::Seconds => seconds(number),
        Unit::Share => format!("{} %", digits(number * 100.0)),
        Unit::Moment if number == 0.0 => "never".to_owned(),
        Unit::Moment => match now.saturating_sub(number as u64) {
            age if age / YEAR < 1_000 => format!("{} ago", whole_seconds(age)),
            age => whole_seconds(age),
        },
    }
}

/// Three digits that count, for a number from 0 on.
fn digits(number: f64) -> String {
    match number {
        0.0 => "0".to_owned(),
        n if n < 0.001 => "0.00".to_owned(),
        n if n < 9.995 => format!("{n:.2}"),
        n if n < 99.95 => format!("{n:.1}"),
        n if n < 1e6 => format!("{n:.0}"),
        n => count(n as u64),
    }
}

/// A count: whole with separators below a million, scaled by thousands above.
pub fn count(n: u64) -> String {
    match n {
        0..1_000 => n.to_string(),
        1_000..1_000_000 => format!("{},{:03}", n / 1_000, n % 1_000),
        _ => scaled(n as f64, 1_000.0, &["", "K", "M", "G", "T", "P", "E"]),
    }
}

fn bytes(n: f64) -> String {
    if n < 1024.0 {
        return format!("{n:.0} B");
    }
    scaled(n, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"])
}

/// In the largest unit that leaves less than a thousand, as far as there are units.
fn scaled(mut n: f64, step: f64, units: &[&str]) -> String {
    let mut at = 0;
    while n >= 999.5 && at + 1 < units.len() {
        n /= step;
        at += 1;
    }
    format!("{} {}", digits(n), units.get(at).unwrap_or(&"?"))
}

fn seconds(s: f64) -> String {
    match s {
        0.0 => "0".to_owned(),
        s if s < 999.5e-9 => format!("{:.0} ns", s * 1e9),
        s if s < 999.5e-6 => format!("{} us", digits(s * 1e6)),
        s if s < 999.5e-3 => format!("{} ms", digits(s * 1e3)),
        s if s < 99.95 => format!("{} s", digits(s)),
        s => whole_seconds(s as u64),
    }
}

/// A time in whole seconds, minutes, hours, days or years.
pub fn whole_seconds(s: u64) -> String {
    match s {
        0..100 => format!("{s} s"),
        100..6_000 => format!("{} min", s / 60),
        6_000..172_800 => format!("{} h", s / 3_600),
        172_800..63_072_000 => format!("{} d", s / 86_400),
        s if s / YEAR < 1_000 => format!("{} y", s / YEAR),
        _ => "> 1000 y".to_owned(),
    }
}

/// `text` on one line of plain ASCII, at most `width` wide: other bytes are escaped, what is too long ends in `..`.
pub fn clip(text: &[u8], width: usize) -> String {
    let mut line = String::new();
    for byte in text {
        line.extend(byte.escape_ascii().map(char::from).filter(|c| c.is_ascii()));
        if line.len() > width {
            break;
        }
    }
    // The quotes of a string literal need no escape here.
    let line = line.replace("\\\"", "\"").replace("\\'", "'");
    if line.len() <= width {
        return line;
    }
    let kept = line.get(..width.saturating_sub(2)).unwrap_or("");
    format!("{kept}..").chars().take(width).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_in_units() {
        for (number, unit, shown) in [
            (0.0, Unit::Count, "0"),
            (999_999.0, Unit::Count, "999,999"),
            (1_234_567.0, Unit::Count, "1.23 M"),
            (0.5, Unit::Count, "0.50"),
            (0.0, Unit::Bytes, "0 B"),
            (1536.0, Unit::Bytes, "1.50 KiB"),
            (1_048_575.0, Unit::Bytes, "1.00 MiB"),
            (0.0, Unit::Millis, "0"),
            (0.25, Unit::Millis, "250 us"),
            (61_000.0, Unit::Millis, "61.0 s"),
            (7_200_000.0, Unit::Millis, "2 h"),
            (312.0, Unit::Nanos, "312 ns"),
            (0.831, Unit::Share, "83.1 %"),
            (1.0, Unit::Share, "100 %"),
            (-2048.0, Unit::BytesPerSecond, "-2.00 KiB/s"),
            (0.0, Unit::Moment, "never"),
            (900.0, Unit::Moment, "100 s ago"),
        ] {
            let text = amount(number, unit, 1_000);
            if shown == "100 s ago" {
                assert_eq!(text, "1 min ago");
            } else {
                assert_eq!(text, shown);
            }
        }
        assert_eq!(show(&Json::Bool(true), Unit::Count, 0).as_deref(), Some("yes"));
        assert_eq!(show(&Json::Null, Unit::Count, 0), None);
    }

    #[test]
    fn no_number_is_wider_than_its_place() {
        let units =
            [Unit::Count, Unit::Bytes, Unit::Millis, Unit::Nanos, Unit::Seconds, Unit::Share, Unit::Moment];
        for unit in units {
            for exponent in -12..=19 {
                for digit in [1.0, 9.0, 9.94, 9.96, 9.994, 9.996] {
                    let number = digit * 10f64.powi(exponent);
                    let text = amount(number, unit, 1_800_000_000);
                    assert!(text.len() <= WIDTH_MAX, "{number:e} {unit:?}: {text}");
                    assert!(!text.contains('e') || text.contains("ver"), "{text}");
                }
            }
            for whole in [u64::MAX, i64::MAX as u64] {
                let text = show(&whole.into(), unit, u64::MAX).unwrap();
                assert!(text.len() <= WIDTH_MAX, "{whole} {unit:?}: {text}");
            }
        }
    }

    #[test]
    fn units_by_name() {
        for (name, unit) in [
            ("entries", Unit::Count),
            ("queue_bytes", Unit::Bytes),
            ("value_bytes_total", Unit::Bytes),
            ("avg_vlog_ms", Unit::Millis),
            ("p999_ns", Unit::Nanos),
            ("block_l0_hit_rate", Unit::Share),
            ("value_density_max", Unit::Share),
            ("LastFailureUnix", Unit::Moment),
            ("debt_bytes_per_second", Unit::BytesPerSecond),
            ("seconds_to_stop", Unit::Seconds),
            ("typed_record_ratio", Unit::Share),
        ] {
            assert_eq!(Unit::of(name), unit, "{name}");
        }
    }

    #[test]
    fn a_name_with_a_unit_of_time_has_the_plain_number() {
        for (number, shown) in [
            (json!(86), "86"),
            (json!(0), "0"),
            (json!(0.0), "0"),
            (json!(86.0), "86"),
            (json!(0.000637), "0.000637"),
            (json!(1.25), "1.25"),
            (json!(12_345.678_901), "12345.68"),
            (json!(9_999_999_999_u64), "9999999999"),
            (json!(u64::MAX), "18.4 E"),
            (json!(-1.5), "-1.5"),
        ] {
            assert_eq!(plain(&number).as_deref(), Some(shown));
        }
        for exponent in -20..=300 {
            for digit in [-9.996, 1.0, 9.994] {
                let text = plain(&json!(digit * 10f64.powi(exponent))).unwrap();
                assert!(text.len() <= WIDTH_MAX, "{digit}e{exponent}: {text}");
            }
        }
        assert_eq!(plain(&Json::Null), None);
        for (name, tells) in [
            ("duration_ms", true),
            ("p99_ns", true),
            ("seconds_to_stop", true),
            ("decay_interval", false),
            ("table_bytes", false),
        ] {
            assert_eq!(tells_time_unit(name), tells, "{name}");
        }
    }

    #[test]
    fn text_is_one_plain_line() {
        assert_eq!(clip(b"plain 'key'", 20), "plain 'key'");
        assert_eq!(clip(b"a\n\x1b[2J\xff\"", 40), "a\\n\\x1b[2J\\xff\"");
        assert_eq!(clip("schl\u{fc}ssel".as_bytes(), 40), "schl\\xc3\\xbcssel");
        assert_eq!(clip(&[b'k'; 70_000], 8), "kkkkkk..");
        for width in 0..4 {
            assert!(clip(b"key key", width).len() <= width);
        }
    }
}
