//! Runs that wait for their turn: one for each due time, taken by one, and noticed by all.

use backstay_model::run::{Run, RunStatus};
use backstay_store::{Considered, Dealt};

use crate::fixtures::{at, ended, event, job, lab, run};

#[tokio::test]
async fn a_due_time_has_one_run_however_often_it_is_dealt_with() {
    let lab = lab().await;
    let job = job(&lab.store, "flash").await;
    let due = at("2026-03-01T03:00:00Z");
    let dealt = || {
        let run = Run {
            due_at: Some(due),
            ..run(&job)
        };
        let event = event(&run, "due");
        Dealt {
            job_id: job.id,
            considered: Considered {
                schedule: "daily".to_owned(),
                at: due,
            },
            run: Some((run, event)),
        }
    };
    let before = lab.store.changes().await.unwrap();
    let added = lab.store.deal_with(&[dealt(), dealt()]).await.unwrap();
    assert_eq!(added.len(), 1);
    assert!(lab.store.deal_with(&[dealt()]).await.unwrap().is_empty());
    let waiting = lab.store.waiting_runs().await.unwrap();
    assert_eq!((waiting.len(), waiting[0].id), (1, added[0]));
    assert_eq!(
        lab.store.considered().await.unwrap()[&job.id]
            .as_ref()
            .unwrap()
            .at,
        due
    );
    let after = lab.store.changes().await.unwrap();
    assert!(after.queue > before.queue && after.jobs == before.jobs);
}

#[tokio::test]
async fn a_waiting_run_is_taken_once_or_ended() {
    let lab = lab().await;
    let job = job(&lab.store, "flash").await;
    let (first, second) = (run(&job), run(&job));
    for run in [&first, &second] {
        lab.store.begin_run(run, &[event(run, "waits")]).await.unwrap();
    }
    let now = at("2026-03-01T03:00:05Z");
    assert!(lab.store.take_run(first.id, now).await.unwrap());
    assert!(!lab.store.take_run(first.id, now).await.unwrap());
    let cancelled = ended(&second, RunStatus::Cancelled);
    let why = event(&second, "cancelled");
    assert!(lab.store.end_waiting_run(&cancelled, &why).await.unwrap());
    assert!(!lab.store.end_waiting_run(&cancelled, &why).await.unwrap());
    assert!(!lab.store.take_run(second.id, now).await.unwrap());
    assert_eq!(lab.store.waiting_runs().await.unwrap().len(), 0);

    assert!(!lab.store.is_cancel_asked(first.id).await.unwrap());
    assert!(lab.store.ask_to_cancel(first.id).await.unwrap());
    assert!(lab.store.is_cancel_asked(first.id).await.unwrap());
    assert!(!lab.store.ask_to_cancel(second.id).await.unwrap(), "it has ended");
}

#[tokio::test]
async fn changes_of_jobs_are_counted_and_a_removed_job_leaves_nothing_due() {
    let lab = lab().await;
    let start = lab.store.changes().await.unwrap().jobs;
    let job = job(&lab.store, "flash").await;
    let added = lab.store.changes().await.unwrap().jobs;
    assert!(added > start);
    let dealt = |schedule: &str| Dealt {
        job_id: job.id,
        considered: Considered {
            schedule: schedule.to_owned(),
            at: at("2026-03-01T03:00:00Z"),
        },
        run: None,
    };
    lab.store.deal_with(&[dealt("daily")]).await.unwrap();
    assert_eq!(
        lab.store.changes().await.unwrap().jobs,
        added,
        "nothing about the job changed"
    );
    lab.store.remove_job(job.id).await.unwrap();
    assert!(lab.store.changes().await.unwrap().jobs > added);
    lab.store.deal_with(&[dealt("daily")]).await.unwrap();
    assert!(lab.store.considered().await.unwrap().is_empty());
}
