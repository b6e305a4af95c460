//! Each way in which git or the machine fails is named by its cause, and the next run works once that is gone.

use std::fs;
use std::process::Command;

use backstay_testkit::cli::Backstay;
use backstay_testkit::disk::SmallDisk;
use backstay_testkit::flash;
use serde_json::json;

use super::lab::{BINARY, GitData, Lab, noise};

#[test]
fn a_lock_of_somebody_else_is_named_and_left_alone() {
    let lab = Lab::new(GitData::OnTheDrive);
    lab.apply(json!({}));
    lab.back_up();
    for name in [
        "index.lock",
        "HEAD.lock",
        "refs/heads/main.lock",
        "config.lock",
        "packed-refs.lock",
    ] {
        let lock = lab.git_dir.join(name);
        fs::write(&lock, "").unwrap();
        let (code, message, hint) = lab.fails();
        assert_eq!(code, 4);
        assert_eq!(
            message,
            format!(
                "another git has locked the repository: {} is there",
                lock.display()
            )
        );
        assert!(hint.contains(&format!("remove {}", lock.display())), "{hint}");
        assert!(lock.exists(), "a lock that isn't ours was removed");
        fs::remove_file(&lock).unwrap();
    }
    lab.back_up();
}

#[test]
fn a_damaged_repository_is_named_and_nothing_of_it_is_lost() {
    let lab = Lab::new(GitData::Elsewhere);
    lab.apply(json!({}));
    lab.back_up();
    let head = fs::read(lab.git_dir.join("HEAD")).unwrap();
    fs::remove_file(lab.git_dir.join("HEAD")).unwrap();
    let (code, message, hint) = lab.fails();
    assert_eq!(
        (code, message),
        (
            4,
            format!(
                "{} is a damaged repository: it has no HEAD",
                lab.git_dir.display()
            )
        )
    );
    assert!(hint.contains("move it away"), "{hint}");
    fs::write(lab.git_dir.join("HEAD"), "").unwrap();
    let (_, message, hint) = lab.fails();
    assert!(
        message.starts_with("git failed: not a git repository"),
        "{message}"
    );
    assert!(hint.contains("is damaged"), "{hint}");
    fs::write(lab.git_dir.join("HEAD"), head).unwrap();

    let index = fs::read(lab.git_dir.join("index")).unwrap();
    fs::write(lab.git_dir.join("index"), &index[..5]).unwrap();
    let (_, message, hint) = lab.fails();
    assert!(
        message.contains("index file") || message.contains("index uses"),
        "{message}"
    );
    assert!(hint.contains("is damaged"), "{hint}");
    fs::write(lab.git_dir.join("index"), index).unwrap();

    // The newest commit is cut to nothing, as a power loss does.
    let commit = lab.git(&["rev-parse", "HEAD"]);
    let object = lab
        .git_dir
        .join("objects")
        .join(&commit[..2])
        .join(commit[2..].trim());
    let bytes = fs::read(&object).unwrap();
    fs::remove_file(&object).unwrap();
    fs::write(&object, "").unwrap();
    let (_, message, hint) = lab.fails();
    assert!(
        message.contains("is empty") || message.contains("damaged"),
        "{message}"
    );
    assert!(hint.contains("fsck"), "{hint}");
    fs::write(&object, bytes).unwrap();
    flash::write(&lab.drive, "config/go", b"2\n");
    lab.back_up();
    assert_eq!(lab.commits(), 2);

    // Moved away, a new one begins.
    fs::rename(&lab.git_dir, lab.git_dir.with_extension("old")).unwrap();
    lab.back_up();
    assert_eq!(lab.commits(), 1);
}

#[test]
fn no_room_for_git() {
    let disk = SmallDisk::mount(600 << 10);
    let lab = Lab::new(GitData::Elsewhere);
    let git_dir = disk.path().join(".git");
    flash::write(&lab.drive, "config/noise", &noise(1_000_000));
    lab.apply(json!({ "gitPath": git_dir }));
    let (code, message, hint) = lab.fails();
    assert_eq!(code, 12, "{message}");
    assert!(
        message.starts_with("git failed: ") && message.contains("No space left"),
        "{message}"
    );
    assert_eq!(
        hint,
        format!("make room on the filesystem of {}", git_dir.display())
    );
    // What was begun is gone, so that there is room again.
    assert!(fs::read_dir(&git_dir).unwrap().next().is_none());
    fs::remove_file(lab.drive.join("config/noise")).unwrap();
    lab.back_up();
}

