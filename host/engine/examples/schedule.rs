//! How long it takes to start with many jobs, and to look what is due: prints `start NANOSECONDS`, `idle NANOSECONDS` for
//! a look that finds nothing, and `due NANOSECONDS` for one that finds and writes down a hundred due times.
#![allow(clippy::print_stdout, reason = "its output is the measurement")]

use std::sync::Arc;
use std::time::Instant;

use backstay_engine::scheduler::Scheduler;
use backstay_model::Result;
use backstay_model::clock::{Clock, SystemClock};
use backstay_model::run::{Run, RunKind, RunStatus, Stats};
use backstay_store::{Dealt, NewEvent, Store};
use jiff::SignedDuration;
use serde_json::json;

#[tokio::main]
async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1).map(|n| n.parse::<u32>());
    let jobs = arguments.next().unwrap_or(Ok(10_000))?;
    let runs = arguments.next().unwrap_or(Ok(20))?;
    let directory = tempfile::tempdir()?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let store = Store::open(directory.path(), Arc::clone(&clock)).await?;
    for n in 0..jobs {
        // A hundred jobs in each minute of a hundred, each hour or each day.
        let cron = format!(
            "{} {} * * *",
            n % 60,
            if n % 2 == 0 {
                "*".to_owned()
            } else {
                (n % 24).to_string()
            }
        );
        let spec = serde_json::from_value(json!({
            "name": format!("job-{n}"), "schedule": { "cron": cron, "timezone": "Europe/Berlin" },
            "source": { "plugin": "path", "config": { "path": "/srv" } },
            "destinations": [{ "plugin": "local", "config": { "path": "/mnt" } }],
        }))?;
        store.apply_job(&spec).await?;
    }
    for _ in 0..runs {
        let began = Instant::now();
        let mut scheduler = load(&store, clock.as_ref()).await?;
        println!("start {}", began.elapsed().as_nanos());
        let now = clock.now();
        scheduler.look(now);
        for second in 1..=50 {
            let began = Instant::now();
            store.changes().await?;
            let found = scheduler.look(now + SignedDuration::from_millis(second));
            if found.is_empty() {
                println!("idle {}", began.elapsed().as_nanos());
            }
        }
        let mut later = now;
        let due = loop {
            later += SignedDuration::from_secs(1);
            let found = scheduler.look(later);
            if found.len() >= 100 {
                break found;
            }
        };
        let began = Instant::now();
        let dealt: Vec<Dealt> = due
            .into_iter()
            .take(100)
            .map(|due| {
                let run = Run {
                    id: uuid::Uuid::now_v7(),
                    job_id: due.job_id,
                    job_name: due.job_name,
                    kind: RunKind::Backup,
                    status: RunStatus::Queued,
                    reason: due.reason.unwrap_or_default(),
                    due_at: Some(due.at),
                    started_at: later,
                    finished_at: None,
                    error: None,
                    warnings: Vec::new(),
                    stats: Stats::default(),
                };
                let event = NewEvent {
                    at: later,
                    run_id: run.id,
                    level: backstay_model::event::Level::Info,
                    origin: "host".to_owned(),
                    message: "due".to_owned(),
                    status: Some(run.status),
                };
                Dealt {
                    job_id: due.job_id,
                    considered: due.considered,
                    run: Some((run, event)),
                }
            })
            .collect();
        store.deal_with(&dealt).await?;
        println!("due {}", began.elapsed().as_nanos());
    }
    Ok(())
}

/// What the service does when it starts.
async fn load(store: &Store, clock: &dyn Clock) -> Result<Scheduler> {
    let jobs = store.jobs().await?;
    let considered = store.considered().await?.into_iter();
    let considered = considered
        .map(|(id, kept)| Ok((id, kept?)))
        .collect::<Result<_>>()?;
    let loaded = Scheduler::load(&jobs, &considered, clock.now())?;
    let new: Vec<Dealt> = loaded.new.into_iter().map(Dealt::from).collect();
    store.deal_with(&new).await?;
    Ok(loaded.scheduler)
}
