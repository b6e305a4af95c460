//! What is removed: the snapshots of the job's backups, by their ids. Nothing else, whatever it looks like.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use backstay_testkit::cli::Moment;
use backstay_testkit::process::wait_until;
use serde_json::{Value, json};

use super::lab::Lab;

const PATIENCE: Duration = Duration::from_secs(60);

fn ids(snapshots: &[Value]) -> BTreeSet<String> {
    let ids = snapshots.iter().map(|s| s["id"].as_str().unwrap().to_owned());
    ids.collect()
}

/// Somebody stores something by restic itself.
fn store(lab: &Lab, path: &str, tags: &[&str]) -> String {
    let name = format!("--stdin-filename={path}");
    let tags: Vec<String> = tags.iter().map(|tag| format!("--tag={tag}")).collect();
    let args: Vec<&str> = ["backup", "--stdin", &name]
        .into_iter()
        .chain(tags.iter().map(String::as_str))
        .collect();
    let before = ids(&lab.repository.snapshots());
    let mut restic = lab.repository.restic(&args);
    let mut restic = restic.stdin(Stdio::piped()).spawn().unwrap();
    restic
        .stdin
        .take()
        .unwrap()
        .write_all(b"of somebody else")
        .unwrap();
    assert!(restic.wait().unwrap().success());
    let after = ids(&lab.repository.snapshots());
    after.difference(&before).next().unwrap().clone()
}

#[test]
fn prune_removes_the_jobs_own_snapshots_by_id_and_nobody_elses() {
    let lab = Lab::new();
    for _ in 0..2 {
        lab.run_with(&json!({})).ok();
    }
    let old = lab.repository.snapshots();
    let path = old[0]["paths"][0].as_str().unwrap();
    let same: Vec<&str> = old[0]["tags"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| t.as_str().unwrap())
        .collect();
    let of_another_job = [
        "backstay",
        "run:x",
        "object:data.tar",
        "backup:another-job",
        "backup_name=j",
    ];
    let foreign = BTreeSet::from([
        store(&lab, &path[1..], &same),
        store(&lab, &path[1..], &of_another_job),
        store(&lab, "by/hand", &[]),
    ]);
    let mut job = lab.job(&lab.config(&json!({})));
    job["retention"] = json!({ "keepLast": 1 });
    lab.apply(&job);
    let output = lab.run().ok();
    let run = output.json();
    assert_eq!(run["stats"]["deletedBackups"], 2, "{run}");
    let whole = "`restic check` finds the repository whole";
    assert!(output.stderr.contains(whole), "{}", output.stderr);
    let left = ids(&lab.repository.snapshots());
    assert!(left.is_superset(&foreign));
    assert_eq!(left.len(), foreign.len() + 2);
    assert!(left.is_disjoint(&ids(&old)));
    assert!(lab.repository.locks().is_empty());
    lab.backstay
        .run(&["verify", "latest:j", "--level", "archive"])
        .ok();
    lab.repository.run(&["check", "--read-data"]);
}

#[test]
fn a_snapshot_that_does_not_say_that_it_is_ours_stays_and_is_named() {
    let lab = Lab::new();
    let mut job = lab.job(&lab.config(&json!({})));
    lab.apply(&job);
    lab.run().ok();
    lab.run().ok();
    // Somebody gives the file of the oldest data another content: a snapshot without the tags.
    let backups = lab.backstay.json(&["backups"]);
    let receipt = backups[1]["manifest"]["artifacts"][0]["receipt"]
        .as_str()
        .unwrap();
    let (id, key) = receipt.split_once('/').unwrap();
    let stranger = store(&lab, key, &[]);
    let mut edit = Command::new("sqlite3");
    edit.arg(lab.backstay.data_dir().join("backstay.db"));
    let changed = edit.arg(format!(
        "UPDATE backups SET manifest = replace(manifest, '{id}', '{stranger}')"
    ));
    assert!(changed.status().unwrap().success());
    job["retention"] = json!({ "keepLast": 1 });
    lab.apply(&job);
    let pruned = lab.backstay.run(&["prune", "j"]);
    assert!(
        pruned.stderr.contains("is not one of Backstay's"),
        "{}",
        pruned.stderr
    );
    assert!(ids(&lab.repository.snapshots()).contains(&stranger));
}

#[test]
fn a_restic_that_is_killed_while_it_removes_leaves_no_lock_and_the_next_prune_goes_on() {
    let lab = Lab::new();
    lab.run_with(&json!({})).ok();
    lab.run().ok();
    let backups = lab.backstay.json(&["backups"]);
    let receipt = backups[1]["manifest"]["artifacts"][0]["receipt"]
        .as_str()
        .unwrap();
    let (id, _) = receipt.split_once('/').unwrap();
    let mut job = lab.job(&lab.config(&json!({})));
    job["retention"] = json!({ "keepLast": 1 });
    lab.apply(&job);
    let snapshot = lab.repository.path().join("snapshots").join(id);
    let moment = Moment::of("unlinkat", 1).on(&snapshot);
    let killed = lab.backstay.killed_at(&["prune", "j"], moment);
    assert_ne!(killed.code, 0, "{}", killed.stderr);
    assert!(
        snapshot.exists(),
        "restic was killed before it removed the snapshot"
    );
    assert_eq!(lab.repository.locks(), Vec::<String>::new());
    lab.backstay.run(&["prune", "j"]).ok();
    assert!(!snapshot.exists());
    assert_eq!(lab.repository.snapshots().len(), 2);
}

#[test]
fn a_host_that_is_killed_while_restic_prunes_leaves_no_lock_after_the_next_start() {
    let lab = Lab::new();
    let mut job = lab.job(&lab.config(&json!({})));
    lab.apply(&job);
    lab.run().ok();
    lab.run().ok();
    let backups = lab.backstay.json(&["backups"]);
    let receipt = backups[1]["manifest"]["artifacts"][0]["receipt"]
        .as_str()
        .unwrap();
    let (id, _) = receipt.split_once('/').unwrap();
    let snapshot = lab.repository.path().join("snapshots").join(id);
    job["retention"] = json!({ "keepLast": 1 });
    lab.apply(&job);
    let mut prune = lab.backstay.spawn(&["prune", "j"]);
    // The first lock is for the manifest. From then on whoever reads the indexes waits for one that is a pipe.
    wait_until("the first lock", PATIENCE, || !lab.repository.locks().is_empty());
    let pipe = lab.repository.path().join("index").join("0".repeat(64));
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    wait_until("restic to be in the middle", PATIENCE, || !snapshot.exists());
    prune.kill();
    fs::remove_file(&pipe).unwrap();
    assert_eq!(lab.repository.locks().len(), 1);
    lab.backstay.run(&["runs"]).ok();
    assert_eq!(lab.repository.locks(), Vec::<String>::new());
    assert_eq!(lab.repository.snapshots().len(), 2);
    assert_eq!(lab.backstay.json(&["backups"]).as_array().unwrap().len(), 1);
    lab.run().ok();
}
