//! Crontab expressions with the meaning that Unix gives them.
//!
//! Five fields (minute, hour, day of month, month, day of week), or six with seconds first, or a nickname. The `cron` crate reads
//! the fields; where it and crontab(5) differ, this follows crontab(5):
//!
//! - 0 and 7 are Sunday and 1 is Monday (the crate counts Sunday as 1); a range may end in Sunday, as in `fri-sun`;
//! - when day of month and day of week are both restricted, a day that is one of either matches (the crate wants both). A
//!   field that begins with `*` restricts nothing in this sense, so with `*/2` in one of them both must match. That is
//!   what the cron of Vixie and all its descendants do.

use std::str::FromStr;

use cron::TimeUnitSpec as _;
use jiff::civil::{Date, DateTime, Time, date};

/// Every combination of leap years and weekdays comes within so many years, after which the calendar repeats.
const CALENDAR_YEARS: i16 = 400;

const NICKNAMES: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// The fields in the order that the crate wants them, each with what it may hold.
const FIELDS: [(&str, &str); 6] = [
    ("second", "0-59"),
    ("minute", "0-59"),
    ("hour", "0-23"),
    ("day of month", "1-31"),
    ("month", "1-12 or jan-dec"),
    ("day of week", "0-7 or sun-sat, where 0 and 7 are Sunday"),
];

const WEEKDAYS: [&str; 7] = [
    "sunday",
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
];

/// A crontab expression that matches at least one day of the calendar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    seconds: Set,
    minutes: Set,
    hours: Set,
    days: Set,
    months: Set,
    weekdays: Set,
    either_day: bool,
    follows_the_clock: bool,
}

/// Numbers below 64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Set(u64);

impl Set {
    fn of(numbers: impl IntoIterator<Item = u32>) -> Self {
        Set(numbers.into_iter().fold(0, |bits, n| bits | (1 << (n & 63))))
    }

    fn has(self, number: i8) -> bool {
        self.from(number) == Some(number)
    }

    /// The first from `number` on.
    fn from(self, number: i8) -> Option<i8> {
        let number = u32::try_from(number).ok().filter(|n| *n < 64)?;
        let rest = self.0 >> number << number;
        (rest != 0).then(|| i8::try_from(rest.trailing_zeros()).ok())?
    }

    fn first(self) -> i8 {
        self.from(0).unwrap_or(0)
    }
}

impl FromStr for Cron {
    type Err = String;

    /// # Errors
    /// A sentence that names the field that is wrong, or says that it never matches.
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let expanded = match text.strip_prefix('@') {
            None => text,
            Some(_) => NICKNAMES
                .iter()
                .find(|(name, _)| text.eq_ignore_ascii_case(name))
                .map(|(_, meant)| *meant)
                .ok_or_else(|| {
                    let known: Vec<&str> = NICKNAMES.iter().map(|(name, _)| *name).collect();
                    format!("the nicknames are {}", known.join(" "))
                })?,
        };
        let mut given: Vec<&str> = expanded.split_whitespace().collect();
        match given.len() {
            5 => given.insert(0, "0"),
            6 => {}
            n => return Err(format!("it has {n} fields")),
        }
        let weekdays = weekdays(given[5]).ok_or_else(|| wrong(5, given[5]))?;
        let starts_free = |index: usize| given[index].starts_with(['*', '?']);
        let fields = read(&given)?;
        let cron = Cron {
            seconds: Set::of(fields.seconds().iter()),
            minutes: Set::of(fields.minutes().iter()),
            hours: Set::of(fields.hours().iter()),
            days: Set::of(fields.days_of_month().iter()),
            months: Set::of(fields.months().iter()),
            weekdays,
            either_day: !starts_free(3) && !starts_free(5),
            follows_the_clock: (0..=2).any(starts_free),
        };
        let start = date(2000, 1, 1);
        if cron
            .next_day(start)
            .is_none_or(|day| day.year() >= start.year() + CALENDAR_YEARS)
        {
            return Err("it never matches: no year has such a day".to_owned());
        }
        Ok(cron)
    }
}

impl Cron {
    /// Whether it goes by the clock as it really runs: its second, minute or hour begins with `*`. What it means when
    /// clocks are put forward or back is in [`super::instants`].
    pub(super) fn follows_the_clock(&self) -> bool {
        self.follows_the_clock
    }

