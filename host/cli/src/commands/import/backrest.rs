//! Backrest: `config.json`, whose form is Backrest's protobuf `v1.Config` as JSON.

use backstay_model::Result;
use serde_json::{Map, Value, json};

use super::jobs_of_paths;
use super::report::{Part, Report};
use super::restic::Repository;

/// A job for each path of each plan.
///
/// # Errors
/// None so far.
pub fn import(document: &Value, report: &mut Report) -> Result<Vec<Value>> {
    let mut config = Part::new("", document, report);
    config.ignore(&["modno", "version", "instance"]);
    let mut repositories = Vec::new();
    for mut part in config.parts("repos", report) {
        let id = part.text("id", report).unwrap_or_default();
        repositories.push(Known { id, part, made: None });
    }
    let mut jobs = Vec::new();
    for plan in config.parts("plans", report) {
        jobs.extend(plan_jobs(plan, &mut repositories, report));
    }
    for known in repositories {
        match known.made {
            Some(_) => known.part.finish(report),
            None => report.left(known.part.at(), "no plan uses this repository"),
        }
    }
    config.leave("auth", "users and their passwords", report);
    config.leave(
        "multihost",
        "machines are not connected by a configuration",
        report,
    );
    config.finish(report);
    Ok(jobs)
}

/// A repository, and what was made of it for the first plan that uses it.
struct Known {
    id: String,
    part: Part,
    made: Option<Made>,
}

/// The destination, and how it is checked.
type Made = (Value, Option<Value>);

fn plan_jobs(mut plan: Part, repositories: &mut [Known], report: &mut Report) -> Vec<Value> {
    let at = plan.at().to_owned();
    let name = plan.text("id", report).unwrap_or_else(|| "plan".to_owned());
    let wanted = plan.text("repo", report).unwrap_or_default();
    let mut job = json!({ "name": name });
    match repositories.iter_mut().find(|known| known.id == wanted) {
        Some(known) => {
            let (destination, verify) = match &known.made {
                Some(made) => made.clone(),
                None => known
                    .made
                    .insert(destination(&known.id, &mut known.part, report))
                    .clone(),
            };
            job["destinations"] = json!([destination]);
            if let Some(verify) = verify {
                job["verify"] = verify;
            }
        }
        None => report.left(&plan.pointer("repo"), "there is no repository of that name"),
    }
    let schedule = plan.part("schedule", report);
    if let Some(cron) = plan.text("cron", report) {
        job["schedule"] = json!({ "cron": cron });
    }
    if let Some(schedule) = schedule {
        add_schedule(schedule, &mut job, report);
    }
    if plan.flag("disabled", report) {
        job["enabled"] = json!(false);
    }
    if let Some(retention) = plan.part("retention", report) {
        add_retention(retention, &mut job, report);
    }
    let paths = plan.texts("paths", report);
    let excludes = plan.texts("excludes", report);
    plan.leave(
        "iexcludes",
        "patterns here know capital letters from small ones",
        report,
    );
    plan.leave("hooks", HOOKS, report);
    plan.leave(
        "backup_flags",
        "restic is given only what it is known to be given",
        report,
    );
    plan.leave(
        "backupFlags",
        "restic is given only what it is known to be given",
        report,
    );
    plan.leave("skipIfUnchanged", "each run makes a backup", report);
    plan.finish(report);
    jobs_of_paths(&name, &paths, &excludes, &job, &format!("{at}/paths"), report)
}

const HOOKS: &str = "messages are in the settings (`notifications.channels`), commands are confined scripts of a job (`before`, `after`, `onFailure`)";

fn destination(id: &str, repository: &mut Part, report: &mut Report) -> Made {
    let uri = repository.text("uri", report).unwrap_or_default();
    let environment = repository.texts("env", report);
    for _ in environment.iter().filter(|pair| !pair.contains('=')) {
        report.left(&repository.pointer("env"), "a variable without a value");
    }
    let pairs = environment
        .iter()
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    repository.ignore(&["guid", "password", "autoUnlock", "autoInitialize"]);
    repository.leave(
        "flags",
        "restic is given only what it is known to be given",
        report,
    );
    repository.leave("hooks", HOOKS, report);
    repository.leave(
        "commandPrefix",
        "how much of the machine it may take is said in the service's unit",
        report,
    );
    if let Some(mut prune) = repository.part("prunePolicy", report) {
        report.note(
            prune.at(),
            "restic prunes in each run that deletes something by the job's `retention`",
        );
        prune.ignore(&[
            "schedule",
            "maxUnusedBytes",
            "maxUnusedPercent",
            "maxFrequencyDays",
        ]);
        prune.finish(report);
    }
    let verify = repository
        .part("checkPolicy", report)
        .and_then(|check| verify(check, report));
    let destination = Repository {
        name: id,
        url: &uri,
        environment: pairs,
        environment_at: &repository.pointer("env"),
        tags: Vec::new(),
        init: false,
    }
    .destination(&repository.pointer("uri"), report);
    (destination, verify)
}

