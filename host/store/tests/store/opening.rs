//! Opening: new, old, newer, foreign, damaged, locked, shared.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use backstay_model::Code;
use backstay_model::run::RunStatus;
use backstay_store::{FILE_NAME, RunFilter, Store};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, SqliteConnection};

use crate::fixtures::{begun, event, job, lab, open};

/// A plain connection, as any other program would have.
async fn raw(file: &Path) -> SqliteConnection {
    sqlx::sqlite::SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .connect()
        .await
        .unwrap()
}

async fn execute(file: &Path, sql: &str) {
    let mut connection = raw(file).await;
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
}

/// Opening fails with this class, names the file and says these words.
async fn refused(dir: &Path, code: Code, words: &str) {
    let error = open(dir).await.unwrap_err();
    let report = error.report();
    assert_eq!(error.code(), code, "{report}");
    assert!(
        report.contains(&dir.join(FILE_NAME).display().to_string()),
        "{report}"
    );
    assert!(report.contains(words), "{report}");
    assert!(error.hint_text().is_some(), "{report}");
}

#[tokio::test]
async fn an_installation_keeps_its_identity() {
    let lab = lab().await;
    let id = lab.store.instance_id();
    assert_eq!(id.get_version_num(), 4);
    lab.store.close().await;
    assert_eq!(open(lab.dir.path()).await.unwrap().instance_id(), id);
    assert_ne!(crate::fixtures::lab().await.store.instance_id(), id);
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_can_read_a_new_database() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("var/lib/backstay");
    let store = open(&data_dir).await.unwrap();
    job(&store, "flash").await;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&data_dir), 0o700);
    let files: Vec<_> = fs::read_dir(&data_dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert!(files.len() >= 2, "{files:?}");
    for file in files {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[tokio::test]
async fn what_is_not_a_database_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(FILE_NAME);
    let garbage = b"this is no database ".repeat(1_000);
    fs::write(&file, &garbage).unwrap();
    refused(dir.path(), Code::Storage, "damaged").await;
    assert_eq!(fs::read(&file).unwrap(), garbage);
}

#[tokio::test]
async fn a_damaged_database_says_so() {
    let lab = lab().await;
    let flash = job(&lab.store, "flash").await;
    let run = begun(&lab.store, &flash).await;
    let many: Vec<_> = (0..2_000).map(|i| event(&run, &format!("event {i}"))).collect();
    lab.store.append_events(&many).await.unwrap();
    lab.store.close().await;
    let file = lab.dir.path().join(FILE_NAME);
    let mut bytes = fs::read(&file).unwrap();
    bytes[4096..].fill(0xa5);
    fs::write(&file, bytes).unwrap();
    refused(lab.dir.path(), Code::Storage, "damaged").await;
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused_and_left_alone() {
    let lab = lab().await;
    lab.store.close().await;
    let file = lab.dir.path().join(FILE_NAME);
    execute(
        &file,
        "PRAGMA user_version = 99; ALTER TABLE jobs RENAME TO tasks",
    )
    .await;
    let before = fs::read(&file).unwrap();
    refused(
        lab.dir.path(),
        Code::Environment,
        "has version 99; this Backstay knows up to version 9",
    )
    .await;
    assert_eq!(fs::read(&file).unwrap(), before);
}

#[tokio::test]
async fn a_database_of_another_program_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(FILE_NAME);
    execute(&file, "CREATE TABLE bookmarks (url TEXT)").await;
    let before = fs::read(&file).unwrap();
    refused(dir.path(), Code::Environment, "not one of Backstay").await;
    assert_eq!(fs::read(&file).unwrap(), before);
}

#[tokio::test]
async fn a_database_that_was_never_filled_is_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(FILE_NAME), b"").unwrap();
    let store = open(dir.path()).await.unwrap();
    job(&store, "flash").await;
}

#[tokio::test]
async fn a_data_directory_that_is_a_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("data");
    fs::write(&file, b"").unwrap();
    let error = open(&file).await.unwrap_err();
    assert_eq!(error.code(), Code::Environment);
    assert!(
        error.report().contains(&file.display().to_string()),
        "{}",
        error.report()
    );
}

