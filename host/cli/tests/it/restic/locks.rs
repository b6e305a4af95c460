//! Locks: a live one is respected and its holder named; a dead one goes only if it is provably ours.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use backstay_testkit::process::{kill, wait_until};
use backstay_testkit::restic::PASSWORD;
use backstay_testkit::tools;
use serde_json::Value;

use super::lab::{Lab, ends};

const PATIENCE: Duration = Duration::from_secs(60);

/// A restic that holds a lock until it is killed, started by a shell that does this first.
fn holder(lab: &Lab, first: &str, args: &str) -> Child {
    tools::require(&["unshare", "sh", "restic"]);
    let before = lab.repository.locks();
    let child = Command::new("unshare")
        .args([
            "--uts",
            "sh",
            "-c",
            &format!("{first} exec restic --no-cache --quiet {args}"),
        ])
        .env("RESTIC_REPOSITORY", lab.repository.path())
        .env("RESTIC_PASSWORD", PASSWORD)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_until("the lock of another", PATIENCE, || {
        lab.repository.locks() != before
    });
    child
}

const ELSEWHERE: &str = "echo elsewhere > /proc/sys/kernel/hostname;";

fn lock(lab: &Lab, id: &str) -> Value {
    let output = lab.repository.run(&["cat", "lock", "--no-lock", id]);
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_repository_that_another_has_locked_is_left_to_it_alive_or_dead() {
    let lab = Lab::new();
    lab.apply_script("echo data");
    // It locks the repository for itself alone, and waits for an index that is a pipe.
    let pipe = lab.repository.path().join("index").join("0".repeat(64));
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut other = holder(&lab, "", "check");
    let says = format!("is locked by process {} on ", other.id());
    ends(lab.run(), 5, &says);
    kill(other.id());
    other.wait().unwrap();
    std::fs::remove_file(&pipe).unwrap();
    // It is dead, and its lock is not ours.
    ends(lab.run(), 5, &says);
    assert_eq!(lab.repository.locks().len(), 1);
    lab.repository.run(&["unlock"]);
    lab.run().ok();
}

#[test]
fn of_two_dead_locks_only_the_one_that_is_ours_is_removed() {
    let lab = Lab::new();
    let mut other = holder(&lab, ELSEWHERE, "backup --stdin --stdin-filename=x");
    kill(other.id());
    other.wait().unwrap();
    let of_other = lab.repository.locks();
    assert_eq!(lock(&lab, &of_other[0])["hostname"], "elsewhere");
    // Restic is killed in the middle of this.
    lab.apply_script("head -c 9M /dev/urandom; sleep 1; exit 3");
    ends(lab.run(), 4, "exited with status 3");
    assert_eq!(lab.repository.locks(), of_other);
    assert!(lab.repository.snapshots().is_empty());
    // A backup goes on beside it.
    lab.apply_script("echo data");
    lab.run().ok();
}

#[test]
fn while_another_backs_up_a_killed_run_takes_only_its_own_lock_with_it() {
    let lab = Lab::new();
    let mut other = holder(&lab, "", "backup --stdin --stdin-filename=x");
    let of_other = lab.repository.locks();
    lab.apply_script("head -c 9M /dev/urandom; exec sleep 100");
    let mut run = lab.backstay.spawn(&["run", "j"]);
    wait_until("both locks", PATIENCE, || lab.repository.locks().len() == 2);
    run.kill();
    lab.backstay.run(&["runs"]).ok();
    assert_eq!(lab.repository.locks(), of_other);
    drop(other.stdin.take());
    assert!(other.wait().is_ok());
}
