//! Jobs run when they are due, and make up for what they missed as they say.

use std::process::Command;

use backstay_testkit::cli::Backstay;
use backstay_testkit::clock::Clock;
use backstay_testkit::tools;

use super::{Desk, LEAP_DAY, assert_none_doubled, stop};

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
fn damage_to_how_far_a_job_was_dealt_with_stops_neither_it_nor_another() {
    let (desk, clock) = at_noon("schedule: { cron: \"0 3 * * *\", timezone: UTC }");
    desk.job("weekly", "schedule: { cron: \"0 4 * * 0\", timezone: UTC }");
    clock.set("2026-05-02 02:00:00");
    stop(desk.serve(""));
    tools::require(&["sqlite3"]);
    let edited = Command::new("sqlite3")
        .arg(desk.backstay.data_dir().join("backstay.db"))
        .arg("UPDATE schedules SET considered_at = 'soon' WHERE job_id IN (SELECT id FROM jobs WHERE name = 'nightly')")
        .status()
        .unwrap();
    assert!(edited.success());
    clock.set("2026-05-03 09:00:00");
    let service = desk.serve("");
    desk.wait_for_status("nightly", "succeeded");
    desk.wait_for_status("weekly", "succeeded");
    stop(service);
    assert_none_doubled(&desk.runs());
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

#[test]
fn a_job_that_is_enabled_again_makes_up_for_nothing() {
    let daily = "schedule: { cron: \"0 3 * * *\", timezone: UTC }";
    let (desk, clock) = at_noon(daily);
    clock.set("2026-05-02 03:00:01");
    let service = desk.serve("");
    let runs = desk.wait_for_status("nightly", "succeeded");
    assert_eq!(runs[0]["dueAt"], "2026-05-02T03:00:00Z");
    desk.job("nightly", &format!("enabled: false\n{daily}"));
    // Time to be noticed.
    std::thread::sleep(std::time::Duration::from_millis(2500));
    stop(service);
    clock.set("2026-05-10 12:00:00");
    desk.job("nightly", daily);
    let service = desk.serve("");
    desk.job("other", "schedule: { every: 1s }");
    let runs = desk.wait_for_status("other", "succeeded");
    stop(service);
    let nightly = runs.iter().filter(|run| run["jobName"] == "nightly");
    assert_eq!(nightly.count(), 1, "{runs:#?}");
}

#[test]
fn what_came_late_in_the_queue_waits_for_its_window_and_gives_way_to_the_next_start() {
    let (desk, _clock) = at_noon(
        "schedule: { every: 2s, grace: 1s, missed: window, window: { from: \"22:00\", to: \"23:00\" } }",
    );
    desk.slow_job("slow", "schedule: { every: 1s }");
    let service = desk.serve("runs: { max: 1, shutdownTimeout: 0s }");
    desk.wait_for_status("slow", "transferring");
    desk.wait_for("a start that came before the window", |runs| {
        runs.iter().any(|run| {
            let said = run["error"]["message"].as_str().unwrap_or_default();
            run["jobName"] == "nightly"
                && run["status"] == "skipped"
                && said.contains("came before its window")
        })
    });
    let ran = |runs: &[serde_json::Value]| {
        let ran = |run: &&serde_json::Value| run["jobName"] == "nightly" && run["status"] == "succeeded";
        runs.iter().filter(ran).count()
    };
    let before = ran(&desk.runs());
    desk.slow_job("slow", LEAP_DAY);
    desk.backstay.run(&["cancel", "slow"]).ok();
    // What is on time runs at any hour.
    let runs = desk.wait_for("the next start", |runs| ran(runs) > before);
    stop(service);
    assert_none_doubled(&runs);
}

#[test]
fn a_due_run_whose_job_was_disabled_meanwhile_is_skipped() {
    let desk = Desk::new();
    desk.slow_job("slow", "schedule: { every: 1s }");
    let service = desk.serve("runs: { max: 1, shutdownTimeout: 0s }");
    desk.wait_for_status("slow", "transferring");
    for (job, more, why) in [
        (
            "disabled",
            "enabled: false\nschedule: { every: 1s }",
            "its job was disabled",
        ),
        ("by-hand", "", "its job was left without a schedule"),
    ] {
        desk.job(job, "schedule: { every: 1s }");
        desk.wait_for_status(job, "queued");
        desk.job(job, more);
        desk.wait_for("the end of what waited", |runs| {
            runs.iter().any(|run| {
                let said = run["error"]["message"].as_str().unwrap_or_default();
                run["jobName"] == job && run["status"] == "skipped" && said.contains(why)
            })
        });
    }
    stop(service);
}
