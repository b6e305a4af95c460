//! What is backed up comes back: files and history, whole and in part, each way of streaming, git data on the drive and
//! off it.

use std::fs;
use std::path::Path;

use backstay_testkit::compare::{self, Except};
use backstay_testkit::flash::{self, FatDisk};
use serde_json::{Value, json};

use super::lab::{BINARY, GitData, Lab, git};

/// Backs up, changes something, backs up again, restores, and compares with what must be there.
#[track_caller]
fn comes_back(git_data: GitData, config: Value) {
    let lab = Lab::new(git_data);
    let cache = config["localCachePath"].as_str().map(str::to_owned);
    lab.apply(config.clone());
    let first = lab.back_up();
    flash::write(&lab.drive, "config/disk.cfg", b"startArray=\"no\"\r\n");
    let second = lab.back_up();
    if let Some(cache) = cache {
        assert!(!Path::new(&cache).exists(), "the cache file is left");
    }
    let facts = |backup: &Value| backup["manifest"]["artifacts"][0]["metadata"].clone();
    assert_ne!(facts(&first)["commit"], facts(&second)["commit"]);
    assert_eq!(facts(&second)["server"], "Tower");

    let (restored, output) = lab.restore(&[]);
    output.ok();
    let repository = restored.join(".git");
    let has_history = config["includeGitHistory"] != false;
    assert_eq!(repository.exists(), has_history);
    if has_history {
        let said = git(&repository, &restored, &["fsck", "--strict", "--no-dangling"]);
        assert_eq!(said, "");
        let log = |git_dir: &Path| git(git_dir, &restored, &["log", "--format=%H %an %ae %s %T", "--all"]);
        assert_eq!(log(&repository), log(&lab.git_dir));
        assert_eq!(log(&repository).lines().count(), 2);
        // What git tracks is as it was committed, and no file has changed on its way.
        let changed = git(&repository, &restored, &["diff", "--name-only", "HEAD"]);
        assert_eq!(changed, "");
        fs::remove_dir_all(&repository).unwrap();
    }
    compare::trees_except(&lab.expected(), &restored, &[Except::Root]).unwrap();
    for image in flash::IMAGES {
        assert!(restored.join(image).is_file(), "without {image} it doesn't boot");
    }
}

#[test]
fn streamed_with_its_history_and_git_data_on_the_drive() {
    comes_back(GitData::OnTheDrive, json!({}));
}

#[test]
fn streamed_with_its_history_and_git_data_off_the_drive() {
    comes_back(GitData::Elsewhere, json!({ "streamDirect": true }));
}

#[test]
fn streamed_without_its_history() {
    comes_back(GitData::OnTheDrive, json!({ "includeGitHistory": false }));
}

#[test]
fn through_a_cache_file() {
    let directory = tempfile::tempdir().unwrap();
    for (git_data, name) in [(GitData::OnTheDrive, "a.tar"), (GitData::Elsewhere, "b.tar")] {
        let cache = directory.path().join(name);
        comes_back(
            git_data,
            json!({ "streamDirect": false, "localCachePath": cache }),
        );
    }
}

#[test]
fn as_a_tree_of_files() {
    comes_back(GitData::Elsewhere, json!({ "streamDirect": false }));
    comes_back(
        GitData::OnTheDrive,
        json!({ "streamDirect": false, "includeGitHistory": false }),
    );
}

#[test]
fn nothing_is_committed_when_nothing_changed() {
    let lab = Lab::new(GitData::Elsewhere);
    lab.apply(json!({}));
    let facts = |backup: &Value| backup["manifest"]["artifacts"][0]["metadata"].clone();
    let first = facts(&lab.back_up());
    let same = facts(&lab.back_up());
    assert_eq!(
        (lab.commits(), &first["changed"], &same["changed"]),
        (1, &json!(true), &json!(false))
    );
    assert_eq!(first["commit"], same["commit"]);
    // What git doesn't track is backed up all the same, and makes no commit.
    flash::write(&lab.drive, "bzroot", b"a newer system");
    lab.back_up();
    assert_eq!(lab.commits(), 1);
    let (restored, output) = lab.restore(&["bzroot"]);
    output.ok();
    assert_eq!(fs::read(restored.join("bzroot")).unwrap(), b"a newer system");
    // A file that was only touched has not changed.
    flash::write(&lab.drive, "config/go", b"#!/bin/bash\n/usr/local/sbin/emhttp\n");
    lab.back_up();
    assert_eq!(lab.commits(), 1);
    fs::remove_file(lab.drive.join("config/go")).unwrap();
    lab.back_up();
    assert_eq!(lab.commits(), 2);
    assert_eq!(
        lab.git(&["show", "--name-status", "--format="]).trim(),
        "D\tconfig/go"
    );
}

