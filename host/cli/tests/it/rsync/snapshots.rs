//! Snapshots: each is whole, and shares with the one before what has not changed.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use backstay_testkit::compare;
use backstay_testkit::disk::SmallDisk;
use backstay_testkit::tree::{Size, hostile};
use serde_json::json;

use super::lab::Lab;
use crate::destinations::noise;

fn inode(path: &Path) -> u64 {
    fs::symlink_metadata(path).unwrap().ino()
}

#[test]
fn a_tree_of_all_kinds_and_names_is_kept_as_it_is() {
    let lab = Lab::new();
    let size = Size::default().sparse_bytes(1 << 20).path_bytes(2_800).depth(50);
    hostile(&lab.at("source"), size);
    for name in [
        &b"-n"[..],
        b"--delete",
        b"new\nline",
        b"\xff\xfe",
        b"..x",
        b"#",
        b"*",
        b" ",
    ] {
        fs::write(lab.at("source").join(std::ffi::OsStr::from_bytes(name)), name).unwrap();
    }
    lab.apply(json!({}), json!({}));
    let run = lab.run();
    let snapshot = run.json()["backups"][0]["manifest"]["artifacts"][0]["location"]
        .as_str()
        .unwrap()
        .to_owned();
    compare::trees(&lab.at("source"), Path::new(&snapshot)).unwrap();
    lab.verify().ok();
    lab.comes_back("target");
    // Again, with links to all of it.
    let again = lab.run();
    assert_eq!(again.code, run.code, "{}", again.stderr);
    lab.verify().ok();
}

#[test]
fn what_has_not_changed_takes_no_room_and_each_snapshot_is_whole_without_the_others() {
    let lab = Lab::new();
    lab.write("large", noise(1_000_000));
    lab.write("sub/changes", "before");
    lab.apply(json!({}), json!({}));
    let first = lab.snapshot();
    lab.write("sub/changes", "after!");
    let second = lab.snapshot();
    assert_eq!(inode(&first.join("large")), inode(&second.join("large")));
    assert_eq!(fs::read(first.join("sub/changes")).unwrap(), b"before");
    assert_eq!(fs::read(second.join("sub/changes")).unwrap(), b"after!");
    let run = lab.backstay.json(&["backups"]);
    let statistics = &run[0]["manifest"]["artifacts"][0]["statistics"]["stage1"];
    assert_eq!(statistics["filesTransferred"], 1);
    assert_eq!(statistics["bytesTransferred"], 6);
    assert_eq!(statistics["totalBytes"], 1_000_006);
    assert_eq!(statistics["linkedTo"], first.to_str().unwrap());
    assert_eq!(statistics["localPath"], second.to_str().unwrap());
    assert!(
        statistics["speedupRatio"].as_f64().unwrap() > 100.0,
        "{statistics}"
    );
    assert!(statistics["durationMs"].is_u64());
    // The first goes by retention; the second doesn't need it.
    lab.apply(json!({}), json!({ "retention": { "keepLast": 1 } }));
    lab.snapshot();
    assert!(!first.exists() && !second.exists());
    lab.verify().ok();
    lab.comes_back("target");
}

#[test]
fn nothing_is_left_out_unless_it_is_asked_for() {
    let lab = Lab::new();
    for name in [
        ".git/config",
        "node_modules/m/index.js",
        "app.log",
        "cache/keep",
        "cache/x.tmp",
    ] {
        lab.write(name, name);
    }
    lab.apply(json!({}), json!({}));
    compare::trees(&lab.at("source"), &lab.snapshot()).unwrap();
    lab.apply(
        json!({ "excludePatterns": ["*.tmp", "/node_modules"] }),
        json!({ "guards": { "maxShrinkPercent": 100 } }),
    );
    let snapshot = lab.snapshot();
    for name in [".git/config", "app.log", "cache/keep"] {
        assert!(snapshot.join(name).exists(), "{name}");
    }
    assert!(!snapshot.join("cache/x.tmp").exists() && !snapshot.join("node_modules").exists());
    lab.verify().ok();
}

#[test]
fn names_of_one_file_become_files_of_their_own_if_the_job_says_so() {
    let lab = Lab::new();
    lab.write("a", "content");
    fs::hard_link(lab.at("source/a"), lab.at("source/b")).unwrap();
    lab.apply(json!({ "hardLinks": false }), json!({}));
    let apart = lab.snapshot();
    assert_ne!(inode(&apart.join("a")), inode(&apart.join("b")));
    lab.verify().ok();
    lab.apply(json!({ "hardLinks": true }), json!({}));
    let together = lab.snapshot();
    assert_eq!(inode(&together.join("a")), inode(&together.join("b")));
    lab.verify().ok();
    lab.apply(json!({ "hardLinks": false }), json!({}));
    lab.snapshot();
    lab.verify().ok();
    lab.comes_back("target");
}

#[test]
fn a_single_file_is_a_tree_too() {
    let lab = Lab::new();
    lab.write("one", "content");
    lab.write("other", "left alone");
    let source = json!({ "plugin": "path", "config": { "path": lab.at("source/one"), "stream": false } });
    lab.apply(json!({}), json!({ "source": source }));
    let snapshot = lab.snapshot();
    assert_eq!(fs::read(snapshot.join("one")).unwrap(), b"content");
    assert_eq!(fs::read_dir(&snapshot).unwrap().count(), 1);
    lab.verify().ok();
}

