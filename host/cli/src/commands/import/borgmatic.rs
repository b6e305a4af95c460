//! borgmatic: `config.yaml`, with its options at the top (since 1.8) or in sections (before).

use backstay_model::{Code, Error, Result};
use serde_json::{Map, Value, json};

use super::report::{Part, Report};
use super::{job_name, jobs_of_paths};

/// Sections of older versions, whose options are at the top since.
const SECTIONS: [&str; 6] = [
    "location",
    "storage",
    "retention",
    "consistency",
    "output",
    "hooks",
];

/// A job for each directory, and one for each server of databases.
///
/// # Errors
/// Nobody said where to: Backstay doesn't write the repositories of borg.
pub fn import(document: &Value, has_destination: bool, report: &mut Report) -> Result<Vec<Value>> {
    if !has_destination {
        return Err(Error::new(
            Code::Configuration,
            "Backstay doesn't write the repositories of borg, so the jobs need another destination",
        )
        .hint("say where to: --destination '{ plugin: local, config: { path: /mnt/backup } }'"));
    }
    let mut config = Part::new("", &flat(document), report);
    let mut job = json!({});
    add_retention(&mut config, &mut job, report);
    add_check(&mut config, &mut job, report);
    if config.flag("one_file_system", report) {
        job["source"] = json!({ "config": { "oneFileSystem": true } });
    }
    let mut has_ping = false;
    if let Some(mut ping) = config.part("healthchecks", report) {
        has_ping = ping.take("ping_url").is_some();
        ping.ignore(&[
            "send_logs",
            "ping_body_limit",
            "states",
            "create_slug",
            "verify_tls",
        ]);
        ping.finish(report);
    }
    let paths = config.texts("source_directories", report);
    let mut excludes = Vec::new();
    for (index, pattern) in config.texts("exclude_patterns", report).into_iter().enumerate() {
        match exclusion(&pattern) {
            Some(pattern) => excludes.push(pattern),
            None => report.left(
                &format!("/exclude_patterns/{index}"),
                "patterns of this kind are borg's own",
            ),
        }
    }
    config.leave(
        "exclude_from",
        "write its patterns into `exclude` of the source",
        report,
    );
    config.leave(
        "exclude_if_present",
        "directories are not left out by a file in them",
        report,
    );
    config.leave(
        "patterns",
        "write them as `include` and `exclude` of the source",
        report,
    );
    config.leave(
        "patterns_from",
        "write them as `include` and `exclude` of the source",
        report,
    );
    config.leave(
        "repositories",
        "their archives stay where they are; Backstay doesn't write the repositories of borg",
        report,
    );
    config.leave(
        "encryption_passphrase",
        "it is for the repositories of borg",
        report,
    );
    config.leave(
        "encryption_passcommand",
        "it is for the repositories of borg",
        report,
    );
    let name = config.text("archive_name_format", report).unwrap_or_default();
    if !name.is_empty() {
        report.note("/archive_name_format", "backups are named by their job");
    }
    for key in [
        "before_actions",
        "after_actions",
        "before_backup",
        "after_backup",
        "before_everything",
        "after_everything",
        "on_error",
        "commands",
    ] {
        config.leave(
            key,
            "commands are confined scripts of a job: `before`, `after`, `onFailure`",
            report,
        );
    }
    for key in [
        "ntfy",
        "pushover",
        "apprise",
        "pagerduty",
        "zabbix",
        "loki",
        "sentry",
        "cronitor",
        "cronhub",
        "uptime_kuma",
    ] {
        config.leave(
            key,
            "messages are in the settings: `notifications.channels`",
            report,
        );
    }
    let mut jobs = jobs_of_paths("files", &paths, &excludes, &job, "/source_directories", report);
    for (key, engine) in [
        ("postgresql_databases", "postgres"),
        ("mariadb_databases", "mariadb"),
        ("mysql_databases", "mysql"),
        ("sqlite_databases", "sqlite"),
    ] {
        for part in config.parts(key, report) {
            jobs.extend(database(part, engine, &job, report));
        }
    }
    config.finish(report);
    if has_ping {
        add_ping(&mut jobs, report);
    }
    Ok(jobs)
}

/// One check is for one job: the success of another would hide its failure.
fn add_ping(jobs: &mut [Value], report: &mut Report) {
    match jobs {
        [job] => {
            let secret = report.secret("healthchecks-url", "the ping URL of healthchecks");
            job["ping"] = json!({ "urlSecret": secret });
        }
        _ => report.left(
            "/healthchecks",
            "it is one check for what are several jobs now: make a check for each, and write it as its `ping`",
        ),
    }
}