#[test]
fn a_commit_says_who_why_and_of_which_server() {
    let lab = Lab::new(GitData::OnTheDrive);
    let who = json!({ "commitMessage": "-m \"quoted\" $(x)\nsecond line", "userName": "Anna", "userEmail": "anna@example.org" });
    lab.apply(who);
    lab.back_up();
    let description = || fs::read_to_string(lab.git_dir.join("description")).unwrap();
    assert_eq!(description(), "Unraid flash drive for Tower\n");
    let said = lab.git(&["log", "-1", "--format=%an <%ae>%n%cn <%ce>%n%B"]);
    assert_eq!(
        said.trim_end(),
        "Anna <anna@example.org>\nAnna <anna@example.org>\n-m \"quoted\" $(x)\nsecond line"
    );
    // The server gets another name.
    flash::write(&lab.drive, "config/ident.cfg", b"NAME=\"Attic\"\r\n");
    lab.back_up();
    assert_eq!(description(), "Unraid flash drive for Attic\n");
    lab.apply(json!({ "serverName": "Cellar" }));
    lab.back_up();
    assert_eq!(description(), "Unraid flash drive for Cellar\n");
    // By hand, git doesn't take what the job leaves out.
    lab.git(&["add", "--all"]);
    assert_eq!(lab.git(&["status", "--short"]), "");
}

#[test]
fn single_paths_come_back_alone() {
    let lab = Lab::new(GitData::Elsewhere);
    lab.apply(json!({}));
    lab.back_up();
    let (restored, output) = lab.restore(&["config/shares", "config/go"]);
    output.ok();
    let mut names: Vec<_> = fs::read_dir(restored.join("config"))
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["go", "shares"]);
    assert!(!restored.join(".git").exists());
    let (_, output) = lab.restore(&["config/shadow"]);
    assert!(output.code(2).stdout.contains("not in the backup: config/shadow"));
}

#[test]
fn in_place_with_git_data_off_the_drive() {
    let lab = Lab::new(GitData::Elsewhere);
    lab.apply(json!({}));
    lab.back_up();
    let (expected, log) = (lab.expected(), lab.git(&["log", "--format=%H"]));
    let in_place = ["restore", "latest:flash", "--in-place"];
    let said = lab.backstay.run(&in_place);
    assert_ne!(said.code, 0, "it wrote over what is there");
    // A new drive, a new disk.
    fs::remove_dir_all(&lab.drive).unwrap();
    fs::remove_dir_all(&lab.git_dir).unwrap();
    fs::create_dir(&lab.drive).unwrap();
    lab.backstay.run(&in_place).ok();
    compare::trees_except(&expected, &lab.drive, &[Except::Root]).unwrap();
    assert_eq!(lab.git(&["log", "--format=%H"]), log);
    assert_eq!(lab.git(&["fsck", "--strict"]), "");
    // The next run goes on with that history.
    flash::write(&lab.drive, "config/disk.cfg", b"new\n");
    lab.back_up();
    assert_eq!(lab.commits(), 2);
    // Over what is there, on request.
    flash::write(&lab.drive, "config/disk.cfg", b"broken\n");
    lab.backstay.run(&[&in_place[..], &["--overwrite"]].concat()).ok();
    assert_eq!(fs::read(lab.drive.join("config/disk.cfg")).unwrap(), b"new\n");
}

#[test]
fn a_dry_run_writes_nothing() {
    let lab = Lab::new(GitData::OnTheDrive);
    lab.apply(json!({}));
    lab.back_up();
    let (restored, output) = lab.restore(&["--dry-run"]);
    let said = output.ok();
    assert!(!restored.exists());
    let all = said.stdout + &said.stderr;
    assert!(
        all.contains("config/ident.cfg") && all.contains("would restore the history up to commit"),
        "{all}"
    );
}

