//! A process that is killed between any two instructions.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use backstay_model::journal::{Owner, UndoWhen};
use backstay_model::run::RunStatus;
use backstay_store::{BackupFilter, FILE_NAME, RunFilter, Store};
use sqlx::{ConnectOptions, Connection};
use uuid::Uuid;

use crate::fixtures::{backup, ended, event, job, open, run};

const ROUNDS: usize = 12;

/// Says on standard output what the store has acknowledged.
fn acknowledge(what: &str, id: impl std::fmt::Display) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\nack {what} {id}").unwrap();
    out.flush().unwrap();
}

async fn make_backups_for_ever(dir: &Path) {
    let store = open(dir).await.unwrap();
    let flash = job(&store, "flash").await;
    loop {
        let run = run(&flash);
        store.begin_run(&run, &[event(&run, "begun")]).await.unwrap();
        acknowledge("run", run.id);
        let entry = store
            .record_entry(run.id, &Owner::Host, UndoWhen::Always, "x")
            .await
            .unwrap();
        acknowledge("entry", entry);
        store
            .set_run_status(run.id, RunStatus::Transferring, &[event(&run, "transferring")])
            .await
            .unwrap();
        acknowledge("transferring", run.id);
        let backup = backup(&store, &run, 0);
        store
            .commit_backup(&backup, &[event(&run, "committed")])
            .await
            .unwrap();
        acknowledge("backup", backup.manifest.id);
        acknowledge("striking", entry);
        store.remove_entry(entry).await.unwrap();
        acknowledge("struck", entry);
        store
            .finish_run(&ended(&run, RunStatus::Succeeded), &[event(&run, "finished")])
            .await
            .unwrap();
        acknowledge("finished", run.id);
    }
}

/// The acknowledgements of a child that is killed after `time`.
fn killed_after(time: Duration, dir: &Path) -> Vec<(String, String)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "crash::a_killed_process_loses_nothing_that_was_acknowledged",
            "--exact",
            "--nocapture",
        ])
        .env("BACKSTAY_TEST_DIR", dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let reader = std::thread::spawn(move || {
        lines
            .filter_map(|line| {
                let (what, id) = line
                    .unwrap()
                    .strip_prefix("ack ")?
                    .split_once(' ')
                    .map(|(a, b)| (a.to_owned(), b.to_owned()))?;
                Some((what, id))
            })
            .collect()
    });
    std::thread::sleep(time);
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().code(), None, "the child ended by itself");
    reader.join().unwrap()
}

/// What one transaction wrote is there as a whole or not at all.
async fn nothing_is_half_done(store: &Store) {
    for run in store
        .runs(RunFilter {
            limit: 100_000,
            ..RunFilter::default()
        })
        .await
        .unwrap()
    {
        let events = store.events(run.id, 0, 100).await.unwrap();
        let said = |message: &str| events.iter().any(|event| event.message == message);
        assert!(said("begun"));
        assert_eq!(said("transferring"), run.status != RunStatus::Queued);
        assert_eq!(
            said("committed"),
            !store.backups_of_run(run.id).await.unwrap().is_empty()
        );
        assert_eq!(said("committed"), store.is_committed(run.id).await.unwrap());
        assert_eq!(said("finished"), run.status == RunStatus::Succeeded);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_loses_nothing_that_was_acknowledged() {
    // The process that is killed is this test again.
    if let Ok(dir) = std::env::var("BACKSTAY_TEST_DIR") {
        return make_backups_for_ever(Path::new(&dir)).await;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut seen: Vec<(String, String)> = Vec::new();
    for _ in 0..ROUNDS {
        let time = Duration::from_millis(40 + Uuid::new_v4().as_u128() as u64 % 160);
        seen.extend(killed_after(time, dir.path()));

        let store = open(dir.path()).await.unwrap();
        nothing_is_half_done(&store).await;
        let all = |what: &str| -> BTreeSet<&str> {
            seen.iter()
                .filter(|(w, _)| w == what)
                .map(|(_, id)| id.as_str())
                .collect()
        };
        let runs = store
            .runs(RunFilter {
                limit: 100_000,
                ..RunFilter::default()
            })
            .await
            .unwrap();
        let stored: BTreeSet<String> = runs.iter().map(|run| run.id.to_string()).collect();
        assert!(all("run").iter().all(|&id| stored.contains(id)), "a run was lost");
        let finished: BTreeSet<String> = runs
            .iter()
            .filter(|run| run.status.is_final())
            .map(|run| run.id.to_string())
            .collect();
        assert!(
            all("finished").iter().all(|&id| finished.contains(id)),
            "the end of a run was lost"
        );
        let backups = store
            .backups(BackupFilter {
                limit: 100_000,
                ..BackupFilter::default()
            })
            .await
            .unwrap();
        let stored: BTreeSet<String> = backups
            .iter()
            .map(|backup| backup.manifest.id.to_string())
            .collect();
        assert!(
            all("backup").iter().all(|&id| stored.contains(id)),
            "a backup was lost"
        );
        let mut entries = BTreeSet::new();
        for run_id in store.runs_with_entries().await.unwrap() {
            entries.extend(
                store
                    .entries(run_id)
                    .await
                    .unwrap()
                    .iter()
                    .map(|entry| entry.id.to_string()),
            );
        }
        for id in all("entry").difference(&all("striking")) {
            assert!(entries.contains(*id), "the journal's entry {id} was lost");
        }
        for id in all("struck") {
            assert!(!entries.contains(id), "the journal's entry {id} came back");
        }
        store.close().await;

        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(dir.path().join(FILE_NAME));
        let mut connection = options.connect().await.unwrap();
        let health: String = sqlx::query_scalar("PRAGMA integrity_check")
            .fetch_one(&mut connection)
            .await
            .unwrap();
        assert_eq!(health, "ok");
        connection.close().await.unwrap();
    }
    assert!(
        seen.len() > ROUNDS * 5,
        "the children hardly did anything: {} acknowledgements",
        seen.len()
    );
}
