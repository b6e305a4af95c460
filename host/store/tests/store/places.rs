//! File systems that are read-only or full: real ones, mounted in a namespace of a child process.
#![cfg(target_os = "linux")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use backstay_model::Code;
use backstay_store::FILE_NAME;

use crate::fixtures::{begun, event, job, lab, open};

/// Runs a test again, in another process, after `mount`, a shell command in which `$D` is the directory.
fn in_a_namespace(mount: &str, test: &str, dir: &Path) {
    let output = Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-ec"])
        .arg(format!("{mount}\nexec \"$0\" places::{test} --exact"))
        .arg(std::env::current_exe().unwrap())
        .env("D", dir)
        .output()
        .expect("this test needs `unshare` of util-linux");
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        output.status.success(),
        "`unshare --map-root-user --mount` or the test in it failed\n{out}\n{err}"
    );
    assert!(out.contains("1 passed"), "{out}");
}

/// The directory, in the other process.
fn place() -> Option<PathBuf> {
    std::env::var_os("D").map(PathBuf::from)
}

#[tokio::test]
async fn a_read_only_place_is_refused() {
    if let Some(dir) = place() {
        return child_is_read_only(&dir).await;
    }
    let lab = lab().await;
    lab.store.close().await;
    in_a_namespace(
        "mount --bind \"$D\" \"$D\"; mount -o remount,bind,ro \"$D\"",
        "a_read_only_place_is_refused",
        lab.dir.path(),
    );
}

async fn child_is_read_only(dir: &Path) {
    let error = open(dir).await.unwrap_err();
    assert_eq!(error.code(), Code::Permission);
    assert_eq!(
        error.report(),
        format!(
            "cannot write the database {}: Read-only file system (os error 30)",
            dir.join(FILE_NAME).display()
        )
    );
    assert!(error.hint_text().unwrap().contains("--data-dir"));

    let error = open(&dir.join("new")).await.unwrap_err();
    assert_eq!(error.code(), Code::Permission);
    assert!(
        error.report().contains(&dir.join("new").display().to_string()),
        "{}",
        error.report()
    );
}

#[tokio::test]
async fn a_full_disk_loses_nothing_and_is_got_over() {
    if let Some(dir) = place() {
        return child_fills_the_disk(&dir).await;
    }
    let dir = tempfile::tempdir().unwrap();
    in_a_namespace(
        "mount -t tmpfs -o size=2m tmpfs \"$D\"",
        "a_full_disk_loses_nothing_and_is_got_over",
        dir.path(),
    );
}

async fn child_fills_the_disk(dir: &Path) {
    let ballast = dir.join("ballast");
    fs::write(&ballast, vec![0; 1 << 20]).unwrap();
    let data_dir = dir.join("data");
    let store = open(&data_dir).await.unwrap();
    let flash = job(&store, "flash").await;
    let run = begun(&store, &flash).await;
    let page: Vec<_> = (0..20).map(|_| event(&run, &"x".repeat(1_000))).collect();
    let mut saved = 0;
    let error = loop {
        match store.append_events(&page).await {
            Ok(()) => saved += page.len(),
            Err(error) => break error,
        }
        assert!(saved < 10_000, "the disk never filled");
    };
    let report = error.report();
    assert_eq!(error.code(), Code::DiskSpace, "{report}");
    assert!(
        report.contains(&data_dir.join(FILE_NAME).display().to_string()),
        "{report}"
    );
    assert_eq!(store.events(run.id, 0, 20_000).await.unwrap().len(), saved);

    fs::remove_file(&ballast).unwrap();
    store.append_events(&page).await.unwrap();
    store.close().await;
    let store = open(&data_dir).await.unwrap();
    assert_eq!(
        store.events(run.id, 0, 20_000).await.unwrap().len(),
        saved + page.len()
    );

    let _ = fs::write(&ballast, vec![0; 4 << 20]);
    let error = open(&dir.join("new")).await.unwrap_err();
    assert_eq!(error.code(), Code::DiskSpace, "{}", error.report());
}
