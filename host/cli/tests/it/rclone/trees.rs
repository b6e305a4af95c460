//! Trees that rclone keeps file by file: what is at the remote, what comes back, and what never stays behind.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use backstay_testkit::cli::{Output, Running};
use backstay_testkit::compare::{self, Except};
use backstay_testkit::process::wait_until;
use backstay_testkit::rclone::{self, Protocol, Server};
use backstay_testkit::tree::{Size, hostile};
use serde_json::{Value, json};

use super::{Desk, ends};
use crate::destinations::noise;

const PATIENCE: Duration = Duration::from_secs(60);

/// A desk with a job of the directory's files.
struct Lab(Desk);

impl Lab {
    fn new() -> Self {
        Lab(Desk::new())
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.at(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let file = self.at("source").join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, content).unwrap();
    }

    /// A directory of this machine as the remote.
    fn disk(&self) -> String {
        format!("My Disk:{}", self.at("place").display())
    }

    /// Applies a job, with more in the destination's configuration and in the job.
    fn apply_to(&self, remote: &str, config: &Value, more: &Value) {
        let mut job = json!({
            "name": "j",
            "source": { "plugin": "path", "config": { "path": self.at("source"), "stream": false } },
            "destinations": [{ "plugin": "rclone", "config": self.0.config(remote) }],
            "guards": { "minBytes": 0, "maxShrinkPercent": 100 },
            "retries": { "attempts": 1 },
        });
        extend(&mut job["destinations"][0]["config"], config);
        extend(&mut job, more);
        self.0.backstay.apply(&job.to_string()).ok();
    }

    fn apply(&self, config: Value) {
        self.apply_to(&self.disk(), &config, &json!({}));
    }

    fn run(&self) -> Output {
        self.0.backstay.run_json(&["run", "j"])
    }

    /// The newest backup's data in its manifest.
    fn artifact(&self) -> Value {
        self.0.backstay.json(&["backups"])[0]["manifest"]["artifacts"][0].clone()
    }

    /// Where the newest tree is on the disk.
    fn stored_tree(&self) -> PathBuf {
        let object = self.artifact()["object"].as_str().unwrap().to_owned();
        self.at("place").join(object)
    }

    fn verify(&self, level: &str) -> Output {
        self.0.backstay.run(&["verify", "latest:j", "--level", level])
    }

    fn restored(&self, name: &str) -> PathBuf {
        let target = self.at(name);
        self.0
            .backstay
            .run(&["restore", "latest:j", "--to", target.to_str().unwrap()])
            .ok();
        target
    }

    #[track_caller]
    fn comes_back(&self, name: &str) {
        compare::trees(&self.at("source"), &self.restored(name)).unwrap();
    }

    /// All files on the disk.
    fn files(&self) -> BTreeSet<PathBuf> {
        let (mut found, mut left) = (BTreeSet::new(), vec![self.at("place")]);
        while let Some(directory) = left.pop() {
            for entry in fs::read_dir(directory).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() && !path.is_symlink() {
                    left.push(path.clone());
                }
                found.insert(path);
            }
        }
        found
    }

    /// A run that copies so slowly that it is in the middle of it.
    fn in_the_middle(&self) -> Running {
        let slowly = json!({ "filters": { "throttle": { "bytesPerSecond": "1M" } } });
        self.apply_to(&self.disk(), &json!({}), &slowly);
        let before = self.files();
        let run = self.0.backstay.spawn(&["run", "j"]);
        wait_until("rclone to copy", PATIENCE, || {
            let files = self.files();
            let mut new = files.difference(&before);
            new.any(|path| path.starts_with(self.at("place")) && path.to_string_lossy().contains("large"))
        });
        run
    }

    #[track_caller]
    fn has_nothing_to_undo(&self) {
        let doctor = self.0.backstay.json(&["doctor"]);
        let checks = doctor["checks"].as_array().unwrap();
        let journal = checks.iter().find(|c| c["check"] == "journal").unwrap();
        assert_eq!(journal["says"], "nothing left to undo");
        assert_eq!(
            fs::read_dir(self.0.backstay.data_dir().join("scratch")).map_or(0, Iterator::count),
            0
        );
    }
}

fn extend(object: &mut Value, more: &Value) {
    let more = more.as_object().unwrap().clone();
    object.as_object_mut().unwrap().extend(more);
}

