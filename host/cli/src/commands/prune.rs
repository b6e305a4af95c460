//! `backstay prune`: deletes what a job's retention lets go, and says of each backup why it stays or goes.

use std::path::PathBuf;
use std::sync::Arc;

use backstay_api::view::RunView;
use backstay_engine::Engine;
use backstay_engine::backup::Report;
use backstay_engine::prune::{Place, Plan, Planned, PruneOptions, PruneReport};
use backstay_model::job::Job;
use backstay_model::{Error, Result};
use indicatif::HumanBytes;
use serde_json::{Value, json};

use crate::args::Prune;
use crate::commands::outbox::Outbox;
use crate::commands::user;
use crate::output::summary::report_text;
use crate::output::{Lines, Output, table};
use crate::wire;

/// Runs the command.
///
/// # Errors
/// There is no such job, or its run can't be recorded. What could not be deleted is a result.
pub async fn run(args: Prune, data_dir: Option<PathBuf>, output: Output) -> Result<u8> {
    let context = wire::cancellable()?;
    let engine = wire::recovered(data_dir, output).await?;
    let job = engine.store.job(&args.job).await?;
    let options = PruneOptions {
        after_failure: args.after_failure,
        after_gap: args.after_gap,
        forget_missing: args.forget_missing,
        context,
    };
    if args.dry_run {
        let plan = engine.plan_prune(&job, &options).await?;
        let mut value = plan_json(&plan, true);
        value["job"] = json!(job.spec.name);
        value["jobId"] = json!(job.id);
        output.print(&value, || plan_text(&plan, true))?;
        return Ok(0);
    }
    let outbox = Outbox::begin(&engine, output);
    let lines = Arc::new(Lines::new());
    let pruned = Box::pin(prune(&engine, &job, &options, &lines)).await?;
    drop(lines);
    let exit_code = pruned.exit_code();
    let report = Report {
        run: pruned.run,
        backups: Vec::new(),
    };
    let mut value = serde_json::to_value(RunView::from(&report))
        .map_err(|e| Error::internal("cannot write JSON").because(e))?;
    for (key, part) in plan_json(&pruned.plan, false)
        .as_object_mut()
        .into_iter()
        .flatten()
    {
        value[key] = part.take();
    }
    output.print(&value, || {
        format!("{}{}", plan_text(&pruned.plan, false), report_text(&report))
    })?;
    outbox.end(&engine).await;
    Ok(exit_code)
}

/// Prunes, and has it written down who asked for it and whether all went well.
async fn prune(
    engine: &Engine,
    job: &Job,
    options: &PruneOptions,
    lines: &Arc<Lines>,
) -> Result<PruneReport> {
    let mut pruned = None;
    let change = async {
        let done = engine.prune(job, options, Arc::clone(lines) as _).await?;
        // A run that failed is a result here, but not a change that was made.
        let failure = done.run.error.as_ref();
        let failure = failure.map(|error| Error::new(error.code, error.message.clone()));
        pruned = Some(done);
        failure.map_or(Ok(()), Err)
    };
    let changed = Box::pin(engine.audited(&user(), "job.prune", &job.spec.name, change)).await;
    match (pruned, changed) {
        (Some(pruned), _) => Ok(pruned),
        (None, Err(error)) => Err(error),
        (None, Ok(())) => Err(Error::internal("a run has ended without a result")),
    }
}

fn plan_json(plan: &Plan, dry_run: bool) -> Value {
    let backup = |planned: &Planned| {
        let reasons: Vec<String> = planned.verdict.reasons.iter().map(ToString::to_string).collect();
        json!({
            "id": planned.id,
            "createdAt": planned.created_at,
            "dependsOn": planned.depends_on,
            "storedBytes": planned.stored_bytes,
            "action": action(planned),
            "reasons": reasons,
            "deleted": planned.deleted,
        })
    };
    let destination = |place: &Place| {
        json!({
            "index": place.destination_index,
            "plugin": place.plugin,
            "location": place.location,
            "backups": place.backups.iter().map(backup).collect::<Vec<_>>(),
        })
    };
    json!({
        "dryRun": dry_run,
        "held": plan.held,
        "destinations": plan.places.iter().map(destination).collect::<Vec<_>>(),
    })
}

fn plan_text(plan: &Plan, dry_run: bool) -> String {
    let mut text = String::new();
    if plan.places.is_empty() && plan.held.is_none() && dry_run {
        text.push_str("no backups yet\n");
    }
    if let Some(held) = plan.held.as_ref().filter(|_| dry_run) {
        text.push_str(&format!("{held}\n\n"));
    }
    for place in &plan.places {
        let goes = |planned: &&Planned| {
            if dry_run {
                !planned.verdict.keep
            } else {
                planned.deleted
            }
        };
        let gone: Vec<&Planned> = place.backups.iter().filter(goes).collect();
        text.push_str(&format!(
            "{} at {}: {} backups, {} {} ({})\n",
            place.plugin,
            place.location,
            place.backups.len(),
            gone.len(),
            if dry_run { "to delete" } else { "deleted" },
            HumanBytes(gone.iter().map(|planned| planned.stored_bytes).sum()),
        ));
        let rows = place.backups.iter().map(|planned| {
            let reasons: Vec<String> = planned.verdict.reasons.iter().map(ToString::to_string).collect();
            vec![
                planned.id.to_string(),
                planned.created_at.strftime("%Y-%m-%d %H:%M:%SZ").to_string(),
                HumanBytes(planned.stored_bytes).to_string(),
                action(planned).to_owned(),
                reasons.join(", "),
            ]
        });
        let rows: Vec<Vec<String>> = rows.collect();
        text.push_str(&table(&["id", "made", "stored", "", "why"], &rows));
        text.push('\n');
    }
    text
}

fn action(planned: &Planned) -> &'static str {
    if planned.verdict.keep { "keep" } else { "delete" }
}