#[tokio::test]
async fn a_database_that_somebody_keeps_locked_fails_the_write_and_not_the_read() {
    let lab = lab().await;
    job(&lab.store, "flash").await;
    let mut other = raw(&lab.dir.path().join(FILE_NAME)).await;
    sqlx::raw_sql("BEGIN IMMEDIATE")
        .execute(&mut other)
        .await
        .unwrap();
    let begin = Instant::now();
    let error = lab
        .store
        .apply_job(&crate::fixtures::spec("home"))
        .await
        .unwrap_err();
    assert!(begin.elapsed() >= Duration::from_secs(9), "{:?}", begin.elapsed());
    let report = error.report();
    assert_eq!(
        (error.code(), error.is_retryable()),
        (Code::Storage, true),
        "{report}"
    );
    assert!(
        report.contains("another process") && report.contains(FILE_NAME),
        "{report}"
    );
    assert_eq!(lab.store.jobs().await.unwrap().len(), 1);
    assert_eq!(open(lab.dir.path()).await.unwrap().jobs().await.unwrap().len(), 1);
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    job(&lab.store, "home").await;
}

#[tokio::test]
async fn a_cancelled_write_leaves_no_lock_behind() {
    let lab = lab().await;
    let flash = job(&lab.store, "flash").await;
    let run = begun(&lab.store, &flash).await;
    for micros in (0..3_000).step_by(100) {
        let events: Vec<_> = (0..50).map(|i| event(&run, &i.to_string())).collect();
        let _ = tokio::time::timeout(Duration::from_micros(micros), lab.store.append_events(&events)).await;
    }
    let begin = Instant::now();
    lab.store
        .set_run_status(run.id, RunStatus::Preparing, &[])
        .await
        .unwrap();
    open(lab.dir.path())
        .await
        .unwrap()
        .freeze_retention(flash.id, None)
        .await
        .unwrap();
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    assert_eq!(lab.store.events(run.id, 0, 10_000).await.unwrap().len() % 50, 0);
}

const WRITES: usize = 40;

async fn write_runs(store: &Store, name: &str) {
    for _ in 0..WRITES {
        let job = job(store, name).await;
        begun(store, &job).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_processes_and_handles_make_and_fill_one_database() {
    // The other processes are this test again.
    if let Ok(dir) = std::env::var("BACKSTAY_TEST_DIR") {
        let store = open(Path::new(&dir)).await.unwrap();
        return write_runs(&store, "shared").await;
    }
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let children: Vec<_> = (0..3)
        .map(|_| {
            Command::new(std::env::current_exe().unwrap())
                .args([
                    "opening::several_processes_and_handles_make_and_fill_one_database",
                    "--exact",
                ])
                .env("BACKSTAY_TEST_DIR", &data_dir)
                .spawn()
                .unwrap()
        })
        .collect();
    let handles: Vec<_> = (0..3)
        .map(|i| {
            let data_dir = data_dir.clone();
            tokio::spawn(async move {
                let store = open(&data_dir).await.unwrap();
                write_runs(&store, if i == 0 { "own" } else { "shared" }).await;
                store.instance_id()
            })
        })
        .collect();
    let mut ids = Vec::new();
    for handle in handles {
        ids.push(handle.await.unwrap());
    }
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "the installation got several identities");
    let store = open(&data_dir).await.unwrap();
    assert_eq!(store.jobs().await.unwrap().len(), 2);
    assert_eq!(
        store
            .runs(RunFilter {
                limit: 1_000,
                ..RunFilter::default()
            })
            .await
            .unwrap()
            .len(),
        6 * WRITES
    );
}

/// The system drops all of a process's locks on a file when the process closes any handle to it; another
/// process could then take itself for the database's only user.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_second_handle_does_not_loosen_the_grip_of_the_first() {
    use std::os::unix::fs::MetadataExt;
    let lab = lab().await;
    job(&lab.store, "flash").await;
    let inode = fs::metadata(lab.dir.path().join(FILE_NAME)).unwrap().ino();
    let locks = || {
        let all = fs::read_to_string("/proc/locks").unwrap();
        let (process, file) = (format!(" {} ", std::process::id()), format!(":{inode} "));
        all.lines()
            .filter(|lock| lock.contains(&process) && lock.contains(&file))
            .count()
    };
    assert_eq!(locks(), 1);
    let second = open(lab.dir.path()).await.unwrap();
    assert_eq!(locks(), 1);
    second.close().await;
    assert_eq!(locks(), 1);
}
