//! resticprofile: profiles in YAML or JSON, of version 1 (at the top) or 2 (below `profiles`).

use backstay_model::Result;
use serde_json::{Map, Value, json};

use super::jobs_of_paths;
use super::report::{Part, Report};
use super::restic::Repository;

/// Deeper than this profiles are not inherited from each other.
const MAX_DEPTH: usize = 10;

/// A job for each path of each profile that backs something up.
///
/// # Errors
/// None so far.
pub fn import(document: &Value, report: &mut Report) -> Result<Vec<Value>> {
    let mut top = Part::new("", document, report);
    top.ignore(&["version"]);
    top.leave(
        "global",
        "how restic is called is not said by a configuration here",
        report,
    );
    top.leave("groups", "each job has its own schedule", report);
    top.leave("includes", "import these files too, each by itself", report);
    top.leave(
        "mixins",
        "what is mixed in must be written where it is used",
        report,
    );
    let mut profiles = match top.part("profiles", report) {
        Some(profiles) => {
            top.finish(report);
            profiles
        }
        None => top,
    };
    let mut all = Map::new();
    for name in profiles.keys() {
        if let Some(profile) = profiles.take(&name) {
            all.insert(name, profile);
        }
    }
    let mut jobs = Vec::new();
    for name in all.keys() {
        let (whole, is_cut) = inherited(&all, name, 0);
        let at = profiles.pointer(name);
        if is_cut {
            report.left(
                &format!("{at}/inherit"),
                "the profile that it names isn't there, or inherits itself",
            );
        }
        let is_parent = all.values().any(|profile| profile["inherit"] == json!(name));
        match whole.get("backup") {
            Some(backup) if has_source(backup) => jobs.extend(profile_jobs(name, &at, &whole, report)),
            // What others inherit is reported with them.
            _ if is_parent => {}
            _ => report.left(&at, "it backs nothing up from a path"),
        }
    }
    Ok(jobs)
}

fn has_source(backup: &Value) -> bool {
    backup.get("source").is_some_and(|source| !source.is_null())
}

/// A profile with all that it inherits, and whether something of that is missing.
fn inherited(all: &Map<String, Value>, name: &str, depth: usize) -> (Map<String, Value>, bool) {
    let Some(Value::Object(own)) = all.get(name) else {
        return (Map::new(), true);
    };
    let Some(parent) = own.get("inherit").and_then(Value::as_str) else {
        return (own.clone(), false);
    };
    if depth >= MAX_DEPTH {
        return (own.clone(), true);
    }
    let (mut whole, is_cut) = inherited(all, parent, depth + 1);
    for (key, value) in own {
        match (whole.get_mut(key), value) {
            (Some(Value::Object(below)), Value::Object(more)) => {
                below.extend(more.iter().map(|(key, value)| (key.clone(), value.clone())));
            }
            _ => {
                whole.insert(key.clone(), value.clone());
            }
        }
    }
    whole.remove("inherit");
    (whole, is_cut)
}