#[test]
fn a_tree_of_all_kinds_and_names_comes_back_as_it_was() {
    let lab = Lab::new();
    fs::remove_file(lab.at("source/file")).unwrap();
    let size = Size::default().sparse_bytes(1 << 20).path_bytes(2_800).depth(50);
    hostile(&lab.at("source"), size);
    for name in [
        &b"-n"[..],
        b"#",
        b"; x",
        b" ",
        b"\xff\xfe",
        b"a\rb",
        b"*[x]{y}",
        b"$HOME",
    ] {
        fs::write(lab.at("source").join(OsStr::from_bytes(name)), name).unwrap();
    }
    lab.apply(json!({ "check": "download", "transfers": 8 }));
    let run = lab.run().ok();
    let artifact = lab.artifact();
    assert_eq!(artifact["form"], "tree", "{}", run.stderr);
    let said = &artifact["statistics"];
    assert_eq!(said["errors"], 0, "{said}");
    assert!(said["filesChecked"].as_u64().unwrap() > 60, "{said}");
    assert!(said["transferredBytes"].as_u64().unwrap() > 1 << 20, "{said}");
    for level in ["size", "checksum"] {
        lab.verify(level).ok();
    }
    let exceptions = [Except::Root];
    compare::trees_except(&lab.at("source"), &lab.restored("target"), &exceptions).unwrap();
    lab.has_nothing_to_undo();
}

