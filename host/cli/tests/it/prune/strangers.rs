//! Several hosts that store in one directory: each deletes its own backups only.

use std::collections::BTreeSet;
use std::path::PathBuf;

use backstay_testkit::cli::Backstay;

use super::lab::{BINARY, Lab, directories};

const POLICY: &str = "retention: { keepLast: 1 }";

#[test]
fn two_hosts_with_the_same_job_at_one_directory_delete_nothing_of_each_other() {
    let one = Lab::new();
    let place = one.place.clone();
    let other = Lab::at(Backstay::new(BINARY), |_| place);
    one.history(&["2026-11-17", "2026-11-18"]);
    other.history(&["2026-11-10", "2026-11-11", "2026-11-12"]);
    let all = directories(&one.place.join("j"));
    assert_eq!(all.len(), 5);
    let of_other = locations(&other);
    one.apply(POLICY);
    one.back_up("2026-11-19 12:00:00");
    assert_eq!(one.days(), ["2026-11-19"]);
    assert_eq!(other.days().len(), 3);
    let left = directories(&one.place.join("j"));
    assert_eq!(left, &of_other | &locations(&one));
    for backup in other.backstay.json(&["backups"]).as_array().unwrap() {
        other
            .backstay
            .run(&["verify", backup["id"].as_str().unwrap()])
            .ok();
    }
    other.apply(POLICY);
    other.clock.set("2026-11-21 12:00:00");
    other.backstay.run(&["prune", "j"]).ok();
    assert_eq!(other.days(), ["2026-11-12"]);
    one.backstay
        .run(&["verify", "latest:j", "--level", "restore"])
        .ok();
}

#[test]
fn the_latest_of_a_job_is_ones_own_also_when_the_other_hosts_are_in_the_catalogue() {
    let one = Lab::new();
    let place = one.place.clone();
    let other = Lab::at(Backstay::new(BINARY), |_| place);
    let own = one.history(&["2026-11-17"]);
    other.history(&["2026-11-18"]);
    let config = serde_json::json!({ "path": one.place }).to_string();
    one.backstay
        .run(&["catalog", "rebuild", "--plugin", "local", "--config", &config])
        .ok();
    assert_eq!(one.days(), ["2026-11-18", "2026-11-17"]);
    let verified = one.backstay.json(&["verify", "latest:j"]);
    assert_eq!(verified["backups"][0]["id"], own[0].as_str());
    let drilled = one.backstay.json(&["drill", "j"]);
    assert!(drilled.to_string().contains(&own[0]), "{drilled:#}");
}

#[test]
fn a_reinstalled_host_deletes_nothing_of_the_one_before() {
    let before = Lab::new();
    before.history(&["2026-11-15", "2026-11-16", "2026-11-17"]);
    let old = directories(&before.place.join("j"));
    let place = before.place.clone();
    let after = Lab::at(Backstay::new(BINARY), |_| place);
    after.apply(POLICY);
    after.history(&["2026-11-18", "2026-11-19", "2026-11-20"]);
    assert_eq!(after.days(), ["2026-11-20"]);
    assert_eq!(directories(&before.place.join("j")), &old | &locations(&after));
    before
        .backstay
        .run(&["verify", "latest:j", "--level", "restore"])
        .ok();
}

#[test]
fn another_job_at_the_same_directory_is_left_alone() {
    let lab = Lab::new();
    lab.history(&["2026-11-18", "2026-11-19"]);
    // The same name, but another job: the one before was removed.
    lab.backstay.run(&["job", "rm", "j"]).ok();
    lab.apply(POLICY);
    lab.history(&["2026-11-20", "2026-11-21"]);
    assert_eq!(lab.days(), ["2026-11-21", "2026-11-19", "2026-11-18"]);
    lab.assert_in_step("after runs of the new job");
}

fn locations(lab: &Lab) -> BTreeSet<PathBuf> {
    let backups = lab.backstay.json(&["backups"]);
    let manifests = backups.as_array().unwrap().iter();
    manifests
        .map(|b| {
            PathBuf::from(b["location"].as_str().unwrap())
                .parent()
                .unwrap()
                .to_owned()
        })
        .collect()
}
