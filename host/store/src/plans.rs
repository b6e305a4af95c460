//! Proves that the lists of runs, events and backups are read by an index, however long they are.

use std::sync::Arc;

use backstay_model::clock::SystemClock;
use sqlx::AssertSqlSafe;

use crate::{Store, audit, backups, events, jobs, journal, outbox, requests, runs, sessions, tokens, totals};

/// The steps of a query's plan, one a line.
async fn plan(query: &str) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Arc::new(SystemClock)).await.unwrap();
    let rows: Vec<(i64, i64, i64, String)> =
        sqlx::query_as(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {query}")))
            .fetch_all(&store.inner.readers)
            .await
            .unwrap();
    rows.into_iter().map(|(.., step)| step).collect()
}

#[tokio::test]
async fn no_list_looks_at_more_rows_than_it_returns() {
    for query in [
        runs::BY_ID,
        runs::PAGE,
        runs::PAGE_OF_JOB,
        events::OF_RUN,
        events::LAST_OF_RUN,
        backups::BY_ID,
        backups::NEWEST_OF_JOB,
        backups::PAGE_OF_JOB,
        backups::NEWEST_OF_NAME,
        backups::NEWEST_OF_BOTH,
        backups::OF_RUN,
        backups::DAMAGED_OF_JOB,
        backups::LATEST_OF_JOB,
        backups::LATEST_OF_NAME,
        journal::OF_RUN,
        jobs::BY_ID,
        jobs::BY_NAME,
        audit::PAGE,
        backups::PAGE,
        events::ALL,
        requests::UNFINISHED_BACKUP,
        requests::BY_KEY,
        sessions::BY_HASH,
        tokens::BY_HASH,
    ] {
        let steps = plan(query).await;
        assert!(
            !steps.iter().any(|step| step.starts_with("SCAN")),
            "{query}\n{steps:#?}"
        );
    }
}

#[tokio::test]
async fn lists_come_out_of_the_index_in_order() {
    for query in [
        runs::PAGE,
        runs::PAGE_OF_JOB,
        backups::NEWEST,
        backups::NEWEST_OF_JOB,
        backups::PAGE,
        backups::PAGE_OF_JOB,
        backups::NEWEST_OF_NAME,
        audit::PAGE,
        events::ALL,
        jobs::PAGE,
    ] {
        let steps = plan(query).await;
        assert!(
            !steps.iter().any(|step| step.contains("TEMP B-TREE")),
            "{query}\n{steps:#?}"
        );
    }
    assert_eq!(
        plan(runs::UNFINISHED).await[0],
        "SCAN runs USING INDEX runs_unfinished"
    );
    // Each second, so never a look at what was sent.
    for query in [outbox::DUE, outbox::NEXT] {
        let steps = plan(query).await;
        assert!(
            steps.iter().any(|step| step.contains("deliveries_waiting")),
            "{query}\n{steps:#?}"
        );
    }
    let steps = plan(totals::OF_RUNS).await;
    assert!(
        steps[0].starts_with("SCAN t") && steps[1].starts_with("SEARCH r"),
        "{steps:#?}"
    );
    let steps = plan(totals::OF_BACKUPS).await;
    assert!(steps[0].contains("COVERING INDEX backups_in_brief"), "{steps:#?}");
    assert_eq!(
        plan(backups::BEING_REMOVED).await,
        ["SCAN backups USING INDEX backups_being_removed"]
    );
}

#[tokio::test]
async fn the_list_of_jobs_looks_up_each_ones_runs() {
    assert!(plan(jobs::ACTIVE_RUN).await[0].contains("runs_unfinished_by_job"));
    let steps = plan(jobs::ALL).await;
    assert!(
        steps.iter().any(|step| step.contains("runs_unfinished_by_job")),
        "{steps:#?}"
    );
    let scans: Vec<&String> = steps.iter().filter(|step| step.starts_with("SCAN")).collect();
    assert_eq!(
        scans,
        ["SCAN jobs USING INDEX sqlite_autoindex_jobs_2"],
        "{steps:#?}"
    );
}
