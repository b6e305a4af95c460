//! `backstay import`: makes jobs of another tool's configuration, and says of everything in it what became of it.

mod backrest;
mod borgmatic;
mod proxsave;
mod relica;
mod report;
mod restic;
mod resticprofile;

use std::path::PathBuf;

use backstay_model::{Code, Error, Result};
use serde_json::{Value, json};

use crate::args::{Import, Tool};
use crate::output::Output;
use report::Report;

/// Runs the command. The exit code is 1 if something could not be carried over.
///
/// # Errors
/// The file can't be read, or isn't what it should be.
pub async fn run(args: Import, output: Output) -> Result<u8> {
    let text = std::fs::read_to_string(&args.file).map_err(|e| {
        Error::io_as(Code::Configuration, "read", &args.file, e).with_code(Code::Configuration)
    })?;
    let mut destinations = args.destination.as_deref().map(destinations).transpose()?;
    let mut report = Report::default();
    let mut jobs = match args.tool {
        Tool::Backrest => backrest::import(&document(&args.file, &text)?, &mut report)?,
        Tool::Resticprofile => {
            refuse_templates(&args.file, &text)?;
            resticprofile::import(&document(&args.file, &text)?, &mut report)?
        }
        Tool::Borgmatic => {
            borgmatic::import(&document(&args.file, &text)?, destinations.is_some(), &mut report)?
        }
        Tool::Proxsave => proxsave::import(&text, &mut report)?,
        Tool::Relica => {
            let destinations = destinations.take();
            relica::import(&document(&args.file, &text)?, destinations.as_ref(), &mut report)?
        }
    };
    if jobs.is_empty() {
        return Err(Error::new(
            Code::Configuration,
            format!("{} has nothing to back up", args.file.display()),
        )
        .hint(format!("is it a configuration of {}?", args.tool.name())));
    }
    if let Some(destinations) = destinations {
        for job in &mut jobs {
            job["destinations"] = destinations.clone();
        }
    }
    name_each_once(&mut jobs);
    let mut text = String::new();
    for job in &jobs {
        let yaml = serde_saphyr::to_string(job)
            .map_err(|e| Error::internal("cannot write a job as YAML").because(e))?;
        text.push_str("---\n");
        text.push_str(&yaml);
    }
    let lines = report.lines();
    if output.json {
        output.print(&json!({ "jobs": jobs, "report": report.json() }), String::new)?;
    } else {
        match &args.output {
            Some(path) => write(path, &text)?,
            None => output.text(&text)?,
        }
        for line in &lines {
            output.note(line);
        }
    }
    Ok(if report.is_complete() {
        0
    } else {
        Code::Warning.exit_code()
    })
}

/// A file that isn't there yet: what somebody has edited is never lost.
fn write(path: &PathBuf, text: &str) -> Result<()> {
    use std::io::Write as _;
    let failed = |e| Error::io_as(Code::Configuration, "write", path, e);
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
        .map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)
}

fn refuse_templates(path: &std::path::Path, text: &str) -> Result<()> {
    if !(text.contains("{{") && text.contains("}}")) {
        return Ok(());
    }
    let what = format!(
        "{} has templates, whose outcome only its own tool knows",
        path.display()
    );
    Err(Error::new(Code::Configuration, what)
        .hint("put what they stand for in their place in a copy, and import that"))
}

/// A configuration in YAML, of which JSON is a part.
fn document(path: &std::path::Path, text: &str) -> Result<Value> {
    let wrong = |what: &str| Error::new(Code::Configuration, format!("{} {what}", path.display()));
    // What its error says could repeat a password of the file.
    serde_saphyr::from_str(text).map_err(|_| {
        wrong("is not valid YAML or JSON")
            .hint("of TOML or HCL make YAML first; check the indentation and the quotes")
    })
}

fn destinations(text: &str) -> Result<Value> {
    let wrong = || {
        Error::new(Code::Configuration, "--destination is no destination of a job").hint(
            "write it as in a job: '{ plugin: local, config: { path: /mnt/backup } }', or a list of them",
        )
    };
    let value: Value = serde_saphyr::from_str(text).map_err(|_| wrong())?;
    match value {
        Value::Array(all) if !all.is_empty() => Ok(Value::Array(all)),
        Value::Object(one) if one.contains_key("plugin") => Ok(json!([one])),
        _ => Err(wrong()),
    }
}

