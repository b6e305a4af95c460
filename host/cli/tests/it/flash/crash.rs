//! The host is killed while git works, while a cache file waits, while it cleans up: the next start leaves no lock and no
//! half repository, and the next run works.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use backstay_testkit::cli::Moment;
use backstay_testkit::process::wait_until;
use backstay_testkit::turns::Turns;
use backstay_testkit::{flash, tools};
use serde_json::{Value, json};

use super::lab::{BINARY, GitData, Lab, noise};

/// Runs a command that is killed as one of its threads, or one of its programs, enters a system call for the nth time.
/// Whether it was killed.
fn is_killed_at(lab: &Lab, call: &str, path: Option<&Path>, number: u32, args: &[&str]) -> bool {
    let moment = Moment::of(call, number);
    let moment = path.map_or(moment, |path| moment.on(path));
    lab.backstay.killed_at(args, moment).was_killed()
}

/// What must hold after the start that follows.
#[track_caller]
fn assert_recovered(lab: &Lab, moment: &str) {
    let runs = lab.backstay.json(&["runs"]);
    for run in runs.as_array().unwrap() {
        let status = run["status"].as_str().unwrap();
        assert!(
            ["interrupted", "succeeded", "failed"].contains(&status),
            "{moment}: {run:#}"
        );
    }
    let doctor = lab.backstay.json(&["doctor"]);
    let journal = doctor["checks"]
        .as_array()
        .unwrap()
        .iter()
        .find(|c| c["check"] == "journal")
        .unwrap();
    assert_eq!(journal["says"], "nothing left to undo", "{moment}");
    for lock in ["index.lock", "HEAD.lock", "config.lock", "refs/heads/main.lock"] {
        assert!(!lab.git_dir.join(lock).exists(), "{moment}: {lock} is left");
    }
    if lab.git_dir.join("HEAD").exists() {
        lab.git(&["fsck", "--strict", "--no-dangling"]);
        lab.git(&["rev-parse", "--verify", "HEAD"]);
    } else if lab.git_dir.exists() {
        assert!(
            fs::read_dir(&lab.git_dir).unwrap().next().is_none(),
            "{moment}: half a repository is left"
        );
    }
}

/// Kills a run at each call of one kind in turn: a first run if `fresh`, else one with something to commit.
#[track_caller]
fn kill_at_each(call: &str, of_database: bool, fresh: bool, config: Value, least: u32) {
    let lab = Lab::new(GitData::Elsewhere);
    let cache = lab.backstay.scratch_dir().join("cache.tar");
    let mut config = config;
    if config["localCachePath"] == true {
        config["localCachePath"] = json!(cache);
    }
    lab.apply(config);
    if !fresh {
        lab.back_up();
    }
    let wal = lab.backstay.data_dir().join("backstay.db-wal");
    let path = of_database.then_some(wal.as_path());
    let mut turns = Turns::of(least);
    while let Some(number) = turns.next() {
        let text = format!("n={}\r\n", turns.killed());
        flash::write(&lab.drive, "config/disk.cfg", text.as_bytes());
        if fresh {
            let _ = fs::remove_dir_all(&lab.git_dir);
        }
        if turns.note(is_killed_at(&lab, call, path, number, &["run", "flash"])) {
            assert_recovered(&lab, &format!("{call} {number}"));
            assert!(!cache.exists(), "{call} {number}: the cache file is left");
            if turns.killed().is_multiple_of(6) {
                lab.back_up();
            }
        }
    }
    lab.back_up();
    let (restored, output) = lab.restore(&[]);
    output.ok();
    assert_eq!(
        fs::read(restored.join("config/disk.cfg")).unwrap(),
        fs::read(lab.drive.join("config/disk.cfg")).unwrap()
    );
}

#[test]
fn killed_while_any_command_of_a_first_run_works() {
    kill_at_each("waitid", false, true, json!({ "includeGitHistory": false }), 4);
}

#[test]
fn killed_while_any_command_of_a_later_run_works() {
    let config = json!({ "streamDirect": false, "localCachePath": true });
    kill_at_each("waitid", false, false, config, 5);
}

#[test]
fn killed_at_any_durable_write_of_the_journal() {
    kill_at_each("fsync", true, true, json!({ "includeGitHistory": false }), 3);
}

#[test]
fn a_git_that_is_killed_itself_fails_the_run_and_leaves_no_lock() {
    let lab = Lab::new(GitData::OnTheDrive);
    lab.apply(json!({}));
    lab.back_up();
    // Only git renames by this call: the index, then the branch.
    for number in 1..=3 {
        flash::write(
            &lab.drive,
            "config/disk.cfg",
            format!("n={number}\r\n").as_bytes(),
        );
        tools::require(&["strace"]);
        let lock = format!("{}/index.lock", lab.git_dir.display());
        let output = Command::new("strace")
            .args(["-f", "-qq", "-o", "/dev/null", "-P", &lock, "-e", "trace=rename"])
            .args(["-e", &format!("inject=rename:signal=KILL:when={number}")])
            .arg(BINARY)
            .args(["run", "flash", "--json"])
            .env("BACKSTAY_DATA_DIR", lab.backstay.data_dir())
            .output()
            .unwrap();
        if output.status.success() {
            assert!(number > 1, "git was never killed");
            break;
        }
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(said["error"]["message"], "git failed: it was killed by signal 9");
        assert_recovered(&lab, &format!("rename {number}"));
    }
    lab.back_up();
}

/// A run that is killed while git holds the index: it has a large file to read.
fn killed_while_locked(lab: &Lab) {
    flash::write(&lab.drive, "config/large", &noise(48 << 20));
    let mut run = lab.backstay.spawn(&["run", "flash"]);
    let lock = lab.git_dir.join("index.lock");
    let objects = || {
        let entries = fs::read_dir(lab.git_dir.join("objects"))
            .into_iter()
            .flatten()
            .flatten();
        entries
            .flat_map(|e| fs::read_dir(e.path()))
            .flatten()
            .flatten()
            .count()
    };
    let before = objects();
    wait_until("git to hold the index and write", Duration::from_secs(60), || {
        lock.exists() && objects() != before
    });
    run.kill();
    assert!(lock.exists(), "git let go before it was killed");
}

#[test]
fn a_stale_lock_of_a_killed_run_is_removed_and_the_next_run_works() {
    let lab = Lab::new(GitData::Elsewhere);
    lab.apply(json!({ "largeFileBytes": 0, "includeGitHistory": false }));
    lab.back_up();
    killed_while_locked(&lab);
    assert_recovered(&lab, "while the index is locked");
    let newest = &lab.backstay.json(&["runs"])[0];
    assert_eq!(newest["status"], "interrupted");
    fs::remove_file(lab.drive.join("config/large")).unwrap();
    lab.back_up();
}

#[test]
fn killed_again_while_it_cleans_up() {
    let lab = Lab::new(GitData::Elsewhere);
    lab.apply(json!({ "includeGitHistory": false }));
    for (call, mut turns) in [("unlinkat", Turns::of(2).every(3)), ("waitid", Turns::of(1))] {
        while let Some(number) = turns.next() {
            let _ = fs::remove_dir_all(&lab.git_dir);
            // By then there is a repository without a commit.
            assert!(Turns::of(1).any(|_| is_killed_at(&lab, "waitid", None, 3, &["run", "flash"])));
            turns.note(is_killed_at(&lab, call, None, number, &["runs"]));
            assert_recovered(&lab, &format!("{call} {number} of the recovery"));
        }
    }
    lab.back_up();
}
