//! What becomes of due times when the host sleeps, is off, or its clock jumps.

use super::{Schedule, at, daily, timetable};
use crate::schedule::{Decision, Missed, Window};
use crate::span::Span;

/// What `schedule` decides, as one line.
fn decide(schedule: &Schedule, considered: &str, now: &str) -> String {
    match timetable(schedule).decide(at(considered), at(now)) {
        Decision::Wait(until) => format!("wait until {}", until.unwrap()),
        Decision::Run { due, missed_since } => match missed_since {
            None => format!("run {due}"),
            Some(first) => format!("run {due} missed since {first}"),
        },
        Decision::Skip { due, missed_since } => format!("skip {due} missed since {missed_since}"),
    }
}

#[test]
fn on_time_and_within_the_grace_it_runs() {
    let daily = daily("UTC");
    let considered = "2026-05-01T03:00:00Z";
    let check = |now: &str, expected: &str| assert_eq!(decide(&daily, considered, now), expected, "{now}");
    check("2026-05-02T02:59:59.999Z", "wait until 2026-05-02T03:00:00Z");
    check("2026-05-02T03:00:00Z", "run 2026-05-02T03:00:00Z");
    check("2026-05-02T03:05:00Z", "run 2026-05-02T03:00:00Z");
    check(
        "2026-05-02T03:05:00.001Z",
        "run 2026-05-02T03:00:00Z missed since 2026-05-02T03:00:00Z",
    );
}

#[test]
fn after_a_week_off_it_runs_once_or_waits_for_the_next() {
    let (considered, now) = ("2026-05-01T03:00:00Z", "2026-05-08T12:00:00Z");
    let once = daily("UTC");
    assert_eq!(
        decide(&once, considered, now),
        "run 2026-05-08T03:00:00Z missed since 2026-05-02T03:00:00Z"
    );
    assert_eq!(
        decide(&once, "2026-05-08T03:00:00Z", now),
        "wait until 2026-05-09T03:00:00Z"
    );
    let skip = Schedule {
        missed: Missed::Skip,
        ..once
    };
    assert_eq!(
        decide(&skip, considered, now),
        "skip 2026-05-08T03:00:00Z missed since 2026-05-02T03:00:00Z"
    );
    // The one that is on time runs, whatever was missed before.
    assert_eq!(
        decide(&skip, considered, "2026-05-08T03:01:00Z"),
        "run 2026-05-08T03:00:00Z missed since 2026-05-02T03:00:00Z"
    );
}

#[test]
fn in_a_window_it_makes_up_for_what_it_missed() {
    let window = Window {
        from: "22:00".parse().unwrap(),
        to: "06:00".parse().unwrap(),
    };
    let schedule = Schedule {
        missed: Missed::Window,
        window: Some(window),
        ..daily("Europe/Berlin")
    };
    let considered = "2026-05-01T01:00:00Z";
    let check = |now: &str, expected: &str| assert_eq!(decide(&schedule, considered, now), expected, "{now}");
    let late = "run 2026-05-02T01:00:00Z missed since 2026-05-02T01:00:00Z";
    check("2026-05-02T03:59:59Z", late);
    check("2026-05-02T04:00:00Z", "wait until 2026-05-02T20:00:00Z");
    check("2026-05-02T20:00:00Z", late);
    // The next due time comes before the window opens, or counts instead.
    let noon = Schedule {
        cron: Some("0 12 * * *".into()),
        window: Some(Window {
            from: "13:00".parse().unwrap(),
            to: "14:00".parse().unwrap(),
        }),
        ..schedule.clone()
    };
    assert_eq!(
        decide(&noon, "2026-05-01T10:00:00Z", "2026-05-02T13:00:00Z"),
        "wait until 2026-05-03T10:00:00Z"
    );
}

#[test]
fn a_clock_that_jumps_by_years_neither_stops_nor_floods_it() {
    let each_second = Schedule::cron("* * * * * *", Some("UTC"));
    assert_eq!(
        decide(&each_second, "1970-01-01T00:00:00Z", "2026-05-01T00:00:00Z"),
        "run 2026-05-01T00:00:00Z missed since 1970-01-01T00:00:01Z"
    );
    assert_eq!(
        decide(&daily("UTC"), "2099-01-01T00:00:00Z", "2026-05-01T00:00:00Z"),
        "wait until 2026-05-01T03:00:00Z"
    );
    assert_eq!(
        decide(&daily("UTC"), "2026-05-01T03:00:00Z", "1970-01-01T00:00:00Z"),
        "wait until 1970-01-01T03:00:00Z"
    );
}

#[test]
fn jitter_puts_the_start_off_and_grace_counts_from_there() {
    let schedule = Schedule {
        jitter: Span::seconds(3600),
        missed: Missed::Skip,
        grace: Span::seconds(1),
        ..daily("UTC")
    };
    let due = at("2026-05-02T03:00:00Z");
    let start = timetable(&schedule).start_of(due);
    assert!(start > due, "drawn from this seed");
    let considered = "2026-05-01T03:00:00Z";
    assert_eq!(
        decide(&schedule, considered, "2026-05-02T03:00:00Z"),
        format!("wait until {start}")
    );
    assert_eq!(
        decide(&schedule, considered, &start.to_string()),
        format!("run {due}")
    );
}

#[test]
fn a_jitter_of_hours_leaves_a_job_of_each_minute_its_starts() {
    let schedule = Schedule {
        jitter: Span::seconds(6 * 3600),
        ..Schedule::cron("* * * * *", Some("UTC"))
    };
    let start = timetable(&schedule).start_of(at("2026-05-01T03:00:00Z"));
    assert!(start < at("2026-05-01T03:01:00Z"), "{start}");
    let decided = decide(&schedule, "2026-05-01T02:59:00Z", "2026-05-01T03:00:59.999Z");
    assert_eq!(decided, "run 2026-05-01T03:00:00Z");
}

#[test]
fn what_became_late_in_the_queue_starts_inside_its_window_only() {
    let schedule = Schedule {
        missed: Missed::Window,
        window: Some(Window {
            from: "22:00".parse().unwrap(),
            to: "06:00".parse().unwrap(),
        }),
        ..Schedule::cron("0 12 * * *", Some("UTC"))
    };
    let check = |schedule: &Schedule, now: &str, expected: bool| {
        let may_start = timetable(schedule).may_start(at("2026-05-01T12:00:00Z"), at(now));
        assert_eq!(may_start, expected, "{now}");
    };
    check(&schedule, "2026-05-01T12:05:00Z", true);
    check(&schedule, "2026-05-01T12:05:01Z", false);
    check(&schedule, "2026-05-01T21:59:59Z", false);
    check(&schedule, "2026-05-01T22:00:00Z", true);
    check(&schedule, "2026-05-02T06:00:00Z", false);
    let once = Schedule {
        missed: Missed::RunOnce,
        window: None,
        ..schedule
    };
    check(&once, "2026-05-01T21:59:59Z", true);
}
