//! Containers are quiet while their data is read, and afterwards as they were before.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use backstay_testkit::cli::Running;
use backstay_testkit::containers::{OBEDIENT, STUBBORN};
use backstay_testkit::process::wait_until;
use serde_json::{Value, json};

use super::lab::{Lab, facts};

fn labels(service: &str, depends_on: &str) -> Vec<String> {
    [
        "com.docker.compose.project=shop".to_owned(),
        format!("com.docker.compose.service={service}"),
        format!("com.docker.compose.depends_on={depends_on}"),
    ]
    .into_iter()
    .flat_map(|label| ["--label".to_owned(), label])
    .collect()
}

fn run_service(lab: &Lab, service: &str, depends_on: &str, script: &str) {
    let labels = labels(service, depends_on);
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    lab.run_with_volume(&format!("shop-{service}-1"), &labels, script);
}

#[test]
fn what_did_not_run_before_does_not_run_afterwards() {
    let lab = Lab::new();
    for name in ["stopped", "never-started", "paused", "running"] {
        lab.run_obedient(name, &["--label", "backup=yes"]);
    }
    lab.run_obedient("other", &["--label", "backup=no"]);
    lab.containers.podman(&["stop", "stopped", "never-started"]);
    lab.containers.podman(&["pause", "paused"]);
    lab.containers.podman(&["rm", "never-started"]);
    let create = [
        "create",
        "--name",
        "never-started",
        "--network",
        "none",
        "--label",
        "backup=yes",
    ];
    lab.containers.podman(
        &[
            &create[..],
            &[
                "--volume",
                "never-started-data:/data",
                "localhost/busybox:test",
                "true",
            ],
        ]
        .concat(),
    );
    let before: Vec<String> = ["paused", "other"]
        .map(|name| lab.containers.inspect(name, "{{.State.StartedAt}}"))
        .into();
    let expected = [
        ("stopped", "exited"),
        ("never-started", "created"),
        ("paused", "paused"),
        ("running", "running"),
        ("other", "running"),
    ];
    lab.assert_states(&expected);
    lab.apply(json!({ "labels": ["backup=yes"] }));
    let backup = lab.back_up();
    lab.assert_states(&expected);
    let after: Vec<String> = ["paused", "other"]
        .map(|name| lab.containers.inspect(name, "{{.State.StartedAt}}"))
        .into();
    assert_eq!(after, before, "one of them was restarted");
    let all = facts(&backup, "containers")["containers"].as_array().unwrap();
    let done: Vec<(&str, &str)> = all
        .iter()
        .map(|c| (c["name"].as_str().unwrap(), c["action"].as_str().unwrap()))
        .collect();
    assert_eq!(
        done,
        [
            ("never-started", "none"),
            ("paused", "none"),
            ("running", "stop"),
            ("stopped", "none")
        ]
    );
}

#[test]
fn what_depends_on_another_stops_before_it_and_starts_after_it() {
    let lab = Lab::new();
    run_service(&lab, "db", "", OBEDIENT);
    run_service(&lab, "web", "db:service_started:false", OBEDIENT);
    lab.apply(json!({ "project": "shop" }));
    lab.back_up();
    let when = |name: &str, field: &str| -> i64 {
        let template = format!("{{{{.State.{field}.UnixNano}}}}");
        lab.containers.inspect(name, &template).parse().unwrap()
    };
    assert!(when("shop-web-1", "FinishedAt") < when("shop-db-1", "FinishedAt"));
    assert!(when("shop-db-1", "StartedAt") < when("shop-web-1", "StartedAt"));
}

#[test]
fn a_paused_container_goes_on_without_having_been_stopped() {
    let lab = Lab::new();
    let path = lab.run_with_volume("web", &[], "while :; do date >> /data/ticks; sleep 0.01; done");
    let started = lab.containers.inspect("web", "{{.State.StartedAt}}");
    lab.apply(json!({ "containers": ["web"], "action": "pause" }));
    lab.back_up();
    lab.assert_states(&[("web", "running")]);
    assert_eq!(lab.containers.inspect("web", "{{.State.StartedAt}}"), started);
    assert!(lab.log().contains("web goes on; it was paused for "));
    assert!(path.join("ticks").exists());
}

#[test]
fn a_quiesced_container_goes_on_after_its_counterpart() {
    let lab = Lab::new();
    let path = lab.run_obedient("web", &[]);
    let plain = lab.run_obedient("plain", &[]);
    lab.apply(json!({
        "containers": ["web", "plain"], "actions": { "web": "quiesce", "plain": "none" },
        "quiesce": "cat /data/file > /data/quiet", "resume": "rm -f /data/quiet; touch /data/resumed",
    }));
    lab.back_up();
    assert!(!path.join("quiet").exists() && path.join("resumed").exists());
    assert!(!plain.join("resumed").exists());
    let to = lab.directory("restored");
    lab.backstay
        .run(&["restore", "latest:c", "--to", to.to_str().unwrap()])
        .ok();
    let saved = to.join("volume-web-data");
    assert_eq!(std::fs::read_to_string(saved.join("quiet")).unwrap(), "of web");
    assert!(!saved.join("resumed").exists());
}