/// Damages a file so that its size and time stay what they were.
fn damage(file: &Path) {
    let time = fs::metadata(file).unwrap().modified().unwrap();
    fs::write(file, "CONTENT").unwrap();
    let opened = fs::File::options().write(true).open(file).unwrap();
    opened.set_modified(time).unwrap();
}

#[test]
fn damage_that_nobody_knows_is_shared_and_comparing_content_replaces_it() {
    let lab = Lab::new();
    lab.write("file", "content");
    lab.apply(json!({}), json!({}));
    let file = lab.snapshot().join("file");
    damage(&file);
    assert_eq!(fs::read(lab.snapshot().join("file")).unwrap(), b"CONTENT");
    lab.apply(json!({ "compareContent": true }), json!({}));
    assert_eq!(fs::read(lab.snapshot().join("file")).unwrap(), b"content");
    lab.verify().ok();
}

#[test]
fn once_damage_was_found_no_new_snapshot_has_it() {
    let lab = Lab::new();
    lab.write("file", "content");
    lab.write("other", noise(10_000));
    lab.apply(json!({}), json!({}));
    let first = lab.snapshot();
    damage(&lab.snapshot().join("file"));
    let found = lab.verify().code(8);
    assert!(
        found.stderr.contains("file: different content"),
        "{}",
        found.stderr
    );
    // The first has the same damage, which nobody knows; what is whole in it is shared.
    let next = lab.snapshot();
    assert_eq!(fs::read(first.join("file")).unwrap(), b"CONTENT");
    assert_eq!(inode(&first.join("other")), inode(&next.join("other")));
    lab.verify().ok();
}

#[test]
fn what_only_a_damaged_snapshot_has_is_still_carried_over() {
    let lab = Lab::new();
    lab.write("file", "content");
    lab.write("goes", "kept for ever");
    lab.apply(
        json!({ "deleteExtraneous": false }),
        json!({ "retention": { "keepLast": 1 }, "guards": { "maxShrinkPercent": 100 } }),
    );
    damage(&lab.snapshot().join("file"));
    lab.verify().code(8);
    fs::remove_file(lab.at("source/goes")).unwrap();
    let preview = lab.backstay.run_json(&["run", "j", "--dry-run"]).ok().json();
    assert_eq!(preview["destinations"][0]["carried"]["entries"], 1, "{preview}");
    let next = lab.snapshot();
    assert_eq!(fs::read(next.join("goes")).unwrap(), b"kept for ever");
    assert_eq!(fs::read(next.join("file")).unwrap(), b"content");
    lab.verify().ok();
}

#[test]
fn a_link_leads_to_the_newest_backup() {
    let lab = Lab::new();
    lab.write("file", "content");
    lab.apply(json!({}), json!({}));
    let latest = lab.at("place/j/latest");
    for _ in 0..2 {
        let snapshot = lab.snapshot();
        assert_eq!(fs::canonicalize(latest.join("data")).unwrap(), snapshot);
    }
    // What fails doesn't count.
    fs::write(lab.at("source/file"), "").unwrap();
    let before = fs::read_link(&latest).unwrap();
    lab.run().code(4);
    assert_eq!(fs::read_link(&latest).unwrap(), before);
    lab.write("file", "content");
    lab.apply(json!({}), json!({ "retention": { "keepLast": 1 } }));
    let snapshot = lab.snapshot();
    assert_eq!(fs::canonicalize(latest.join("data")).unwrap(), snapshot);
    assert_eq!(fs::read_dir(lab.at("place/j")).unwrap().count(), 2);
}

#[test]
fn machines_that_share_a_disk_and_a_name_of_a_job_never_build_on_each_other() {
    let (one, other) = (Lab::new(), Lab::new());
    one.write("file", "content");
    one.write("only-of-one", "content");
    other.write("file", "content");
    let time = fs::metadata(one.at("source/file")).unwrap().modified().unwrap();
    let file = fs::File::options().write(true).open(other.at("source/file"));
    file.unwrap().set_modified(time).unwrap();
    one.apply(json!({}), json!({}));
    other
        .apply_to(&one.at("place"), json!({ "deleteExtraneous": false }), json!({}))
        .ok();
    let of_one = one.snapshot();
    let of_other = other.snapshot();
    assert_ne!(inode(&of_one.join("file")), inode(&of_other.join("file")));
    compare::trees(&other.at("source"), &of_other).unwrap();
    // Each builds on its own, whichever came last.
    for (lab, before) in [(&one, of_one), (&other, of_other)] {
        let next = lab.snapshot();
        assert_eq!(inode(&before.join("file")), inode(&next.join("file")));
        assert_eq!(fs::canonicalize(one.at("place/j/latest/data")).unwrap(), next);
    }
}

#[test]
fn the_example_of_the_documentation_runs_as_printed() {
    let lab = Lab::new();
    lab.write("letter", "content");
    let disk = SmallDisk::mount(64 << 20);
    fs::create_dir(disk.path().join("backups")).unwrap();
    let page = include_str!("../../../../docs/destinations/rsync.md");
    let (_, example) = page.split_once("```yaml\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    let example = example
        .replace("/srv/documents", lab.at("source").to_str().unwrap())
        .replace("/mnt/usb", disk.path().to_str().unwrap());
    lab.backstay.apply(&example).ok();
    lab.backstay.run(&["run", "documents"]).ok();
    let target = lab.at("target");
    lab.backstay
        .run(&["restore", "latest:documents", "--to", target.to_str().unwrap()])
        .ok();
    compare::trees(&lab.at("source"), &target).unwrap();
}
