//! Increments, and what a restore makes of them.

use backstay_testkit::zfs::Pool;
use serde_json::{Value, json};

use super::lab::{
    Key, Lab, add_odd_files, assert_same, change, facts, id, keep_copy, new_key, run_kit, wait_until_gone,
    zfs_when_free,
};

/// Three backups of a dataset that changes; each is restored to another pool, by Backstay and by hand.
fn round_trip(filters: Value, key: Option<&Key>) {
    let lab = Lab::new();
    lab.apply_with(json!({}), json!({ "filters": filters }));
    let root = lab.source.mountpoint();
    add_odd_files(root);
    let mut made = Vec::new();
    for step in 0..3 {
        change(root, step);
        let backup = lab.back_up();
        let copy = lab.backstay.scratch_dir().join(format!("copy-{step}"));
        keep_copy(root, &copy);
        lab.assert_only_base(&backup);
        made.push((backup, copy));
    }
    let bases: Vec<&Value> = made
        .iter()
        .map(|(backup, _)| &facts(backup)["baseGuid"])
        .collect();
    let guids: Vec<&Value> = made.iter().map(|(backup, _)| &facts(backup)["guid"]).collect();
    assert_eq!(bases, [&Value::Null, guids[0], guids[1]]);
    assert_eq!(made[2].0["dependsOn"], made[1].0["id"]);

    let other = Pool::create();
    for (step, (backup, copy)) in made.iter().enumerate() {
        let restored = lab.restore(id(backup), &other, &format!("restored-{step}"), key);
        assert_same(copy, &restored);
        let by_hand = lab.restore_by_kit(id(backup), &other, &format!("by-hand-{step}"), key);
        assert_same(copy, &by_hand);
    }
    let newest = lab.restore("latest:data", &other, "newest", key);
    assert_same(root, &newest);
    let received = other.snapshots(&format!("{}/newest", other.name()));
    assert_eq!(
        received.iter().map(|s| json!(s.guid)).collect::<Vec<_>>(),
        guids.into_iter().cloned().collect::<Vec<_>>()
    );
}

#[test]
fn three_increments_restore_to_another_pool() {
    round_trip(json!({}), None);
}

#[test]
fn three_compressed_increments_restore_to_another_pool() {
    round_trip(json!({ "compression": { "algorithm": "zstd" } }), None);
}

#[test]
fn three_compressed_and_encrypted_increments_restore_to_another_pool() {
    let keys = tempfile::tempdir().unwrap();
    let key = new_key(keys.path());
    let filters = json!({
        "compression": { "algorithm": "zstd" },
        "encryption": { "recipients": [key.recipient] },
    });
    round_trip(filters, Some(&key));
}

#[test]
fn three_encrypted_increments_restore_to_another_pool() {
    let keys = tempfile::tempdir().unwrap();
    let key = new_key(keys.path());
    round_trip(
        json!({ "encryption": { "recipients": [key.recipient] } }),
        Some(&key),
    );
}

#[test]
fn every_backup_is_whole_without_incremental_and_leaves_no_snapshot() {
    let lab = Lab::new();
    lab.apply(json!({ "incremental": false, "snapshotName": "nightly" }));
    for step in 0..2 {
        change(lab.source.mountpoint(), step);
        let backup = lab.back_up();
        assert_eq!(backup["dependsOn"], Value::Null);
        assert!(facts(&backup)["snapshot"].as_str().unwrap().contains("@nightly-"));
        assert_eq!(lab.snapshots(), []);
    }
    let restored = lab.restore("latest:data", &lab.pool, "restored", None);
    assert_same(lab.source.mountpoint(), &restored);
}

#[test]
fn a_base_that_somebody_destroyed_means_a_whole_backup() {
    let lab = Lab::new();
    lab.apply(json!({}));
    change(lab.source.mountpoint(), 0);
    let first = lab.back_up();
    let snapshot = facts(&first)["snapshot"].as_str().unwrap();
    lab.pool.zfs(&["release", &lab.tag(), snapshot]);
    lab.pool.zfs(&["destroy", snapshot]);
    change(lab.source.mountpoint(), 1);
    let second = lab.back_up();
    assert_eq!(second["dependsOn"], Value::Null);
    lab.assert_only_base(&second);
    assert_eq!(lab.back_up()["dependsOn"], second["id"]);
    let restored = lab.restore("latest:data", &lab.pool, "restored", None);
    assert_same(lab.source.mountpoint(), &restored);
}

