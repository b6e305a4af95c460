//! proxsave: `backup.env`, lines of `KEY=value` with comments, quotes and references to other keys.

use std::collections::BTreeMap;

use backstay_model::{Code, Error, Result};
use serde_json::{Map, Value, json};

use super::report::Report;

/// Items of a collector by the key that switches them, and what is on without it.
const ITEMS: [(&str, &str, &[&str]); 17] = [
    (
        "BACKUP_CLUSTER_CONFIG",
        "pve",
        &["clusterDatabase", "corosyncConfig", "clusterStatus", "haStatus"],
    ),
    ("BACKUP_PVE_FIREWALL", "pve", &["firewall"]),
    ("BACKUP_VZDUMP_CONFIG", "pve", &["vzdumpConfig"]),
    ("BACKUP_VM_CONFIGS", "pve", &["vmConfigs", "containerConfigs"]),
    ("BACKUP_DATASTORE_CONFIGS", "pbs", &["datastores"]),
    ("BACKUP_USER_CONFIGS", "pbs", &["users", "acls"]),
    ("BACKUP_SYNC_JOBS", "pbs", &["syncJobs"]),
    ("BACKUP_VERIFICATION_JOBS", "pbs", &["verifyJobs"]),
    ("BACKUP_TAPE_CONFIGS", "pbs", &["tape"]),
    ("BACKUP_PRUNE_SCHEDULES", "pbs", &["pruneJobs"]),
    ("BACKUP_PBS_TRAFFIC_CONTROL", "pbs", &["trafficControl"]),
    ("BACKUP_PBS_NODE_CONFIG", "pbs", &["nodeConfig"]),
    ("BACKUP_PBS_NETWORK_CONFIG", "pbs", &["network"]),
    ("BACKUP_NETWORK_CONFIGS", "system", &["network"]),
    ("BACKUP_APT_SOURCES", "system", &["aptSources"]),
    ("BACKUP_CRON_JOBS", "system", &["cronJobs"]),
    ("BACKUP_INSTALLED_PACKAGES", "system", &["packages"]),
];

/// Keys about how it runs itself, which has no counterpart: another program runs now.
const OWN: [&str; 30] = [
    "PROFILING_ENABLED",
    "USE_COLOR",
    "COLORIZE_STEP_LOGS",
    "DEBUG_LEVEL",
    "BASE_DIR",
    "LOCK_PATH",
    "LOG_PATH",
    "SECURE_ACCOUNT",
    "SECONDARY_LOG_PATH",
    "CLOUD_LOG_PATH",
    "DISABLE_NETWORK_PREFLIGHT",
    "SKIP_PERMISSION_CHECK",
    "BACKUP_USER",
    "BACKUP_GROUP",
    "SET_BACKUP_PERMISSIONS",
    "AUTO_FIX_PERMISSIONS",
    "AUTO_UPDATE_HASHES",
    "BUNDLE_ASSOCIATED_FILES",
    "CLOUD_UPLOAD_MODE",
    "CLOUD_PARALLEL_MAX_JOBS",
    "CLOUD_PARALLEL_VERIFICATION",
    "CLOUD_WRITE_HEALTHCHECK",
    "CLOUD_VERIFY_CHECKSUM",
    "CLOUD_BATCH_SIZE",
    "CLOUD_BATCH_PAUSE",
    "RCLONE_TIMEOUT_CONNECTION",
    "RCLONE_TRANSFERS",
    "RCLONE_RETRIES",
    "RCLONE_VERIFY_METHOD",
    "FS_IO_TIMEOUT",
];

