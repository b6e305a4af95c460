//! Chains of real increments: what a kept one builds on stays, and a whole chain goes the newest link first.

use serde_json::{Value, json};

use super::lab::decided;
use crate::zfs::lab::{Lab, assert_same, change, facts, files_below, id};

/// Makes a backup of the next step of the dataset.
fn step(lab: &Lab, number: u32) -> Value {
    change(lab.source.mountpoint(), number);
    lab.back_up()
}

#[test]
fn bases_of_kept_increments_stay_and_a_chain_that_nobody_needs_goes() {
    let lab = Lab::new();
    let policy = json!({ "retention": { "keepLast": 2 } });
    lab.apply_with(json!({}), policy);
    let chain: Vec<Value> = (0..4).map(|number| step(&lab, number)).collect();
    let plan = lab.backstay.json(&["prune", "data"]);
    let what: Vec<String> = decided(&plan, 0)
        .iter()
        .map(|line| line[11..].to_owned())
        .collect();
    assert_eq!(
        what,
        [
            "keep: one of the last 2".to_owned(),
            "keep: one of the last 2".to_owned(),
            format!("keep: base of {}", id(&chain[2])),
            format!("keep: base of {}", id(&chain[1])),
        ]
    );
    lab.assert_only_whole_backups();
    let restored = lab.restore("latest:data", &lab.pool, "chain", None);
    assert_same(lab.source.mountpoint(), &restored);

    // Its base is gone at the source, so a new chain begins.
    let snapshot = facts(&chain[3])["snapshot"].as_str().unwrap();
    lab.pool.zfs(&["release", &lab.tag(), snapshot]);
    lab.pool.zfs(&["destroy", snapshot]);
    let whole = step(&lab, 4);
    assert_eq!(whole["dependsOn"], Value::Null);
    assert_eq!(
        lab.backups().len(),
        5,
        "one of the two newest needs the old chain"
    );
    let increment = step(&lab, 5);
    assert_eq!(increment["dependsOn"], whole["id"]);
    let left: Vec<Value> = lab.backups().iter().map(|b| b["id"].clone()).collect();
    assert_eq!(left, [increment["id"].clone(), whole["id"].clone()]);
    lab.assert_only_whole_backups();
    assert_eq!(files_below(&lab.store()).len(), 4);
    let log = lab.backstay.run(&["logs", "data"]).ok().stdout;
    let gone: Vec<usize> = chain
        .iter()
        .rev()
        .map(|backup| log.find(&format!("deleted backup {}", id(backup))).unwrap())
        .collect();
    assert!(gone.is_sorted(), "{log}");
    lab.assert_only_base(&increment);
    let restored = lab.restore("latest:data", &lab.pool, "restored", None);
    assert_same(lab.source.mountpoint(), &restored);
}
