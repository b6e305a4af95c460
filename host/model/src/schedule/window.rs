//! A part of each day, in which missed starts may be made up for.

use std::fmt;
use std::str::FromStr;

use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A part of each day, by the clock of the schedule's time zone. It may go over midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Window {
    /// When it opens.
    pub from: TimeOfDay,
    /// When it closes; not part of it.
    pub to: TimeOfDay,
}

/// A time on a clock, in hours and minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeOfDay(Time);

impl Window {
    /// Whether an instant is inside.
    pub fn contains(&self, at: Timestamp, zone: &TimeZone) -> bool {
        let time = zone.to_datetime(at).time();
        let (from, to) = (self.from.0, self.to.0);
        if from < to {
            from <= time && time < to
        } else {
            from <= time || time < to
        }
    }

    /// When it opens next after an instant.
    pub fn opens_after(&self, at: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let today = zone.to_datetime(at).date();
        // A day on, and one more where a zone leaves out a whole day.
        (0..=2).find_map(|days| {
            let day = today.checked_add(days.days()).ok()?;
            let opens = day
                .to_datetime(self.from.0)
                .to_zoned(zone.clone())
                .ok()?
                .timestamp();
            (opens > at).then_some(opens)
        })
    }
}

impl FromStr for TimeOfDay {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a time of day: write 22:00");
        let (hour, minute) = text.split_once(':').ok_or_else(wrong)?;
        let number = |part: &str| {
            let digits = part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
            digits
                .then(|| part.parse::<i8>().ok())
                .flatten()
                .ok_or_else(wrong)
        };
        let time = Time::new(number(hour)?, number(minute)?, 0, 0).map_err(|_| wrong())?;
        Ok(TimeOfDay(time))
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0.hour(), self.0.minute())
    }
}

impl Serialize for TimeOfDay {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TimeOfDay {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

impl JsonSchema for TimeOfDay {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "TimeOfDay".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]$",
            "description": "a time of day from 00:00 to 23:59, such as 22:00",
            "examples": ["22:00"],
        })
    }
}