/// One job for the node.
///
/// # Errors
/// It isn't such a file, or has nowhere to store to.
pub fn import(text: &str, report: &mut Report) -> Result<Vec<Value>> {
    let mut keys = Keys(read(text)?);
    let mut job = json!({ "name": "proxmox" });
    job["source"] = source(&mut keys, report);
    job["destinations"] = destinations(&mut keys, report)?;
    let mut filters = Map::new();
    if let Some(compression) = compression(&mut keys, report) {
        filters.insert("compression".to_owned(), compression);
    }
    if keys.flag("ENCRYPT_ARCHIVE") {
        match keys
            .take("AGE_RECIPIENT")
            .filter(|recipient| recipient.starts_with("age1"))
        {
            Some(recipient) => {
                filters.insert("encryption".to_owned(), json!({ "recipients": [recipient] }));
            }
            // Without recipients the job is refused: it must never store in clear what was encrypted before.
            None => {
                filters.insert("encryption".to_owned(), json!({ "recipients": [] }));
                report.left(
                    "AGE_RECIPIENT_FILE",
                    "put the recipients (age1…) into `filters.encryption.recipients`; without them the job is refused",
                );
            }
        }
        keys.forget(&["AGE_RECIPIENT_FILE"]);
    } else {
        keys.forget(&["AGE_RECIPIENT", "AGE_RECIPIENT_FILE"]);
    }
    if let Some(rate) = keys.take("RCLONE_BANDWIDTH_LIMIT") {
        report.note(
            "RCLONE_BANDWIDTH_LIMIT",
            "it holds for all destinations of the job (`filters.throttle`)",
        );
        filters.insert("throttle".to_owned(), json!({ "bytesPerSecond": rate }));
    }
    if !filters.is_empty() {
        job["filters"] = Value::Object(filters);
    }
    if let Some(retention) = retention(&mut keys, report) {
        job["retention"] = retention;
    }
    schedule(&mut keys, &mut job, report);
    if keys.take("BACKUP_ENABLED").is_some_and(|value| !is_true(&value)) {
        job["enabled"] = json!(false);
    }
    keys.forget(&OWN);
    keys.finish(report);
    Ok(vec![job])
}

fn source(keys: &mut Keys, report: &mut Report) -> Value {
    let mut config = json!({});
    for (key, collector, items) in ITEMS {
        if let Some(value) = keys.take(key)
            && !is_true(&value)
        {
            for item in items {
                config[collector][*item] = json!(false);
            }
        }
    }
    let mut exclude: Vec<String> = Vec::new();
    for key in ["BACKUP_EXCLUDE_PATTERNS", "BACKUP_BLACKLIST"] {
        let patterns = keys.take(key).unwrap_or_default();
        let patterns = patterns
            .split([' ', ',', '\n'])
            .filter(|pattern| !pattern.is_empty());
        exclude.extend(patterns.map(|pattern| match pattern.strip_prefix("*/") {
            Some(rest) => format!("**/{rest}"),
            None => pattern.to_owned(),
        }));
    }
    if !exclude.is_empty() {
        config["exclude"] = json!(exclude);
    }
    if let Some(root) = keys.take("SYSTEM_ROOT_PREFIX").filter(|root| root != "/") {
        config["root"] = json!(root);
    }
    if let Some(seconds) = keys
        .take("PVESH_TIMEOUT")
        .and_then(|text| text.parse::<u64>().ok())
        .filter(|s| (1..=300).contains(s))
    {
        config["commandTimeoutSeconds"] = json!(seconds);
    }
    if let Some(paths) = keys.take("CUSTOM_BACKUP_PATHS") {
        for path in paths.split_whitespace() {
            report.left(
                "CUSTOM_BACKUP_PATHS",
                format!("back `{path}` up by a job with the source `path`"),
            );
        }
    }
    json!({ "plugin": "proxmox", "config": config })
}

fn destinations(keys: &mut Keys, report: &mut Report) -> Result<Value> {
    let missing = || {
        Error::new(
            Code::Configuration,
            "BACKUP_PATH doesn't say an absolute path to store at",
        )
        .hint("put the path that it stands for in its place in a copy, and import that")
    };
    let path = keys
        .take("BACKUP_PATH")
        .filter(|path| path.starts_with('/'))
        .ok_or_else(missing)?;
    let mut all = vec![local(&path, keys.take("MIN_DISK_SPACE_PRIMARY_GB"))];
    let (wanted, second, room) = (
        keys.flag("SECONDARY_ENABLED"),
        keys.take("SECONDARY_PATH"),
        keys.take("MIN_DISK_SPACE_SECONDARY_GB"),
    );
    if wanted && second.is_none() {
        report.left("SECONDARY_ENABLED", "SECONDARY_PATH doesn't say where");
    }
    if let (true, Some(path)) = (wanted, second) {
        let mut second = local(&path, room);
        second["optional"] = json!(true);
        all.push(second);
    }
    let (wanted, remote, path) = (
        keys.flag("CLOUD_ENABLED"),
        keys.take("CLOUD_REMOTE"),
        keys.take("CLOUD_REMOTE_PATH").unwrap_or_default(),
    );
    keys.forget(&["MIN_DISK_SPACE_CLOUD_GB"]);
    if wanted && remote.is_none() {
        report.left("CLOUD_ENABLED", "CLOUD_REMOTE doesn't say where");
    }
    if let (true, Some(remote)) = (wanted, remote) {
        let (name, base) = remote.split_once(':').unwrap_or((&remote, ""));
        let parts = [base, &path].map(|part| part.trim_matches('/'));
        let path = parts
            .iter()
            .filter(|part| !part.is_empty())
            .copied()
            .collect::<Vec<_>>()
            .join("/");
        all.push(
            json!({ "plugin": "rclone", "config": { "remote": format!("{name}:{path}") }, "optional": true }),
        );
        if let Some(seconds) = keys.take("RCLONE_TIMEOUT_OPERATION") {
            report.note(
                "RCLONE_TIMEOUT_OPERATION",
                format!(
                    "a run here ends only if nothing moves; `timeouts.transfer: {seconds}s` limits the whole"
                ),
            );
        }
        if keys.take("RCLONE_FLAGS").is_some() {
            report.left(
                "RCLONE_FLAGS",
                "rclone is given only what it is known to be given",
            );
        }
    } else {
        keys.forget(&[
            "RCLONE_TIMEOUT_OPERATION",
            "RCLONE_FLAGS",
            "RCLONE_BANDWIDTH_LIMIT",
        ]);
    }
    report.note(
        "BACKUP_PATH",
        "archives that are there stay, and are neither listed nor deleted by Backstay",
    );
    Ok(Value::Array(all))
}

