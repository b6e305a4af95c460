//! Why a backup is kept or deleted, in words.

use std::fmt;

use jiff::civil::Date;
use uuid::Uuid;

use crate::span::Span;

/// What a rule keeps one backup of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Period {
    /// From midnight to midnight.
    Day,
    /// From Monday, by ISO 8601.
    Week,
    /// Of the calendar.
    Month,
    /// Of the calendar.
    Year,
}

impl Period {
    /// The period that a date is in; these sort by time.
    pub(super) fn of(self, date: Date) -> (i16, i16) {
        match self {
            Period::Day => (date.year(), date.day_of_year()),
            Period::Week => {
                let week = date.iso_week_date();
                (week.year(), i16::from(week.week()))
            }
            Period::Month => (date.year(), i16::from(date.month())),
            Period::Year => (date.year(), 0),
        }
    }
}

/// Why a backup is kept or deleted. `Display` says it in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Kept: retention is frozen.
    Frozen,
    /// Kept: the last run of the job failed.
    AfterFailure,
    /// Kept: the last run left nothing at this destination.
    NotReached,
    /// Kept: the job doesn't name this destination any more.
    FormerDestination,
    /// Kept: no rule could delete anything.
    NoPolicy,
    /// Kept: another installation wrote it.
    OtherInstance,
    /// Kept: it belongs to another job.
    OtherJob,
    /// Kept: it is dated in the future.
    Future,
    /// Kept: it is older than `maxAge` only because of a long time without any backup, or of a clock that went wrong.
    Gap(Span),
    /// Kept by `keepLast`: one of so many.
    Last(u32),
    /// Kept by one of the rules over the calendar: the newest of the period with this date.
    NewestOf(Period, Date),
    /// Kept by `maxAge`, which is the only rule.
    Younger(Span),
    /// Kept: the newest good one.
    LastGood,
    /// Kept: none is known to be good, and of those that are left it is the best.
    BestLeft,
    /// Kept: it is newer than the newest good one.
    NewerThanLastGood,
    /// Kept: this one builds on it.
    BaseOf(Uuid),
    /// Deleted by `maxAge`.
    Older(Span),
    /// Deleted: no rule keeps it.
    NoRule,
    /// It doesn't count: its last check failed.
    Damaged,
    /// It doesn't count: it builds on one that is damaged or not there.
    BrokenChain,
    /// It doesn't count: it, or one that it builds on, has not been verified.
    Unverified,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Frozen => f.write_str("retention is frozen"),
            Reason::AfterFailure => f.write_str("the last run failed"),
            Reason::NotReached => f.write_str("the last run left nothing at this destination"),
            Reason::FormerDestination => f.write_str("the job doesn't name this destination now"),
            Reason::NoPolicy => f.write_str("the job has no retention rule"),
            Reason::OtherInstance => f.write_str("written by another installation"),
            Reason::OtherJob => f.write_str("written for another job"),
            Reason::Future => f.write_str("dated in the future"),
            Reason::Gap(age) => write!(
                f,
                "older than {age}, but only since a gap of more than that: `backstay prune --after-gap` deletes it"
            ),
            Reason::Last(1) => f.write_str("the last"),
            Reason::Last(count) => write!(f, "one of the last {count}"),
            Reason::NewestOf(Period::Day, date) => write!(f, "daily {date}"),
            Reason::NewestOf(Period::Week, date) => {
                let week = date.iso_week_date();
                write!(f, "weekly {:04}-W{:02}", week.year(), week.week())
            }
            Reason::NewestOf(Period::Month, date) => {
                write!(f, "monthly {:04}-{:02}", date.year(), date.month())
            }
            Reason::NewestOf(Period::Year, date) => write!(f, "yearly {:04}", date.year()),
            Reason::Younger(age) => write!(f, "not older than {age}"),
            Reason::LastGood => f.write_str("last good backup"),
            Reason::BestLeft => f.write_str("the best that is left: none is known to be good"),
            Reason::NewerThanLastGood => f.write_str("newer than the last good backup"),
            Reason::BaseOf(id) => write!(f, "base of {id}"),
            Reason::Older(age) => write!(f, "older than {age}"),
            Reason::NoRule => f.write_str("no rule keeps it"),
            Reason::Damaged => f.write_str("damaged, so not counted"),
            Reason::BrokenChain => f.write_str("its base is damaged or missing, so not counted"),
            Reason::Unverified => f.write_str("not verified, so not counted"),
        }
    }
}
