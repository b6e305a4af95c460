//! Bytes per second as people write them: `10M`, `10MiB`, `800k`, or a plain number.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Bytes per second, at least [`Rate::LEAST`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate(NonZeroU64);

/// Letters and what they stand for, the largest first. A letter alone is a power of ten, as is one with `B`; with `i` it
/// is a power of two.
const UNITS: [(&str, u64); 8] = [
    ("Ti", 1 << 40),
    ("T", 1_000_000_000_000),
    ("Gi", 1 << 30),
    ("G", 1_000_000_000),
    ("Mi", 1 << 20),
    ("M", 1_000_000),
    ("Ki", 1 << 10),
    ("k", 1_000),
];

impl Rate {
    /// The lowest rate that makes sense: below it a backup would never end.
    pub const LEAST: u64 = 1_000;

    /// A rate, if it isn't less than the least.
    pub const fn new(bytes_per_second: u64) -> Option<Self> {
        if bytes_per_second < Rate::LEAST {
            return None;
        }
        match NonZeroU64::new(bytes_per_second) {
            Some(rate) => Some(Rate(rate)),
            None => None,
        }
    }

    /// As a number.
    pub const fn bytes_per_second(self) -> u64 {
        self.0.get()
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` is not a rate: write bytes per second as 10M (10,000,000), 10MiB (10,485,760), 800k or 1.5G"
            )
        };
        let plain = text.trim();
        let plain = plain.strip_suffix("/s").unwrap_or(plain);
        let unit_at = plain
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(plain.len());
        let (number, unit) = plain.split_at(unit_at);
        let unit = unit.trim_start();
        let letters = unit.strip_suffix(['B', 'b']).unwrap_or(unit);
        let factor = match letters {
            "" => 1,
            letters => UNITS
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(letters))
                .map(|(_, factor)| *factor)
                .ok_or_else(wrong)?,
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        if fraction.len() > 9 {
            return Err(wrong());
        }
        let [whole, digits] = [whole, fraction].map(str::parse::<u64>);
        let (whole, digits) = (whole.map_err(|_| wrong())?, digits.map_err(|_| wrong())?);
        let parts =
            u128::from(digits) * u128::from(factor) / 10u128.pow(u32::try_from(fraction.len()).unwrap_or(9));
        let bytes = u128::from(whole) * u128::from(factor) + parts;
        let bytes = u64::try_from(bytes).map_err(|_| wrong())?;
        Rate::new(bytes).ok_or_else(|| {
            format!(
                "`{text}` is less than {} bytes per second, which is the least",
                Rate::LEAST
            )
        })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.bytes_per_second();
        // The largest unit without a fraction; of two that fit, the one with the smaller number.
        match UNITS
            .iter()
            .filter(|(_, factor)| bytes.is_multiple_of(*factor))
            .min_by_key(|(_, factor)| bytes / factor)
        {
            Some((name, factor)) => write!(f, "{}{name}B", bytes / factor),
            None => write!(f, "{bytes}"),
        }
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Raw {
            Number(u64),
            Text(String),
        }
        match Raw::deserialize(deserializer)? {
            Raw::Number(bytes) => bytes.to_string().parse().map_err(de::Error::custom),
            Raw::Text(text) => text.parse().map_err(de::Error::custom),
        }
    }
}

impl JsonSchema for Rate {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Rate".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": ["string", "integer"],
            "minimum": Rate::LEAST,
            "pattern": "^\\s*[0-9]+(\\.[0-9]{1,9})?\\s*([kKmMgGtT][iI]?)?[bB]?(/s)?\\s*$",
            "description": "bytes per second: 10M (10,000,000), 10MiB (10,485,760), 800k, or a number from 1000",
            "examples": ["10M", "2.5MiB", 800_000],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn people_write_rates_in_these_ways() {
        for (text, bytes) in [
            ("10M", 10_000_000),
            ("10MB", 10_000_000),
            ("10 MB/s", 10_000_000),
            ("10MiB", 10 << 20),
            ("10mi", 10 << 20),
            ("1.5G", 1_500_000_000),
            ("1.25KiB", 1_280),
            ("800k", 800_000),
            ("1000", 1_000),
            ("2TiB", 2 << 40),
        ] {
            assert_eq!(text.parse().map(Rate::bytes_per_second), Ok(bytes), "{text}");
        }
        for text in [
            "",
            "M",
            "ten",
            "-1M",
            "1,5M",
            "10X",
            "1.M",
            ".5M",
            "999",
            "0",
            "0.5KiB",
            "99999999T",
            "1e9",
        ] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }

    #[test]
    fn they_are_printed_as_short_as_they_are() {
        for (bytes, text) in [
            (10_000_000, "10MB"),
            (10 << 20, "10MiB"),
            (1_500_000_000, "1500MB"),
            (1 << 40, "1TiB"),
            (1_001, "1001"),
            (1_024, "1KiB"),
        ] {
            assert_eq!(Rate::new(bytes).unwrap().to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(bytes in Rate::LEAST..u64::MAX) {
            let rate = Rate::new(bytes).unwrap();
            prop_assert_eq!(rate.to_string().parse::<Rate>(), Ok(rate));
        }
    }
}
