//! When a job runs by itself: crontab expressions, fixed distances, time zones, and what becomes of a missed start.
//!
//! [`Schedule`] is what people write. [`Schedule::timetable`] makes of it a [`Timetable`], which knows the due times;
//! [`Timetable::decide`] says at any moment what is to be done about them. All of it is arithmetic over instants
//! that are handed in.
//!
//! A due time is an instant of whole seconds and the name of one start: whoever knows the schedule gets the same ones,
//! on any machine, at any time. Jitter moves a start, not its due time.

mod check;
mod cron;
mod decide;
mod instants;
mod window;

#[cfg(test)]
mod tests;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Code, Error, Result};
use crate::job::Job;
use crate::span::Span;
pub use cron::Cron;
pub use decide::Decision;
pub use window::{TimeOfDay, Window};

/// When a job runs by itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Schedule {
    /// A crontab expression of five fields, six with seconds first, or `@daily` and friends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    /// A fixed distance between starts, counted from when the job was first applied; instead of `cron`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Span>,
    /// IANA name of the zone that `cron` and `window` are meant in; the machine's if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// What becomes of a start that was missed.
    #[serde(default)]
    pub missed: Missed,
    /// When missed starts may be made up for, with `missed: window`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    /// How late a start may be without counting as missed, at least 1s.
    #[serde(default = "five_minutes")]
    pub grace: Span,
    /// Starts are put off by a random part of this, so that many jobs don't start at once.
    #[serde(default)]
    pub jitter: Span,
}

fn five_minutes() -> Span {
    Span::seconds(300)
}

/// What becomes of a start that was missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Missed {
    /// Run once, as soon as possible, however many were missed.
    #[default]
    RunOnce,
    /// Wait for the next.
    Skip,
    /// Run once, but only inside `window`.
    Window,
}

/// The due times of a job.
#[derive(Debug, Clone)]
pub struct Timetable {
    rule: Rule,
    /// The instant, in seconds, that a fixed distance is counted from.
    from: i64,
    zone: TimeZone,
    missed: Missed,
    window: Option<Window>,
    grace: SignedDuration,
    jitter: SignedDuration,
    seed: [u8; 16],
}

#[derive(Debug, Clone)]
enum Rule {
    Cron(Box<Cron>),
    Every { seconds: i64 },
}

impl Schedule {
    /// A schedule that is nothing but a crontab expression.
    pub fn cron(expression: &str, timezone: Option<&str>) -> Self {
        Schedule {
            cron: Some(expression.to_owned()),
            every: None,
            timezone: timezone.map(str::to_owned),
            missed: Missed::default(),
            window: None,
            grace: five_minutes(),
            jitter: Span::default(),
        }
    }

    /// The time zone that it is meant in.
    ///
    /// # Errors
    /// This machine knows no zone of that name.
    pub fn zone(&self) -> Result<TimeZone> {
        match &self.timezone {
            None => Ok(TimeZone::system()),
            Some(name) => TimeZone::get(name).map_err(|e| {
                Error::new(
                    Code::Configuration,
                    format!("there is no time zone `{name}` on this machine"),
                )
                .because(e)
                .hint("install the time zone data (tzdata), or correct `schedule.timezone`")
            }),
        }
    }

    /// Its due times. `every` is counted from `from`; `seed` tells the jitter of one job from that of another.
    ///
    /// # Errors
    /// All that [`Schedule::check`] finds wrong, as one error.
    pub fn timetable(&self, from: Timestamp, seed: [u8; 16]) -> Result<Timetable> {
        let zone = self.zone()?;
        let rule = self.rule("/schedule");
        let mut wrong: Vec<_> = rule.as_ref().err().cloned().into_iter().collect();
        wrong.extend(self.check_beside_rule("/schedule"));
        if let Some(error) = crate::diagnostic::into_error(&wrong) {
            return Err(error);
        }
        let rule = rule.map_err(|_| Error::internal("what is wrong with a schedule was no error"))?;
        Ok(Timetable {
            rule,
            from: from.as_second(),
            zone,
            missed: self.missed,
            window: self.window,
            grace: signed(self.grace),
            jitter: signed(self.jitter),
            seed,
        })
    }
}

impl Job {
    /// The due times of this job; nothing if it only runs by hand.
    ///
    /// # Errors
    /// As [`Schedule::timetable`].
    pub fn timetable(&self) -> Result<Option<Timetable>> {
        let schedule = self.spec.schedule.as_ref().filter(|_| self.spec.enabled);
        schedule
            .map(|schedule| schedule.timetable(self.created_at, *self.id.as_bytes()))
            .transpose()
    }
}

impl Timetable {
    /// The first due time after an instant; nothing if the calendar ends before (in the year 9999).
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        match &self.rule {
            Rule::Cron(cron) => instants::next_after(cron, &self.zone, after),
            Rule::Every { seconds } => {
                let steps = after.as_second().checked_sub(self.from)?.div_euclid(*seconds);
                let steps = steps.checked_add(1)?.max(1);
                let next = steps.checked_mul(*seconds)?.checked_add(self.from)?;
                Timestamp::from_second(next).ok()
            }
        }
    }

    /// All due times after an instant, in order.
    pub fn upcoming(&self, after: Timestamp) -> impl Iterator<Item = Timestamp> {
        std::iter::successors(self.next_after(after), |at| self.next_after(*at))
    }

    /// The zone that it is meant in.
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// When the run of a due time starts: the due time itself, or later by as much of the jitter as falls to it. The
    /// part depends on nothing but the job and the due time, so it is the same after a restart and on every machine. It
    /// is less than the time until the next due time, so that no start is put off until another takes its place.
    pub fn start_of(&self, due: Timestamp) -> Timestamp {
        if self.jitter <= SignedDuration::ZERO {
            return due;
        }
        let limit = match self.next_after(due) {
            Some(next) => self.jitter.min(next.duration_since(due)),
            None => self.jitter,
        };
        let limit = u128::try_from(limit.as_millis()).unwrap_or(0);
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.seed).update(&due.as_second().to_le_bytes());
        let mut drawn = [0; 8];
        hasher.finalize_xof().fill(&mut drawn);
        // 64 bits of the hash spread over the jitter.
        let part = (u128::from(u64::from_le_bytes(drawn)) * limit) >> 64;
        let part = SignedDuration::from_millis(i64::try_from(part).unwrap_or(0));
        due.checked_add(part).unwrap_or(due)
    }
}

/// At most some centuries, which is enough for a calendar of ten thousand years.
fn signed(span: Span) -> SignedDuration {
    SignedDuration::try_from(span.duration()).unwrap_or(SignedDuration::MAX)
}
