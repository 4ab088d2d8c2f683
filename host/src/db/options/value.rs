//! The types that options have: how each is read from TOML and shown.
//!
//! Who may call it: the table of options. A message of this module says what the value must be; its caller puts the
//! option's name and its line before it.
//!
//! ```text
//! bytes     := integer | "integer unit"    unit: B, KiB, MiB, GiB, TiB (powers of 1024)
//! duration  := "integer unit"              unit: ns, us, ms, s, m, h, d
//! ratio     := float | integer
//! ```

use std::path::PathBuf;
use std::time::Duration;

use nokv_core::table::{Compression, is_available};
use toml::de::DeValue;

use crate::index::MemTableEngine;

/// What sort of value an option has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OptionKind {
    /// `true` or `false`.
    Bool,
    /// A whole number.
    Count,
    /// A size: a whole number, or one with a unit such as `"64MiB"`.
    Bytes,
    /// A number with a fraction.
    Ratio,
    /// A time with its unit, such as `"30s"`.
    Duration,
    /// A path.
    Path,
    /// One of a few words.
    Word,
}

impl OptionKind {
    /// The kind as the listings name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Count => "count",
            Self::Bytes => "bytes",
            Self::Ratio => "ratio",
            Self::Duration => "duration",
            Self::Path => "path",
            Self::Word => "word",
        }
    }

    /// A whole number is a size if the option's name says so.
    pub(crate) const fn named(self, name: &str) -> Self {
        let is_bytes = ends_with(name, "_bytes") || ends_with(name, "_bytes_per_second");
        if matches!(self, Self::Count) && is_bytes { Self::Bytes } else { self }
    }
}

const fn ends_with(name: &str, end: &str) -> bool {
    let (name, end) = (name.as_bytes(), end.as_bytes());
    if name.len() < end.len() {
        return false;
    }
    let mut i = 0;
    while i < end.len() {
        if name[name.len() - end.len() + i] != end[i] {
            return false;
        }
        i += 1;
    }
    true
}

type Parsed<T> = Result<T, String>;

/// A type that options have.
pub(crate) trait Setting: Sized {
    /// Its kind; [`OptionKind::named`] makes it more exact.
    const KIND: OptionKind;

    /// Reads a TOML value, or says what it must be.
    fn parse(value: &DeValue<'_>, kind: OptionKind) -> Parsed<Self>;

    /// The value as it stands in TOML.
    fn show(&self, kind: OptionKind) -> String;
}

/// What a value is, for a message about one of the wrong type.
fn describe(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("the text {text:?}"),
        DeValue::Integer(number) => format!("the number {}", number.as_str()),
        DeValue::Float(number) => format!("the number {}", number.as_str()),
        DeValue::Boolean(on) => format!("{on}"),
        DeValue::Datetime(_) => "a date".to_string(),
        DeValue::Array(_) => "a list".to_string(),
        DeValue::Table(_) => "a table".to_string(),
    }
}

fn wrong(expected: &str, value: &DeValue<'_>) -> String {
    format!("must be {expected}, not {}", describe(value))
}

const BYTE_UNITS: [(&str, u128); 5] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];
const TIME_UNITS: [(&str, u128); 7] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// A whole number and its unit, multiplied out.
fn with_unit(text: &str, units: &[(&str, u128)], example: &str) -> Parsed<u128> {
    let wanted = || {
        let names: Vec<&str> = units.iter().rev().map(|(name, _)| *name).collect();
        format!(
            "must be a whole number with a unit ({}), such as {example:?}, not {text:?}",
            names.join(", ")
        )
    };
    let trimmed = text.trim();
    if trimmed.starts_with('-') {
        return Err(format!("must not be negative, as {text:?} is"));
    }
    let digits = trimmed.find(|c: char| !c.is_ascii_digit()).unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(digits);
    let unit = unit.trim_start();
    let (_, times) = units.iter().find(|(name, _)| *name == unit).ok_or_else(wanted)?;
    let number: u128 = number.parse().map_err(|_| wanted())?;
    number.checked_mul(*times).ok_or_else(|| format!("{text:?} is too large"))
}

/// The number in the largest unit that divides it.
fn in_units(number: u128, units: &[(&str, u128)]) -> String {
    let unit = units.iter().find(|(_, times)| number.is_multiple_of(*times));
    unit.map_or_else(|| number.to_string(), |(name, times)| format!("{}{name}", number / times))
}

fn whole_number(value: &DeValue<'_>, kind: OptionKind) -> Parsed<u128> {
    match value {
        DeValue::Integer(number) if number.as_str().starts_with('-') => {
            Err(format!("must not be negative, as {} is", number.as_str()))
        }
        DeValue::Integer(number) => {
            u128::from_str_radix(number.as_str().trim_start_matches('+'), number.radix())
                .map_err(|_| format!("{number} is too large"))
        }
        DeValue::String(text) if kind == OptionKind::Bytes => with_unit(text, &BYTE_UNITS, "64MiB"),
        other if kind == OptionKind::Bytes => Err(wrong("a size in bytes, such as 4096 or \"64MiB\"", other)),
        other => Err(wrong("a whole number", other)),
    }
}

