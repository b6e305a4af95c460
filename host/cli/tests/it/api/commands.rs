//! Commands and the service: `run` and `cancel` go through it while it runs, show the same as without, and neither is fooled by a
//! run that is dead or began before.

use std::fs;
use std::thread;

use backstay_testkit::cli::Running;
use backstay_testkit::process::wait_until;
use serde_json::{Value, json};

use super::lab::{Lab, PATIENCE};

#[test]
fn a_preview_is_the_same_by_the_interface_by_the_command_and_without_a_service() {
    let mut lab = Lab::new();
    let mut spec = lab.spec("documents");
    spec["source"]["config"]["stream"] = false.into();
    lab.backstay.apply(&spec.to_string()).ok();
    lab.backstay.run(&["run", "documents"]).ok();
    fs::write(lab.file("small/more"), "12345").unwrap();
    let preview = lab.local("POST /api/v1/jobs/documents/preview").json(200);
    assert_eq!(
        preview["destinations"][0]["new"],
        json!({ "entries": 1, "bytes": 5 })
    );
    assert_eq!(
        preview["destinations"][0]["changes"][0]["path"], "more",
        "{preview}"
    );
    let args = ["run", "documents", "--dry-run"];
    assert_eq!(lab.backstay.json(&args), preview);
    let text = lab.backstay.run(&args).ok().stdout;
    // A source that has to act first is refused in the same words.
    lab.backstay.secret("none", "x");
    let mut acts = lab.spec("acts");
    acts["source"] = json!({ "plugin": "database", "config": {
        "engine": "sqlite", "path": lab.backstay.data_dir().join("backstay.db"),
    } });
    lab.backstay.apply(&acts.to_string()).ok();
    let problem = lab
        .local("POST /api/v1/jobs/acts/preview")
        .problem(409, "conflict");
    let refused = lab.backstay.run(&["run", "acts", "--dry-run"]).code(2).stderr;
    for part in ["detail", "hint"] {
        assert!(
            refused.contains(problem[part].as_str().unwrap()),
            "{refused}\n{problem}"
        );
    }
    // A source that is gone is gone, until somebody brings it back: nothing is gained by asking again soon.
    let mut gone = lab.spec("gone");
    gone["source"]["config"]["path"] = json!(lab.file("gone"));
    fs::create_dir(lab.file("gone")).unwrap();
    lab.backstay.apply(&gone.to_string()).ok();
    fs::remove_dir(lab.file("gone")).unwrap();
    let reply = lab.local("POST /api/v1/jobs/gone/preview");
    let problem = reply.problem(409, "conflict");
    assert!(problem["detail"].as_str().unwrap().contains("gone"), "{problem}");
    assert_eq!(reply.header("retry-after"), None);
    assert_eq!(lab.backstay.json(&["runs"]).as_array().unwrap().len(), 1);
    lab.service.kill();
    assert_eq!(lab.backstay.json(&args), preview);
    assert_eq!(lab.backstay.run(&args).ok().stdout, text);
    assert_eq!(
        lab.backstay.run(&["run", "acts", "--dry-run"]).code(2).stderr,
        refused
    );
}

#[test]
fn commands_go_through_the_service_and_print_the_same() {
    let lab = Lab::new();
    lab.job("documents");
    let through = lab.backstay.run(&["run", "documents", "--json"]).ok();
    let shape = |value: &Value| {
        let mut keys: Vec<String> = value.as_object().unwrap().keys().cloned().collect();
        keys.sort();
        keys
    };
    let text = lab.backstay.run(&["run", "documents"]).ok();
    assert!(
        text.stdout
            .starts_with("backup of documents: succeeded\n  backup       "),
        "{}",
        text.stdout
    );
    assert!(
        text.stderr.contains("host: waits for its turn"),
        "{}",
        text.stderr
    );
    let unknown = lab.backstay.run(&["run", "documnets"]).code(2);
    assert!(
        unknown.stderr.contains("did you mean documents?"),
        "{}",
        unknown.stderr
    );
    let entries = lab.backstay.json(&["audit"]);
    assert!(
        entries
            .as_array()
            .unwrap()
            .iter()
            .any(|entry| entry["action"] == "job.run"),
        "{entries}"
    );
    let (running, id) = running_slowly(&lab, "--json");
    running.terminate();
    let ended = running.wait().code(4).json();
    assert_eq!(
        (&ended["id"], &ended["status"]),
        (&id.into(), &"cancelled".into())
    );
    let by_itself = {
        let mut lab = lab;
        lab.service.kill();
        lab.backstay.run(&["run", "documents", "--json"]).ok().json()
    };
    assert_eq!(shape(&through.json()), shape(&by_itself));
    assert_eq!(
        shape(&through.json()["backups"][0]),
        shape(&by_itself["backups"][0])
    );
}