fn verify(mut check: Part, report: &mut Report) -> Option<Value> {
    let mut job = json!({});
    let structure_only = check.flag("structureOnly", report);
    check.leave("readDataSubsetPercent", "a check looks at whole backups", report);
    if let Some(schedule) = check.part("schedule", report) {
        add_schedule(schedule, &mut job, report);
    }
    let at = check.at().to_owned();
    check.finish(report);
    let every = job["schedule"]["every"].clone();
    if job["enabled"] == json!(false) {
        return None;
    }
    let every = match every {
        Value::Null => {
            report.note(
                &at,
                "backups are checked each week instead (`verify.every`), by `backstay verify --due`",
            );
            json!("7d")
        }
        every => every,
    };
    let level = if structure_only { "size" } else { "checksum" };
    Some(json!({ "level": level, "every": every }))
}

fn add_schedule(mut schedule: Part, job: &mut Value, report: &mut Report) {
    let clock = schedule.text("clock", report);
    let is_disabled = schedule.flag("disabled", report);
    let cron = schedule.text("cron", report);
    let days = schedule.count("maxFrequencyDays", report);
    let hours = schedule.count("maxFrequencyHours", report);
    let mut made = Map::new();
    match (cron, days, hours) {
        (Some(cron), ..) => {
            made.insert("cron".to_owned(), json!(cron));
        }
        (None, Some(days), _) => {
            made.insert("every".to_owned(), json!(format!("{days}d")));
        }
        (None, None, Some(hours)) => {
            made.insert("every".to_owned(), json!(format!("{hours}h")));
        }
        _ => {}
    }
    match clock.as_deref() {
        Some("CLOCK_UTC") => {
            made.insert("timezone".to_owned(), json!("UTC"));
        }
        Some("CLOCK_LAST_RUN_TIME") if made.contains_key("cron") => {
            report.note(
                &schedule.pointer("clock"),
                "a start here is due by the clock, whenever the last run was",
            );
        }
        _ => {}
    }
    if !made.is_empty() {
        job["schedule"] = Value::Object(made);
    }
    if is_disabled {
        job["enabled"] = json!(false);
    }
    schedule.finish(report);
}

fn add_retention(mut retention: Part, job: &mut Value, report: &mut Report) {
    let left_before = report.left_count();
    let at = retention.at().to_owned();
    let mut kept = Map::new();
    let mut add = |key: &str, count: Option<u64>| {
        if let Some(count) = count {
            kept.insert(key.to_owned(), json!(count));
        }
    };
    add("keepLast", retention.count("policyKeepLastN", report));
    for (from, to) in [
        ("keepLastN", "keepLast"),
        ("keepDaily", "keepDaily"),
        ("keepWeekly", "keepWeekly"),
        ("keepMonthly", "keepMonthly"),
        ("keepYearly", "keepYearly"),
    ] {
        add(to, retention.count(from, report));
    }
    if let Some(mut buckets) = retention.part("policyTimeBucketed", report) {
        for (from, to) in [
            ("keepLastN", "keepLast"),
            ("daily", "keepDaily"),
            ("weekly", "keepWeekly"),
            ("monthly", "keepMonthly"),
            ("yearly", "keepYearly"),
        ] {
            add(to, buckets.count(from, report));
        }
        buckets.leave(
            "hourly",
            "nothing is kept by the hour; `keepLast` keeps the newest",
            report,
        );
        buckets.finish(report);
    }
    retention.ignore(&["policyKeepAll"]);
    retention.leave(
        "keepHourly",
        "nothing is kept by the hour; `keepLast` keeps the newest",
        report,
    );
    retention.finish(report);
    report.whole_retention(&at, left_before, kept, job);
}