#[test]
fn another_snapshot_of_the_same_name_is_neither_a_base_nor_destroyed() {
    let lab = Lab::new();
    lab.apply(json!({}));
    change(lab.source.mountpoint(), 0);
    let first = lab.back_up();
    let snapshot = facts(&first)["snapshot"].as_str().unwrap();
    lab.pool.zfs(&["release", &lab.tag(), snapshot]);
    lab.pool.zfs(&["destroy", snapshot]);
    lab.pool.zfs(&["snapshot", snapshot]);
    let second = lab.back_up();
    assert_eq!(second["dependsOn"], Value::Null);
    assert!(
        lab.pool.exists(snapshot),
        "somebody else's snapshot was destroyed"
    );
    assert!(lab.pool.exists(facts(&second)["snapshot"].as_str().unwrap()));
}

#[test]
fn nothing_is_built_on_a_backup_that_is_known_to_be_damaged() {
    let lab = Lab::new();
    lab.apply(json!({}));
    change(lab.source.mountpoint(), 0);
    let first = lab.back_up();
    change(lab.source.mountpoint(), 1);
    let second = lab.back_up();
    assert_eq!(second["dependsOn"], first["id"]);
    let object = first["manifest"]["artifacts"][0]["location"].as_str().unwrap();
    let mut bytes = std::fs::read(object).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(object, bytes).unwrap();
    lab.backstay.run(&["verify", id(&first)]).code(8);

    change(lab.source.mountpoint(), 2);
    let third = lab.back_up();
    assert_eq!(
        third["dependsOn"],
        Value::Null,
        "the second builds on the damaged first"
    );
    lab.assert_only_base(&third);
    let restored = lab.restore("latest:data", &lab.pool, "restored", None);
    assert_same(lab.source.mountpoint(), &restored);
}

#[test]
fn damage_in_a_chain_is_found_and_what_was_restored_until_then_is_said() {
    let lab = Lab::new();
    lab.apply(json!({}));
    for step in 0..2 {
        change(lab.source.mountpoint(), step);
        lab.back_up();
    }
    let kit = lab.backstay.run(&["recovery-kit", "latest:data"]).ok().stdout;
    let damage = |backup: &Value| {
        let object = backup["manifest"]["artifacts"][0]["location"]
            .as_str()
            .unwrap()
            .to_owned();
        let good = std::fs::read(&object).unwrap();
        let mut bad = good.clone();
        let middle = bad.len() / 2;
        bad[middle] ^= 1;
        std::fs::write(&object, bad).unwrap();
        (object, good)
    };
    let target = format!("{}/restored", lab.pool.name());
    let backups = lab.backups();

    let (object, good) = damage(&backups[0]);
    let output = lab
        .backstay
        .run_json(&["restore", "latest:data", "--to", &target])
        .code(8);
    let error = &output.json()["error"];
    assert!(error["message"].as_str().unwrap().contains(&object), "{error}");
    assert!(
        error["hint"]
            .as_str()
            .unwrap()
            .contains(&format!("zfs destroy -r {target}")),
        "{error}"
    );
    let left = lab.pool.snapshots(&target);
    assert_eq!(left.len(), 1, "the first link of the chain is good");
    let by_hand = format!("{}/by-hand", lab.pool.name());
    assert_eq!(run_kit(&kit, &by_hand, None).code, 8);
    assert!(
        !lab.pool.exists(&by_hand),
        "the kit checks all before it writes any"
    );
    std::fs::write(&object, good).unwrap();

    damage(&backups[1]);
    let other = format!("{}/other", lab.pool.name());
    lab.backstay
        .run(&["restore", "latest:data", "--to", &other])
        .code(8);
    wait_until_gone(&lab.pool, &other);
}

