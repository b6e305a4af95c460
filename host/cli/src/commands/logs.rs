//! `backstay logs`: shows what happened in a run, to its end if asked.

use std::path::PathBuf;
use std::time::Duration;

use backstay_engine::Engine;
use backstay_model::event::Event;
use backstay_model::{Code, Error, Result};
use backstay_store::RunFilter;
use uuid::Uuid;

use crate::args::Logs;
use crate::output::{Output, event_line};
use crate::wire;

/// Events in one look.
const PAGE: u32 = 1_000;

/// Runs the command.
///
/// # Errors
/// There is no such run.
pub async fn run(args: Logs, data_dir: Option<PathBuf>, output: Output) -> Result<u8> {
    let engine = wire::engine(data_dir).await?;
    let run = find_run(&engine, &args.run).await?;
    let mut after = 0;
    let mut all = Vec::new();
    loop {
        let is_over = engine.store.run(run).await?.status.is_final();
        let events = engine.store.events(run, after, PAGE).await?;
        let is_last = events.len() < PAGE as usize;
        if let Some(last) = events.last() {
            after = last.id;
        }
        if output.json && !args.follow {
            all.extend(events);
        } else {
            for event in events {
                print(&event, output)?;
            }
        }
        if is_last && (is_over || !args.follow) {
            break;
        }
        if is_last {
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }
    if output.json && !args.follow {
        output.print(&all, String::new)?;
    }
    Ok(0)
}

/// One line each: JSON lines for programs that follow.
fn print(event: &Event, output: Output) -> Result<()> {
    let line = if output.json {
        serde_json::to_string(event).map_err(|e| Error::internal("cannot write JSON").because(e))?
    } else {
        event_line(event.at, event.level, &event.origin, &event.message)
    };
    Output { json: false }.print(&(), || line)
}

async fn find_run(engine: &Engine, name: &str) -> Result<Uuid> {
    if let Ok(id) = name.parse() {
        return Ok(engine.store.run(id).await?.id);
    }
    let job = engine.store.job(name).await?;
    let runs = engine
        .store
        .runs(RunFilter {
            job: Some(job.id),
            limit: 1,
            ..RunFilter::default()
        })
        .await?;
    runs.first()
        .map(|r| r.id)
        .ok_or_else(|| Error::new(Code::Configuration, format!("job {name} has not run yet")))
}
