//! Drills: backups are tried out by restoring them to a scratch place, which is gone again afterwards.

use std::fs;
use std::path::{Path, PathBuf};

use backstay_testkit::cli::{Backstay, Moment};
use backstay_testkit::disk::SmallDisk;
use backstay_testkit::tools;
use serde_json::{Value, json};

use crate::abort::paths;
use crate::roundtrip::key;

/// A job `NAME` that backs up some files to each of `places`.
fn apply(backstay: &Backstay, name: &str, places: &[&Path], more: Value) -> PathBuf {
    let source = backstay.scratch_dir().join(format!("source of {name}"));
    fs::create_dir_all(source.join("sub")).unwrap();
    fs::write(source.join("sub/file"), vec![b'x'; 300_000]).unwrap();
    for n in 0..5 {
        fs::write(source.join(n.to_string()), name).unwrap();
    }
    let destinations: Vec<Value> = places
        .iter()
        .map(|path| {
            fs::create_dir_all(path).unwrap();
            json!({ "plugin": "local", "config": { "path": path, "minFreeBytes": 0 } })
        })
        .collect();
    let mut job = json!({
        "name": name,
        "source": { "plugin": "path", "config": { "path": source } },
        "destinations": destinations,
    });
    job.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    backstay.apply(&job.to_string()).ok();
    source
}

fn payload(backup: &Value) -> PathBuf {
    backup["manifest"]["artifacts"][0]["location"]
        .as_str()
        .unwrap()
        .into()
}

#[track_caller]
fn nothing_is_left(backstay: &Backstay) {
    let scratch = backstay.data_dir().join("scratch");
    assert!(
        !scratch.exists() || paths(&scratch).is_empty(),
        "scratch files are left"
    );
}

#[test]
fn the_newest_good_backup_at_each_destination_is_tried_out() {
    let backstay = Backstay::new(env!("CARGO_BIN_EXE_backstay"));
    let [one, two, three] = ["one", "two", "three"].map(|name| backstay.scratch_dir().join(name));
    let key = key(backstay.scratch_dir(), "key.txt");
    let identity = ["--identity", key.file.to_str().unwrap()];
    let filters = json!({ "filters": { "encryption": { "recipients": [key.public] } } });
    apply(&backstay, "both", &[&one, &two], filters);
    apply(&backstay, "plain", &[&three], json!({}));
    assert_eq!(backstay.run_json(&["drill"]).ok().json(), json!([]));
    backstay.run(&["drill", "plain"]).code(2);
    let older = backstay.json(&["run", "both"]);
    let newer = backstay.json(&["run", "both"]);
    let plain = backstay.json(&["run", "plain"]);

    // Without a job, every job; each backup is a run of its own.
    let all = backstay.json(&[&["drill"], identity.as_slice()].concat());
    let tried: Vec<&Value> = all
        .as_array()
        .unwrap()
        .iter()
        .map(|run| &run["backups"][0]["id"])
        .collect();
    let expected = [
        &newer["backups"][0]["id"],
        &newer["backups"][1]["id"],
        &plain["backups"][0]["id"],
    ];
    assert_eq!(tried, expected);
    for run in all.as_array().unwrap() {
        assert_eq!(
            (&run["kind"], &run["status"]),
            (&json!("drill"), &json!("succeeded"))
        );
        assert_eq!(run["backups"][0]["verifiedLevel"], "restore");
        assert_eq!(run["backups"][0]["verifiedOk"], true);
    }
    let runs = backstay.json(&["runs"]);
    assert_eq!(
        runs.as_array()
            .unwrap()
            .iter()
            .filter(|run| run["kind"] == "drill")
            .count(),
        3
    );
    nothing_is_left(&backstay);

    // What is known to be damaged isn't tried again: the one before is, at that destination.
    let damaged = &newer["backups"][1];
    fs::write(payload(damaged), "damaged").unwrap();
    let failed = [
        &["drill", damaged["id"].as_str().unwrap(), "--json"],
        identity.as_slice(),
    ]
    .concat();
    let failed = backstay.run(&failed).code(8).json();
    let message = failed[0]["error"]["message"].as_str().unwrap();
    assert!(message.contains(payload(damaged).to_str().unwrap()), "{message}");
    let again = backstay.json(&[&["drill", "both"], identity.as_slice()].concat());
    let tried: Vec<&Value> = again
        .as_array()
        .unwrap()
        .iter()
        .map(|run| &run["backups"][0]["id"])
        .collect();
    assert_eq!(tried, [&newer["backups"][0]["id"], &older["backups"][1]["id"]]);

    // Without the key nothing is known.
    let output = backstay.run_json(&["drill", "both"]).code(15).json();
    assert_eq!(output[0]["error"]["code"], "encryption");
    assert_eq!(output[0]["backups"][0]["verifiedOk"], true);
    let text = backstay.run(&["drill", "plain"]).ok().stdout;
    assert!(
        text.contains("drill of plain: succeeded") && text.contains("checked      restore"),
        "{text}"
    );
    nothing_is_left(&backstay);
}

#[test]
fn a_killed_drill_leaves_nothing() {
    let backstay = Backstay::new(env!("CARGO_BIN_EXE_backstay"));
    let place = backstay.scratch_dir().join("place");
    apply(&backstay, "j", &[&place], json!({}));
    backstay.run(&["run", "j"]).ok();
    let wal = backstay.data_dir().join("backstay.db-wal");
    let mut kills = 0;
    for (call, path) in [
        ("fsync", Some(wal.as_path())),
        ("mkdirat", None),
        ("unlinkat", None),
    ] {
        for nth in (1..).step_by(2) {
            let moment = Moment::of(call, nth);
            let moment = path.map_or(moment, |path| moment.on(path));
            if !backstay.killed_at(&["drill", "j"], moment).was_killed_or_ok() {
                break;
            }
            kills += 1;
            backstay.run(&["runs"]).ok();
            nothing_is_left(&backstay);
            // That says nothing about the backup.
            assert_ne!(
                backstay.json(&["backups"])[0]["verifiedOk"],
                false,
                "{call} {nth}"
            );
        }
    }
    assert!(
        kills >= 5,
        "only {kills} steps were found to kill at: has the host changed?"
    );
    backstay.run(&["drill"]).ok();
    assert_eq!(backstay.json(&["backups"])[0]["verifiedLevel"], "restore");
}

#[test]
fn a_drill_that_would_fill_the_disk_does_not_begin() {
    tools::require_root("to mount a small disk");
    let disk = SmallDisk::mount(8 << 20);
    let old = Backstay::new(env!("CARGO_BIN_EXE_backstay"));
    let place = old.scratch_dir().join("place");
    let source = apply(&old, "j", &[&place], json!({}));
    fs::write(source.join("large"), vec![b'x'; 12 << 20]).unwrap();
    old.run(&["run", "j"]).ok();
    let data = disk.path().join("data");
    let data = data.to_str().unwrap();
    let config = json!({ "path": place }).to_string();
    old.run(&[
        "--data-dir",
        data,
        "catalog",
        "rebuild",
        "--plugin",
        "local",
        "--config",
        &config,
    ])
    .ok();
    let output = old.run(&["--data-dir", data, "drill", "--json"]).code(12).json();
    let message = output[0]["error"]["message"].as_str().unwrap();
    assert!(message.contains("bytes to restore, and "), "{message}");
    assert_eq!(output[0]["backups"][0]["verifiedLevel"], "size");
    assert!(!Path::new(data).join("scratch").exists());
}
