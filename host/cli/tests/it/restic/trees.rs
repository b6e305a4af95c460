//! Trees: each is a snapshot that restic itself knows as one, and comes back as it was.

use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use backstay_testkit::compare::{self, Except};
use backstay_testkit::process::wait_until;
use backstay_testkit::tools;
use backstay_testkit::tree::{Size, hostile};
use serde_json::{Value, json};

use super::lab::{Lab, ends};
use crate::destinations::noise;

const PATIENCE: Duration = Duration::from_secs(60);

impl Lab {
    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.at("source").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// A job of the directory as files, with more in its source's configuration.
    fn tree_job(&self, source: &Value) -> Value {
        let mut job = self.job(&self.config(&json!({})));
        let config = &mut job["source"]["config"];
        config["stream"] = json!(false);
        let config = config.as_object_mut().unwrap();
        config.extend(source.as_object().unwrap().clone());
        job
    }

    /// The newest backup's data in its manifest.
    fn artifact(&self) -> Value {
        self.backstay.json(&["backups"])[0]["manifest"]["artifacts"][0].clone()
    }

    /// The snapshot of the newest tree.
    fn snapshot(&self) -> Value {
        let receipt = self.artifact()["receipt"].as_str().unwrap().to_owned();
        let (id, _) = receipt.split_once('/').unwrap();
        let snapshots = self.repository.snapshots();
        snapshots.into_iter().find(|one| one["id"] == id).unwrap()
    }

    /// The newest backup as restic itself restores it.
    fn restored_by_restic(&self, name: &str) -> PathBuf {
        let (id, target) = (self.snapshot()["id"].as_str().unwrap().to_owned(), self.at(name));
        self.repository
            .run(&["restore", &id, "--target", target.to_str().unwrap()]);
        target
    }

    fn restored(&self, name: &str) -> PathBuf {
        let target = self.at(name);
        self.backstay
            .run(&["restore", "latest:j", "--to", target.to_str().unwrap()])
            .ok();
        target
    }
}

