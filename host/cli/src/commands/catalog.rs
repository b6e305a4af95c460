//! `backstay catalog rebuild`: puts the backups that are at a destination into the catalogue.

use std::fmt::Write as _;
use std::path::PathBuf;

use backstay_engine::Engine;
use backstay_engine::catalog::{Place, RebuildOptions, Rebuilt};
use backstay_model::run::RunError;
use backstay_model::{Code, Error, Result};
use serde_json::{Map, Value, json};

use crate::args::{Catalog, Rebuild};
use crate::commands::{jobfile, user};
use crate::output::Output;
use crate::wire;

/// Problems that are shown to people of each destination; programs get all.
const SHOWN: usize = 100;

/// Runs the command.
///
/// # Errors
/// No destination is named. One that can't be read is a result, so that the others are read all the same.
pub async fn run(command: Catalog, data_dir: Option<PathBuf>, output: Output) -> Result<u8> {
    let Catalog::Rebuild(args) = command;
    let context = wire::cancellable()?;
    let engine = wire::recovered(data_dir, output).await?;
    let places = places(&engine, &args).await?;
    let options = RebuildOptions {
        dry_run: args.dry_run,
        context,
    };
    let (mut values, mut text, mut code) = (Vec::new(), String::new(), 0);
    for place in places {
        let rebuilt = engine.rebuild_catalog(&place, &options);
        let result = if args.dry_run {
            rebuilt.await
        } else {
            engine
                .audited(&user(), "catalog.rebuild", &name(&place), rebuilt)
                .await
        };
        let shown = match &result {
            Ok(rebuilt) => {
                if code == 0 && !rebuilt.problems.is_empty() {
                    code = Code::Warning.exit_code();
                }
                describe(&mut text, &place, rebuilt, args.dry_run);
                json!(rebuilt)
            }
            Err(error) if options.context.cancel.is_cancelled() => {
                return Err(Error::new(
                    error.code(),
                    "the rebuild was stopped; what was added by then stays",
                ));
            }
            Err(error) => {
                if code <= Code::Warning.exit_code() {
                    code = error.code().exit_code();
                }
                line(&mut text, format_args!("{}: {}", name(&place), error.report()));
                if let Some(hint) = error.hint_text() {
                    line(&mut text, format_args!("  what to do   {hint}"));
                }
                json!({ "error": RunError::from(error) })
            }
        };
        values.push(merged(json!(place), shown));
    }
    let value = json!({ "dryRun": args.dry_run, "destinations": values });
    output.print(&value, || text)?;
    Ok(code)
}

/// The destinations to look at, each once.
async fn places(engine: &Engine, args: &Rebuild) -> Result<Vec<Place>> {
    let mut places: Vec<Place> = Vec::new();
    let mut add = |place: Place| {
        if !places.contains(&place) {
            places.push(place);
        }
    };
    if let (Some(plugin), Some(config)) = (&args.plugin, &args.config) {
        let config: Map<String, Value> = serde_json::from_str(config).map_err(|e| {
            Error::new(Code::Configuration, "--config is not a JSON object")
                .because(e)
                .hint(r#"write it as in a job: '{"path": "/mnt/backup"}'"#)
        })?;
        add(Place {
            plugin: plugin.clone(),
            config,
        });
        return Ok(places);
    }
    if let Some(file) = &args.file {
        for (index, job) in jobfile::read(file)?.iter().enumerate() {
            let ends = job.get("destinations").and_then(Value::as_array);
            for end in ends.into_iter().flatten() {
                add(place_of(end).ok_or_else(|| {
                    let message = format!("job number {} has a destination without a `plugin`", index + 1);
                    Error::new(Code::Configuration, message)
                        .hint("`backstay job validate -f FILE` says all that is wrong")
                })?);
            }
        }
    } else {
        let jobs = if args.jobs.is_empty() {
            engine.store.jobs().await?
        } else {
            let mut jobs = Vec::new();
            for job in &args.jobs {
                jobs.push(engine.store.job(job).await?);
            }
            jobs
        };
        for spec in jobs.into_iter().flat_map(|job| job.spec.destinations) {
            add(Place {
                plugin: spec.plugin,
                config: spec.config,
            });
        }
    }
    if places.is_empty() {
        return Err(
            Error::new(Code::Configuration, "there is no destination to look at")
                .hint("name a job file with -f, or a destination with --plugin and --config"),
        );
    }
    Ok(places)
}

fn place_of(end: &Value) -> Option<Place> {
    Some(Place {
        plugin: end.get("plugin")?.as_str()?.to_owned(),
        config: match end.get("config") {
            None => Map::new(),
            Some(config) => config.as_object()?.clone(),
        },
    })
}

fn describe(text: &mut String, place: &Place, rebuilt: &Rebuilt, dry_run: bool) {
    let Rebuilt {
        found,
        added,
        of_others,
        damaged,
        known,
        copies,
        under_way,
        jobs,
        problems,
    } = rebuilt;
    line(text, format_args!("{}: {found} manifests", name(place)));
    let verb = if dry_run { "would add" } else { "added" };
    line(text, format_args!("  {verb:<12} {added}"));
    for (job, count) in jobs {
        line(text, format_args!("    {count:>8} of {job}"));
    }
    let counts = [
        (
            "of others",
            of_others,
            "made by another installation: retention never touches them",
        ),
        (
            "damaged",
            damaged,
            "marked so: something is missing or has another size",
        ),
        ("known", known, "in the catalogue before"),
        ("copies", copies, "of manifests that are there as well"),
        ("under way", under_way, "of runs that aren't over"),
    ];
    for (what, count, why) in counts {
        if *count > 0 {
            line(text, format_args!("  {what:<12} {count} ({why})"));
        }
    }
    if !problems.is_empty() {
        line(text, format_args!("  problems     {}", problems.len()));
    }
    for problem in problems.iter().take(SHOWN) {
        line(
            text,
            format_args!("    {}: {}", problem.manifest, problem.message),
        );
    }
    if problems.len() > SHOWN {
        line(
            text,
            format_args!("    and {} more: --json shows all", problems.len() - SHOWN),
        );
    }
}

fn name(place: &Place) -> String {
    format!("{} {}", place.plugin, Value::Object(place.config.clone()))
}

fn merged(mut value: Value, more: Value) -> Value {
    if let (Value::Object(value), Value::Object(more)) = (&mut value, more) {
        value.extend(more);
    }
    value
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a string can't fail.
    let _ = writeln!(text, "{line}");
}
