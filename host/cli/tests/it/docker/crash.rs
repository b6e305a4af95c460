//! The host is killed while containers are quiet; the next start brings them back.

use std::io::Read;
use std::process::Command;
use std::time::Duration;

use backstay_testkit::cli::Moment;
use backstay_testkit::containers::OBEDIENT;
use backstay_testkit::turns::Turns;
use backstay_testkit::{process, tools};
use serde_json::json;

use super::lab::Lab;

/// Runs the job with a host that is killed at its nth call of a kind; its children die with it. False if it
/// ended before that.
fn is_killed_at(lab: &Lab, call: &str, number: u32, args: &[&str]) -> bool {
    let moment = Moment::of(call, number).alone();
    lab.backstay.killed_at(args, moment).was_killed_or_ok()
}

/// A container for each action, the last of which depends on the first.
fn lab() -> Lab {
    tools::require(&["strace"]);
    let lab = Lab::new();
    lab.run_obedient("paused", &[]);
    lab.run_obedient("quiet", &[]);
    lab.run_obedient("stopped", &["--label", "org.backstay.depends-on=quiet"]);
    lab.run_obedient("idle", &[]);
    lab.containers.podman(&["stop", "idle"]);
    lab.apply(json!({
        "containers": ["paused", "quiet", "stopped", "idle"], "actions": { "paused": "pause", "quiet": "quiesce" },
        "quiesce": "touch /data/quiet", "resume": "rm -f /data/quiet",
    }));
    lab
}

/// Asserts that after the next start all containers are as they were before the run that was killed.
#[track_caller]
fn assert_recovered(lab: &Lab, moment: &str) {
    let doctor = lab.backstay.json(&["doctor"]);
    assert_eq!(doctor["ok"], true, "{moment}: {doctor:#}");
    for (name, state) in [
        ("paused", "running"),
        ("quiet", "running"),
        ("stopped", "running"),
        ("idle", "exited"),
    ] {
        assert_eq!(lab.containers.state(name), state, "{moment}: {name}");
    }
    assert!(
        !lab.containers.volume("quiet-data").join("quiet").exists(),
        "{moment}"
    );
}

/// Kills a run at each call of one kind in turn.
fn kill_at_each(call: &str, mut turns: Turns) {
    let lab = lab();
    while let Some(number) = turns.next() {
        if turns.note(is_killed_at(&lab, call, number, &["run", "c"])) {
            assert_recovered(&lab, &format!("{call} {number}"));
        }
    }
    lab.back_up();
}

#[test]
fn killed_at_durable_writes_of_the_journal() {
    kill_at_each("fsync", Turns::of(4).every(4));
}

#[test]
fn killed_while_commands_of_the_engine_run() {
    kill_at_each("waitid", Turns::of(4).every(5));
}

#[test]
fn killed_again_while_it_recovers() {
    let lab = lab();
    for number in [1, 3, 6] {
        // By then all containers are quiet and half an object is there.
        assert!(is_killed_at(&lab, "renameat2", 1, &["run", "c"]));
        lab.assert_states(&[("stopped", "exited"), ("paused", "paused")]);
        is_killed_at(&lab, "waitid", number, &["runs"]);
        assert_recovered(&lab, &format!("command {number} of the recovery"));
    }
    lab.back_up();
}

#[test]
fn killed_in_the_middle_of_a_stream() {
    let lab = Lab::new();
    let path = lab.run_obedient("web", &[]);
    let mut noise = std::fs::File::open("/dev/urandom").unwrap().take(150 << 20);
    let mut file = std::fs::File::create(path.join("noise")).unwrap();
    std::io::copy(&mut noise, &mut file).unwrap();
    lab.apply(json!({ "containers": ["web"] }));
    let mut run = lab.backstay.spawn(&["run", "c"]);
    process::wait_until("bytes at the destination", Duration::from_secs(60), || {
        let mut size = Command::new("du");
        let size = size.arg("-s").arg(lab.store()).output().unwrap().stdout;
        let kib: u64 = String::from_utf8_lossy(&size)
            .split_whitespace()
            .next()
            .unwrap()
            .parse()
            .unwrap();
        kib > 8 << 10
    });
    run.kill();
    lab.assert_states(&[("web", "exited")]);
    assert_eq!(lab.newest_run()["status"], "interrupted");
    lab.assert_states(&[("web", "running")]);
    assert_eq!(lab.backstay.json(&["backups"]), json!([]));
    lab.back_up();
}

#[test]
fn a_container_that_stops_only_after_the_host_was_killed_runs_again() {
    let lab = Lab::new();
    let slow = "trap 'sleep 2; exit 0' TERM; while :; do sleep 0.05 & wait; done";
    let path = lab.run_with_volume("web", &[], slow);
    lab.apply(json!({ "containers": ["web"] }));
    let mut run = lab.backstay.spawn(&["run", "c"]);
    process::wait_until("the stop", Duration::from_secs(60), || {
        lab.containers.state("web") == "stopping"
    });
    run.kill();
    lab.backstay.json(&["runs"]);
    lab.assert_states(&[("web", "running")]);
    // It doesn't end later either.
    std::thread::sleep(Duration::from_secs(3));
    lab.assert_states(&[("web", "running")]);
    assert!(path.join("file").exists());
}

#[test]
fn after_a_power_loss_what_nobody_started_since_is_started() {
    let lab = Lab::new();
    lab.run_obedient("web", &[]);
    lab.run_obedient("by-hand", &[]);
    lab.containers
        .run("other", &["--volume", "web-data:/data"], OBEDIENT);
    lab.apply(json!({ "containers": ["web", "by-hand"] }));
    assert!(is_killed_at(&lab, "renameat2", 1, &["run", "c"]));
    lab.assert_states(&[("web", "exited"), ("by-hand", "exited")]);
    // Somebody comes first, starts one of them, and stops it for good.
    lab.containers.podman(&["start", "by-hand"]);
    lab.containers.podman(&["stop", "by-hand"]);
    lab.backstay.json(&["runs"]);
    lab.assert_states(&[("web", "running"), ("by-hand", "exited"), ("other", "running")]);
}
