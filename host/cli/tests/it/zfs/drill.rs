//! Drills receive a backup below a dataset that a person names, and nothing of it stays.

use std::fs;
use std::path::Path;
use std::time::Duration;

use backstay_testkit::cli::Moment;
use backstay_testkit::process::wait_until;
use backstay_testkit::tools;
use backstay_testkit::turns::Turns;
use backstay_testkit::zfs::Pool;
use serde_json::{Value, json};

use super::lab::{Lab, change, id};

fn datasets(pool: &Pool) -> Vec<String> {
    let names = pool.zfs(&["list", "-H", "-o", "name", "-r", pool.name()]);
    names.lines().map(str::to_owned).collect()
}

/// Makes a chain of three.
fn back_up_thrice(lab: &Lab) -> Vec<Value> {
    let back_up = |step| {
        change(lab.source.mountpoint(), step);
        lab.back_up()
    };
    (0..3).map(back_up).collect()
}

#[track_caller]
fn is_tried_out(lab: &Lab, args: &[&str], place: &str) {
    let runs = lab.backstay.json(&[&["drill"], args].concat());
    assert_eq!(runs[0]["status"], "succeeded", "{runs:#}");
    assert_eq!(runs[0]["backups"][0]["verifiedLevel"], "restore", "{runs:#}");
    assert_eq!(runs[0]["backups"][0]["verifiedOk"], true);
    let run = runs[0]["id"].as_str().unwrap();
    let said = lab.backstay.run(&["logs", run]).ok().stdout;
    assert!(
        said.contains(&format!("{place}/backstay-drill-{run}, which goes again")),
        "{said}"
    );
}

#[test]
fn a_chain_is_received_and_goes_again() {
    let (lab, other) = (Lab::new(), Pool::create());
    lab.apply(json!({}));
    let backups = back_up_thrice(&lab);
    let before = datasets(&lab.pool);
    is_tried_out(&lab, &["data", "--to", other.name()], other.name());
    is_tried_out(&lab, &[id(&backups[1]), "--to", other.name()], other.name());
    assert_eq!(datasets(&other), [other.name()]);
    // Without a place it is decoded, which takes nothing back.
    let decoded = lab.backstay.json(&["drill"]);
    assert_eq!(decoded[0]["backups"][0]["verifiedLevel"], "restore");
    lab.apply_with(json!({}), json!({ "verify": { "drillTo": other.name() } }));
    is_tried_out(&lab, &[], other.name());
    assert_eq!(
        (datasets(&other), datasets(&lab.pool)),
        (vec![other.name().to_owned()], before)
    );
}

#[test]
fn datasets_that_bring_their_mount_points_are_only_decoded() {
    let (lab, other) = (Lab::new(), Pool::create());
    lab.apply_with(
        json!({ "recursive": true }),
        json!({ "verify": { "drillTo": other.name() } }),
    );
    back_up_thrice(&lab);
    let runs = lab.backstay.json(&["drill"]);
    assert_eq!(runs[0]["status"], "succeeded", "{runs:#}");
    assert_eq!(runs[0]["backups"][0]["verifiedLevel"], "archive", "{runs:#}");
    assert_eq!(datasets(&other), [other.name()]);
}

#[test]
fn what_can_not_be_received_is_damaged_and_what_could_not_be_tried_is_not() {
    let (lab, other) = (Lab::new(), Pool::create());
    lab.apply(json!({}));
    let backups = back_up_thrice(&lab);
    let nowhere = format!("{}/nowhere", other.name());
    let run = lab
        .backstay
        .run_json(&["drill", "data", "--to", &nowhere])
        .code(5)
        .json();
    assert!(
        run[0]["error"]["hint"]
            .as_str()
            .unwrap()
            .contains("create the parent"),
        "{run:#}"
    );
    assert_eq!(lab.backups()[0]["verifiedOk"], Value::Null);
    for wrong in ["/mnt/place", "-r", "tank@x"] {
        let run = lab
            .backstay
            .run(&["drill", "data", &format!("--to={wrong}")])
            .code(2);
        assert!(
            run.stderr.contains("is not the name of a dataset"),
            "{}",
            run.stderr
        );
    }
    let object = backups[1]["manifest"]["artifacts"][0]["location"]
        .as_str()
        .unwrap();
    damage(Path::new(object));
    lab.backstay.run(&["drill", "data", "--to", other.name()]).code(8);
    assert_eq!(datasets(&other), [other.name()]);
    let damaged: Vec<Value> = lab.backups().iter().map(|b| b["verifiedOk"].clone()).collect();
    assert_eq!(damaged, [json!(null), json!(false), json!(true)]);
}

fn damage(object: &Path) {
    let mut bytes = fs::read(object).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(object, bytes).unwrap();
}

#[test]
fn nothing_is_left_of_a_drill_that_was_killed() {
    tools::require(&["strace"]);
    let (lab, other) = (Lab::new(), Pool::create());
    lab.apply(json!({}));
    back_up_thrice(&lab);
    let before = datasets(&lab.pool);
    let mut turns = Turns::of(5);
    while let Some(number) = turns.next() {
        let args = ["drill", "data", "--to", other.name()];
        let killed = lab
            .backstay
            .killed_at(&args, Moment::of("waitid", number))
            .was_killed_or_ok();
        // zfs-fuse ends a receive that was killed only when it notices, and a dataset is busy until then.
        wait_until("the drill to be cleared away", Duration::from_secs(20), || {
            lab.backstay.run(&["runs"]).ok();
            datasets(&other).len() == 1
        });
        turns.note(killed);
    }
    assert_eq!(datasets(&lab.pool), before);
    lab.back_up();
}
