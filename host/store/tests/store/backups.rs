//! The catalogue.

use backstay_model::Code;
use backstay_model::job::VerifyLevel;
use backstay_model::run::RunStatus;
use backstay_store::{Backup, BackupFilter};
use uuid::Uuid;

use crate::fixtures::{at, backup, begun, ended, event, job, lab};

fn ids(backups: &[Backup]) -> Vec<Uuid> {
    backups.iter().map(|backup| backup.manifest.id).collect()
}

#[tokio::test]
async fn a_backup_comes_back_as_it_was_saved() {
    let lab = lab().await;
    let flash = job(&lab.store, "flash").await;
    let run = begun(&lab.store, &flash).await;
    let saved = backup(&lab.store, &run, 0);
    lab.store
        .commit_backup(&saved, &[event(&run, "committed")])
        .await
        .unwrap();
    let found = lab.store.backup(saved.manifest.id).await.unwrap();
    assert_eq!(found, saved);
    let mut manifest = found.manifest;
    let checksum = manifest.checksum.clone();
    manifest.seal().unwrap();
    assert_eq!(manifest.checksum, checksum);
    assert_eq!(
        lab.store.events(run.id, 0, 10).await.unwrap()[0].message,
        "committed"
    );
}

#[tokio::test]
async fn a_backup_is_added_once() {
    let lab = lab().await;
    let flash = job(&lab.store, "flash").await;
    let run = begun(&lab.store, &flash).await;
    let saved = backup(&lab.store, &run, 0);
    lab.store.commit_backup(&saved, &[]).await.unwrap();
    let error = lab
        .store
        .commit_backup(&saved, &[event(&run, "again")])
        .await
        .unwrap_err();
    assert!(
        error.to_string().ends_with("is in the catalogue already"),
        "{error}"
    );
    assert!(lab.store.events(run.id, 0, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_catalogue_is_rebuilt_without_its_runs_and_jobs() {
    let lab = lab().await;
    let gone = crate::fixtures::lab().await;
    let run = begun(&gone.store, &job(&gone.store, "flash").await).await;
    let found = backup(&gone.store, &run, 0);
    lab.store.commit_backup(&found, &[]).await.unwrap();
    assert_eq!(lab.store.latest_backup("flash").await.unwrap(), found);
    assert!(lab.store.is_committed(run.id).await.unwrap());
}

#[tokio::test]
async fn backups_are_listed_newest_first_by_job_id_and_by_name() {
    let lab = lab().await;
    let (flash, home) = (job(&lab.store, "flash").await, job(&lab.store, "home").await);
    let mut saved = Vec::new();
    for job in [&flash, &home, &flash, &home] {
        let run = begun(&lab.store, job).await;
        let backup = backup(&lab.store, &run, 0);
        lab.store.commit_backup(&backup, &[]).await.unwrap();
        lab.store
            .finish_run(&ended(&run, RunStatus::Succeeded), &[])
            .await
            .unwrap();
        saved.insert(0, backup.manifest.id);
    }
    lab.store.remove_job(flash.id).await.unwrap();
    let list = async |filter| ids(&lab.store.backups(filter).await.unwrap());
    let all = BackupFilter::default();
    assert_eq!(list(all.clone()).await, saved);
    assert_eq!(
        list(BackupFilter {
            limit: 2,
            ..all.clone()
        })
        .await,
        saved[..2]
    );
    assert_eq!(
        list(BackupFilter {
            job: Some(home.id),
            ..all.clone()
        })
        .await,
        [saved[0], saved[2]]
    );
    assert_eq!(
        list(BackupFilter {
            job_name: Some("flash"),
            ..all.clone()
        })
        .await,
        [saved[1], saved[3]]
    );
    let both = BackupFilter {
        job: Some(home.id),
        job_name: Some("flash"),
        ..all
    };
    assert!(list(both).await.is_empty());
}

#[tokio::test]
async fn the_latest_backup_is_the_critical_one_of_the_newest_run() {
    let lab = lab().await;
    let flash = job(&lab.store, "flash").await;
    let old = begun(&lab.store, &flash).await;
    lab.store
        .commit_backup(&backup(&lab.store, &old, 0), &[])
        .await
        .unwrap();
    let new = begun(&lab.store, &flash).await;
    let (critical, optional) = (backup(&lab.store, &new, 0), backup(&lab.store, &new, 1));
    lab.store.commit_backup(&optional, &[]).await.unwrap();
    assert_eq!(lab.store.latest_backup("flash").await.unwrap(), optional);
    lab.store.commit_backup(&critical, &[]).await.unwrap();
    assert_eq!(lab.store.latest_backup("flash").await.unwrap(), critical);
    assert_eq!(
        lab.store.latest_backup(&flash.id.to_string()).await.unwrap(),
        critical
    );
    let of_run = ids(&lab.store.backups_of_run(new.id).await.unwrap());
    assert_eq!(of_run, [critical.manifest.id, optional.manifest.id]);

    let error = lab.store.latest_backup("flahs").await.unwrap_err();
    assert_eq!(
        (error.code(), error.hint_text()),
        (Code::Configuration, Some("did you mean flash?"))
    );
}

#[tokio::test]
async fn the_outcome_of_a_check_is_kept() {
    let lab = lab().await;
    let flash = job(&lab.store, "flash").await;
    let run = begun(&lab.store, &flash).await;
    let saved = backup(&lab.store, &run, 0);
    lab.store.commit_backup(&saved, &[]).await.unwrap();
    let id = saved.manifest.id;
    for (level, ok) in [(VerifyLevel::Archive, true), (VerifyLevel::Size, false)] {
        lab.store
            .record_verification(id, level, ok, at("2026-04-01T00:00:00Z"))
            .await
            .unwrap();
        let found = lab.store.backup(id).await.unwrap();
        assert_eq!((found.verified_level, found.verified_ok), (Some(level), Some(ok)));
        assert_eq!(found.verified_at, Some(at("2026-04-01T00:00:00Z")));
    }
    assert!(lab.store.remove_backup(id).await.unwrap());
    assert!(!lab.store.remove_backup(id).await.unwrap());
    let error = lab
        .store
        .record_verification(id, VerifyLevel::Size, true, at("2026-04-01T00:00:00Z"))
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::Configuration);
    assert_eq!(
        lab.store.backup(id).await.unwrap_err().code(),
        Code::Configuration
    );
}

#[tokio::test]
async fn a_long_history_is_read_page_by_page() {
    let lab = lab().await;
    let [flash, home] = [job(&lab.store, "flash").await, job(&lab.store, "home").await];
    let mut made = Vec::new();
    for _ in 0..5 {
        let run = begun(&lab.store, &flash).await;
        let saved = backup(&lab.store, &run, 0);
        lab.store.commit_backup(&saved, &[]).await.unwrap();
        lab.store
            .finish_run(&ended(&run, RunStatus::Succeeded), &[])
            .await
            .unwrap();
        made.insert(0, saved.manifest.id);
    }
    let mut read = Vec::new();
    loop {
        let page = lab.store.backups_before(flash.id, read.last().copied(), 2).await;
        let page = ids(&page.unwrap());
        if page.is_empty() {
            break;
        }
        assert!(page.len() <= 2);
        read.extend(page);
    }
    assert_eq!(read, made);
    assert!(
        lab.store
            .backups_before(home.id, None, 2)
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn what_is_being_deleted_is_in_no_list_but_its_own_until_it_is_put_back_or_gone() {
    let lab = lab().await;
    let flash = job(&lab.store, "flash").await;
    let run = begun(&lab.store, &flash).await;
    let [kept, gone] = [backup(&lab.store, &run, 0), backup(&lab.store, &run, 1)];
    for backup in [&kept, &gone] {
        lab.store.commit_backup(backup, &[]).await.unwrap();
    }
    let id = gone.manifest.id;
    lab.store.begin_removal(id, run.id).await.unwrap();
    let filters = [
        (None, None),
        (Some(flash.id), None),
        (None, Some("flash")),
        (Some(flash.id), Some("flash")),
    ];
    for (job, job_name) in filters {
        let filter = BackupFilter {
            job,
            job_name,
            ..BackupFilter::default()
        };
        assert_eq!(ids(&lab.store.backups(filter).await.unwrap()), [kept.manifest.id]);
    }
    assert_eq!(
        ids(&lab.store.backups_of_run(run.id).await.unwrap()),
        [kept.manifest.id]
    );
    assert_eq!(
        lab.store.backup(id).await.unwrap_err().code(),
        Code::Configuration
    );
    assert_eq!(lab.store.removals().await.unwrap(), [(gone.clone(), run.id)]);

    lab.store.keep_backup(id).await.unwrap();
    assert_eq!(lab.store.backup(id).await.unwrap(), gone);
    assert!(lab.store.removals().await.unwrap().is_empty());

    lab.store.begin_removal(kept.manifest.id, run.id).await.unwrap();
    assert_eq!(
        lab.store.latest_backup("flash").await.unwrap(),
        gone,
        "the newest that is left"
    );
    assert!(lab.store.remove_backup(kept.manifest.id).await.unwrap());
    assert!(lab.store.removals().await.unwrap().is_empty());
    let error = lab
        .store
        .begin_removal(kept.manifest.id, run.id)
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::Configuration);
}

#[tokio::test]
async fn what_another_backup_builds_on_can_not_be_deleted() {
    let lab = lab().await;
    let run = begun(&lab.store, &job(&lab.store, "flash").await).await;
    let [base, mut increment] = [backup(&lab.store, &run, 0), backup(&lab.store, &run, 1)];
    increment.manifest.depends_on = Some(base.manifest.id);
    for one in [&base, &increment] {
        lab.store.commit_backup(one, &[]).await.unwrap();
    }
    let (id, dependent) = (base.manifest.id, increment.manifest.id);
    assert_eq!(
        lab.store.begin_removal(id, run.id).await.unwrap(),
        Some(dependent)
    );
    assert!(lab.store.removals().await.unwrap().is_empty());
    assert_eq!(lab.store.begin_removal(dependent, run.id).await.unwrap(), None);
    assert_eq!(lab.store.begin_removal(id, run.id).await.unwrap(), None);
}