macro_rules! whole_numbers {
    ($($ty:ty),+) => { $(
        impl Setting for $ty {
            const KIND: OptionKind = OptionKind::Count;

            fn parse(value: &DeValue<'_>, kind: OptionKind) -> Parsed<Self> {
                let number = whole_number(value, kind)?;
                <$ty>::try_from(number).map_err(|_| format!("must be at most {}, not {number}", <$ty>::MAX))
            }

            fn show(&self, kind: OptionKind) -> String {
                let number = *self as u128;
                if kind != OptionKind::Bytes || number == 0 || number % 1024 != 0 {
                    return number.to_string();
                }
                format!("\"{}\"", in_units(number, &BYTE_UNITS))
            }
        }
    )+ };
}

whole_numbers!(u8, u16, u32, u64, usize);

impl Setting for bool {
    const KIND: OptionKind = OptionKind::Bool;

    fn parse(value: &DeValue<'_>, _: OptionKind) -> Parsed<Self> {
        match value {
            DeValue::Boolean(on) => Ok(*on),
            other => Err(wrong("true or false", other)),
        }
    }

    fn show(&self, _: OptionKind) -> String {
        self.to_string()
    }
}

impl Setting for f64 {
    const KIND: OptionKind = OptionKind::Ratio;

    fn parse(value: &DeValue<'_>, _: OptionKind) -> Parsed<Self> {
        let text = match value {
            DeValue::Float(number) => number.as_str(),
            DeValue::Integer(number) if number.radix() == 10 => number.as_str(),
            other => return Err(wrong("a number", other)),
        };
        text.parse().map_err(|_| wrong("a number", value))
    }

    fn show(&self, _: OptionKind) -> String {
        // TOML writes nan and inf in small letters.
        format!("{self:?}").to_lowercase()
    }
}

impl Setting for Duration {
    const KIND: OptionKind = OptionKind::Duration;

    fn parse(value: &DeValue<'_>, _: OptionKind) -> Parsed<Self> {
        let DeValue::String(text) = value else {
            return Err(wrong("a time with a unit, such as \"30s\" or \"250ms\"", value));
        };
        let ns = with_unit(text, &TIME_UNITS, "30s")?;
        let seconds = u64::try_from(ns / 1_000_000_000).map_err(|_| format!("{text:?} is too large"))?;
        // A remainder of 10^9 fits.
        Ok(Self::new(seconds, (ns % 1_000_000_000) as u32))
    }

    fn show(&self, _: OptionKind) -> String {
        if self.is_zero() {
            return "\"0s\"".to_string();
        }
        format!("\"{}\"", in_units(self.as_nanos(), &TIME_UNITS))
    }
}

impl Setting for PathBuf {
    const KIND: OptionKind = OptionKind::Path;

    fn parse(value: &DeValue<'_>, _: OptionKind) -> Parsed<Self> {
        match value {
            DeValue::String(text) => Ok(Self::from(text.as_ref())),
            other => Err(wrong("a path", other)),
        }
    }

    fn show(&self, _: OptionKind) -> String {
        toml::Value::String(self.to_string_lossy().into_owned()).to_string()
    }
}

/// Finds the word that `value` is, among those that this build knows.
fn word<T: Copy>(value: &DeValue<'_>, words: &[(&str, T, bool)]) -> Parsed<T> {
    let names = || {
        let here: Vec<&str> = words.iter().filter(|(_, _, here)| *here).map(|(name, ..)| *name).collect();
        format!("one of {}", here.join(", "))
    };
    let DeValue::String(text) = value else { return Err(wrong(&names(), value)) };
    match words.iter().find(|(name, ..)| name == text) {
        Some((_, value, true)) => Ok(*value),
        Some((_, _, false)) => {
            Err(format!("is {text:?}, which this build does not have; it has {}", names()))
        }
        None => Err(wrong(&names(), value)),
    }
}

const COMPRESSIONS: [(&str, Compression, bool); 3] = [
    ("none", Compression::None, true),
    ("lz4", Compression::Lz4, is_available(Compression::Lz4)),
    ("zstd", Compression::Zstd, is_available(Compression::Zstd)),
];

impl Setting for Compression {
    const KIND: OptionKind = OptionKind::Word;

    fn parse(value: &DeValue<'_>, _: OptionKind) -> Parsed<Self> {
        word(value, &COMPRESSIONS)
    }

    fn show(&self, _: OptionKind) -> String {
        let name = COMPRESSIONS.iter().find(|(_, codec, _)| codec == self).map_or("none", |(name, ..)| name);
        format!("\"{name}\"")
    }
}

const ENGINES: &[(&str, MemTableEngine, bool)] = &[
    #[cfg(feature = "art")]
    ("art", MemTableEngine::Art, true),
    #[cfg(not(feature = "art"))]
    ("art", MemTableEngine::None, false),
    #[cfg(feature = "skiplist")]
    ("skiplist", MemTableEngine::Skiplist, true),
    #[cfg(not(feature = "skiplist"))]
    ("skiplist", MemTableEngine::None, false),
    ("none", MemTableEngine::None, true),
];

impl Setting for MemTableEngine {
    const KIND: OptionKind = OptionKind::Word;

    fn parse(value: &DeValue<'_>, _: OptionKind) -> Parsed<Self> {
        word(value, ENGINES)
    }

    fn show(&self, _: OptionKind) -> String {
        let name = ENGINES.iter().find(|(_, engine, here)| *here && engine == self).map_or("none", |e| e.0);
        format!("\"{name}\"")
    }
}