fn profile_jobs(name: &str, at: &str, whole: &Map<String, Value>, report: &mut Report) -> Vec<Value> {
    let mut profile = Part::new(at, &Value::Object(whole.clone()), report);
    let mut job = json!({ "name": name });
    let Some(mut backup) = profile.part("backup", report) else {
        return Vec::new();
    };
    let paths: Vec<String> = backup
        .texts("source", report)
        .iter()
        .map(|path| home(path))
        .collect();
    let excludes = backup.texts("exclude", report);
    backup.leave(
        "exclude-file",
        "write its patterns into `exclude` of the source",
        report,
    );
    backup.leave(
        "iexclude",
        "patterns here know capital letters from small ones",
        report,
    );
    backup.leave(
        "exclude-caches",
        "caches are not looked for; exclude them by their names",
        report,
    );
    if backup.flag("one-file-system", report) {
        job["source"] = json!({ "config": { "oneFileSystem": true } });
    }
    let mut tags = backup.texts("tag", report);
    tags.extend(profile.texts("tag", report));
    for key in ["run-before", "run-after", "run-after-fail", "run-finally"] {
        backup.leave(key, COMMANDS, report);
        profile.leave(key, COMMANDS, report);
    }
    for key in ["send-before", "send-after", "send-after-fail", "send-finally"] {
        backup.leave(
            key,
            "a dead-man's check is `ping` of the job, messages are in the settings",
            report,
        );
    }
    let schedules = backup.texts("schedule", report);
    add_schedule(&schedules, &backup.pointer("schedule"), &mut job, report);
    for key in [
        "schedule-permission",
        "schedule-log",
        "schedule-priority",
        "schedule-lock-mode",
        "schedule-lock-wait",
    ] {
        backup.ignore(&[key]);
    }
    backup.ignore(&["verbose", "extended-status", "no-error-on-warning"]);
    let paths_at = backup.pointer("source");
    backup.finish(report);
    add_retention(&mut profile, &mut job, report);
    if let Some(mut check) = profile.part("check", report) {
        if !check.texts("schedule", report).is_empty() {
            job["verify"] = json!({ "level": "checksum", "every": "7d" });
            report.note(
                check.at(),
                "backups are checked each week (`verify.every`), by `backstay verify --due`",
            );
        }
        check.ignore(&["schedule-permission", "schedule-log", "schedule-priority"]);
        check.finish(report);
    }
    // Other commands say how they show things.
    profile.ignore(&[
        "snapshots",
        "verbose",
        "description",
        "lock",
        "force-inactive-lock",
        "no-cache",
        "cleanup-cache",
    ]);
    profile.leave("password-file", "the password is a secret now", report);
    profile.leave("password-command", "the password is a secret now", report);
    let url = profile.text("repository", report).unwrap_or_default();
    let mut environment = Vec::new();
    let environment_at = profile.pointer("env");
    if let Some(mut env) = profile.part("env", report) {
        for key in env.keys() {
            if let Some(value) = env.text(&key, report) {
                environment.push((key.to_ascii_uppercase(), value));
            }
        }
    }
    let repository = Repository {
        name,
        url: &url,
        environment,
        environment_at: &environment_at,
        tags,
        init: profile.flag("initialize", report),
    };
    job["destinations"] = json!([repository.destination(&profile.pointer("repository"), report)]);
    profile.leave("copy", "give the job a second destination", report);
    profile.leave(
        "prometheus-save-to-file",
        "that is said in the settings: `metrics.textfile`",
        report,
    );
    profile.leave(
        "prometheus-push",
        "that is said in the settings: `metrics.pushgateway`",
        report,
    );
    profile.finish(report);
    jobs_of_paths(name, &paths, &excludes, &job, &paths_at, report)
}

const COMMANDS: &str = "commands are confined scripts of a job: `before`, `after`, `onFailure`";

fn home(path: &str) -> String {
    let home = std::env::var("HOME").unwrap_or_default();
    match path.strip_prefix("~/") {
        Some(rest) if !home.is_empty() => format!("{home}/{rest}"),
        _ => path.to_owned(),
    }
}

/// Schedules are those of systemd.
fn add_schedule(schedules: &[String], at: &str, job: &mut Value, report: &mut Report) {
    let Some(first) = schedules.first() else { return };
    if schedules.len() > 1 {
        report.left(at, "a job has one schedule; only the first was looked at");
    }
    let words = ["hourly", "daily", "monthly", "yearly"];
    let word = first.trim().trim_start_matches('@').to_ascii_lowercase();
    // That of systemd is on Monday, that of crontabs on Sunday.
    if word == "weekly" {
        job["schedule"] = json!({ "cron": "0 0 * * 1" });
        return;
    }
    if words.contains(&word.as_str()) {
        job["schedule"] = json!({ "cron": format!("@{word}") });
        return;
    }
    match cron(first.trim()) {
        Some(cron) => job["schedule"] = json!({ "cron": cron }),
        None => report.left(
            at,
            "it is written for systemd; write `schedule.cron` or `schedule.every` in its place",
        ),
    }
}

