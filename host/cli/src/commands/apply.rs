//! `backstay apply`: checks a job file and stores its jobs, all or none.

use std::path::PathBuf;

use backstay_model::diagnostic::into_error;
use backstay_model::{Code, Error, Result};
use backstay_store::Applied;
use serde_json::{Value, json};

use crate::args::Apply;
use crate::commands::{jobfile, outbox, user};
use crate::output::Output;
use crate::wire;

/// Runs the command.
///
/// # Errors
/// A job is wrong; then none is stored.
pub async fn run(args: Apply, data_dir: Option<PathBuf>, output: Output) -> Result<u8> {
    let jobs = jobfile::read(&args.file)?;
    let engine = wire::engine(data_dir).await?;
    let mut specs = Vec::new();
    let mut wrong = 0;
    let mut said = Vec::new();
    for (index, job) in jobs.iter().enumerate() {
        let mut checked = engine.validate(job).await?;
        checked
            .diagnostics
            .extend(checked.spec.iter().flat_map(outbox::check_job));
        let name = job
            .get("name")
            .and_then(Value::as_str)
            .map_or_else(|| format!("number {}", index + 1), |n| format!("`{n}`"));
        said.push(json!({ "job": job.get("name"), "diagnostics": checked.diagnostics }));
        if !output.json {
            for diagnostic in &checked.diagnostics {
                output.note(&format!("job {name}: {diagnostic}"));
            }
        }
        if into_error(&checked.diagnostics).is_some() {
            wrong += 1;
        } else {
            specs.push(checked.accept()?);
        }
    }
    if wrong > 0 {
        let error = Error::new(
            Code::Configuration,
            format!(
                "{wrong} of {} jobs can't be accepted; nothing was stored",
                jobs.len()
            ),
        );
        if output.json {
            output.print(
                &json!({ "error": backstay_model::run::RunError::from(&error), "checked": said }),
                String::new,
            )?;
            return Ok(error.code().exit_code());
        }
        return Err(error);
    }
    let mut lines = Vec::new();
    let mut applied = Vec::new();
    for spec in &specs {
        if args.dry_run {
            lines.push(format!("job {} is fine", spec.name));
            continue;
        }
        let change = engine.store.apply_job(spec);
        let (job, what) = engine.audited(&user(), "job.apply", &spec.name, change).await?;
        let word = match what {
            Applied::Created => "created",
            Applied::Updated => "updated",
            Applied::Unchanged => "unchanged",
        };
        lines.push(format!("job {} {word}", spec.name));
        applied.push(json!({ "id": job.id, "name": spec.name, "applied": word }));
    }
    output.print(&json!({ "jobs": applied, "checked": said }), || lines.join("\n"))?;
    Ok(0)
}