fn local(path: &str, gigabytes: Option<String>) -> Value {
    let mut config = json!({ "path": path });
    if let Some(room) = gigabytes
        .and_then(|text| text.parse::<u64>().ok())
        .filter(|room| *room > 0)
    {
        config["minFreeBytes"] = json!(room.saturating_mul(1 << 30));
    }
    json!({ "plugin": "local", "config": config })
}

fn compression(keys: &mut Keys, report: &mut Report) -> Option<Value> {
    let kind = keys.take("COMPRESSION_TYPE")?;
    let algorithm = match kind.as_str() {
        "gz" | "gzip" | "pigz" => "gzip",
        "bz2" | "bzip2" => "bzip2",
        "xz" => "xz",
        "zst" | "zstd" => "zstd",
        "none" => "none",
        _ => {
            report.left(
                "COMPRESSION_TYPE",
                "this format is not written here; zstd or xz come near",
            );
            keys.forget(&["COMPRESSION_LEVEL", "COMPRESSION_MODE", "COMPRESSION_THREADS"]);
            return None;
        }
    };
    let mut made = json!({ "algorithm": algorithm });
    let (mode, level) = (keys.take("COMPRESSION_MODE"), keys.take("COMPRESSION_LEVEL"));
    match (mode.as_deref(), level.and_then(|level| level.parse::<i32>().ok())) {
        _ if algorithm == "none" => {}
        (Some(mode @ ("fast" | "maximum" | "ultra")), _) => made["mode"] = json!(mode),
        (_, Some(level)) => made["level"] = json!(level),
        _ => {}
    }
    if let Some(threads) = keys
        .take("COMPRESSION_THREADS")
        .and_then(|text| text.parse::<u32>().ok())
    {
        made["threads"] = json!(threads.min(256));
    }
    Some(made)
}

fn retention(keys: &mut Keys, report: &mut Report) -> Option<Value> {
    let policy = keys.take("RETENTION_POLICY");
    let counts = [
        ("RETENTION_DAILY", "keepDaily"),
        ("RETENTION_WEEKLY", "keepWeekly"),
        ("RETENTION_MONTHLY", "keepMonthly"),
        ("RETENTION_YEARLY", "keepYearly"),
    ];
    let mut kept = Map::new();
    for (key, name) in counts {
        if let Some(count) = keys
            .take(key)
            .and_then(|text| text.parse::<u32>().ok())
            .filter(|count| *count > 0)
        {
            kept.insert(name.to_owned(), json!(count));
        }
    }
    let last = keys
        .take("MAX_LOCAL_BACKUPS")
        .and_then(|text| text.parse::<u32>().ok());
    if policy.as_deref() != Some("gfs") {
        kept.clear();
        if let Some(last) = last.filter(|last| *last > 0) {
            kept.insert("keepLast".to_owned(), json!(last));
        }
    }
    for key in ["MAX_SECONDARY_BACKUPS", "MAX_CLOUD_BACKUPS"] {
        let other = keys.take(key).and_then(|text| text.parse::<u32>().ok());
        if other.is_some_and(|other| Some(other) != last) {
            report.left(
                key,
                "all destinations of a job keep the same; a job of its own can keep more",
            );
        }
    }
    (!kept.is_empty()).then_some(Value::Object(kept))
}

