//! Runs and their events.

use backstay_model::Code;
use backstay_model::event::Level;
use backstay_model::run::{Run, RunError, RunStatus, Stats, Warning};
use backstay_store::{NewEvent, RunFilter};
use uuid::Uuid;

use crate::fixtures::{begun, ended, event, job, lab, run};

fn same(a: &Run, b: &Run) {
    assert_eq!(serde_json::to_value(a).unwrap(), serde_json::to_value(b).unwrap());
}

#[tokio::test]
async fn a_run_is_kept_whole_from_beginning_to_end() {
    let lab = lab().await;
    let flash = job(&lab.store, "flash").await;
    let queued = begun(&lab.store, &flash).await;
    same(&lab.store.run(queued.id).await.unwrap(), &queued);

    let mut end = ended(&queued, RunStatus::Failed);
    end.error = Some(RunError {
        code: Code::DiskSpace,
        message: "full".to_owned(),
        hint: Some("delete".to_owned()),
    });
    end.warnings = vec![Warning {
        code: "unreadable".to_owned(),
        message: "x".to_owned(),
        path: None,
    }];
    end.stats = Stats {
        source_bytes: u64::MAX,
        stored_bytes: 1,
        entries: 2,
        deleted_backups: 4,
        freed_bytes: 5,
        duration_ms: 3,
    };
    lab.store.finish_run(&end, &[]).await.unwrap();
    same(&lab.store.run(queued.id).await.unwrap(), &end);
    assert!(lab.store.unfinished_runs().await.unwrap().is_empty());
}

#[tokio::test]
async fn an_ended_run_does_not_change_any_more() {
    let lab = lab().await;
    let flash = job(&lab.store, "flash").await;
    let first = begun(&lab.store, &flash).await;
    let end = ended(&first, RunStatus::Succeeded);
    lab.store.finish_run(&end, &[]).await.unwrap();

    let error = lab
        .store
        .set_run_status(first.id, RunStatus::Pruning, &[event(&first, "late")])
        .await
        .unwrap_err();
    assert!(
        error.to_string().ends_with("has ended before, as succeeded"),
        "{error}"
    );
    let error = lab
        .store
        .finish_run(&ended(&first, RunStatus::Interrupted), &[event(&first, "late")])
        .await
        .unwrap_err();
    assert!(
        error.to_string().ends_with("has ended before, as succeeded"),
        "{error}"
    );
    same(&lab.store.run(first.id).await.unwrap(), &end);
    assert!(lab.store.events(first.id, 0, 10).await.unwrap().is_empty());

    let error = lab
        .store
        .set_run_status(Uuid::now_v7(), RunStatus::Pruning, &[])
        .await
        .unwrap_err();
    assert!(error.to_string().ends_with("has not begun"), "{error}");
}

#[tokio::test]
async fn a_run_has_an_end_exactly_if_its_status_is_final() {
    let lab = lab().await;
    let flash = job(&lab.store, "flash").await;
    let first = begun(&lab.store, &flash).await;
    for wrong in [
        Run {
            status: RunStatus::Succeeded,
            ..first.clone()
        },
        Run {
            status: RunStatus::Verifying,
            ..ended(&first, RunStatus::Failed)
        },
        Run {
            status: RunStatus::Verifying,
            ..first.clone()
        },
    ] {
        assert_eq!(
            lab.store.finish_run(&wrong, &[]).await.unwrap_err().code(),
            Code::Internal
        );
    }
    assert_eq!(
        lab.store
            .set_run_status(first.id, RunStatus::Failed, &[])
            .await
            .unwrap_err()
            .code(),
        Code::Internal
    );
    let skipped = ended(&run(&flash), RunStatus::Skipped);
    lab.store
        .begin_run(&skipped, &[event(&skipped, "outside of its window")])
        .await
        .unwrap();
    same(&lab.store.run(skipped.id).await.unwrap(), &skipped);
}