/// A time of the day, of systemd's calendar, as a crontab line: `03:30`, `*-*-* 03:30:00`, `*:00,30`.
fn cron(calendar: &str) -> Option<String> {
    let time = match calendar.split_once(' ') {
        Some(("*-*-*", time)) => time,
        Some(_) => return None,
        None => calendar,
    };
    let mut parts = time.split(':');
    let (hour, minute, second) = (parts.next()?, parts.next()?, parts.next().unwrap_or("0"));
    let numbers = |text: &str, most: u32| -> Option<String> {
        if text == "*" {
            return Some("*".to_owned());
        }
        let each: Option<Vec<String>> = text
            .split(',')
            .map(|number| {
                number
                    .parse::<u32>()
                    .ok()
                    .filter(|n| *n <= most)
                    .map(|n| n.to_string())
            })
            .collect();
        each.map(|each| each.join(","))
    };
    if !second.trim_start_matches('0').is_empty() || parts.next().is_some() || minute == "*" {
        return None;
    }
    Some(format!("{} {} * * *", numbers(minute, 59)?, numbers(hour, 23)?))
}

fn add_retention(profile: &mut Part, job: &mut Value, report: &mut Report) {
    profile.leave(
        "forget",
        "it deletes only when somebody asks for it, which `retention` of a job doesn't wait for",
        report,
    );
    let retention = profile.part("retention", report);
    let mut kept = Map::new();
    let left_before = report.left_count();
    let at = profile.pointer("retention");
    if let Some(mut rules) = retention {
        if !rules.flag("after-backup", report) {
            report.left(
                &at,
                "it deletes before a backup or when somebody asks for it; `retention` of a job deletes after each backup",
            );
        }
        for (from, to) in [
            ("keep-last", "keepLast"),
            ("keep-daily", "keepDaily"),
            ("keep-weekly", "keepWeekly"),
            ("keep-monthly", "keepMonthly"),
            ("keep-yearly", "keepYearly"),
        ] {
            if let Some(count) = rules.count(from, report) {
                kept.insert(to.to_owned(), json!(count));
            }
        }
        let within = rules.text("keep-within", report);
        match within
            .as_deref()
            .and_then(|text| text.strip_suffix('d')?.parse::<u32>().ok())
        {
            Some(days) if kept.is_empty() && days > 0 => {
                kept.insert("maxAge".to_owned(), json!(format!("{days}d")));
            }
            _ if within.is_some() => report.left(
                &rules.pointer("keep-within"),
                "beside other rules, or not in days",
            ),
            _ => {}
        }
        rules.leave(
            "keep-hourly",
            "nothing is kept by the hour; `keepLast` keeps the newest",
            report,
        );
        rules.leave("keep-tag", "snapshots are kept by the rules alone", report);
        rules.ignore(&[
            "before-backup",
            "prune",
            "compact",
            "host",
            "path",
            "tag",
            "schedule",
            "schedule-permission",
            "schedule-priority",
            "schedule-log",
        ]);
        rules.finish(report);
    }
    report.whole_retention(&at, left_before, kept, job);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_the_day_become_crontab_lines_and_nothing_else_does() {
        for (calendar, expected) in [
            ("03:30", Some("30 3 * * *")),
            ("*-*-* 03:30:00", Some("30 3 * * *")),
            ("*:00,30", Some("0,30 * * * *")),
            ("*-*-1", None),
            ("Mon..Fri 03:00", None),
            ("25:00", None),
            ("*:*", None),
            ("03:00:30", None),
        ] {
            assert_eq!(cron(calendar).as_deref(), expected, "{calendar}");
        }
    }
}
