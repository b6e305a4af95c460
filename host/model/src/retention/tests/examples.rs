//! What the rules mean, by example.

use super::*;
use crate::span::Span;

/// The outcome for backups of these times, oldest first, one line each.
fn outcome(times: &[&str], policy: Retention, zone: &str) -> Vec<String> {
    let candidates: Vec<Candidate> = (0..).zip(times).map(|(n, time)| good(n, at(time))).collect();
    words(&candidates, &terms(&policy, &TimeZone::get(zone).unwrap()))
}

fn words(candidates: &[Candidate], terms: &Terms<'_>) -> Vec<String> {
    let verdicts = decide(candidates, terms).verdicts;
    let line = |verdict: &Verdict| {
        let reasons: Vec<String> = verdict.reasons.iter().map(ToString::to_string).collect();
        let what = if verdict.keep { "keep" } else { "delete" };
        format!("{what}: {}", reasons.join(", "))
    };
    verdicts.iter().map(line).collect()
}

#[test]
fn each_rule_takes_the_newest_of_each_period_that_has_one() {
    let policy = Retention {
        keep_last: Some(1),
        keep_daily: Some(2),
        keep_weekly: Some(2),
        keep_monthly: Some(3),
        keep_yearly: Some(2),
        max_age: None,
    };
    let times = [
        "2024-12-31T03:00:00Z",
        "2025-02-01T03:00:00Z",
        "2026-09-01T03:00:00Z",
        "2026-09-02T03:00:00Z",
        "2026-11-14T03:00:00Z",
        "2026-11-20T03:00:00Z",
        "2026-11-21T03:00:00Z",
        "2026-11-21T09:00:00Z",
    ];
    assert_eq!(
        outcome(&times, policy, "UTC"),
        [
            "delete: no rule keeps it",
            "keep: monthly 2025-02, yearly 2025",
            "delete: no rule keeps it",
            "keep: monthly 2026-09",
            "keep: weekly 2026-W46",
            "keep: daily 2026-11-20",
            "delete: no rule keeps it",
            "keep: the last, daily 2026-11-21, weekly 2026-W47, monthly 2026-11, yearly 2026",
        ]
    );
}

#[test]
fn days_begin_at_midnight_in_the_zone_of_the_job() {
    let policy = || Retention {
        keep_daily: Some(9),
        ..Retention::default()
    };
    let times = ["2026-11-20T22:30:00Z", "2026-11-20T23:30:00Z"];
    assert_eq!(
        outcome(&times, policy(), "UTC"),
        ["delete: no rule keeps it", "keep: daily 2026-11-20"]
    );
    assert_eq!(
        outcome(&times, policy(), "Europe/Berlin"),
        ["keep: daily 2026-11-20", "keep: daily 2026-11-21"]
    );
}

#[test]
fn a_day_of_25_hours_is_one_day_even_if_it_begins_twice() {
    let policy = || Retention {
        keep_daily: Some(9),
        ..Retention::default()
    };
    let berlin = ["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"];
    assert_eq!(
        outcome(&berlin, policy(), "Europe/Berlin"),
        ["delete: no rule keeps it", "keep: daily 2026-10-25"]
    );
    // Clocks went back there from a minute past midnight, into the day before.
    let twice = [
        "2010-11-07T02:29:30Z",
        "2010-11-07T02:30:30Z",
        "2010-11-07T02:32:00Z",
        "2010-11-07T03:31:00Z",
    ];
    assert_eq!(
        outcome(&twice, policy(), "America/St_Johns"),
        [
            "delete: no rule keeps it",
            "delete: no rule keeps it",
            "keep: daily 2010-11-06",
            "keep: daily 2010-11-07",
        ]
    );
}

#[test]
fn weeks_are_those_of_iso_8601() {
    let policy = Retention {
        keep_weekly: Some(9),
        ..Retention::default()
    };
    // A Sunday, the Monday after it, and the last day of a year, which is in the first week of the next.
    let times = [
        "2024-12-29T03:00:00Z",
        "2024-12-30T03:00:00Z",
        "2024-12-31T03:00:00Z",
    ];
    assert_eq!(
        outcome(&times, policy, "UTC"),
        [
            "keep: weekly 2024-W52",
            "delete: no rule keeps it",
            "keep: weekly 2025-W01",
        ]
    );
}