#[test]
fn each_destination_has_a_chain_of_its_own() {
    let lab = Lab::new();
    let second = lab.backstay.scratch_dir().join("second");
    std::fs::create_dir(&second).unwrap();
    let local = |path| json!({ "plugin": "local", "config": { "path": path }, "optional": path == &second });
    lab.apply_with(
        json!({}),
        json!({ "destinations": [local(&lab.store()), local(&second)] }),
    );
    for step in 0..3 {
        change(lab.source.mountpoint(), step);
        lab.back_up();
    }
    std::fs::remove_dir_all(lab.store()).unwrap();
    let copy = lab
        .backups()
        .into_iter()
        .find(|b| b["critical"] == false)
        .unwrap();
    let restored = lab.restore(id(&copy), &lab.pool, "restored", None);
    assert_same(lab.source.mountpoint(), &restored);
    let by_hand = lab.restore_by_kit(id(&copy), &lab.pool, "by-hand", None);
    assert_same(lab.source.mountpoint(), &by_hand);
}

#[test]
fn a_destination_that_missed_a_backup_gets_a_whole_one_next_time() {
    let lab = Lab::new();
    let second = lab.backstay.scratch_dir().join("second");
    let away = lab.backstay.scratch_dir().join("away");
    std::fs::create_dir(&second).unwrap();
    let local = |path| json!({ "plugin": "local", "config": { "path": path }, "optional": path == &second });
    lab.apply_with(
        json!({}),
        json!({ "destinations": [local(&lab.store()), local(&second)] }),
    );
    change(lab.source.mountpoint(), 0);
    lab.back_up();
    change(lab.source.mountpoint(), 1);
    std::fs::rename(&second, &away).unwrap();
    lab.backstay.run(&["run", "data"]).code(1);
    std::fs::rename(&away, &second).unwrap();
    change(lab.source.mountpoint(), 2);
    assert_eq!(lab.back_up()["dependsOn"], Value::Null);
    for (name, backup) in ["a", "b"].into_iter().zip(lab.backups()) {
        let restored = lab.restore(id(&backup), &lab.pool, name, None);
        assert_same(lab.source.mountpoint(), &restored);
    }
}

#[test]
fn a_restored_dataset_put_in_the_place_of_the_lost_one_goes_on_with_the_chain() {
    let lab = Lab::new();
    lab.apply(json!({}));
    for step in 0..2 {
        change(lab.source.mountpoint(), step);
        lab.back_up();
    }
    let newest = lab.backups()[0].clone();
    lab.pool.zfs(&[
        "release",
        &lab.tag(),
        facts(&newest)["snapshot"].as_str().unwrap(),
    ]);
    zfs_when_free(&lab.pool, &["destroy", "-r", lab.source.name()]);
    let target = format!("{}/restored", lab.pool.name());
    lab.backstay
        .run(&["restore", "latest:data", "--to", &target])
        .ok();
    zfs_when_free(&lab.pool, &["rename", &target, lab.source.name()]);
    lab.pool.zfs(&["mount", lab.source.name()]);
    change(lab.source.mountpoint(), 2);
    assert_eq!(lab.back_up()["dependsOn"], newest["id"]);
    assert!(!lab.pool.exists(facts(&newest)["snapshot"].as_str().unwrap()));
    let restored = lab.restore("latest:data", &lab.pool, "again", None);
    assert_same(lab.source.mountpoint(), &restored);
}

#[test]
fn a_chain_ends_where_the_job_says_and_retention_lets_it_go() {
    let lab = Lab::new();
    let job = json!({ "retention": { "keepLast": 2 } });
    lab.apply_with(json!({ "maxIncrements": 2 }), job);
    let mut made = Vec::new();
    for step in 0..5 {
        change(lab.source.mountpoint(), step);
        made.push(lab.back_up());
        lab.assert_only_base(&made[made.len() - 1]);
    }
    let bases: Vec<&Value> = made.iter().map(|backup| &backup["dependsOn"]).collect();
    let ids: Vec<Value> = made.iter().map(|backup| backup["id"].clone()).collect();
    assert_eq!(bases, [&Value::Null, &ids[0], &ids[1], &Value::Null, &ids[3]]);
    let kept: Vec<Value> = lab.backups().iter().map(|backup| backup["id"].clone()).collect();
    assert_eq!(kept, [ids[4].clone(), ids[3].clone()]);
}
