//! Runs are ended politely: by a signal to the service, or by `cancel`, wherever they run.

use super::{Desk, LEAP_DAY, stop};

const NOW: &str = "schedule: { every: 1s }";

#[test]
fn a_signal_lets_runs_end_and_cancels_those_that_take_too_long() {
    let desk = Desk::new();
    desk.slow_job("slow", NOW);
    let service = desk.serve("runs: { shutdownTimeout: 1s }");
    desk.wait_for_status("slow", "transferring");
    let said = stop(service);
    let runs = desk.runs();
    let cancelled = runs.iter().find(|run| run["status"] == "cancelled").unwrap();
    assert_eq!(
        cancelled["error"]["message"],
        "cancelled, because the host was shut down"
    );
    assert!(
        said.contains("SIGTERM: no new runs, those under way may end"),
        "{said}"
    );
    assert_eq!(
        std::fs::read_dir(desk.file("place")).unwrap().count(),
        0,
        "something was left"
    );
}

#[test]
fn cancel_ends_what_runs_and_what_waits() {
    let desk = Desk::new();
    desk.slow_job("first", NOW);
    let service = desk.serve("runs: { max: 1 }");
    desk.wait_for_status("first", "transferring");
    desk.slow_job("second", NOW);
    let runs = desk.wait_for_status("second", "queued");
    assert!(
        runs.iter()
            .all(|run| run["jobName"] == "first" || run["status"] != "transferring")
    );
    let shown = desk.backstay.json(&["job", "show", "first"]);
    assert!(shown["currentRunId"].is_string(), "{shown}");
    // Nothing new, so that what was cancelled stays the last of it.
    for job in ["first", "second"] {
        desk.slow_job(job, LEAP_DAY);
    }
    std::thread::sleep(std::time::Duration::from_millis(1500));
    for job in ["second", "first"] {
        let ended = desk.backstay.json(&["cancel", job]);
        let ended = ended.as_array().unwrap();
        assert!(
            !ended.is_empty() && ended.iter().all(|run| run["status"] == "cancelled"),
            "{ended:#?}"
        );
    }
    let again = desk.backstay.run(&["cancel", "first"]).code(2);
    assert!(
        again.stderr.contains("no run of the job `first` is under way"),
        "{}",
        again.stderr
    );
    stop(service);
    let runs = desk.runs();
    let waited = runs
        .iter()
        .find(|run| run["jobName"] == "second" && run["status"] == "cancelled")
        .unwrap();
    assert_eq!(
        waited["error"]["message"],
        "somebody cancelled it while it waited for its turn"
    );
    assert!(runs.iter().all(|run| run["finishedAt"].is_string()), "{runs:#?}");
}

#[test]
fn cancel_ends_a_run_of_the_command_line_and_undoes_it() {
    let desk = Desk::new();
    desk.slow_job("slow", "");
    let running = desk.backstay.spawn(&["run", "slow", "--json"]);
    let runs = desk.wait_for_status("slow", "transferring");
    let id = runs[0]["id"].as_str().unwrap();
    desk.backstay.run(&["cancel", id]).ok();
    let said = running.wait();
    assert_eq!(
        said.json()["error"]["message"],
        "somebody cancelled it",
        "{}",
        said.stderr
    );
    assert_eq!(
        std::fs::read_dir(desk.file("place")).unwrap().count(),
        0,
        "something was left"
    );
    let again = desk.backstay.run(&["cancel", id]).code(2);
    assert!(
        again.stderr.contains("has ended before, as cancelled"),
        "{}",
        again.stderr
    );
}

#[test]
fn one_service_runs_on_a_data_directory() {
    let desk = Desk::new();
    desk.job("often", NOW);
    let service = desk.serve("");
    desk.wait_for_status("often", "succeeded");
    let pid = service.pid();
    let second = desk.backstay.run(&["serve"]).code(3);
    let words = format!("a daemon (process {pid}) runs on the data directory");
    assert!(second.stderr.contains(&words), "{}", second.stderr);
    stop(service);
    let third = desk.serve("");
    let runs = desk.runs().len();
    desk.wait_for("the next run", |now| now.len() > runs);
    stop(third);
}