#[test]
fn max_age_alone_keeps_what_is_younger_and_beside_other_rules_it_ends_them() {
    let alone = Retention {
        max_age: Some(Span::seconds(10 * 86_400)),
        ..Retention::default()
    };
    let times = [
        "2026-11-10T00:00:00Z",
        "2026-11-11T12:00:00Z",
        "2026-11-20T00:00:00Z",
    ];
    assert_eq!(
        outcome(&times, alone.clone(), "UTC"),
        [
            "delete: older than 10d",
            "keep: not older than 10d",
            "keep: not older than 10d",
        ]
    );
    let both = Retention {
        keep_last: Some(2),
        ..alone.clone()
    };
    assert_eq!(
        outcome(&times, both, "UTC"),
        [
            "delete: older than 10d",
            "keep: one of the last 2",
            "keep: one of the last 2",
        ]
    );
    assert_eq!(
        outcome(&times[..1], alone, "UTC"),
        ["keep: last good backup"],
        "the only one stays, however old"
    );
}

#[test]
fn a_backup_dated_in_the_future_takes_nobodys_place() {
    let policy = Retention {
        keep_last: Some(1),
        ..Retention::default()
    };
    let times = [
        "2026-11-19T00:00:00Z",
        "2026-11-20T00:00:00Z",
        "2099-01-01T00:00:00Z",
    ];
    assert_eq!(
        outcome(&times, policy.clone(), "UTC"),
        [
            "delete: no rule keeps it",
            "keep: the last",
            "keep: dated in the future",
        ]
    );
    // The clock of this machine went back: then nothing is old.
    let zone = TimeZone::UTC;
    let terms = Terms {
        now: at("1970-01-02T00:00:00Z"),
        ..terms(&policy, &zone)
    };
    let all: Vec<Candidate> = (0..).zip(times).map(|(n, time)| good(n, at(time))).collect();
    assert!(decide(&all, &terms).deletions.is_empty());
}

#[test]
fn what_has_not_passed_the_check_that_is_asked_for_takes_nobodys_place() {
    let policy = Retention {
        keep_last: Some(1),
        keep_daily: Some(2),
        ..Retention::default()
    };
    let zone = TimeZone::UTC;
    let mut terms = terms(&policy, &zone);
    let mut all: Vec<Candidate> = (0..5)
        .map(|n| good(n, at(&format!("2026-11-1{n}T00:00:00Z"))))
        .collect();
    all[0].verified = Some(true);
    all[1].verified = Some(true);
    all[2].verified = Some(true);
    all[4].verified = Some(false);
    terms.verification = true;
    assert_eq!(
        words(&all, &terms),
        [
            "delete: no rule keeps it",
            "keep: daily 2026-11-11",
            "keep: the last, daily 2026-11-12",
            "keep: the last, daily 2026-11-13, not verified, so not counted",
            "keep: the last, daily 2026-11-14, damaged, so not counted",
        ]
    );
    // Not asked for, only the damage counts against one.
    terms.verification = false;
    assert_eq!(
        words(&all, &terms)[..4],
        [
            "delete: no rule keeps it",
            "delete: no rule keeps it",
            "keep: daily 2026-11-12",
            "keep: the last, daily 2026-11-13",
        ]
    );
    // One that would go even if it were good goes.
    terms.verification = true;
    all[0].verified = None;
    assert_eq!(
        words(&all, &terms)[0],
        "delete: no rule keeps it, not verified, so not counted"
    );
}

