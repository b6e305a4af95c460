//! What holds for every schedule.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use proptest::sample::select;

use super::timetable;
use crate::schedule::{Cron, Decision, Missed, Schedule};
use crate::span::Span;

const ZONES: [&str; 8] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Africa/Casablanca",
    "America/Sao_Paulo",
    "Asia/Kathmandu",
    "Pacific/Apia",
];

fn field(low: u32, high: u32) -> impl Strategy<Value = String> {
    let number = low..=high;
    prop_oneof![
        3 => Just("*".to_owned()),
        2 => number.clone().prop_map(|n| n.to_string()),
        1 => (2..=high).prop_map(|step| format!("*/{step}")),
        1 => (number.clone(), number.clone()).prop_map(|(a, b)| format!("{}-{}", a.min(b), a.max(b))),
        1 => (number.clone(), number).prop_map(|(a, b)| format!("{a},{b}")),
    ]
}

/// Expressions that match some day; day numbers stay below 29 so that all do.
fn expression() -> impl Strategy<Value = String> {
    let seconds = prop_oneof![3 => Just(String::new()), 1 => field(0, 59).prop_map(|f| f + " ")];
    let days = (field(1, 28), field(1, 12), field(0, 7));
    (seconds, field(0, 59), field(0, 23), days)
        .prop_map(|(s, m, h, (dom, month, dow))| format!("{s}{m} {h} {dom} {month} {dow}"))
        .prop_filter("matches no day", |line| line.parse::<Cron>().is_ok())
}

fn instant() -> impl Strategy<Value = Timestamp> {
    // 2005 to 2045, with parts of a second.
    (1_104_537_600_000i64..2_366_841_600_000).prop_map(|ms| Timestamp::from_millisecond(ms).unwrap())
}

/// Whether a time on the clock is one that the expression names, read field by field from the text.
fn names(expression: &str, at: Timestamp, zone: &TimeZone) -> bool {
    let mut fields: Vec<&str> = expression.split(' ').collect();
    if fields.len() == 5 {
        fields.insert(0, "0");
    }
    let local = zone.to_datetime(at);
    let has = |index: usize, low: i64, number: i64| {
        fields[index]
            .split(',')
            .any(|part| match part.split_once(['-', '/']) {
                Some(("*", step)) => (number - low) % step.parse::<i64>().unwrap() == 0,
                Some((a, b)) => a.parse::<i64>().unwrap() <= number && number <= b.parse().unwrap(),
                None => part == "*" || part.parse::<i64>().unwrap() == number,
            })
    };
    let weekday = i64::from(local.weekday().to_sunday_zero_offset());
    let day = has(3, 1, local.day().into());
    let week = has(5, 0, weekday) || (weekday == 0 && has(5, 0, 7) && !fields[5].contains('/'));
    let free = fields[3].starts_with('*') || fields[5].starts_with('*');
    has(0, 0, local.second().into())
        && has(1, 0, local.minute().into())
        && has(2, 0, local.hour().into())
        && has(4, 1, local.month().into())
        && if free { day && week } else { day || week }
}