/// The options of all sections at the top.
fn flat(document: &Value) -> Value {
    let Value::Object(map) = document else {
        return document.clone();
    };
    let mut flat = Map::new();
    for (key, value) in map {
        match value {
            Value::Object(section) if SECTIONS.contains(&key.as_str()) => {
                flat.extend(section.iter().map(|(key, value)| (key.clone(), value.clone())));
            }
            _ => {
                flat.insert(key.clone(), value.clone());
            }
        }
    }
    Value::Object(flat)
}

/// A pattern of borg's usual kind as one of a source: there `*` also goes across directories.
fn exclusion(pattern: &str) -> Option<String> {
    let pattern = match pattern.split_once(':') {
        Some(("fm" | "sh" | "pp", rest)) => rest,
        Some((kind, _)) if kind.len() == 2 => return None,
        _ => pattern,
    };
    Some(match pattern.strip_prefix("*/") {
        Some(rest) => format!("**/{rest}"),
        None => pattern.to_owned(),
    })
}

fn add_retention(config: &mut Part, job: &mut Value, report: &mut Report) {
    let left_before = report.left_count();
    let mut kept = Map::new();
    for (from, to) in [
        ("keep_last", "keepLast"),
        ("keep_daily", "keepDaily"),
        ("keep_weekly", "keepWeekly"),
        ("keep_monthly", "keepMonthly"),
        ("keep_yearly", "keepYearly"),
    ] {
        if let Some(count) = config.count(from, report) {
            kept.insert(to.to_owned(), json!(count));
        }
    }
    for key in ["keep_hourly", "keep_minutely", "keep_secondly"] {
        config.leave(
            key,
            "nothing is kept by the hour; `keepLast` keeps the newest",
            report,
        );
    }
    let within = config.text("keep_within", report);
    match within
        .as_deref()
        .and_then(|text| text.strip_suffix('d')?.parse::<u32>().ok())
    {
        Some(days) if kept.is_empty() && days > 0 => {
            kept.insert("maxAge".to_owned(), json!(format!("{days}d")));
        }
        _ if within.is_some() => report.left("/keep_within", "beside other rules, or not in days"),
        _ => {}
    }
    report.whole_retention("/retention", left_before, kept, job);
    config.leave(
        "prefix",
        "retention looks only at what the job itself has made",
        report,
    );
}

fn add_check(config: &mut Part, job: &mut Value, report: &mut Report) {
    let checks = config
        .take("checks")
        .and_then(|checks| checks.as_array().cloned())
        .unwrap_or_default();
    let name = |check: &Value| {
        check
            .get("name")
            .unwrap_or(check)
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let names: Vec<String> = checks
        .iter()
        .map(name)
        .filter(|name| name != "disabled")
        .collect();
    if names.is_empty() {
        return;
    }
    let level = match names.iter().any(|name| name == "extract" || name == "data") {
        true => "archive",
        false => "checksum",
    };
    job["verify"] = json!({ "level": level, "every": "30d" });
    report.note(
        "/checks",
        "backups are checked each month (`verify.every`), by `backstay verify --due`",
    );
}

fn database(mut part: Part, engine: &str, job: &Value, report: &mut Report) -> Option<Value> {
    let mut job = job.clone();
    let mut config = json!({ "engine": engine });
    let name = part.text("name", report).unwrap_or_default();
    if engine == "sqlite" {
        let Some(path) = part.text("path", report) else {
            report.left(part.at(), "it has no `path`");
            part.finish(report);
            return None;
        };
        job["name"] = json!(job_name(&format!("sqlite-{name}")));
        config["path"] = json!(path);
    } else {
        let host = part.text("hostname", report);
        job["name"] = json!(job_name(&format!("{engine}-{name}")));
        if name != "all" {
            config["include"] = json!([name]);
        }
        if let Some(host) = host {
            config["host"] = json!(host);
        }
        if let Some(port) = part.count("port", report) {
            config["port"] = json!(port);
        }
        if let Some(user) = part.text("username", report) {
            config["username"] = json!(user);
        }
        if part.take("password").is_some() {
            config["passwordSecret"] = json!(report.secret(
                &format!("{engine}-{name}-password"),
                "the password of the database's user"
            ));
        }
        part.ignore(&["format"]);
    }
    part.finish(report);
    job["source"] = json!({ "plugin": "database", "config": config });
    Some(job)
}
