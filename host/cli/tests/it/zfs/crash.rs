//! The host is killed during a run; the next start clears away, and the chain goes on.

use std::time::{Duration, Instant};

use backstay_testkit::cli::Moment;
use backstay_testkit::tools;
use backstay_testkit::turns::Turns;
use serde_json::{Value, json};

use super::lab::{Lab, assert_same, change, facts};

/// Asserts what must hold after the start that follows a crash.
#[track_caller]
fn assert_recovered(lab: &Lab, moment: &str) {
    // Killed before its run was recorded, nothing has happened; the newest run is the one before.
    let run = lab.newest_run();
    let status = run["status"].as_str().unwrap_or("interrupted");
    assert!(
        ["interrupted", "succeeded"].contains(&status),
        "{moment}: {run:#}"
    );
    let doctor = lab.backstay.json(&["doctor"]);
    assert_eq!(doctor["ok"], true, "{moment}: {doctor:#}");
    lab.assert_only_whole_backups();
    match lab.backups().first() {
        Some(newest) => lab.assert_only_base(newest),
        None => assert_eq!(lab.snapshots(), [], "{moment}"),
    }
}

/// Asserts that the next run goes on with the chain.
#[track_caller]
fn assert_goes_on(lab: &Lab) {
    let newest = lab.backups().first().cloned();
    let next = lab.back_up();
    assert_eq!(next["dependsOn"], newest.map_or(Value::Null, |b| b["id"].clone()));
    lab.assert_only_base(&next);
    lab.assert_only_whole_backups();
}

#[track_caller]
fn assert_restorable(lab: &Lab) {
    let restored = lab.restore("latest:data", &lab.pool, "restored", None);
    assert_same(lab.source.mountpoint(), &restored);
}

/// Kills a run at each call of one kind in turn.
fn kill_at_each(call: &str, config: Value, least: u32) {
    tools::require(&["strace"]);
    let lab = Lab::new();
    lab.apply(config);
    let mut turns = Turns::of(least);
    while let Some(number) = turns.next() {
        change(lab.source.mountpoint(), turns.killed());
        let killed = lab
            .backstay
            .killed_at(&["run", "data"], Moment::of(call, number))
            .was_killed_or_ok();
        if turns.note(killed) {
            assert_recovered(&lab, &format!("{call} {number}"));
            if turns.killed().is_multiple_of(3) {
                assert_goes_on(&lab);
            }
        }
    }
    assert_goes_on(&lab);
    assert_restorable(&lab);
}

#[test]
fn killed_at_any_durable_write_of_the_journal() {
    kill_at_each("fsync", json!({}), 8);
}

#[test]
fn killed_while_any_command_of_zfs_runs() {
    kill_at_each("waitid", json!({}), 5);
}

#[test]
fn killed_while_any_command_of_zfs_runs_on_all_datasets() {
    kill_at_each("waitid", json!({ "recursive": true }), 5);
}

#[test]
fn killed_as_an_object_appears() {
    kill_at_each("renameat2", json!({}), 1);
}

#[test]
fn killed_at_any_moment() {
    let lab = Lab::new();
    lab.apply(json!({}));
    change(lab.source.mountpoint(), 0);
    let begun = Instant::now();
    lab.back_up();
    let whole = begun.elapsed();
    let mut interrupted = 0;
    for moment in 1..=20 {
        change(lab.source.mountpoint(), moment);
        let mut run = lab.backstay.spawn(&["run", "data"]);
        std::thread::sleep(whole * moment / 20);
        run.kill();
        let after: Duration = whole * moment / 20;
        assert_recovered(&lab, &format!("{after:?} of {whole:?}"));
        interrupted += u32::from(lab.newest_run()["status"] == "interrupted");
    }
    assert!(interrupted > 0, "no run was interrupted");
    assert_goes_on(&lab);
    assert_restorable(&lab);
}

#[test]
fn killed_again_while_it_recovers() {
    tools::require(&["strace"]);
    let lab = Lab::new();
    lab.apply(json!({}));
    change(lab.source.mountpoint(), 0);
    lab.back_up();
    for call in ["waitid", "fsync"] {
        let mut turns = Turns::of(2);
        while let Some(number) = turns.next() {
            // By then there are a snapshot, a hold and half an object.
            assert!(
                lab.backstay
                    .killed_at(&["run", "data"], Moment::of("renameat2", 1))
                    .was_killed_or_ok()
            );
            turns.note(
                lab.backstay
                    .killed_at(&["runs"], Moment::of(call, number))
                    .was_killed_or_ok(),
            );
            assert_recovered(&lab, &format!("{call} {number} of the recovery"));
        }
    }
    change(lab.source.mountpoint(), 1);
    assert_goes_on(&lab);
    assert_restorable(&lab);
}

#[test]
fn a_restore_that_was_killed_leaves_no_half_dataset() {
    let lab = Lab::new();
    lab.apply(json!({}));
    let noise: Vec<u8> = (0..48u32 << 20)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    std::fs::write(lab.source.mountpoint().join("noise"), noise).unwrap();
    let backup = lab.back_up();
    let target = format!("{}/restored", lab.pool.name());
    let mut restore = lab.backstay.spawn(&["restore", "latest:data", "--to", &target]);
    super::lab::wait_until_seen(&lab.pool, &target);
    restore.kill();
    let run = lab.newest_run();
    assert_eq!(
        (run["kind"].as_str(), run["status"].as_str()),
        (Some("restore"), Some("interrupted"))
    );
    super::lab::wait_until_gone(&lab.pool, &target);
    lab.assert_only_base(&backup);
    assert!(facts(&backup)["guid"].is_string());
    assert_restorable(&lab);
}