#[test]
fn a_quiesce_command_that_fails_fails_the_run_and_is_taken_back() {
    let lab = Lab::new();
    let path = lab.run_obedient("web", &[]);
    lab.run_obedient("db", &["--label", "org.backstay.depends-on=nobody"]);
    lab.apply(json!({
        "containers": ["db", "web"], "actions": { "web": "quiesce" },
        "quiesce": "touch /data/half; echo the disk is on fire >&2; exit 7", "resume": "rm -f /data/half; touch /data/resumed",
    }));
    let run = lab.run(4);
    let error = run["error"].to_string();
    assert!(
        error.contains("the command `quiesce` failed in the container web")
            && error.contains("the disk is on fire"),
        "{error}"
    );
    assert!(!path.join("half").exists() && path.join("resumed").exists());
    lab.assert_states(&[("web", "running"), ("db", "running")]);
    assert_eq!(lab.backstay.json(&["backups"]), json!([]));
}

#[test]
fn a_resume_command_that_fails_is_said_and_tried_again() {
    let lab = Lab::new();
    let path = lab.run_obedient("web", &[]);
    lab.apply(json!({
        "containers": ["web"], "action": "quiesce", "quiesce": "true", "resume": "test -e /data/may-go && touch /data/gone-on",
    }));
    let run = lab.run(1);
    let warnings = Lab::warnings(&run);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].starts_with("not-undone: ")
            && warnings[0].contains("the command `resume` failed in the container web"),
        "{warnings:?}"
    );
    std::fs::write(path.join("may-go"), "").unwrap();
    lab.backstay.json(&["runs"]);
    assert!(path.join("gone-on").exists(), "the next start did not try again");
}

#[test]
fn a_container_that_does_not_stop_in_time_is_killed_and_said_to_be() {
    let lab = Lab::new();
    lab.run_with_volume("web", &[], STUBBORN);
    lab.apply(json!({ "containers": ["web"], "stopTimeout": 1 }));
    let run = lab.run(1);
    let expected = "container-killed: the container web did not stop within 1 s and was killed: its data is as after a power loss";
    assert_eq!(Lab::warnings(&run), [expected]);
    lab.assert_states(&[("web", "running")]);
}

/// Runs the job, and `meanwhile` when the container `first` has stopped and the run waits for another.
fn during_a_run(lab: &Lab, meanwhile: impl FnOnce()) -> Value {
    let (run, waits) = waiting_run(lab);
    meanwhile();
    std::fs::write(waits.join("go"), "").unwrap();
    run.wait().code(1).json()
}

/// A run that has stopped `first`, and has begun to quiesce `second`, which waits for a file `go` in the returned
/// directory.
fn waiting_run(lab: &Lab) -> (Running, PathBuf) {
    lab.run_obedient("first", &["--label", "org.backstay.depends-on=second"]);
    let waits = lab.run_obedient("second", &[]);
    lab.apply(json!({
        "containers": ["first", "second"], "actions": { "second": "quiesce" },
        "quiesce": "touch /data/here; until test -e /data/go; do sleep 0.1; done", "resume": "true",
    }));
    let run = lab.backstay.spawn(&["run", "c", "--json"]);
    wait_until("`second` to be quiesced", Duration::from_secs(60), || {
        waits.join("here").exists()
    });
    assert_eq!(lab.containers.state("first"), "exited");
    (run, waits)
}

#[test]
fn a_container_that_is_removed_meanwhile_is_a_warning() {
    let lab = Lab::new();
    let run = during_a_run(&lab, || drop(lab.containers.podman(&["rm", "first"])));
    let expected = "container-gone: the container first was removed during the backup and can't be brought back; \
        make it again: the backup's manifest holds its definition";
    assert_eq!(Lab::warnings(&run), [expected]);
    assert_eq!(
        run["backups"][0]["manifest"]["warnings"][0]["code"],
        "container-gone"
    );
    assert!(super::lab::artifacts(&run["backups"][0]).contains(&"volume-first-data"));
    lab.assert_states(&[("first", "gone"), ("second", "running")]);
}

#[test]
fn a_container_that_somebody_made_anew_meanwhile_is_left_to_them() {
    let lab = Lab::new();
    let run = during_a_run(&lab, || {
        lab.containers.podman(&["rm", "first"]);
        lab.run_obedient("first", &[]);
    });
    let warnings = Lab::warnings(&run);
    assert!(
        warnings[0].contains("another one of that name runs"),
        "{warnings:?}"
    );
    lab.assert_states(&[("first", "running"), ("second", "running")]);
}

#[test]
fn a_cancelled_run_leaves_containers_running() {
    let lab = Lab::new();
    let (run, _) = waiting_run(&lab);
    run.terminate();
    run.wait().code(4);
    assert_eq!(lab.newest_run()["status"], "cancelled");
    lab.assert_states(&[("first", "running"), ("second", "running")]);
}

#[test]
fn a_destination_that_fails_leaves_containers_running() {
    let lab = Lab::new();
    lab.run_obedient("web", &[]);
    lab.apply(json!({ "containers": ["web"] }));
    forbid(&lab.store());
    lab.run(5);
    lab.assert_states(&[("web", "running")]);
}

/// Root may write anywhere but to what can't be changed.
fn forbid(directory: &Path) {
    std::fs::remove_dir(directory).unwrap();
    let made = Command::new("touch").arg(directory).status().unwrap();
    assert!(made.success());
}