#[test]
fn an_increment_on_a_damaged_base_is_not_good_and_keeps_its_base() {
    let policy = Retention {
        keep_last: Some(1),
        ..Retention::default()
    };
    let zone = TimeZone::UTC;
    let mut all: Vec<Candidate> = (0..4)
        .map(|n| good(n, at(&format!("2026-11-1{n}T00:00:00Z"))))
        .collect();
    all[1].verified = Some(false);
    all[2].base = Some(all[1].id);
    all[3].base = Some(all[2].id);
    assert_eq!(
        words(&all, &terms(&policy, &zone)),
        [
            "keep: the last",
            "keep: the last, damaged, so not counted",
            "keep: the last, its base is damaged or missing, so not counted",
            "keep: the last, its base is damaged or missing, so not counted",
        ]
    );
    // With a good one after them, all of the broken chain goes, the newest link first.
    all.push(good(4, at("2026-11-15T00:00:00Z")));
    assert_eq!(decide(&all, &terms(&policy, &zone)).deletions, [3, 2, 0, 1]);
    // A rule may still keep one of them, and with it what it builds on.
    let yearly = Retention {
        keep_yearly: Some(2),
        ..policy
    };
    all[2].created_at = at("2025-12-31T00:00:00Z");
    let base = format!("keep: base of {}", all[2].id);
    assert_eq!(words(&all, &terms(&yearly, &zone))[1], base);
}

#[test]
fn increments_go_before_what_they_build_on_even_if_a_clock_was_wrong() {
    let policy = Retention {
        keep_last: Some(1),
        ..Retention::default()
    };
    let zone = TimeZone::UTC;
    let mut all: Vec<Candidate> = (0..5)
        .map(|n| good(n, at(&format!("2026-11-1{n}T00:00:00Z"))))
        .collect();
    all[0].base = Some(all[1].id);
    all[1].base = Some(all[2].id);
    assert_eq!(decide(&all, &terms(&policy, &zone)).deletions, [0, 1, 2, 3]);
    all[1].base = None;
    all[3].base = Some(all[1].id);
    assert_eq!(decide(&all, &terms(&policy, &zone)).deletions, [0, 3, 1, 2]);
}

#[test]
fn a_circle_of_bases_is_not_followed_for_ever() {
    let policy = Retention {
        keep_last: Some(1),
        ..Retention::default()
    };
    let zone = TimeZone::UTC;
    let mut all: Vec<Candidate> = (0..3)
        .map(|n| good(n, at(&format!("2026-11-1{n}T00:00:00Z"))))
        .collect();
    all[0].base = Some(all[1].id);
    all[1].base = Some(all[0].id);
    assert_eq!(decide(&all, &terms(&policy, &zone)).deletions.len(), 2);
    all[2].base = Some(all[2].id);
    assert_eq!(decide(&all, &terms(&policy, &zone)).deletions.len(), 0);
}

#[test]
fn a_clock_that_jumps_ahead_or_a_long_pause_makes_nothing_too_old_unless_somebody_says_so() {
    let policy = Retention {
        max_age: Some("30d".parse().unwrap()),
        ..Retention::default()
    };
    let zone = TimeZone::UTC;
    let times = [
        "2026-11-01T00:00:00Z",
        "2026-11-02T00:00:00Z",
        "2030-01-01T00:00:00Z",
    ];
    let all: Vec<Candidate> = (0..).zip(times).map(|(n, time)| good(n, at(time))).collect();
    let later = Terms {
        now: at("2030-01-01T00:00:01Z"),
        after_gap: false,
        ..terms(&policy, &zone)
    };
    let decision = decide(&all, &later);
    assert!(decision.deletions.is_empty());
    assert_eq!(
        decision.verdicts[0].reasons,
        [Reason::Gap(policy.max_age.unwrap())]
    );
    let accepted = Terms {
        after_gap: true,
        ..later.clone()
    };
    assert_eq!(decide(&all, &accepted).deletions, [0, 1]);
    // Where there was a backup each day, age alone is enough.
    let steady: Vec<Candidate> = (0..60)
        .map(|n| {
            good(
                n,
                at("2030-01-01T00:00:00Z") - SignedDuration::from_hours(24 * n as i64),
            )
        })
        .collect();
    assert_eq!(decide(&steady, &later).deletions.len(), 30);
}