#[test]
fn each_file_is_one_at_the_remote_and_single_ones_come_back() {
    let lab = Lab::new();
    lab.write("sub/letter", "Dear …");
    lab.write("sub/manifest.json", "{}");
    symlink("letter", lab.at("source/sub/link")).unwrap();
    lab.apply(json!({}));
    lab.run().ok();
    let stored = lab.stored_tree();
    assert_eq!(fs::read_to_string(stored.join("sub/letter")).unwrap(), "Dear …");
    assert_eq!(
        fs::read_link(stored.join("sub/link")).unwrap(),
        Path::new("letter")
    );
    let (one, other) = (lab.at("one"), lab.at("other"));
    let restore = ["restore", "latest:j", "--to"];
    let backstay = &lab.0.backstay;
    backstay
        .run(&[&restore[..], &[one.to_str().unwrap(), "sub/letter"]].concat())
        .ok();
    assert_eq!(fs::read_to_string(one.join("sub/letter")).unwrap(), "Dear …");
    assert!(!one.join("file").exists());
    backstay
        .run(&[&restore[..], &[other.to_str().unwrap(), "--dry-run"]].concat())
        .ok();
    assert!(!other.exists() || fs::read_dir(&other).unwrap().count() == 0);
    let tar = backstay.run(&[&restore[..], &["-"]].concat()).ok();
    assert!(tar.stdout.contains("Dear …"));
    lab.has_nothing_to_undo();
    // What is called like a manifest in somebody's tree is none.
    let known = backstay.json(&["catalog", "rebuild", "j"]);
    let place = &known["destinations"][0];
    assert_eq!(
        (&place["added"], &place["known"]),
        (&json!(0), &json!(1)),
        "{known}"
    );
    lab.write("sub/letter", "Dear all");
    lab.run().ok();
    let output = Command::new(rclone::program())
        .args(["copy", "--config"])
        .arg(lab.at("rclone.conf"))
        .arg(format!("My Disk:{}", lab.stored_tree().display()))
        .arg(lab.at("by-rclone"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(
        fs::read_to_string(lab.at("by-rclone/sub/letter")).unwrap(),
        "Dear all"
    );
}

#[test]
fn what_can_not_be_kept_file_by_file_becomes_a_tar_stream() {
    let lab = Lab::new();
    let is_kept_as = |form: &str, config: Value| {
        lab.apply(config);
        let run = lab.run().ok().json();
        assert_eq!(lab.artifact()["form"], form);
        let target = lab.restored("target");
        compare::trees(&lab.at("source"), &target).unwrap();
        fs::remove_dir_all(target).unwrap();
        lab.0
            .backstay
            .run(&["logs", run["id"].as_str().unwrap()])
            .ok()
            .stdout
    };
    is_kept_as("tree", json!({ "check": "size" }));
    is_kept_as("tar", json!({ "trees": "tar" }));
    lab.write("sub/link.rclonelink", "no link at all");
    let said = is_kept_as("tar", json!({}));
    assert!(
        said.contains("rclone would give sub/link.rclonelink another name"),
        "{said}"
    );
    fs::remove_dir_all(lab.at("source/sub")).unwrap();
    // Nothing but directories.
    for entry in fs::read_dir(lab.at("source")).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    fs::create_dir(lab.at("source/empty")).unwrap();
    is_kept_as("tar", json!({}));
    lab.has_nothing_to_undo();
}

#[test]
fn a_killed_host_leaves_nothing_of_a_tree_after_the_next_start() {
    let lab = Lab::new();
    lab.apply(json!({}));
    lab.run().ok();
    let stored = lab.files();
    lab.write("large", noise(20_000_000));
    let mut run = lab.in_the_middle();
    run.kill();
    // What is on a disk that is away is not gone.
    fs::rename(lab.at("place"), lab.at("away")).unwrap();
    lab.0.backstay.run(&["runs"]).ok();
    fs::rename(lab.at("away"), lab.at("place")).unwrap();
    assert!(lab.files() != stored);
    lab.0.backstay.run(&["runs"]).ok();
    assert_eq!(lab.files(), stored);
    lab.has_nothing_to_undo();
    let run = lab.in_the_middle();
    run.terminate();
    assert_ne!(run.wait().code, 0);
    assert_eq!(lab.0.backstay.json(&["runs"])[0]["status"], "cancelled");
    assert_eq!(lab.files(), stored);
    lab.apply(json!({}));
    lab.run().ok();
    lab.comes_back("target");
}

#[test]
fn a_tree_that_changes_while_it_is_copied_becomes_a_tar_stream() {
    let lab = Lab::new();
    lab.write("large", noise(3_000_000));
    lab.write("vanishes", noise(1_000));
    let run = lab.in_the_middle();
    let mut file = fs::File::options()
        .append(true)
        .open(lab.at("source/large"))
        .unwrap();
    std::io::Write::write_all(&mut file, b"more").unwrap();
    fs::remove_file(lab.at("source/vanishes")).unwrap();
    run.wait().ok();
    assert_eq!(lab.artifact()["form"], "tar");
    let run = lab.0.backstay.json(&["runs"])[0].clone();
    assert_eq!(run["warnings"], json!([]), "{run:#}");
    let id = run["id"].as_str().unwrap();
    let said = lab.0.backstay.run(&["logs", id]).ok().stdout;
    assert!(said.contains("changed while it was copied"), "{said}");
    lab.verify("checksum").ok();
    lab.comes_back("target");
    // Nothing is left of what rclone copied before.
    lab.0.backstay.run(&["prune", "j"]).ok();
    lab.has_nothing_to_undo();
}

#[test]
fn retention_removes_trees_and_nothing_of_anybody_else() {
    let lab = Lab::new();
    lab.apply_to(
        &lab.disk(),
        &json!({}),
        &json!({ "retention": { "keepLast": 1 } }),
    );
    lab.run().ok();
    let first = lab.stored_tree();
    fs::create_dir_all(lab.at("place/j/own")).unwrap();
    fs::write(lab.at("place/j/own/letter"), "mine").unwrap();
    let second = lab.run().ok().json();
    assert_eq!(second["stats"]["deletedBackups"], 1);
    assert!(!first.parent().unwrap().exists());
    assert_eq!(fs::read_to_string(lab.at("place/j/own/letter")).unwrap(), "mine");
    lab.comes_back("target");
    lab.apply(json!({}));
    lab.run().ok();
    lab.apply_to(
        &lab.disk(),
        &json!({}),
        &json!({ "retention": { "keepLast": 1 } }),
    );
    // A tree that somebody has removed is damage, and a disk that isn't there is none, nor has it lost what is to go.
    fs::rename(lab.at("place"), lab.at("away")).unwrap();
    let said = lab.0.backstay.run(&["prune", "j"]).code(5).stderr;
    assert!(said.contains("nothing was deleted"), "{said}");
    assert_eq!(lab.0.backstay.json(&["backups"]).as_array().unwrap().len(), 2);
    for level in ["size", "checksum"] {
        lab.verify(level).code(5);
    }
    fs::rename(lab.at("away"), lab.at("place")).unwrap();
    let stored = lab.stored_tree();
    // What other programs leave there is no damage.
    fs::write(stored.join(".DS_Store"), "").unwrap();
    lab.verify("checksum").ok();
    fs::write(stored.join("file"), "short").unwrap();
    let counted = lab.verify("size").code(8).stderr;
    assert!(
        counted.contains("2 files of 5 bytes are there instead of 1 of 100000"),
        "{counted}"
    );
    fs::remove_dir_all(stored).unwrap();
    for level in ["size", "checksum"] {
        let said = lab.verify(level).code(8).stderr;
        assert!(said.contains("/data is damaged"), "{said}");
    }
}

#[test]
fn a_server_that_is_down_is_no_damage_and_one_that_loses_files_is_found_at_once() {
    let lab = Lab::new();
    let mut server = Server::start(Protocol::WebDav, &lab.at("served"), "right-key");
    lab.0.add(&server.remote("nas"));
    lab.write("sub/ü and blanks", "content");
    lab.write("new\nline", "content");
    lab.apply_to("nas:backups", &json!({}), &json!({}));
    lab.run().ok();
    assert_eq!(lab.artifact()["form"], "tree");
    lab.comes_back("target");
    server.stop();
    ends(lab.run(), 6, "connection refused");
    lab.verify("size").code(6);
    lab.verify("checksum").code(6);
    server.restart();
    lab.verify("checksum").ok();
    lab.has_nothing_to_undo();
}

/// How often the remote copied a file of the newest tree by itself, and how many were sent.
fn ways(lab: &Lab) -> (Value, Value) {
    let statistics = &lab.artifact()["statistics"];
    (
        statistics["filesCopiedThere"].clone(),
        statistics["transfers"].clone(),
    )
}

#[test]
fn what_the_backup_before_has_is_copied_by_the_remote_and_not_sent_again() {
    let lab = Lab::new();
    fs::create_dir_all(lab.at("served/bucket")).unwrap();
    let server = Server::start(Protocol::S3, &lab.at("served"), "right-key");
    lab.0.add(&server.remote("s3"));
    lab.write("large", noise(1 << 20));
    lab.write("sub/ü and blanks", "the same");
    lab.write("sub/changed", "before");
    symlink("large", lab.at("source/link")).unwrap();
    // What changed just now isn't believed to be the same.
    std::thread::sleep(Duration::from_secs(4));
    lab.apply_to("s3:bucket/backups", &json!({}), &json!({}));
    lab.run().ok();
    assert_eq!(ways(&lab), (json!(0), json!(5)));
    let first = lab.artifact()["object"].as_str().unwrap().to_owned();

    // Nobody can see from its size and time that it has changed.
    let file = lab.at("source/sub/changed");
    let before = fs::metadata(&file).unwrap().modified().unwrap();
    fs::write(&file, "after!").unwrap();
    fs::File::open(&file).unwrap().set_modified(before).unwrap();
    lab.run().ok();
    assert_eq!(ways(&lab), (json!(3), json!(2)));
    lab.verify("checksum").ok();
    lab.comes_back("second");
    // Each is whole, whatever becomes of the other.
    fs::remove_dir_all(lab.at("served/bucket/backups").join(&first)).unwrap();
    lab.verify("checksum").ok();

    // What isn't there to be copied any more is sent; so is what changed just before the last run.
    let second = lab.artifact()["object"].as_str().unwrap().to_owned();
    fs::remove_file(lab.at("served/bucket/backups").join(&second).join("large")).unwrap();
    lab.run().ok();
    assert_eq!(ways(&lab), (json!(2), json!(3)));
    lab.verify("checksum").ok();
    lab.comes_back("third");

    // Nor is anything copied from what may be damaged.
    lab.0
        .backstay
        .run(&["verify", "--all", "--level", "size"])
        .code(8);
    lab.run().ok();
    assert_eq!(ways(&lab), (json!(0), json!(5)));
    lab.apply_to(
        "s3:bucket/backups",
        &json!({ "copyUnchanged": false }),
        &json!({}),
    );
    lab.run().ok();
    assert_eq!(ways(&lab), (json!(0), json!(5)));

    // Nothing of it stays if the tree becomes a tar stream after all.
    lab.apply_to("s3:bucket/backups", &json!({}), &json!({}));
    lab.write("a.rclonelink", "");
    lab.run().ok();
    let tar = lab.artifact()["object"].as_str().unwrap().to_owned();
    let tree = tar.strip_suffix(".tar").unwrap();
    assert!(!lab.at("served/bucket/backups").join(tree).exists());
    lab.comes_back("tar");
    lab.has_nothing_to_undo();
}
