//! What goes wrong: rsync is killed, cancelled or fails, the disk is full, files change while they are copied.

use std::fs;
use std::time::Duration;

use backstay_testkit::cli::{Moment, Running};
use backstay_testkit::disk::{SmallDisk, Unreadable};
use backstay_testkit::process::{is_alive, wait_until, with_descendants};
use backstay_testkit::turns::Turns;
use serde_json::{Value, json};

use super::lab::Lab;
use crate::destinations::noise;

const PATIENCE: Duration = Duration::from_secs(60);

/// A limit at which the copy of a megabyte takes minutes.
fn slowly() -> Value {
    json!({ "filters": { "throttle": { "bytesPerSecond": "4k" } } })
}

impl Lab {
    /// A run that is in the middle of copying.
    fn in_the_middle(&self) -> (Running, Vec<u32>) {
        let run = self.backstay.spawn(&["run", "j"]);
        let mut below = Vec::new();
        wait_until("rsync to copy", PATIENCE, || {
            below = with_descendants(run.pid())
                .into_iter()
                .filter(|pid| *pid != run.pid())
                .collect();
            let lines = below
                .iter()
                .filter_map(|pid| fs::read(format!("/proc/{pid}/cmdline")).ok());
            let lines: Vec<u8> = lines.flatten().collect();
            String::from_utf8_lossy(&lines).contains("--bwlimit=")
                && self.stored().iter().any(|name| name.contains("partial"))
        });
        (run, below)
    }

    #[track_caller]
    fn has_nothing_to_undo(&self) {
        let doctor = self.backstay.json(&["doctor"]);
        let checks = doctor["checks"].as_array().unwrap();
        let journal = checks.iter().find(|c| c["check"] == "journal").unwrap();
        assert_eq!(journal["says"], "nothing left to undo");
    }
}

#[test]
fn a_killed_host_takes_rsync_with_it_and_the_next_start_removes_what_it_left() {
    let lab = Lab::new();
    lab.write("file", "good");
    lab.apply(json!({}), json!({}));
    lab.snapshot();
    let stored = lab.stored();
    lab.write("large", noise(1_000_000));
    lab.apply(json!({}), slowly());
    let (mut run, below) = lab.in_the_middle();
    run.kill();
    wait_until("rsync to end", PATIENCE, || {
        !below.iter().any(|pid| is_alive(*pid))
    });
    assert!(lab.stored() != stored);
    lab.backstay.run(&["runs"]).ok();
    assert_eq!(lab.stored(), stored);
    lab.has_nothing_to_undo();
    lab.apply(json!({}), json!({}));
    lab.snapshot();
    lab.comes_back("target");
}

#[test]
fn a_cancelled_run_ends_rsync_and_leaves_nothing() {
    let lab = Lab::new();
    lab.write("large", noise(1_000_000));
    lab.apply(json!({}), slowly());
    let (run, below) = lab.in_the_middle();
    run.terminate();
    let ended = run.wait();
    assert_ne!(ended.code, 0);
    assert!(!below.iter().any(|pid| is_alive(*pid)));
    assert!(lab.stored().is_empty(), "{:?}", lab.stored());
    assert_eq!(lab.backstay.json(&["runs"])[0]["status"], "cancelled");
    lab.has_nothing_to_undo();
}

#[test]
fn a_host_that_is_killed_before_or_after_a_snapshot_gets_its_name_leaves_nothing() {
    let lab = Lab::new();
    lab.write("file", "good");
    lab.apply(json!({}), json!({}));
    for call in ["mkdirat", "syncfs", "renameat2", "symlinkat"] {
        let killed = lab.backstay.killed_at(&["run", "j"], Moment::of(call, 1).alone());
        assert!(killed.was_killed(), "{call} was never made: {}", killed.stderr);
        lab.backstay.run(&["runs"]).ok();
        assert!(!lab.at("place/j").exists(), "{call}: {:?}", lab.stored());
        lab.has_nothing_to_undo();
    }
    lab.snapshot();
}

