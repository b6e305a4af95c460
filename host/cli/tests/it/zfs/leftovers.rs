//! What a run leaves on the pool, whether it ends well or badly.

use backstay_testkit::disk::SmallDisk;
use serde_json::{Value, json};

use super::lab::{Lab, assert_same, change, facts, zfs_when_free};

#[test]
fn snapshots_and_holds_of_others_are_never_touched() {
    let lab = Lab::new();
    let name = lab.source.name().to_owned();
    let mine = ["daily", "backstay", "backstay-manual", "auto-2026-01-01"];
    for snapshot in mine {
        lab.pool.zfs(&["snapshot", &format!("{name}@{snapshot}")]);
    }
    lab.pool.zfs(&["hold", "mine", &format!("{name}@daily")]);
    let guids = lab.snapshots();
    lab.apply(json!({}));
    for step in 0..3 {
        change(lab.source.mountpoint(), step);
        lab.back_up();
    }
    let away = lab.backstay.scratch_dir().join("away");
    std::fs::rename(lab.store(), &away).unwrap();
    lab.backstay.run(&["run", "data"]).code(3);
    let mut left = lab.snapshots();
    left.retain(|s| guids.contains(s));
    assert_eq!(left, guids);
    assert_eq!(lab.pool.holds(&format!("{name}@daily")), 1);
}

#[test]
fn two_jobs_on_one_dataset_keep_a_base_each() {
    let lab = Lab::new();
    lab.apply(json!({}));
    let other = lab.job(json!({ "snapshotName": "other" }), json!({ "name": "other" }));
    lab.backstay.apply(&other.to_string()).ok();
    for step in 0..2 {
        change(lab.source.mountpoint(), step);
        let data = lab.back_up();
        let run = lab.backstay.json(&["run", "other"]);
        assert_eq!(data["dependsOn"].is_null(), step == 0);
        assert_eq!(run["backups"][0]["dependsOn"].is_null(), step == 0);
        lab.assert_only_base(&data);
        assert_eq!(lab.snapshots().len(), 2);
    }
}

#[test]
fn a_failed_run_leaves_no_snapshot_of_its_own_and_keeps_the_base() {
    let lab = Lab::new();
    lab.apply(json!({}));
    change(lab.source.mountpoint(), 0);
    let away = lab.backstay.scratch_dir().join("away");
    std::fs::rename(lab.store(), &away).unwrap();
    lab.backstay.run(&["run", "data"]).code(3);
    assert_eq!(lab.snapshots(), []);
    std::fs::rename(&away, lab.store()).unwrap();
    let first = lab.back_up();
    for step in 1..3 {
        change(lab.source.mountpoint(), step);
        std::fs::rename(lab.store(), &away).unwrap();
        lab.backstay.run(&["run", "data"]).code(3);
        assert_eq!(lab.newest_run()["status"], "failed");
        std::fs::rename(&away, lab.store()).unwrap();
        lab.assert_only_base(&first);
        lab.assert_only_whole_backups();
    }
    let second = lab.back_up();
    assert_eq!(second["dependsOn"], first["id"]);
    let restored = lab.restore("latest:data", &lab.pool, "restored", None);
    assert_same(lab.source.mountpoint(), &restored);
}

#[test]
fn a_disk_that_fills_up_during_an_increment_costs_only_that_run() {
    let lab = Lab::new();
    let disk = SmallDisk::mount(8 << 20);
    // What the destination sets aside must not hide what is tested.
    let local = json!({ "plugin": "local", "config": { "path": disk.path(), "minFreeBytes": 0 } });
    lab.apply_with(
        json!({}),
        json!({ "destinations": [local], "retries": { "attempts": 1 } }),
    );
    change(lab.source.mountpoint(), 0);
    let first = lab.back_up();
    let noise: Vec<u8> = (0..16u32 << 20)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    std::fs::write(lab.source.mountpoint().join("noise"), noise).unwrap();
    lab.backstay.run(&["run", "data"]).code(12);
    lab.assert_only_base(&first);
    std::fs::remove_file(lab.source.mountpoint().join("noise")).unwrap();
    change(lab.source.mountpoint(), 1);
    let second = lab.back_up();
    assert_eq!(second["dependsOn"], first["id"]);
    lab.assert_only_base(&second);
}

#[test]
fn a_dataset_that_vanished_fails_the_run_with_a_reason() {
    let lab = Lab::new();
    lab.apply(json!({ "incremental": false }));
    change(lab.source.mountpoint(), 0);
    lab.back_up();
    zfs_when_free(&lab.pool, &["destroy", "-r", lab.source.name()]);
    let error = lab.backstay.run_json(&["run", "data"]).code(4).json()["error"].clone();
    let message = error["message"].as_str().unwrap();
    assert!(
        message.contains(lab.source.name()) && message.contains("does not exist"),
        "{message}"
    );
    assert_eq!(
        error["hint"],
        "does the dataset still exist, and is its pool imported?"
    );
    assert_eq!(lab.backups().len(), 1);
}

#[test]
fn turning_increments_off_lets_the_base_go() {
    let lab = Lab::new();
    lab.apply(json!({}));
    change(lab.source.mountpoint(), 0);
    lab.back_up();
    lab.apply(json!({ "incremental": false }));
    assert_eq!(lab.back_up()["dependsOn"], Value::Null);
    assert_eq!(lab.snapshots(), []);
}

#[test]
fn a_clone_of_the_base_is_left_alone_and_said() {
    let lab = Lab::new();
    lab.apply(json!({}));
    change(lab.source.mountpoint(), 0);
    let first = lab.back_up();
    let base = facts(&first)["snapshot"].as_str().unwrap();
    let clone = format!("{}/clone", lab.pool.name());
    lab.pool.zfs(&["clone", base, &clone]);
    let run = lab.backstay.run_json(&["run", "data"]).code(1).json();
    let warning = run["warnings"][0]["message"].as_str().unwrap();
    assert!(warning.contains("dependent clones"), "{warning}");
    assert!(lab.pool.exists(base) && lab.pool.exists(&clone));
    zfs_when_free(&lab.pool, &["destroy", &clone]);
    lab.backstay.run(&["runs"]).ok();
    lab.assert_only_base(&lab.backups()[0]);
}