#[test]
fn a_drive_that_turned_read_only() {
    let disk = SmallDisk::mount(8 << 20);
    let lab = Lab::of(Backstay::new(BINARY), disk.path().to_owned(), GitData::OnTheDrive);
    flash::fill(&lab.drive);
    lab.apply(json!({}));
    lab.back_up();
    flash::write(&lab.drive, "config/go", b"2\n");
    let remount = |how: &str| {
        let done = Command::new("mount")
            .args(["-o", how])
            .arg(disk.path())
            .status()
            .unwrap();
        assert!(done.success(), "can't remount");
    };
    remount("remount,ro");
    let (code, message, hint) = lab.fails();
    remount("remount,rw");
    assert_eq!(code, 7, "{message}");
    assert!(message.contains("Read-only file system"), "{message}");
    assert!(hint.contains("dmesg"), "{hint}");
    lab.back_up();
    assert_eq!(lab.commits(), 2);
}

#[test]
fn an_empty_drive_is_no_backup() {
    let lab = Lab::empty(GitData::Elsewhere);
    lab.apply(json!({}));
    let (code, message, hint) = lab.fails();
    assert_eq!(
        (code, message),
        (
            4,
            format!("git finds no file to track in {}", lab.drive.display())
        )
    );
    assert!(hint.contains("mounted"), "{hint}");
    flash::fill(&lab.drive);
    lab.back_up();
    // All at once gone: that is no change to commit.
    fs::remove_dir_all(&lab.drive).unwrap();
    fs::create_dir(&lab.drive).unwrap();
    lab.fails();
    assert_eq!(lab.commits(), 1);
    assert_eq!(lab.backstay.json(&["backups"]).as_array().unwrap().len(), 1);
}

#[test]
fn a_place_for_git_data_that_is_not_there() {
    let lab = Lab::new(GitData::Elsewhere);
    let above = lab.backstay.scratch_dir().join("not-mounted");
    lab.apply(json!({ "gitPath": above.join(".git") }));
    let (code, message, hint) = lab.fails();
    assert_eq!(
        (code, message),
        (
            4,
            format!("there is no directory {} for the git data", above.display())
        )
    );
    assert!(hint.contains("gitPath"), "{hint}");
    fs::create_dir(&above).unwrap();
    lab.back_up();
}

#[test]
fn a_cache_file_is_never_written_over_and_needs_room() {
    let disk = SmallDisk::mount(100 << 10);
    let lab = Lab::new(GitData::Elsewhere);
    let cache = disk.path().join("cache.tar");
    lab.apply(json!({ "streamDirect": false, "localCachePath": cache }));
    let (code, message, hint) = lab.fails();
    assert_eq!(code, 12, "{message}");
    assert!(message.contains("No space left"), "{message}");
    assert!(hint.contains("streamDirect: true"), "{hint}");
    assert!(!cache.exists(), "half a cache file is left");
    fs::write(&cache, "precious").unwrap();
    let (code, message, _) = lab.fails();
    assert_eq!(
        (code, message),
        (
            2,
            format!("{} exists already, and is not overwritten", cache.display())
        )
    );
    assert_eq!(fs::read(&cache).unwrap(), b"precious");
}

#[test]
fn a_failed_destination_leaves_the_commit_and_nothing_else() {
    let lab = Lab::new(GitData::Elsewhere);
    let cache = lab.backstay.scratch_dir().join("cache.tar");
    lab.apply(json!({ "streamDirect": false, "localCachePath": cache }));
    fs::remove_dir(&lab.place).unwrap();
    let (code, message, _) = lab.fails();
    assert_eq!(code, 3, "{message}");
    assert!(message.contains("does not exist"), "{message}");
    assert!(!cache.exists());
    assert_eq!(lab.commits(), 1);
    fs::create_dir(&lab.place).unwrap();
    let backup = lab.back_up();
    assert_eq!(backup["manifest"]["artifacts"][0]["metadata"]["changed"], false);
}
