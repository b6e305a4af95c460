//! Schedules: expressions, days on which clocks are changed, missed starts.

mod decisions;
mod expressions;
mod properties;

use jiff::Timestamp;

use super::{Schedule, Timetable};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn timetable(schedule: &Schedule) -> Timetable {
    schedule.timetable(at("2026-01-01T00:00:00Z"), [7; 16]).unwrap()
}

fn daily(zone: &str) -> Schedule {
    Schedule::cron("0 3 * * *", Some(zone))
}