#[test]
fn a_tree_of_all_kinds_and_names_comes_back_as_it_was() {
    let lab = Lab::new();
    fs::remove_file(lab.at("source/file")).unwrap();
    let size = Size::default().sparse_bytes(1 << 20).path_bytes(2_800).depth(50);
    hostile(&lab.at("source"), size);
    fs::remove_file(lab.at("source/sparse-hole-only")).unwrap();
    let without = ["x\ny", "$HOME ", " ", "*", "[a]", "\u{a0}", "\\x", "..x", "-n"];
    let without = without.map(|name| OsStr::from_bytes(name.as_bytes()).to_owned());
    for name in without.iter().chain([&OsStr::from_bytes(b"\xff\n").to_owned()]) {
        fs::create_dir_all(lab.at("source/left-out").join(name)).unwrap();
        fs::write(lab.at("source/left-out").join(name).join(name), "secret").unwrap();
    }
    fs::write(lab.at("source/left-out/a"), "taken").unwrap();
    fs::write(lab.at("source/left-out/x.y"), "taken").unwrap();
    let exclude = json!({ "exclude": ["/left-out/*/"] });
    lab.apply(&lab.tree_job(&exclude));
    lab.run().ok();
    assert_eq!(lab.artifact()["form"], "tree");
    lab.backstay
        .run(&["verify", "latest:j", "--level", "checksum"])
        .ok();
    for entry in fs::read_dir(lab.at("source/left-out")).unwrap().flatten() {
        if entry.path().is_dir() {
            fs::remove_dir_all(entry.path()).unwrap();
        }
    }
    let restored = lab.restored("target");
    let mut names: Vec<_> = fs::read_dir(restored.join("left-out"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["a", "x.y"]);
    for tree in [lab.at("source"), restored.clone()] {
        fs::remove_dir_all(tree.join("left-out")).unwrap();
    }
    let exceptions = [Except::Root];
    compare::trees_except(&lab.at("source"), &restored, &exceptions).unwrap();
    // What restic gives back by itself is the same, but that it fills holes.
    let by_restic = lab.restored_by_restic("by-restic");
    fs::remove_dir_all(by_restic.join("left-out")).unwrap();
    // restic 0.14 keeps the targets of links as text.
    for tree in [&restored, &by_restic] {
        fs::remove_file(tree.join("links/target-not-utf8")).unwrap();
    }
    compare::trees_except(&restored, &by_restic, &[Except::Root, Except::Allocation]).unwrap();
}

#[test]
fn what_has_not_changed_is_not_read_again_and_the_run_says_what_was_new() {
    let lab = Lab::new();
    lab.write("large", noise(3_000_000));
    lab.write("sub/changes", "before");
    lab.apply(&lab.tree_job(&json!({})));
    lab.run().ok();
    let source = lab.at("source");
    let first = lab.snapshot();
    assert_eq!(first["paths"], json!([source]), "as restic would name it");
    let said = lab.artifact()["statistics"].clone();
    assert_eq!(said["filesNew"], 3, "{said}");
    assert_eq!(said["snapshotId"], first["id"]);
    assert!(said["dataAdded"].as_u64().unwrap() > 3_000_000, "{said}");
    lab.write("sub/changes", "after!");
    lab.write("sub/new", "new");
    let run = lab.run().ok().json();
    let said = &run["backups"][0]["manifest"]["artifacts"][0]["statistics"];
    let files = ["filesNew", "filesChanged", "filesUnmodified"].map(|name| said[name].as_u64().unwrap());
    assert_eq!(files, [1, 1, 2], "{said}");
    assert!(said["dataAdded"].as_u64().unwrap() < 100_000, "{said}");
    assert_eq!(lab.snapshot()["parent"], first["id"]);
    compare::trees(&source, &lab.restored("target")).unwrap();
    // One file of it, and damage of what holds it.
    let one = lab.at("one");
    lab.backstay
        .run(&[
            "restore",
            "latest:j",
            "--to",
            one.to_str().unwrap(),
            "sub/changes",
        ])
        .ok();
    assert_eq!(fs::read(one.join("sub/changes")).unwrap(), b"after!");
    lab.backstay.run(&["verify", "latest:j", "--level", "size"]).ok();
    lab.backstay.run(&["drill", "latest:j"]).ok();
    lab.repository
        .run(&["forget", lab.snapshot()["id"].as_str().unwrap()]);
    let gone = lab
        .backstay
        .run(&["verify", "latest:j", "--level", "size"])
        .code(8);
    assert!(
        gone.stderr.contains("/data is damaged: it is not there"),
        "{}",
        gone.stderr
    );
}

#[test]
fn a_single_file_and_an_empty_directory_come_back() {
    let lab = Lab::new();
    let file = lab.at("source/odd\nname $HOME");
    fs::write(&file, "content").unwrap();
    lab.apply(&lab.tree_job(&json!({ "path": file })));
    lab.run().ok();
    assert_eq!(lab.artifact()["form"], "tree");
    assert_eq!(lab.snapshot()["paths"], json!([file]));
    let restored = lab.restored("file").join("odd\nname $HOME");
    assert_eq!(fs::read(restored).unwrap(), b"content");
    // restic makes no snapshot of nothing.
    lab.apply(&lab.tree_job(&json!({ "exclude": ["*"] })));
    lab.run().ok();
    assert_eq!(lab.artifact()["form"], "tar");
    lab.backstay
        .run(&["verify", "latest:j", "--level", "checksum"])
        .ok();
    assert_eq!(fs::read_dir(lab.restored("nothing")).unwrap().count(), 0);
}

#[test]
fn attributes_that_restic_can_not_give_back_make_it_a_tar_stream() {
    let lab = Lab::new();
    let file = lab.at("source/file");
    let set = ["-n", "user.a=b", "-v", "x"].map(Path::new);
    does("setfattr", &[&set[..], &[file.as_path()]].concat());
    lab.apply(&lab.tree_job(&json!({})));
    lab.run().ok();
    assert_eq!(lab.artifact()["form"], "tar");
    lab.backstay
        .run(&["verify", "latest:j", "--level", "checksum"])
        .ok();
    compare::trees(&lab.at("source"), &lab.restored("target")).unwrap();
}

#[test]
fn a_cache_in_the_tree_is_part_of_the_backup_unless_it_is_left_out() {
    let lab = Lab::new();
    let mut job = lab.tree_job(&json!({}));
    job["destinations"][0]["config"]["cacheDirectory"] = json!(lab.at("source/cache"));
    lab.apply(&job);
    lab.run().ok();
    let restored = lab.restored("with");
    assert!(restored.join("cache/CACHEDIR.TAG").is_file());
    job["source"]["config"]["exclude"] = json!(["/cache"]);
    lab.apply(&job);
    lab.run().ok();
    let restored = lab.restored("without");
    assert_eq!(fs::read(restored.join("file")).unwrap(), b"content of a file");
    assert!(!restored.join("cache").exists());
}

#[test]
fn what_restic_can_not_read_is_a_warning_that_names_it() {
    let lab = Lab::new();
    lab.write("breaks/inside", "soon unreadable");
    lab.write("stays", "readable");
    lab.apply(&lab.tree_job(&json!({})));
    lab.run().ok();
    // restic reads the indexes before the files. One of them is a pipe now, that somebody fills when the test likes.
    let index = fs::read_dir(lab.repository.path().join("index")).unwrap().next();
    let index = index.unwrap().unwrap().path();
    let content = fs::read(&index).unwrap();
    fs::remove_file(&index).unwrap();
    does("mkfifo", &[&index]);
    let run = lab.backstay.spawn(&["run", "j"]);
    let mut pipe = fs::File::options().write(true).open(&index).unwrap();
    // It can be opened, and not be read.
    let broken = lab.at("source/breaks/inside");
    does(
        "mount",
        &[Path::new("--bind"), Path::new("/proc/self/mem"), &broken],
    );
    fs::remove_file(&index).unwrap();
    fs::write(&index, &content).unwrap();
    pipe.write_all(&content).unwrap();
    drop(pipe);
    let ended = run.wait();
    does("umount", &[&broken]);
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    let warnings = lab.backstay.json(&["runs"])[0]["warnings"].clone();
    let paths: Vec<&str> = warnings
        .as_array()
        .unwrap()
        .iter()
        .map(|w| w["path"].as_str().unwrap())
        .collect();
    assert_eq!(paths, [broken.to_str().unwrap()], "{warnings}");
    lab.backstay
        .run(&["verify", "latest:j", "--level", "checksum"])
        .ok();
    assert_eq!(
        fs::read(lab.restored("target").join("stays")).unwrap(),
        b"readable"
    );
}

#[track_caller]
fn does(program: &str, args: &[&Path]) {
    tools::require(&[program]);
    assert!(
        Command::new(program).args(args).status().unwrap().success(),
        "{program} {args:?}"
    );
}

#[test]
fn a_host_that_is_killed_while_restic_backs_up_leaves_nothing_after_the_next_start() {
    let lab = Lab::new();
    lab.apply(&lab.tree_job(&json!({})));
    lab.run().ok();
    let stored = lab.repository.paths();
    lab.write("large", noise(5_000_000));
    // From now on whoever reads the indexes waits for one that is a pipe.
    let pipe = lab.repository.path().join("index").join("0".repeat(64));
    does("mkfifo", &[&pipe]);
    let mut run = lab.backstay.spawn(&["run", "j"]);
    wait_until("restic to be in the middle", PATIENCE, || {
        !lab.repository.locks().is_empty()
    });
    run.kill();
    fs::remove_file(&pipe).unwrap();
    lab.backstay.run(&["runs"]).ok();
    assert_eq!(lab.repository.locks(), Vec::<String>::new());
    assert_eq!(lab.repository.paths(), stored);
    lab.run().ok();
    compare::trees(&lab.at("source"), &lab.restored("target")).unwrap();
}

#[test]
fn backups_that_were_stored_as_tar_are_read_and_removed_beside_trees() {
    let lab = Lab::new();
    lab.run_with(&json!({})).ok();
    assert_eq!(lab.artifact()["form"], "tar");
    let mut job = lab.tree_job(&json!({}));
    lab.apply(&job);
    lab.run().ok();
    assert_eq!(lab.artifact()["form"], "tree");
    let tar = lab.backstay.json(&["backups"])[1]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let target = lab.at("from-tar");
    lab.backstay
        .run(&["restore", &tar, "--to", target.to_str().unwrap()])
        .ok();
    compare::trees(&lab.at("source"), &target).unwrap();
    job["retention"] = json!({ "keepLast": 1 });
    lab.apply(&job);
    for left in [2, 1] {
        assert_eq!(lab.run().ok().json()["stats"]["deletedBackups"], left);
    }
    // Of a tree there are three: itself, its index, and the manifest.
    assert_eq!(lab.repository.snapshots().len(), 3);
    lab.repository.run(&["check", "--read-data"]);
    compare::trees(&lab.at("source"), &lab.restored("target")).unwrap();
}

#[test]
fn a_place_that_loses_a_tree_while_the_rest_is_stored_fails_the_run() {
    const VERIFICATION: i32 = 8;
    let lab = Lab::new();
    lab.apply(&lab.tree_job(&json!({})));
    let lose_the_first = || {
        let mut snapshots: Vec<PathBuf> = fs::read_dir(lab.repository.path().join("snapshots"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.file_name().unwrap().len() == 64)
            .collect();
        snapshots.sort_by_key(|path| path.metadata().unwrap().modified().unwrap());
        snapshots.len() > 1 && fs::remove_file(&snapshots[0]).is_ok()
    };
    let output = std::thread::scope(|scope| {
        scope.spawn(|| wait_until("a second snapshot", PATIENCE, lose_the_first));
        lab.run()
    });
    ends(output, VERIFICATION, "/data, but its snapshot");
    assert!(lab.repository.snapshots().is_empty());
    lab.run().ok();
    assert_eq!(lab.repository.snapshots().len(), 3);
}