fn schedule(keys: &mut Keys, job: &mut Value, report: &mut Report) {
    let mode = keys.take("SCHEDULER_MODE");
    let time = keys.take("SCHEDULER_TIME");
    if mode.as_deref() != Some("daemon") {
        report.note(
            "SCHEDULER_MODE",
            "when it runs is in the crontab: write it as `schedule.cron`",
        );
        return;
    }
    let parsed = time.as_deref().and_then(|time| {
        let (hour, minute) = time.split_once(':')?;
        Some((
            hour.parse::<u8>().ok().filter(|h| *h < 24)?,
            minute.parse::<u8>().ok().filter(|m| *m < 60)?,
        ))
    });
    match parsed {
        Some((hour, minute)) => job["schedule"] = json!({ "cron": format!("{minute} {hour} * * *") }),
        None => report.left("SCHEDULER_TIME", "it is no time of the day"),
    }
    if let Some(limit) = keys.take("MAX_RUN_DURATION") {
        job["timeouts"] = json!({ "transfer": limit });
    }
}

fn is_true(value: &str) -> bool {
    matches!(value.to_ascii_lowercase().as_str(), "true" | "1" | "yes" | "on")
}

/// Keys that nobody has taken yet.
struct Keys(BTreeMap<String, String>);

impl Keys {
    fn take(&mut self, key: &str) -> Option<String> {
        self.0.remove(key).filter(|value| !value.is_empty())
    }

    fn flag(&mut self, key: &str) -> bool {
        self.take(key).is_some_and(|value| is_true(&value))
    }

    fn forget(&mut self, keys: &[&str]) {
        for key in keys {
            self.0.remove(*key);
        }
    }

    /// What is left and set is said, each with the reason for its kind.
    fn finish(self, report: &mut Report) {
        for (key, value) in self.0 {
            // What is collected is on without a word, elsewhere what is off means nothing.
            let is_off = value == "0" || value.eq_ignore_ascii_case("false");
            if value.is_empty() || is_off && !key.starts_with("BACKUP_") {
                continue;
            }
            let begins = |starts: &[&str]| starts.iter().any(|start| key.starts_with(start));
            let why = if begins(&["TELEGRAM_", "BOT_", "EMAIL_", "GOTIFY_", "WEBHOOK_", "NOTIFY_"]) {
                "messages are in the settings: `notifications.channels`"
            } else if begins(&["HEALTHCHECK_"]) {
                "a dead-man's check is `ping` of the job"
            } else if begins(&["METRICS_"]) {
                "that is said in the settings: `metrics.textfile`"
            } else if begins(&["PERSONAL_SCRIPT_"]) {
                "commands are confined scripts of a job: `before`, `after`, `onFailure`"
            } else if begins(&[
                "BACKUP_",
                "PVE_",
                "PBS_",
                "PXAR_",
                "CEPH_",
                "COROSYNC_",
                "VZDUMP_",
                "MAX_PVE_",
            ]) {
                "the source `proxmox` has no such switch"
            } else {
                "there is nothing like it here"
            };
            report.left(&key, why);
        }
    }
}

fn read(text: &str) -> Result<BTreeMap<String, String>> {
    let mut keys = BTreeMap::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some((key, rest)) = line.split_once('=') else {
            return Err(not_such());
        };
        let key = key.trim().trim_start_matches("export ").trim();
        if key.is_empty()
            || !key
                .chars()
                .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
        {
            return Err(not_such());
        }
        let rest = rest.trim_start();
        let value = match rest.chars().next() {
            Some(quote @ ('"' | '\'')) => {
                let mut inside = rest[1..].to_owned();
                while !inside.contains(quote) {
                    let Some(more) = lines.next() else {
                        return Err(not_such());
                    };
                    inside.push('\n');
                    inside.push_str(more);
                }
                let value = inside.split(quote).next().unwrap_or_default();
                // In a list of several lines each may be a comment.
                let kept: Vec<&str> = value
                    .lines()
                    .filter(|line| !line.trim_start().starts_with('#'))
                    .collect();
                kept.join("\n").trim().to_owned()
            }
            Some('#') | None => String::new(),
            Some(_) => {
                let end = rest.find(" #").or_else(|| rest.find("\t#")).unwrap_or(rest.len());
                rest[..end].trim().to_owned()
            }
        };
        keys.insert(key.to_owned(), value);
    }
    let known = keys.clone();
    for value in keys.values_mut() {
        for (key, other) in &known {
            *value = value.replace(&format!("${{{key}}}"), other);
        }
    }
    Ok(keys)
}

fn not_such() -> Error {
    Error::new(Code::Configuration, "the file is no list of KEY=value lines")
        .hint("proxsave's is configs/backup.env")
}