#[test]
fn a_directory_of_somebody_that_has_the_name_of_the_link_is_never_touched_and_nothing_fails_for_it() {
    let lab = Lab::new();
    lab.write("file", "good");
    let own = lab.at("place/j/latest/letter");
    fs::create_dir_all(own.parent().unwrap()).unwrap();
    fs::write(&own, "mine").unwrap();
    lab.apply(json!({}), json!({}));
    // A run is killed wherever something gets its name, and all of it is undone.
    let mut turns = Turns::of(2);
    while let Some(nth) = turns.next() {
        let before = lab.stored();
        let run = lab
            .backstay
            .killed_at(&["run", "j"], Moment::of("renameat2", nth).alone());
        lab.backstay.run(&["runs"]).ok();
        assert_eq!(fs::read_to_string(&own).unwrap(), "mine");
        lab.has_nothing_to_undo();
        if turns.note(run.was_killed()) {
            assert_eq!(lab.stored(), before, "{nth}");
        } else {
            run.code(1);
        }
    }
    // Removing works as well, and the run says what is amiss.
    lab.apply(json!({}), json!({ "retention": { "keepLast": 1 } }));
    let warnings = lab.run().code(1).json()["warnings"].clone();
    assert_eq!(warnings[0]["code"], "latest-not-linked", "{warnings}");
    assert_eq!(fs::read_to_string(&own).unwrap(), "mine");
    assert_eq!(fs::read_dir(lab.at("place/j")).unwrap().count(), 2);
    lab.verify().ok();
}

#[test]
fn what_changed_while_it_was_copied_and_is_gone_later_is_carried_over_until_somebody_deletes_it() {
    let lab = Lab::new();
    lab.write("a-large", noise(20_000));
    lab.write("changes", "before");
    lab.write("d/x", "x");
    let keep = || json!({ "deleteExtraneous": false });
    lab.apply(keep(), slowly());
    let (run, _) = lab.in_the_middle();
    lab.write("changes", "another length");
    lab.write("d/new", "changes the directory");
    let ended = run.wait();
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    fs::remove_file(lab.at("source/changes")).unwrap();
    fs::remove_dir_all(lab.at("source/d")).unwrap();
    lab.apply(keep(), json!({}));
    lab.snapshot();
    let second = lab.snapshot();
    assert!(second.join("changes").exists());
    assert_eq!(fs::read(second.join("d/x")).unwrap(), b"x");
    lab.verify().ok();
    // By hand, from the newest snapshot: said once, and no later run fails for it.
    fs::remove_file(second.join("d/x")).unwrap();
    let run = lab.run().code(1).json();
    let warning = &run["warnings"][0];
    assert_eq!(warning["code"], "not-kept", "{run}");
    let said = warning["message"].as_str().unwrap();
    assert!(said.contains("d/x: missing in the copy before"), "{said}");
    let last = lab.snapshot();
    assert!(last.join("changes").exists() && last.join("d").exists() && !last.join("d/x").exists());
    lab.verify().ok();
}

#[test]
fn what_somebody_changed_in_the_newest_snapshot_is_carried_over_as_it_is_and_said_once() {
    let lab = Lab::new();
    lab.write("keeps", "here");
    lab.write("goes", "before");
    lab.write("turns", "into a link");
    let guards = json!({ "guards": { "maxShrinkPercent": 100 } });
    lab.apply(json!({ "deleteExtraneous": false }), guards);
    lab.snapshot();
    for name in ["goes", "turns"] {
        fs::remove_file(lab.at("source").join(name)).unwrap();
    }
    let stored = lab.snapshot();
    fs::write(stored.join("goes"), "changed by hand").unwrap();
    fs::remove_file(stored.join("turns")).unwrap();
    std::os::unix::fs::symlink("keeps", stored.join("turns")).unwrap();
    let warnings = lab.run().code(1).json()["warnings"].clone();
    assert_eq!(warnings[0]["code"], "not-kept", "{warnings}");
    let said = warnings[0]["message"].as_str().unwrap();
    for name in ["goes", "turns"] {
        assert!(said.contains(&format!("{name}: different")), "{said}");
    }
    lab.verify().ok();
    let last = lab.snapshot();
    assert_eq!(fs::read(last.join("goes")).unwrap(), b"changed by hand");
    lab.verify().ok();
}