/// A name that a job can have, out of any text.
fn job_name(text: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || "._-".contains(c) {
            c
        } else {
            '-'
        }
    };
    let name: String = text.chars().map(plain).collect();
    let name = name.trim_matches(|c: char| "._-".contains(c));
    let name: String = name.chars().take(56).collect();
    if name.is_empty() { "job".to_owned() } else { name }
}

fn name_each_once(jobs: &mut [Value]) {
    let mut taken = std::collections::BTreeSet::new();
    for job in jobs {
        let wanted = job["name"].as_str().unwrap_or("job").to_owned();
        let mut name = wanted.clone();
        let mut number = 2;
        while !taken.insert(name.clone()) {
            name = format!("{wanted}-{number}");
            number += 1;
        }
        job["name"] = json!(name);
    }
}

/// A job for each path, because a source reads one. What is left out of one is said below it.
fn jobs_of_paths(
    name: &str,
    paths: &[String],
    excludes: &[String],
    job: &Value,
    at: &str,
    report: &mut Report,
) -> Vec<Value> {
    let absolute: Vec<&String> = paths.iter().filter(|path| path.starts_with('/')).collect();
    for path in paths.iter().filter(|path| !path.starts_with('/')) {
        report.left(at, format!("the path `{path}` is not absolute"));
    }
    let absolute: Vec<&String> = absolute
        .into_iter()
        .filter(|path| {
            let is_plain = !path.contains(['*', '?', '[']);
            if !is_plain {
                report.left(
                    at,
                    format!("the path `{path}` is a pattern: a source reads one directory"),
                );
            }
            is_plain
        })
        .collect();
    if absolute.len() > 1 {
        report.note(
            at,
            format!("`{name}` became {} jobs: a source reads one path", absolute.len()),
        );
    }
    for exclude in excludes.iter().filter(|exclude| exclude.starts_with('/')) {
        let is_below = |path: &&&String| below(exclude, path).is_some();
        if !absolute.iter().any(|path| is_below(&path)) {
            report.left(
                at,
                format!("the exclusion `{exclude}` is below none of the paths"),
            );
        }
    }
    let several = absolute.len() > 1;
    absolute
        .into_iter()
        .map(|path| {
            let mut job = job.clone();
            let last = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
            let full = if several {
                format!("{name}-{last}")
            } else {
                name.to_owned()
            };
            job["name"] = json!(job_name(&full));
            let mut config = json!({ "path": path });
            let exclude: Vec<String> = excludes
                .iter()
                .filter_map(|exclude| match exclude.starts_with('/') {
                    true => below(exclude, path),
                    false => Some(exclude.clone()),
                })
                .collect();
            if !exclude.is_empty() {
                config["exclude"] = json!(exclude);
            }
            if let Some(more) = job
                .get("source")
                .and_then(|source| source.get("config"))
                .and_then(Value::as_object)
            {
                for (key, value) in more {
                    config[key] = value.clone();
                }
            }
            job["source"] = json!({ "plugin": "path", "config": config });
            job
        })
        .collect()
}

/// An absolute exclusion as one below a path.
fn below(exclude: &str, path: &str) -> Option<String> {
    let rest = exclude.strip_prefix(path.trim_end_matches('/'))?;
    rest.starts_with('/').then(|| rest.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_names_of_jobs_and_there_is_one_of_each() {
        assert_eq!(job_name("my plan/1"), "my-plan-1");
        assert_eq!(job_name("../"), "job");
        let mut jobs = vec![
            json!({ "name": "a" }),
            json!({ "name": "a" }),
            json!({ "name": "a-2" }),
        ];
        name_each_once(&mut jobs);
        let names: Vec<_> = jobs.iter().map(|job| job["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["a", "a-2", "a-2-2"]);
    }

    #[test]
    fn an_exclusion_counts_for_the_path_that_it_is_below() {
        assert_eq!(
            below("/srv/media/cache", "/srv/media/"),
            Some("/cache".to_owned())
        );
        assert_eq!(below("/srv/media2/cache", "/srv/media"), None);
        assert_eq!(below("/var/tmp", "/"), Some("/var/tmp".to_owned()));
    }
}