#[test]
fn without_backstay() {
    backstay_testkit::tools::require(&["bash", "zstd", "tar"]);
    let lab = Lab::new(GitData::OnTheDrive);
    let mut job = lab.job(&json!({}));
    job["filters"] = json!({ "compression": { "algorithm": "zstd" } });
    lab.backstay.apply(&job.to_string()).ok();
    lab.back_up();
    let kit = lab.backstay.scratch_dir().join("kit.sh");
    fs::write(
        &kit,
        lab.backstay.run(&["recovery-kit", "latest:flash"]).ok().stdout,
    )
    .unwrap();
    let target = lab.backstay.scratch_dir().join("recovered");
    let done = std::process::Command::new("bash")
        .arg(&kit)
        .arg(&target)
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let repository = target.join(".git");
    assert_eq!(git(&repository, &target, &["fsck", "--strict"]), "");
    let log = ["log", "--format=%H %s"];
    assert_eq!(git(&repository, &target, &log), lab.git(&log));
    assert_eq!(git(&repository, &target, &["diff", "--name-only", "HEAD"]), "");
    fs::remove_dir_all(&repository).unwrap();
    compare::trees_except(&lab.expected(), &target, &[Except::Root]).unwrap();
}

#[test]
fn a_drill_tries_the_files_and_decodes_the_history() {
    let lab = Lab::new(GitData::Elsewhere);
    let mut job = lab.job(&json!({}));
    job["verify"] = json!({ "level": "restore", "afterRun": true });
    lab.backstay.apply(&job.to_string()).ok();
    let backup = lab.back_up();
    assert_eq!(backup["verifiedOk"], true, "{backup:#}");
    let artifacts = backup["manifest"]["artifacts"].as_array().unwrap();
    let history = artifacts.iter().find(|a| a["name"] == "history.bundle").unwrap();
    let file = history["location"].as_str().unwrap();
    let mut bytes = fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(file, bytes).unwrap();
    lab.backstay
        .run(&["verify", "latest:flash", "--level", "restore"])
        .code(8);
}

#[test]
fn a_real_fat_drive_with_git_data_off_it() {
    let disk = FatDisk::mount(40 << 20);
    let drive = disk.path();
    for (name, text) in [
        ("config/ident.cfg", "NAME=\"Tower\"\r\n"),
        ("config/Disk.cfg", "x\r\n"),
        ("config/SHADOW", "sEcReT-in-capitals"),
        ("bzimage", "image"),
    ] {
        flash::write(&drive, name, text.as_bytes());
    }
    let lab = Lab::of(
        backstay_testkit::cli::Backstay::new(BINARY),
        drive.clone(),
        GitData::Elsewhere,
    );
    lab.apply(json!({}));
    lab.back_up();
    assert_eq!(lab.tracked(), ["config/Disk.cfg", "config/ident.cfg"]);
    assert!(
        lab.git(&["ls-tree", "-r", "HEAD"])
            .lines()
            .all(|line| line.starts_with("100644 "))
    );
    // The same name in another case is the same file.
    fs::rename(drive.join("config/Disk.cfg"), drive.join("config/moved")).unwrap();
    fs::rename(drive.join("config/moved"), drive.join("config/disk.cfg")).unwrap();
    lab.run(0);
    assert_eq!(lab.tracked().len(), 2, "{:?}", lab.tracked());
    let (restored, output) = lab.restore(&[]);
    output.ok();
    assert!(!restored.join("config/SHADOW").exists());
    assert_eq!(fs::read(restored.join("bzimage")).unwrap(), b"image");
    assert_eq!(git(&restored.join(".git"), &restored, &["fsck", "--strict"]), "");
    // The drive is pulled out.
    drop(disk);
    fs::create_dir_all(&drive).unwrap();
    let (code, message, _) = lab.fails();
    let shown = drive.display();
    assert_eq!(
        (code, message),
        (
            4,
            format!("{shown} was on the filesystem mounted at {shown}, which is not mounted now")
        )
    );
    assert_eq!(lab.commits(), 1, "an empty drive was committed");
    fs::remove_dir_all(drive.parent().unwrap()).unwrap();
}