#[test]
fn what_changes_or_vanishes_while_it_is_copied_is_a_warning_and_no_damage() {
    let lab = Lab::new();
    lab.write("a-large", noise(20_000));
    lab.write("changes", "before");
    lab.write("vanishes", "soon");
    lab.write("z", "last");
    lab.apply(json!({}), slowly());
    let (run, _) = lab.in_the_middle();
    lab.write("changes", "another length");
    fs::remove_file(lab.at("source/vanishes")).unwrap();
    let ended = run.wait();
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    let run = &lab.backstay.json(&["runs"])[0];
    let warnings = run["warnings"].as_array().unwrap();
    let mut said: Vec<(&str, &str)> = warnings
        .iter()
        .map(|w| {
            (
                w["code"].as_str().unwrap(),
                w["path"].as_str().unwrap().rsplit('/').next().unwrap(),
            )
        })
        .collect();
    said.sort_unstable();
    assert_eq!(
        said,
        [("changed-while-read", "changes"), ("vanished", "vanishes")]
    );
    lab.verify().ok();
    let target = lab.at("target");
    lab.backstay
        .run(&["restore", "latest:j", "--to", target.to_str().unwrap()])
        .ok();
    assert_eq!(fs::read(target.join("z")).unwrap(), b"last");
}

#[test]
fn a_full_disk_is_said_before_anything_is_copied_and_while_it_is() {
    let lab = Lab::new();
    lab.write("large", noise(3_000_000));
    let disk = SmallDisk::mount(2 << 20);
    lab.apply_to(disk.path(), json!({}), json!({})).ok();
    let message = lab.run().code(12).json()["error"]["message"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(message.contains("3000000 are to be stored"), "{message}");
    lab.write("large", noise(1_500_000));
    lab.run().ok();
    // Of a later snapshot nobody knows beforehand how much of it is new.
    lab.write("new", noise(1_500_000));
    let error = lab.run().code(12).json()["error"].clone();
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("No space left on device"),
        "{error}"
    );
    assert!(error["hint"].is_string(), "{error}");
    // The first backup and the link to it.
    assert_eq!(fs::read_dir(disk.path().join("j")).unwrap().count(), 2);
    lab.verify().ok();
}

#[test]
fn what_is_wrong_with_a_job_is_said_when_it_is_applied() {
    let lab = Lab::new();
    let said = |config: Value| {
        let output = lab.apply_to(&lab.at("place"), config, json!({}));
        let said = format!("{}{}[{}]\n", output.stdout, output.stderr, output.code);
        said.replace(lab.backstay.scratch_dir().to_str().unwrap(), "DIR")
    };
    let mut all = String::new();
    for config in [
        json!({ "localDestination": "place" }),
        json!({ "localDestination": "/mnt/x/" }),
        json!({ "localDestination": "/mnt/../x", "mount": "/mnt/y/.." }),
        json!({ "localDestination": "/" }),
        json!({ "mount": "/nowhere" }),
        json!({ "deleteExtraneous": "no", "excludes": [] }),
        json!({ "minFreeBytes": -1 }),
        json!({ "host": "nas", "remotePath": "/b" }),
        json!({ "port": 2222, "fakeSuper": true, "identityFile": "/k/../k" }),
        json!({ "syncToS3": { "remote": "bucket", "storageClass": "COLD", "s3Prefix": "/x" } }),
        json!({ "syncToS3": { "remote": "s3:bucket/../x", "s3Prefix": "a/../YYYY" } }),
    ] {
        all += &said(config);
    }
    insta::assert_snapshot!(all);
}

#[test]
fn what_cannot_be_read_any_more_is_carried_over_from_the_last_snapshot_that_has_it() {
    let lab = Lab::new();
    lab.write("good", "good, and far more than the other");
    lab.write("bad", "it was good");
    lab.apply(json!({ "deleteExtraneous": false }), json!({}));
    lab.backstay.run(&["run", "j"]).ok();
    let _damage = Unreadable::over(&lab.at("source/bad"));
    // The run that finds it claims nothing.
    let found = lab.backstay.run(&["run", "j"]).code(4).stderr;
    assert!(
        found.contains("it could not be read to its end: Invalid argument"),
        "{found}"
    );
    let run = lab.run().code(1).json();
    assert_eq!(run["status"], "warning", "{run:#}");
    let location = run["backups"][0]["manifest"]["artifacts"][0]["location"].as_str();
    let snapshot = std::path::Path::new(location.unwrap());
    assert_eq!(fs::read_to_string(snapshot.join("bad")).unwrap(), "it was good");
    assert_eq!(
        fs::read_to_string(snapshot.join("good")).unwrap(),
        "good, and far more than the other"
    );
    lab.backstay
        .run(&["verify", "latest:j", "--level", "checksum"])
        .ok();
}