    /// The first time on a wall clock after another that it matches, as if no clock was ever put forward or back.
    pub(super) fn next_local(&self, after: DateTime) -> Option<DateTime> {
        let from = after
            .with()
            .subsec_nanosecond(0)
            .build()
            .ok()?
            .checked_add(jiff::SignedDuration::from_secs(1))
            .ok()?;
        let today = self.next_day(from.date())?;
        if today != from.date() {
            return Some(today.to_datetime(self.first_time()?));
        }
        if let Some(time) = self.time_from(from.time()) {
            return Some(today.to_datetime(time));
        }
        let day = self.next_day(today.tomorrow().ok()?)?;
        Some(day.to_datetime(self.first_time()?))
    }

    fn first_time(&self) -> Option<Time> {
        Time::new(self.hours.first(), self.minutes.first(), self.seconds.first(), 0).ok()
    }

    /// The first time of a day from another on.
    fn time_from(&self, from: Time) -> Option<Time> {
        let at = |hour, minute, second| Time::new(hour, minute, second, 0).ok();
        if self.hours.has(from.hour()) {
            if self.minutes.has(from.minute())
                && let Some(second) = self.seconds.from(from.second())
            {
                return at(from.hour(), from.minute(), second);
            }
            if let Some(minute) = self.minutes.from(from.minute() + 1) {
                return at(from.hour(), minute, self.seconds.first());
            }
        }
        let hour = self.hours.from(from.hour() + 1)?;
        at(hour, self.minutes.first(), self.seconds.first())
    }

    /// The first matching day from another on.
    fn next_day(&self, from: Date) -> Option<Date> {
        let mut day = from;
        loop {
            match self.months.from(day.month()) {
                Some(month) if month == day.month() => {
                    if self.matches_day(day) {
                        return Some(day);
                    }
                    day = day.tomorrow().ok()?;
                }
                Some(month) => day = Date::new(day.year(), month, 1).ok()?,
                None => day = Date::new(day.year().checked_add(1)?, 1, 1).ok()?,
            }
            // Only while an expression is read can this happen: one that was accepted matches within this time.
            if day.year() > from.year().checked_add(CALENDAR_YEARS)? {
                return None;
            }
        }
    }

    fn matches_day(&self, day: Date) -> bool {
        let of_month = self.days.has(day.day());
        let of_week = self.weekdays.has(day.weekday().to_sunday_zero_offset());
        if self.either_day {
            of_month || of_week
        } else {
            of_month && of_week
        }
    }
}

fn wrong(index: usize, text: &str) -> String {
    let (name, range) = FIELDS[index];
    format!("`{text}` is no {name} ({range})")
}

/// Reads all fields but the day of the week by the crate. Each of its readings takes long, so fields are only read one
/// by one to find the wrong one.
fn read(given: &[&str]) -> Result<cron::Schedule, String> {
    const FREE: [&str; 6] = ["0", "0", "0", "1", "1", "*"];
    let with = |which: &[usize]| {
        let fields = FREE
            .iter()
            .enumerate()
            .map(|(index, free)| match which.contains(&index) {
                true => given[index],
                false => free,
            });
        fields.collect::<Vec<_>>().join(" ").parse::<cron::Schedule>()
    };
    with(&[0, 1, 2, 3, 4]).map_err(|_| {
        let index = (0..5).find(|index| with(&[*index]).is_err()).unwrap_or(0);
        wrong(index, given[index])
    })
}

/// Reads the days of the week, of which the crate has another idea. Sunday is 0 in the set.
fn weekdays(text: &str) -> Option<Set> {
    let mut days = Vec::new();
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(number(step).filter(|n| (1..=7).contains(n))?)),
            None => (part, None),
        };
        let (low, high) = match range.split_once('-') {
            None if range == "*" || range == "?" => (0, 6),
            None => {
                let day = weekday(range)?;
                (day, if step.is_some() { day.max(6) } else { day })
            }
            Some((low, high)) => match (weekday(low)?, weekday(high)?) {
                (low, 0) if low > 0 => (low, 7),
                (low, high) if low <= high => (low, high),
                _ => return None,
            },
        };
        let step = usize::try_from(step.unwrap_or(1)).ok()?;
        days.extend((low..=high).step_by(step).map(|day| day % 7));
    }
    Some(Set::of(days))
}

/// A number, or a name of which at least three letters are given. Sunday is 0 by its name, else 0 or 7.
fn weekday(text: &str) -> Option<u32> {
    let lower = text.to_ascii_lowercase();
    let named = |name: &str| lower.len() >= 3 && name.starts_with(&lower);
    match WEEKDAYS.iter().position(|name| named(name)) {
        Some(day) => u32::try_from(day).ok(),
        None => number(text).filter(|n| *n <= 7),
    }
}

/// Digits and nothing else.
fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok())?
}