#[tokio::test]
async fn runs_are_listed_newest_first_and_page_by_page() {
    let lab = lab().await;
    let (flash, home) = (job(&lab.store, "flash").await, job(&lab.store, "home").await);
    let mut ids = Vec::new();
    for i in 0..10 {
        ids.push(
            begun(&lab.store, if i % 2 == 0 { &flash } else { &home })
                .await
                .id,
        );
    }
    ids.reverse();
    let mut listed = Vec::new();
    let mut before = None;
    loop {
        let page = lab
            .store
            .runs(RunFilter {
                limit: 3,
                before,
                ..RunFilter::default()
            })
            .await
            .unwrap();
        let Some(last) = page.last() else { break };
        before = Some(last.id);
        listed.extend(page.iter().map(|run| run.id));
    }
    assert_eq!(listed, ids);

    let of_flash = lab
        .store
        .runs(RunFilter {
            job: Some(flash.id),
            limit: 2,
            before: Some(ids[1]),
        })
        .await
        .unwrap();
    assert_eq!(
        of_flash.iter().map(|run| run.id).collect::<Vec<_>>(),
        [ids[3], ids[5]]
    );
    let unfinished: Vec<Uuid> = lab
        .store
        .unfinished_runs()
        .await
        .unwrap()
        .iter()
        .map(|run| run.id)
        .collect();
    assert_eq!(unfinished.iter().rev().copied().collect::<Vec<_>>(), ids);
    assert_eq!(
        lab.store.run(Uuid::now_v7()).await.unwrap_err().code(),
        Code::Configuration
    );
}

#[tokio::test]
async fn events_come_back_in_order_and_can_be_followed() {
    let lab = lab().await;
    let flash = job(&lab.store, "flash").await;
    let (first, other) = (begun(&lab.store, &flash).await, begun(&lab.store, &flash).await);
    lab.store
        .set_run_status(first.id, RunStatus::Preparing, &[event(&first, "prepares")])
        .await
        .unwrap();
    lab.store
        .append_events(&[
            event(&other, "of the other"),
            event(&first, "a"),
            event(&first, "b"),
        ])
        .await
        .unwrap();
    let loud = NewEvent {
        level: Level::Error,
        origin: "plugin:zfs".to_owned(),
        status: Some(RunStatus::Failed),
        ..event(&first, "it failed")
    };
    lab.store
        .finish_run(&ended(&first, RunStatus::Failed), std::slice::from_ref(&loud))
        .await
        .unwrap();

    let all = lab.store.events(first.id, 0, 100).await.unwrap();
    let messages: Vec<&str> = all.iter().map(|event| event.message.as_str()).collect();
    assert_eq!(messages, ["prepares", "a", "b", "it failed"]);
    let last = &all[3];
    assert_eq!(
        (last.level, last.origin.as_str(), last.status),
        (loud.level, "plugin:zfs", loud.status)
    );
    assert_eq!(last.at, loud.at);
    assert_eq!(
        lab.store.events(first.id, all[1].id, 1).await.unwrap(),
        [all[2].clone()]
    );
    assert!(lab.store.events(first.id, last.id, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn many_events_are_saved_all_or_none() {
    let lab = lab().await;
    let flash = job(&lab.store, "flash").await;
    let first = begun(&lab.store, &flash).await;
    let mut events: Vec<NewEvent> = (0..1_234).map(|i| event(&first, &i.to_string())).collect();
    lab.store.append_events(&events).await.unwrap();
    let messages: Vec<String> = lab
        .store
        .events(first.id, 0, 5_000)
        .await
        .unwrap()
        .into_iter()
        .map(|event| event.message)
        .collect();
    assert_eq!(messages, (0..1_234).map(|i| i.to_string()).collect::<Vec<_>>());

    events.push(event(&run(&flash), "of a run that never began"));
    assert_eq!(
        lab.store.append_events(&events).await.unwrap_err().code(),
        Code::Internal
    );
    assert_eq!(lab.store.events(first.id, 0, 5_000).await.unwrap().len(), 1_234);
}
