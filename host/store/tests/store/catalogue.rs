//! Backups that were found, put into the catalogue.

use backstay_model::job::VerifyLevel;
use backstay_model::run::RunStatus;
use jiff::Timestamp;
use uuid::Uuid;

use crate::fixtures::{at, backup, begun, ended, job, lab};

#[tokio::test]
async fn what_is_there_stays_and_the_rest_is_added() {
    let lab = lab().await;
    let run = begun(&lab.store, &job(&lab.store, "flash").await).await;
    lab.store
        .finish_run(&ended(&run, RunStatus::Failed), &[])
        .await
        .unwrap();
    let known = backup(&lab.store, &run, 0);
    lab.store.commit_backup(&known, &[]).await.unwrap();
    let mut changed = known.clone();
    changed.location = "elsewhere".to_owned();
    let new = backup(&lab.store, &run, 1);
    let added = lab.store.add_backups(&[changed, new.clone()]).await.unwrap();
    assert_eq!(added, [false, true]);
    assert_eq!(lab.store.backup(known.manifest.id).await.unwrap(), known);
    assert_eq!(lab.store.backup(new.manifest.id).await.unwrap(), new);
    let asked = [known.manifest.id, Uuid::now_v7()];
    let checksums = lab.store.checksums(&asked).await.unwrap();
    assert_eq!(
        checksums.into_iter().collect::<Vec<_>>(),
        [(known.manifest.id, known.manifest.checksum)]
    );
    assert_eq!(
        lab.store.backup_ids(None).await.unwrap(),
        [new.manifest.id, known.manifest.id]
    );
    assert_eq!(
        lab.store.backup_ids(Some("other")).await.unwrap(),
        [] as [Uuid; 0]
    );
    assert_eq!(lab.store.jobs_with_backups().await.unwrap(), ["flash"]);
}

#[tokio::test]
async fn what_a_run_has_stored_so_far_is_no_backup() {
    let lab = lab().await;
    let run = begun(&lab.store, &job(&lab.store, "flash").await).await;
    let found = backup(&lab.store, &run, 0);
    assert_eq!(
        lab.store.add_backups(std::slice::from_ref(&found)).await.unwrap(),
        [false]
    );
    // Nor what a failed run left that is still to be undone.
    let owner = backstay_model::journal::Owner::Host;
    let when = backstay_model::journal::UndoWhen::Always;
    lab.store.record_entry(run.id, &owner, when, "{}").await.unwrap();
    lab.store
        .finish_run(&ended(&run, RunStatus::Failed), &[])
        .await
        .unwrap();
    assert_eq!(
        lab.store.add_backups(std::slice::from_ref(&found)).await.unwrap(),
        [false]
    );
    let left: Vec<i64> = lab
        .store
        .entries(run.id)
        .await
        .unwrap()
        .iter()
        .map(|e| e.id)
        .collect();
    lab.store.remove_entries(&left).await.unwrap();
    assert_eq!(
        lab.store.add_backups(std::slice::from_ref(&found)).await.unwrap(),
        [true]
    );
}

#[tokio::test]
async fn the_longest_unchecked_comes_first() {
    let lab = lab().await;
    let run = begun(&lab.store, &job(&lab.store, "flash").await).await;
    let [mut never, mut long_ago, mut lately] = [0, 1, 2].map(|n| backup(&lab.store, &run, n));
    never.created_at = at("2026-02-02T00:00:00Z");
    long_ago.created_at = at("2026-01-01T00:00:00Z");
    lately.created_at = at("2026-01-02T00:00:00Z");
    long_ago.verified_at = Some(at("2026-02-01T00:00:00Z"));
    lately.verified_at = Some(at("2026-03-01T00:00:00Z"));
    for one in [&mut long_ago, &mut lately] {
        one.verified_level = Some(VerifyLevel::Checksum);
    }
    for one in [&never, &long_ago, &lately] {
        lab.store.commit_backup(one, &[]).await.unwrap();
    }
    let due = lab
        .store
        .unchecked_since("flash", VerifyLevel::Size, at("2026-02-15T00:00:00Z"))
        .await
        .unwrap();
    let ids = |due: &[(Uuid, Timestamp)]| -> Vec<Uuid> { due.iter().map(|(id, _)| *id).collect() };
    assert_eq!(ids(&due), [long_ago.manifest.id, never.manifest.id]);
    // A check that was not as deep counts as none.
    let due = lab
        .store
        .unchecked_since("flash", VerifyLevel::Archive, at("2026-02-15T00:00:00Z"))
        .await
        .unwrap();
    assert_eq!(
        ids(&due),
        [long_ago.manifest.id, lately.manifest.id, never.manifest.id]
    );
    // One that was tried in vain is due all the same, after the others.
    lab.store.note_attempt(long_ago.manifest.id).await.unwrap();
    let due = lab
        .store
        .unchecked_since("flash", VerifyLevel::Size, at("2026-02-15T00:00:00Z"))
        .await
        .unwrap();
    assert_eq!(ids(&due), [never.manifest.id, long_ago.manifest.id]);
}
