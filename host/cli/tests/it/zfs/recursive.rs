//! A dataset with all below it.

use backstay_testkit::zfs::Pool;
use serde_json::{Value, json};

use super::lab::{Lab, assert_same, change, facts, mount, run_kit, zfs_when_free};

const CHILDREN: [&str; 3] = ["", "/a", "/a/deep"];

/// The source with two datasets below it.
fn family() -> Lab {
    let lab = Lab::new();
    for child in ["source/a", "source/a/deep"] {
        lab.pool.dataset(child);
    }
    lab.apply(json!({ "recursive": true }));
    lab
}

fn change_all(lab: &Lab, step: u32) {
    for child in CHILDREN {
        change(&lab.pool.mountpoint().join(format!("source{child}")), step);
    }
}

fn all_snapshots(lab: &Lab) -> Vec<String> {
    let listed = lab.pool.zfs(&[
        "list",
        "-H",
        "-r",
        "-t",
        "snapshot",
        "-o",
        "name",
        lab.source.name(),
    ]);
    listed.lines().map(str::to_owned).collect()
}

/// The snapshots of one backup in all datasets of the family.
fn of(backup: &Value, datasets: &[&str]) -> Vec<String> {
    let (top, name) = facts(backup)["snapshot"]
        .as_str()
        .unwrap()
        .split_once('@')
        .unwrap();
    let mut all: Vec<String> = datasets.iter().map(|d| format!("{top}{d}@{name}")).collect();
    all.sort();
    all
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}

#[test]
fn increments_follow_datasets_that_come_and_go() {
    let lab = family();
    change_all(&lab, 0);
    let first = lab.back_up();
    assert_eq!(sorted(all_snapshots(&lab)), of(&first, &CHILDREN));
    assert!(all_snapshots(&lab).iter().all(|name| lab.pool.holds(name) == 1));
    change_all(&lab, 1);
    let new = lab.pool.dataset("source/new");
    change(new.mountpoint(), 0);
    let second = lab.back_up();
    assert_eq!(second["dependsOn"], first["id"]);
    assert_eq!(
        sorted(all_snapshots(&lab)),
        of(&second, &["", "/a", "/a/deep", "/new"])
    );

    let gone = facts(&second)["snapshot"]
        .as_str()
        .unwrap()
        .replace('@', "/a/deep@");
    lab.pool.zfs(&["release", &lab.tag(), &gone]);
    zfs_when_free(
        &lab.pool,
        &["destroy", "-r", &format!("{}/a/deep", lab.source.name())],
    );
    change(new.mountpoint(), 1);
    let third = lab.back_up();
    assert_eq!(third["dependsOn"], second["id"]);
    assert_eq!(sorted(all_snapshots(&lab)), of(&third, &["", "/a", "/new"]));

    let other = Pool::create();
    let kit = lab.backstay.run(&["recovery-kit", "latest:data"]).ok().stdout;
    let target = format!("{}/by-hand", other.name());
    let by_hand = run_kit(&kit, &target, None);
    assert_eq!(by_hand.code, 0, "{}", by_hand.stderr);
    lab.backstay
        .run(&[
            "restore",
            "latest:data",
            "--to",
            &format!("{}/restored", other.name()),
        ])
        .ok();
    for name in ["restored", "by-hand"] {
        for child in ["", "/a", "/new"] {
            mount(&other, &format!("{name}{child}"));
        }
        assert!(
            !other.exists(&format!("{}/{name}/a/deep", other.name())),
            "{name}: it came back"
        );
        assert_same(lab.source.mountpoint(), &other.mountpoint().join(name));
    }
}

#[test]
fn a_base_whose_top_somebody_destroyed_is_cleared_away_below() {
    let lab = family();
    change_all(&lab, 0);
    let first = lab.back_up();
    let top = facts(&first)["snapshot"].as_str().unwrap();
    lab.pool.zfs(&["release", &lab.tag(), top]);
    lab.pool.zfs(&["destroy", top]);
    let second = lab.back_up();
    assert_eq!(second["dependsOn"], Value::Null);
    assert_eq!(sorted(all_snapshots(&lab)), of(&second, &CHILDREN));
}

#[test]
fn a_base_that_lost_a_hold_below_is_cleared_away_all_the_same() {
    let lab = family();
    change_all(&lab, 0);
    let first = lab.back_up();
    let below = facts(&first)["snapshot"].as_str().unwrap().replace('@', "/a@");
    lab.pool.zfs(&["release", &lab.tag(), &below]);
    let second = lab.back_up();
    assert_eq!(second["dependsOn"], first["id"]);
    assert_eq!(sorted(all_snapshots(&lab)), of(&second, &CHILDREN));
}

#[test]
fn a_base_that_somebody_holds_stays_with_a_warning_and_goes_once_it_is_let_go() {
    let lab = family();
    change_all(&lab, 0);
    let first = lab.back_up();
    let below = facts(&first)["snapshot"].as_str().unwrap().replace('@', "/a@");
    lab.pool.zfs(&["hold", "mine", &below]);
    let output = lab.backstay.run_json(&["run", "data"]).code(1);
    let warning = output.json()["warnings"][0]["message"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        warning.contains(&below) && warning.contains("dataset is busy"),
        "{warning}"
    );
    let second = lab.backups()[0].clone();
    assert_eq!(second["dependsOn"], first["id"]);
    let mut expected = of(&second, &CHILDREN);
    expected.push(below.clone());
    assert_eq!(sorted(all_snapshots(&lab)), sorted(expected));

    lab.pool.zfs(&["release", "mine", &below]);
    lab.backstay.run(&["runs"]).ok();
    assert_eq!(sorted(all_snapshots(&lab)), of(&second, &CHILDREN));
}

#[test]
fn a_job_that_is_no_longer_recursive_starts_anew_and_clears_away() {
    let lab = family();
    change_all(&lab, 0);
    lab.back_up();
    // The source is a third of what it was.
    lab.apply_with(json!({}), json!({ "guards": { "maxShrinkPercent": 100 } }));
    let second = lab.back_up();
    assert_eq!(second["dependsOn"], Value::Null);
    assert_eq!(all_snapshots(&lab), of(&second, &[""]));
    lab.apply(json!({ "recursive": true }));
    let third = lab.back_up();
    assert_eq!(third["dependsOn"], Value::Null);
    assert_eq!(sorted(all_snapshots(&lab)), of(&third, &CHILDREN));
}

#[test]
fn a_failed_run_leaves_nothing_in_any_dataset() {
    let lab = family();
    change_all(&lab, 0);
    let first = lab.back_up();
    let away = lab.backstay.scratch_dir().join("away");
    std::fs::rename(lab.store(), &away).unwrap();
    lab.backstay.run(&["run", "data"]).code(3);
    assert_eq!(sorted(all_snapshots(&lab)), of(&first, &CHILDREN));
    assert!(all_snapshots(&lab).iter().all(|name| lab.pool.holds(name) == 1));
    std::fs::rename(&away, lab.store()).unwrap();
    change_all(&lab, 1);
    assert_eq!(lab.back_up()["dependsOn"], first["id"]);
}
