//! File systems that are read-only or full: real ones, mounted in a namespace of a child process.
#![cfg(target_os = "linux")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use backstay_model::Code;
use backstay_store::FILE_NAME;

use crate::fixtures::{begun, event, job, lab, open};

/// Runs one of the ignored tests below after `mount`, a shell command in which `$D` is the directory.
fn in_a_namespace(mount: &str, test: &str, dir: &Path) {
    let output = Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-ec"])
        .arg(format!("{mount}\nexec \"$0\" places::{test} --exact --ignored"))
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

fn place() -> Option<PathBuf> {
    std::env::var_os("D").map(PathBuf::from)
}

#[tokio::test]
async fn a_read_only_place_is_refused() {
    let lab = lab().await;
    lab.store.close().await;
    in_a_namespace(
        "mount --bind \"$D\" \"$D\"; mount -o remount,bind,ro \"$D\"",
        "child_is_read_only",
        lab.dir.path(),
    );
}

#[tokio::test]
#[ignore = "is started by the test above"]
async fn child_is_read_only() {
    let Some(dir) = place() else { return };
    let error = open(&dir).await.unwrap_err();
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

#[test]
fn a_full_disk_loses_nothing_and_is_got_over() {
    let dir = tempfile::tempdir().unwrap();
    in_a_namespace(
        "mount -t tmpfs -o size=2m tmpfs \"$D\"",
        "child_fills_the_disk",
        dir.path(),
    );
}

#[tokio::test]
#[ignore = "is started by the test above"]
async fn child_fills_the_disk() {
    let Some(dir) = place() else { return };
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
