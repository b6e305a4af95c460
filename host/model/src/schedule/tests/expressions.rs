//! Which expressions are taken, and what is said about the others.

use std::fmt::Write as _;

use super::{Schedule, at, timetable};
use crate::schedule::{Cron, Missed, TimeOfDay, Window};
use crate::span::Span;

#[test]
fn ordinary_crontab_lines_are_accepted() {
    for line in [
        "*/5 * * * *",
        "0 3 * * *",
        "0 0 * * 0",
        "0 0 * * 7",
        "0 0 * * SUN",
        "0 0 * * sunday",
        "0 0 * * fri-sun",
        "0 0 * * 5-7",
        "30 4 1,15 * 5",
        "30 4 ? * 5",
        "@daily",
        "@Daily",
        "0 0 3 * * *",
        "0-30/10 9-17 * jan-mar mon-fri",
        "  0   3 * * *  ",
    ] {
        assert!(line.parse::<Cron>().is_ok(), "{line}");
    }
}

#[test]
fn what_is_wrong_with_an_expression_is_named() {
    let mut said = String::new();
    for line in [
        "",
        "* * * *",
        "* * * * * * *",
        "61 * * * *",
        "0 24 * * *",
        "0 3 0 * *",
        "0 3 * 13 *",
        "0 3 * * bogus",
        "0 3 * * 8",
        "0 3 * * 5-2",
        "0 3 * * 1-5/0",
        "*/0 * * * *",
        "5-1 * * * *",
        "1,,2 * * * *",
        "60 0 3 * * *",
        "0 3 * * +1",
        "@sometimes",
        "@reboot",
        "0 0 30 2 *",
        "0 0 31 2,4,6,9,11 *",
    ] {
        let problem = line.parse::<Cron>().unwrap_err();
        writeln!(said, "{line:22} {problem}").unwrap();
    }
    insta::assert_snapshot!(said);
}

#[test]
fn an_impossible_date_is_possible_with_a_day_of_the_week() {
    let schedule = Schedule::cron("0 0 30 2 1", Some("UTC"));
    let next = timetable(&schedule).next_after(at("2026-02-01T00:00:00Z"));
    assert_eq!(next, Some(at("2026-02-02T00:00:00Z")));
}

#[test]
fn all_that_is_wrong_with_a_schedule_is_said_at_once() {
    let time = |text: &str| text.parse::<TimeOfDay>().unwrap();
    let base = Schedule::cron("0 3 * * *", None);
    let window = Window {
        from: time("22:00"),
        to: time("22:00"),
    };
    let schedules = [
        Schedule {
            cron: None,
            ..base.clone()
        },
        Schedule {
            every: Some(Span::seconds(60)),
            timezone: Some("Mars/Olympus".into()),
            grace: Span::seconds(0),
            jitter: Span::seconds(61),
            missed: Missed::Window,
            ..base.clone()
        },
        Schedule {
            cron: None,
            every: Some("1500ms".parse().unwrap()),
            window: Some(window),
            ..base.clone()
        },
        Schedule {
            cron: Some("0 0 30 2 *".into()),
            jitter: Span::seconds(90_000),
            missed: Missed::Window,
            window: Some(window),
            ..base
        },
    ];
    let said = schedules.iter().map(|schedule| {
        let found = schedule.check("/schedule");
        found
            .iter()
            .map(|d| format!("{d} [{}]\n", d.code))
            .collect::<String>()
    });
    insta::assert_snapshot!(said.collect::<Vec<_>>().join("\n"));
}

#[test]
fn the_calendar_ends_without_a_panic() {
    for line in ["0 0 29 2 *", "* * * * * *", "30 2 * * *"] {
        for zone in [
            "UTC",
            "Europe/Berlin",
            "Pacific/Kiritimati",
            "America/Los_Angeles",
        ] {
            let timetable = timetable(&Schedule::cron(line, Some(zone)));
            for start in [jiff::Timestamp::MAX, at("9999-12-30T21:30:00Z")] {
                assert!(timetable.upcoming(start).take(400_000).all(|due| due > start));
            }
            assert!(timetable.next_after(jiff::Timestamp::MIN).is_some());
        }
    }
}

#[test]
fn an_interval_counts_from_when_the_job_was_made() {
    let schedule = Schedule {
        cron: None,
        every: Some(Span::seconds(6 * 3600)),
        ..Schedule::cron("", None)
    };
    let made = at("2026-03-28T10:30:00Z");
    let timetable = schedule.timetable(made, [0; 16]).unwrap();
    let next = |from: &str| timetable.next_after(at(from)).unwrap().to_string();
    assert_eq!(next("2026-03-28T10:30:00Z"), "2026-03-28T16:30:00Z");
    assert_eq!(next("2026-03-28T16:29:59.5Z"), "2026-03-28T16:30:00Z");
    // Before it was made nothing was due, and clocks that are changed don't matter.
    assert_eq!(next("2020-01-01T00:00:00Z"), "2026-03-28T16:30:00Z");
    assert_eq!(next("2026-03-29T00:00:00Z"), "2026-03-29T04:30:00Z");
}
