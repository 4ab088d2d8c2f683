//! A hot key in JSON: `key` if it is text, `key_hex` if not.
//!
//! Who may call it: [`super::snapshot`], and tools that read it.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One hot key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HotKeyStat {
    /// The key.
    pub key: Vec<u8>,
    /// How often it was touched, as its ring counts.
    pub count: i32,
}

#[derive(Serialize)]
struct AsJson<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_hex: Option<String>,
    count: i32,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct FromJson {
    key: String,
    key_hex: Option<String>,
    count: i32,
}

impl Serialize for HotKeyStat {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = std::str::from_utf8(&self.key).ok();
        let hex = || self.key.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let key_hex = if text.is_none() { Some(hex()) } else { None };
        AsJson { key: text, key_hex, count: self.count }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for HotKeyStat {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = FromJson::deserialize(deserializer)?;
        let key = match &read.key_hex {
            Some(hex) => {
                from_hex(hex).ok_or_else(|| serde::de::Error::custom("key_hex is not hexadecimal"))?
            }
            None => read.key.into_bytes(),
        };
        Ok(Self { key, count: read.count })
    }
}

fn from_hex(hex: &str) -> Option<Vec<u8>> {
    let digits = hex.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
    digits
        .chunks_exact(2)
        .map(|pair| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        })
        .collect()
}