/// Whether clocks were just put forward, so that skipped times start now.
fn follows_a_gap(at: Timestamp, zone: &TimeZone) -> bool {
    let before = at - SignedDuration::from_secs(1);
    zone.to_offset(at).seconds() > zone.to_offset(before).seconds()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]

    #[test]
    fn due_times_come_after_in_order_never_twice_and_are_named(
        line in expression(), zone in select(&ZONES[..]), from in instant(),
    ) {
        let timetable = timetable(&Schedule::cron(&line, Some(zone)));
        let mut before = from;
        for due in timetable.upcoming(from).take(8) {
            prop_assert!(due > before, "{due} after {before}");
            prop_assert_eq!(due.subsec_nanosecond(), 0);
            prop_assert!(names(&line, due, timetable.zone()) || follows_a_gap(due, timetable.zone()), "{due}");
            before = due;
        }
    }

    #[test]
    fn no_instant_that_is_named_is_left_out_of_fields_that_follow_the_clock(
        line in expression(), zone in select(&ZONES[..]), from in instant(),
    ) {
        prop_assume!(line.parse::<Cron>().unwrap().follows_the_clock());
        let timetable = timetable(&Schedule::cron(&line, Some(zone)));
        let start = Timestamp::from_second(from.as_second()).unwrap();
        let named = (1..3000).map(|s| start + SignedDuration::from_secs(s)).find(|at| names(&line, *at, timetable.zone()));
        let next = timetable.next_after(start).filter(|next| *next < start + SignedDuration::from_secs(3000));
        prop_assert_eq!(next, named);
    }

    #[test]
    fn from_any_instant_before_it_the_next_is_the_same(
        line in expression(), zone in select(&ZONES[..]), from in instant(), part in 0.0..1.0f64,
    ) {
        let timetable = timetable(&Schedule::cron(&line, Some(zone)));
        let next = timetable.next_after(from).unwrap();
        let between = from + next.duration_since(from).mul_f64(part);
        prop_assume!(between < next);
        prop_assert_eq!(timetable.next_after(between), Some(next));
    }

    #[test]
    fn a_job_of_every_day_starts_once_on_each_day(
        minute in 0..1440u32, zone in select(&ZONES[..7]), from in instant(),
    ) {
        let line = format!("{} {} * * *", minute % 60, minute / 60);
        let timetable = timetable(&Schedule::cron(&line, Some(zone)));
        let days: Vec<_> = timetable.upcoming(from).take(400).map(|due| timetable.zone().to_datetime(due).date()).collect();
        for pair in days.windows(2) {
            prop_assert_eq!(pair[0].tomorrow().unwrap(), pair[1]);
        }
    }

    #[test]
    fn jitter_stays_within_its_limit_and_is_the_same_each_time(seconds in 0..86_400u64, due in instant()) {
        let schedule = Schedule { jitter: Span::seconds(seconds), ..Schedule::cron("* * * * *", None) };
        let (one, other) = (timetable(&schedule), timetable(&schedule));
        let start = one.start_of(due);
        prop_assert_eq!(start, other.start_of(due));
        prop_assert!(start >= due && start.duration_since(due).as_secs() <= i64::try_from(seconds).unwrap());
        prop_assert!(one.next_after(due).is_none_or(|next| start < next), "another start takes its place");
    }

    #[test]
    fn whatever_the_clock_does_no_due_time_is_run_for_too_early_or_passed_over(
        line in expression(), zone in select(&ZONES[..]), start in instant(),
        moves in prop::collection::vec(-100_000i64..300_000, 1..40),
        jitter in 0..600u64, missed in select(&[Missed::RunOnce, Missed::Skip][..]),
    ) {
        let schedule = Schedule { jitter: Span::seconds(jitter), missed, ..Schedule::cron(&line, Some(zone)) };
        let timetable = timetable(&schedule);
        let (mut now, mut considered) = (start, start);
        for step in moves {
            now += SignedDuration::from_secs(step);
            considered = considered.min(now);
            match timetable.decide(considered, now) {
                Decision::Run { due, missed_since } => {
                    prop_assert!(timetable.start_of(due) <= now);
                    prop_assert!(missed_since.is_none_or(|first| first <= due));
                    prop_assert!(due > considered);
                    if step < 0 {
                        prop_assert!(false, "nothing is due just because the clock was put back");
                    }
                    considered = due;
                }
                Decision::Skip { due, .. } => {
                    prop_assert!(missed == Missed::Skip && due > considered && due <= now);
                    considered = due;
                }
                Decision::Wait(until) => {
                    prop_assert!(until.is_none_or(|until| until > now));
                    // Nothing has passed unnoticed.
                    let next = timetable.next_after(considered);
                    prop_assert!(next.is_none_or(|next| timetable.start_of(next) > now));
                }
            }
        }
    }
}
