//! The undo journal.

use backstay_model::Code;
use backstay_model::journal::{Owner, UndoWhen};
use serde_json::{Map, json};
use uuid::Uuid;

use crate::fixtures::{backup, begun, job, lab, open};

fn zfs() -> Owner {
    Owner::Plugin {
        id: "zfs".to_owned(),
        config: Map::from_iter([("poolName".to_owned(), json!("tank"))]),
        destination: Some(1),
        target: None,
    }
}

#[tokio::test]
async fn the_journal_survives_and_is_read_in_the_order_to_undo_it() {
    let lab = lab().await;
    let flash = job(&lab.store, "flash").await;
    let (older, newer) = (begun(&lab.store, &flash).await, begun(&lab.store, &flash).await);
    let late = lab
        .store
        .record_entry(newer.id, &Owner::Host, UndoWhen::OnCommit, "n1")
        .await
        .unwrap();
    lab.store
        .record_entry(older.id, &zfs(), UndoWhen::OnAbort, "o1")
        .await
        .unwrap();
    lab.store
        .record_entry(older.id, &Owner::Host, UndoWhen::Always, "o2")
        .await
        .unwrap();
    lab.store.close().await;

    let store = open(lab.dir.path()).await.unwrap();
    assert_eq!(store.runs_with_entries().await.unwrap(), [newer.id, older.id]);
    let entries = store.entries(older.id).await.unwrap();
    let seen: Vec<_> = entries
        .iter()
        .map(|e| (e.entry.as_str(), e.when, e.owner.clone(), e.run_id))
        .collect();
    assert_eq!(
        seen,
        [
            ("o2", UndoWhen::Always, Owner::Host, older.id),
            ("o1", UndoWhen::OnAbort, zfs(), older.id)
        ]
    );

    store.remove_entry(late).await.unwrap();
    store.remove_entry(late).await.unwrap();
    assert_eq!(store.runs_with_entries().await.unwrap(), [older.id]);
    store
        .remove_entries(&[entries[0].id, entries[1].id])
        .await
        .unwrap();
    assert!(store.runs_with_entries().await.unwrap().is_empty());
    let next = store
        .record_entry(older.id, &Owner::Host, UndoWhen::Always, "o3")
        .await
        .unwrap();
    assert!(next > entries[0].id, "a number was given twice");
}

#[tokio::test]
async fn an_entry_of_a_run_that_never_began_is_refused() {
    let lab = lab().await;
    let error = lab
        .store
        .record_entry(Uuid::now_v7(), &Owner::Host, UndoWhen::Always, "x")
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::Internal);
}

#[tokio::test]
async fn a_run_is_committed_by_its_critical_backup_and_stays_so() {
    let lab = lab().await;
    let flash = job(&lab.store, "flash").await;
    let run = begun(&lab.store, &flash).await;
    lab.store
        .commit_backup(&backup(&lab.store, &run, 1), &[])
        .await
        .unwrap();
    assert!(!lab.store.is_committed(run.id).await.unwrap());
    let critical = backup(&lab.store, &run, 0);
    lab.store.commit_backup(&critical, &[]).await.unwrap();
    assert!(lab.store.is_committed(run.id).await.unwrap());
    lab.store.remove_backup(critical.manifest.id).await.unwrap();
    assert!(lab.store.is_committed(run.id).await.unwrap());
    assert!(!lab.store.is_committed(Uuid::now_v7()).await.unwrap());
}
