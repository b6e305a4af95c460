//! Jobs run when they are due, and make up for what they missed as they say.

use backstay_testkit::cli::Backstay;
use backstay_testkit::clock::Clock;

use super::{Desk, assert_none_doubled, stop};

#[test]
fn a_job_of_each_second_runs_each_second_and_a_new_job_is_noticed() {
    let desk = Desk::new();
    let service = desk.serve("");
    desk.job("often", "schedule: { cron: \"* * * * * *\" }");
    desk.job("by-hand", "");
    let ended =
        |runs: &[serde_json::Value]| runs.iter().filter(|run| run["status"] == "succeeded").count() >= 3;
    let runs = desk.wait_for("three runs", ended);
    for run in &runs {
        assert_eq!(
            (run["jobName"].as_str(), run["reason"].as_str()),
            (Some("often"), Some("schedule")),
            "{run}"
        );
    }
    // A change is noticed as well: from now on nothing more is due.
    desk.job("often", "enabled: false\nschedule: { cron: \"* * * * * *\" }");
    std::thread::sleep(std::time::Duration::from_millis(2500));
    let before = desk.runs().len();
    std::thread::sleep(std::time::Duration::from_millis(1500));
    let after = desk.wait_for("all runs to end", |runs| {
        runs.iter().all(|run| run["finishedAt"].is_string())
    });
    assert_eq!(after.len(), before, "it went on");
    stop(service);
    assert_none_doubled(&after);
}

/// A clock that the test sets, and a job that was applied on 1 May at noon.
fn at_noon(schedule: &str) -> (Desk, Clock) {
    let (backstay, clock) = Clock::of(Backstay::new(env!("CARGO_BIN_EXE_backstay")));
    clock.set("2026-05-01 12:00:00");
    let desk = Desk::of(backstay);
    desk.job("nightly", schedule);
    (desk, clock)
}

#[test]
fn after_days_off_it_runs_once_and_not_again() {
    let (desk, clock) = at_noon("schedule: { cron: \"0 3 * * *\", timezone: UTC }");
    for _ in 0..2 {
        clock.set("2026-05-04 09:00:00");
        let service = desk.serve("");
        let runs = desk.wait_for_status("nightly", "succeeded");
        stop(service);
        assert_eq!(runs.len(), 1, "{runs:#?}");
        assert_eq!(runs[0]["dueAt"], "2026-05-04T03:00:00Z");
        assert_eq!(runs[0]["reason"], "missed");
    }
    let said = desk.backstay.run(&["logs", "nightly"]).ok().stdout;
    assert!(
        said.contains("makes up for what was due since 2026-05-02T03:00:00Z"),
        "{said}"
    );
}

#[test]
fn a_clock_that_is_put_back_neither_stops_it_nor_doubles_a_run() {
    let (desk, clock) = at_noon("schedule: { cron: \"*/2 * * * * *\", timezone: UTC }");
    let mut before = 0;
    // To the same moment again, then to another day.
    for now in [
        "2026-05-04 09:00:00",
        "2026-05-04 09:00:00",
        "2026-05-02 09:00:00",
    ] {
        clock.set(now);
        let service = desk.serve("");
        let runs = desk.wait_for("two more runs", |runs| runs.len() >= before + 2);
        stop(service);
        assert_none_doubled(&runs);
        before = desk.runs().len();
    }
}

#[test]
fn what_was_missed_is_skipped_or_made_up_for_in_a_window() {
    let (desk, clock) = at_noon("schedule: { cron: \"0 3 * * *\", timezone: UTC, missed: skip }");
    let window = "window: { from: \"22:00\", to: \"23:00\" }";
    desk.job(
        "later",
        &format!("schedule: {{ cron: \"0 3 * * *\", timezone: UTC, missed: window, {window} }}"),
    );
    clock.set("2026-05-04 09:00:00");
    let service = desk.serve("");
    let runs = desk.wait_for_status("nightly", "skipped");
    stop(service);
    assert_eq!(runs.len(), 1, "{runs:#?}");
    assert_eq!(runs[0]["dueAt"], "2026-05-04T03:00:00Z");
    assert_eq!(
        runs[0]["error"]["message"],
        "it was due at 2026-05-04T03:00:00Z and missed"
    );
    clock.set("2026-05-04 22:00:00");
    let service = desk.serve("");
    let runs = desk.wait_for_status("later", "succeeded");
    stop(service);
    assert_eq!(
        (runs.len(), &runs[1]["reason"]),
        (2, &"missed".into()),
        "{runs:#?}"
    );
}
