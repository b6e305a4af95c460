//! Jobs.

use backstay_model::Code;
use backstay_model::run::{RunKind, RunStatus};
use backstay_store::{Applied, FILE_NAME};
use jiff::SignedDuration;
use sqlx::{ConnectOptions as _, Connection as _};
use uuid::Uuid;

use crate::fixtures::{at, begun, ended, job, lab, run, spec};

#[tokio::test]
async fn applying_a_job_twice_changes_nothing() {
    let lab = lab().await;
    let (first, applied) = lab.store.apply_job(&spec("flash")).await.unwrap();
    assert_eq!(applied, Applied::Created);
    assert_eq!(first.id.get_version_num(), 7);
    assert_eq!(first.created_at, at("2026-03-01T02:03:04.000000005Z"));

    lab.clock.advance(SignedDuration::from_hours(1));
    let (again, applied) = lab.store.apply_job(&spec("flash")).await.unwrap();
    assert_eq!(applied, Applied::Unchanged);
    assert_eq!((again.id, again.updated_at), (first.id, first.updated_at));
}

#[tokio::test]
async fn a_changed_job_keeps_its_id() {
    let lab = lab().await;
    let first = job(&lab.store, "flash").await;
    lab.clock.advance(SignedDuration::from_hours(1));
    let mut changed = spec("flash");
    changed.enabled = false;
    let (second, applied) = lab.store.apply_job(&changed).await.unwrap();
    assert_eq!(applied, Applied::Updated);
    assert_eq!((second.id, second.created_at), (first.id, first.created_at));
    assert_eq!(
        second.updated_at,
        first.updated_at + SignedDuration::from_hours(1)
    );
    assert_eq!(lab.store.job("flash").await.unwrap().spec, changed);
}

#[tokio::test]
async fn a_job_is_found_by_name_and_by_id() {
    let lab = lab().await;
    let flash = job(&lab.store, "flash").await;
    job(&lab.store, "documents").await;
    assert_eq!(lab.store.job("flash").await.unwrap().id, flash.id);
    assert_eq!(
        lab.store.job(&flash.id.to_string()).await.unwrap().spec.name,
        "flash"
    );
    assert_eq!(
        lab.store
            .job(&flash.id.to_string().to_uppercase())
            .await
            .unwrap()
            .spec
            .name,
        "flash"
    );
    let names: Vec<String> = lab
        .store
        .jobs()
        .await
        .unwrap()
        .into_iter()
        .map(|job| job.spec.name)
        .collect();
    assert_eq!(names, ["documents", "flash"]);
}

#[tokio::test]
async fn a_job_whose_name_looks_like_an_id_is_found() {
    let lab = lab().await;
    let name = Uuid::now_v7().to_string();
    let odd = job(&lab.store, &name).await;
    assert_eq!(lab.store.job(&name).await.unwrap().id, odd.id);
}

#[tokio::test]
async fn a_name_that_is_not_there_is_answered_with_what_is() {
    let lab = lab().await;
    let error = lab.store.job("flash").await.unwrap_err();
    assert_eq!(
        (error.code(), error.to_string().as_str()),
        (Code::Configuration, "there is no job `flash`")
    );
    assert!(error.hint_text().unwrap().contains("backstay apply"));
    job(&lab.store, "flash").await;
    assert_eq!(
        lab.store.job("flsh").await.unwrap_err().hint_text(),
        Some("did you mean flash?")
    );
    assert_eq!(
        lab.store.job("documents").await.unwrap_err().hint_text(),
        Some("there are: flash")
    );
}

