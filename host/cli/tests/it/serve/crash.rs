//! Whenever the service is killed, no due run is lost and none runs twice.

use std::time::Duration;

use super::{Desk, LEAP_DAY, assert_none_doubled, stop};

#[test]
fn killed_again_and_again_it_loses_no_due_run_and_doubles_none() {
    let desk = Desk::new();
    desk.job("often", "schedule: { cron: \"* * * * * *\" }");
    let mut before = 0;
    for pause in [700, 1234, 321, 900, 1510, 555] {
        let mut service = desk.serve("");
        std::thread::sleep(Duration::from_millis(pause));
        service.kill();
        let runs = desk.runs();
        assert_none_doubled(&runs);
        assert!(runs.len() >= before, "a run is gone");
        before = runs.len();
    }
    assert!(before > 0, "it never came so far");
    let service = desk.serve("");
    let runs = desk.wait_for("another run", |runs| {
        runs.len() > before && runs.iter().skip(before).any(|run| run["status"] == "succeeded")
    });
    stop(service);
    assert_none_doubled(&runs);
    for run in desk.runs() {
        let status = run["status"].as_str().unwrap();
        assert!(
            ["succeeded", "interrupted", "skipped", "queued"].contains(&status),
            "{run:#}"
        );
    }
}

#[test]
fn what_waits_in_the_queue_outlives_the_service() {
    let desk = Desk::new();
    desk.slow_job("slow", "schedule: { every: 1s }");
    let mut service = desk.serve("runs: { max: 1 }");
    desk.wait_for_status("slow", "transferring");
    desk.job("patient", "schedule: { every: 1s }");
    let waiting = desk.wait_for_status("patient", "queued");
    let waiting = waiting
        .iter()
        .find(|run| run["jobName"] == "patient" && run["status"] == "queued")
        .unwrap();
    service.kill();
    // Nothing else is due from here on, and nothing is in its way.
    desk.slow_job("slow", "");
    desk.job("patient", LEAP_DAY);
    let service = desk.serve("runs: { shutdownTimeout: 0s }");
    desk.wait_for("the run that waited", |runs| {
        runs.iter()
            .any(|run| run["id"] == waiting["id"] && run["status"] == "succeeded")
    });
    stop(service);
    let runs = desk.runs();
    assert!(
        runs.iter()
            .any(|run| run["jobName"] == "slow" && run["status"] == "interrupted"),
        "{runs:#?}"
    );
}