/// With it a run doesn't go through the service.
const ALONE: &str = "--accept-shrink";

/// A slow run of a command with this option, when it has begun to transfer; and its id.
fn running_slowly(lab: &Lab, option: &str) -> (Running, String) {
    lab.slow_job("slow");
    let running = lab.backstay.spawn(&["run", "slow", option]);
    let id = loop {
        let runs = lab.local("GET /api/v1/runs?job=slow").json(200);
        if let Some(run) = runs["items"].get(0) {
            break run["id"].as_str().unwrap().to_owned();
        }
        thread::sleep(std::time::Duration::from_millis(50));
    };
    lab.wait_for_run(&id, "transferring");
    (running, id)
}

#[test]
fn a_run_whose_process_was_killed_is_not_taken_for_one_under_way() {
    let lab = Lab::new();
    let (mut alone, id) = running_slowly(&lab, ALONE);
    let there = lab.local("POST /api/v1/jobs/slow/run").json(200);
    assert_eq!(there["id"], *id, "it is under way");
    alone.kill();
    let run = lab.local("POST /api/v1/jobs/slow/run").json(202);
    assert_ne!(run["id"], *id);
    lab.wait_for_run(&id, "interrupted");
    lab.local(&format!(
        "POST /api/v1/runs/{}/cancel",
        run["id"].as_str().unwrap()
    ));
}

#[test]
fn a_run_that_began_before_is_not_taken_for_the_one_that_is_asked_for() {
    let lab = Lab::new();
    lab.slow_job("slow");
    let id = lab.local("POST /api/v1/jobs/slow/run").json(202)["id"]
        .as_str()
        .unwrap()
        .to_owned();
    lab.wait_for_run(&id, "transferring");
    let skipped = lab.backstay.run_json(&["run", "slow"]).code(16).json();
    assert_eq!(skipped["status"], "skipped");
    assert_ne!(skipped["id"], *id);
    let goes_on = lab.local(&format!("GET /api/v1/runs/{id}")).json(200);
    assert_eq!(goes_on["status"], "transferring");
}

#[test]
fn a_run_that_waits_can_be_given_up_when_its_service_is_gone() {
    let mut lab = Lab::with("runs:\n  max: 1");
    lab.slow_job("slow");
    lab.job("documents");
    let slow = lab.local("POST /api/v1/jobs/slow/run").json(202)["id"].clone();
    lab.wait_for_run(slow.as_str().unwrap(), "transferring");
    let waiting = lab.backstay.spawn(&["run", "documents", "--json"]);
    wait_until("the run to be queued", PATIENCE, || {
        let queue = lab.local("GET /api/v1/queue").json(200);
        queue["waiting"].as_array().is_some_and(|runs| runs.len() == 1)
    });
    // Others that ask for it follow the same run, and don't end it when they are stopped.
    let other = lab.backstay.spawn(&["run", "documents"]);
    wait_until("the run to be asked for again", PATIENCE, || {
        let audit = lab.backstay.json(&["audit"]);
        let asked = audit.as_array().unwrap().iter();
        asked
            .filter(|entry| entry["subject"] == "documents" && entry["action"] == "job.run")
            .count()
            == 2
    });
    other.terminate();
    let other = other.wait().code(4);
    assert!(other.stderr.contains("goes on"), "{}", other.stderr);
    assert_eq!(
        lab.local("GET /api/v1/queue").json(200)["waiting"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    lab.service.kill();
    waiting.terminate();
    assert_eq!(waiting.wait().code(4).json()["status"], "cancelled");
}

#[test]
fn a_preview_leaves_what_a_crash_left() {
    let lab = Lab::new();
    let (mut running, id) = running_slowly(&lab, ALONE);
    running.kill();
    // Whether this source can be previewed is another question.
    let _ = lab.backstay.run(&["run", "slow", "--dry-run"]);
    let left = lab.local(&format!("GET /api/v1/runs/{id}")).json(200);
    assert_eq!(left["status"], "transferring");
}
