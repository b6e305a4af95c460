//! How long things take that must not take long.

use std::path::Path;
use std::time::{Duration, Instant};

use backstay_store::{FILE_NAME, RunFilter, Store};
use sqlx::{ConnectOptions, Connection};
use uuid::Uuid;

use crate::fixtures::{job, lab, open};

/// The shortest of several times: what the code needs when nothing else disturbs it.
async fn best<F: Future>(times: usize, mut act: impl FnMut() -> F) -> Duration {
    let mut best = Duration::MAX;
    for _ in 0..times {
        let begin = Instant::now();
        act().await;
        best = best.min(begin.elapsed());
    }
    best
}

async fn add_runs(file: &Path, job_id: Uuid, runs: u32) {
    let mut connection = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(file)
        .connect()
        .await
        .unwrap();
    // What is noted of each of them isn't what is measured.
    sqlx::query("DROP TRIGGER run_ended_at_once")
        .execute(&mut connection)
        .await
        .unwrap();
    sqlx::query(
        "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?2) \
         INSERT INTO runs (id, job_id, job_name, kind, status, started_at, finished_at, warnings, stats) \
         SELECT printf('019c0000-0000-7000-8000-%012x', n), ?1, 'flash', 'backup', 'succeeded', \
         '2026-01-01T00:00:00Z', '2026-01-01T00:00:01Z', '[]', '{}' FROM numbers",
    )
    .bind(job_id.to_string())
    .bind(runs)
    .execute(&mut connection)
    .await
    .unwrap();
    connection.close().await.unwrap();
}

async fn page(store: &Store, job: Option<Uuid>, number: u128) {
    let before = Uuid::from_u128(0x019c_0000_0000_7000_8000_0000_0000_0000 + 100_001 - number * 100);
    let runs = store
        .runs(RunFilter {
            job,
            limit: 100,
            before: Some(before),
        })
        .await
        .unwrap();
    assert_eq!(runs.len(), 100);
    assert_eq!(runs[0].id.as_u128(), before.as_u128() - 1);
}

#[tokio::test]
async fn with_a_hundred_thousand_runs_the_last_page_costs_as_much_as_the_first() {
    let lab = lab().await;
    let flash = job(&lab.store, "flash").await;
    add_runs(&lab.dir.path().join(FILE_NAME), flash.id, 100_000).await;
    for of_job in [None, Some(flash.id)] {
        let first = best(20, || page(&lab.store, of_job, 0)).await;
        let last = best(20, || page(&lab.store, of_job, 999)).await;
        assert!(
            last < first * 3 + Duration::from_millis(1),
            "page 1: {first:?}, page 1000: {last:?}"
        );
    }
    let jobs = best(5, || async { lab.store.jobs().await.unwrap() }).await;
    assert!(jobs < Duration::from_millis(20), "the list of jobs took {jobs:?}");
}

#[tokio::test]
async fn an_existing_database_is_open_at_once() {
    let lab = lab().await;
    job(&lab.store, "flash").await;
    let took = best(10, || async { open(lab.dir.path()).await.unwrap() }).await;
    assert!(took < Duration::from_millis(10), "{took:?}");
}