#[tokio::test]
async fn a_job_shows_its_last_backup_run_and_the_one_under_way() {
    let lab = lab().await;
    let flash = job(&lab.store, "flash").await;
    assert_eq!(
        (flash.last_run_at, flash.last_run_status, flash.current_run_id),
        (None, None, None)
    );

    let first = begun(&lab.store, &flash).await;
    let queued = lab.store.job("flash").await.unwrap();
    assert_eq!(
        (queued.last_run_status, queued.current_run_id),
        (Some(RunStatus::Queued), None)
    );

    lab.store
        .set_run_status(first.id, RunStatus::Transferring, &[])
        .await
        .unwrap();
    let running = lab.store.job("flash").await.unwrap();
    assert_eq!(running.last_run_at, Some(first.started_at));
    assert_eq!(
        (running.last_run_status, running.current_run_id),
        (Some(RunStatus::Transferring), Some(first.id))
    );

    lab.store
        .finish_run(&ended(&first, RunStatus::Failed), &[])
        .await
        .unwrap();
    let mut restore = run(&flash);
    restore.kind = RunKind::Restore;
    lab.store
        .begin_run(&ended(&restore, RunStatus::Succeeded), &[])
        .await
        .unwrap();
    let after = &lab.store.jobs().await.unwrap()[0];
    assert_eq!(
        (after.last_run_status, after.current_run_id),
        (Some(RunStatus::Failed), None)
    );
}

#[tokio::test]
async fn a_job_is_not_removed_under_a_run_and_leaves_its_history() {
    let lab = lab().await;
    let flash = job(&lab.store, "flash").await;
    let first = begun(&lab.store, &flash).await;
    let error = lab.store.remove_job(flash.id).await.unwrap_err();
    assert_eq!(error.code(), Code::Configuration);
    assert!(error.to_string().contains(&first.id.to_string()), "{error}");

    lab.store
        .commit_backup(&crate::fixtures::backup(&lab.store, &first, 0), &[])
        .await
        .unwrap();
    lab.store
        .finish_run(&ended(&first, RunStatus::Succeeded), &[])
        .await
        .unwrap();
    lab.store.remove_job(flash.id).await.unwrap();
    assert_eq!(
        lab.store.job("flash").await.unwrap_err().code(),
        Code::Configuration
    );
    assert_eq!(
        lab.store.remove_job(flash.id).await.unwrap_err().code(),
        Code::Configuration
    );
    assert_eq!(lab.store.run(first.id).await.unwrap().job_name, "flash");
    assert_eq!(lab.store.latest_backup("flash").await.unwrap().run_id, first.id);

    let error = lab.store.begin_run(&run(&flash), &[]).await.unwrap_err();
    assert_eq!(error.to_string(), "the job `flash` can't run: it was removed");
    let again = job(&lab.store, "flash").await;
    assert_ne!(again.id, flash.id);
    assert_eq!(again.last_run_at, None);
}

#[tokio::test]
async fn frozen_retention_stays_until_somebody_says_go_on() {
    let lab = lab().await;
    let flash = job(&lab.store, "flash").await;
    lab.store
        .freeze_retention(flash.id, Some("it shrank by 90 %"))
        .await
        .unwrap();
    let mut changed = spec("flash");
    changed.enabled = false;
    let (applied, _) = lab.store.apply_job(&changed).await.unwrap();
    assert_eq!(applied.retention_frozen.as_deref(), Some("it shrank by 90 %"));
    lab.store.freeze_retention(flash.id, None).await.unwrap();
    assert_eq!(lab.store.job("flash").await.unwrap().retention_frozen, None);
    assert_eq!(
        lab.store
            .freeze_retention(Uuid::now_v7(), None)
            .await
            .unwrap_err()
            .code(),
        Code::Configuration
    );
}

#[tokio::test]
async fn a_job_that_cant_be_read_hides_no_other() {
    let lab = lab().await;
    let documents = job(&lab.store, "documents").await;
    let flash = job(&lab.store, "flash").await;
    let mut other = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(lab.dir.path().join(FILE_NAME))
        .connect()
        .await
        .unwrap();
    sqlx::raw_sql("UPDATE jobs SET spec = '{}' WHERE name = 'flash'")
        .execute(&mut other)
        .await
        .unwrap();
    other.close().await.unwrap();
    let each = lab.store.each_job().await.unwrap();
    let names: Vec<&str> = each.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["documents", "flash"]);
    assert_eq!(each[0].1.as_ref().unwrap().id, documents.id);
    let error = each[1].1.as_ref().unwrap_err();
    assert_eq!(error.code(), Code::Storage);
    assert!(
        error.report().contains("a job, `flash`, that can't be read"),
        "{}",
        error.report()
    );
    assert!(lab.store.has_job(flash.id).await.unwrap());
    assert!(!lab.store.has_job(Uuid::now_v7()).await.unwrap());
}
