//! Due times against a table that an independent implementation made, see `make_schedules.py`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use backstay_model::schedule::Schedule;
use jiff::{SignedDuration, Timestamp};

#[test]
fn due_times_are_those_of_croniter_and_zoneinfo() {
    let table = include_str!("schedules.tsv");
    let mut wrong = Vec::new();
    for line in table.lines() {
        let [expression, zone, start, steps] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("not four columns: {line}");
        };
        let start: Timestamp = start.parse().unwrap();
        let mut at = start;
        let expected: Vec<Timestamp> = steps
            .split(' ')
            .map(|step| {
                at += SignedDuration::from_secs(step.parse().unwrap());
                at
            })
            .collect();
        let timetable = Schedule::cron(expression, Some(zone))
            .timetable(start, [0; 16])
            .unwrap();
        let found: Vec<Timestamp> = timetable.upcoming(start).take(expected.len()).collect();
        if found != expected {
            wrong.push(format!(
                "{expression} in {zone} from {start}:\n  {found:?}\n  not {expected:?}"
            ));
        }
    }
    assert!(table.lines().count() >= 300);
    assert!(wrong.is_empty(), "{} lines:\n{}", wrong.len(), wrong.join("\n"));
}
