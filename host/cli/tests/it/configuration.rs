//! Everything wrong with a job is said at once, each with its place and what to do, and nothing is stored.

use std::fs;

use backstay_testkit::cli::Backstay;
use serde_json::{Value, json};

fn backstay() -> Backstay {
    Backstay::new(env!("CARGO_BIN_EXE_backstay"))
}

/// The diagnostics of a job, as `CODE at POINTER`, and with whether each has a hint.
fn diagnostics(backstay: &Backstay, job: &Value) -> Vec<(String, bool)> {
    let file = backstay.scratch_dir().join("job.json");
    fs::write(&file, job.to_string()).unwrap();
    let said = backstay
        .run_json(&["job", "validate", "-f", file.to_str().unwrap()])
        .code(2)
        .json();
    assert_eq!(said["ok"], false);
    let found = said["diagnostics"].as_array().unwrap().iter();
    found
        .map(|d| {
            (
                format!(
                    "{} at {}",
                    d["code"].as_str().unwrap(),
                    d["pointer"].as_str().unwrap()
                ),
                d["hint"].is_string(),
            )
        })
        .collect()
}

#[test]
fn all_that_is_wrong_is_said_at_once_with_its_place() {
    let backstay = backstay();
    let found = diagnostics(
        &backstay,
        &json!({
            "name": "x", "enabeld": true,
            "source": { "plugin": "path", "config": { "path": "/does/not/exist", "exlude": [] } },
            "destinations": [{ "plugin": "lokal", "config": {} }, { "plugin": "path", "config": {} }],
            "retries": { "attempts": "three" },
        }),
    );
    let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
    for expected in [
        "unknown-key at /enabeld",
        "unknown-key at /source/config/exlude",
        "plugin at /destinations/0/plugin",
        "plugin at /destinations/1/plugin",
        "wrong-type at /retries/attempts",
    ] {
        assert!(names.contains(&expected), "{expected} is not in {names:?}");
    }
    assert!(
        found
            .iter()
            .filter(|(name, _)| name.starts_with("unknown-key"))
            .all(|(_, hint)| *hint)
    );
}

#[test]
fn a_plugins_own_rules_point_into_its_configuration() {
    let backstay = backstay();
    let job = |source: Value| json!({ "name": "x", "source": source, "destinations": [{ "plugin": "local", "config": { "path": "/tmp" } }] });
    for (source, expected) in [
        (
            json!({ "plugin": "path", "config": { "path": "relative" } }),
            "/source/config/path",
        ),
        (
            json!({ "plugin": "path", "config": { "path": "/does/not/exist" } }),
            "/source/config/path",
        ),
        (
            json!({ "plugin": "zfs", "config": { "poolName": "../x" } }),
            "/source/config/poolName",
        ),
        (
            json!({ "plugin": "zfs", "config": { "poolName": "/tank" } }),
            "/source/config/poolName",
        ),
        (
            json!({ "plugin": "zfs", "config": { "poolName": "tank", "snapshotName": "a b" } }),
            "/source/config/snapshotName",
        ),
        (
            json!({ "plugin": "zfs", "config": {} }),
            "/source/config/poolName",
        ),
    ] {
        let found = diagnostics(&backstay, &job(source.clone()));
        assert!(
            found.iter().any(|(name, _)| name.ends_with(expected)),
            "{source}: {found:?}"
        );
    }
}

#[test]
fn the_hosts_rules_are_checked() {
    let backstay = backstay();
    let found = diagnostics(
        &backstay,
        &json!({
            "name": "x",
            "schedule": { "cron": "61 * * * *", "timezone": "Mars/Olympus" },
            "source": { "plugin": "path", "config": { "path": "/etc" } },
            "destinations": [{ "plugin": "local", "config": { "path": "/tmp" }, "optional": true }],
            "filters": { "compression": { "algorithm": "zstd", "level": 23 }, "encryption": { "recipients": ["age1nonsense"] } },
            "timeouts": { "prepare": "2h" },
        }),
    );
    let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
    for expected in [
        "cron at /schedule/cron",
        "timezone at /schedule/timezone",
        "first-is-critical at /destinations/0/optional",
        "out-of-range at /filters/compression/level",
        "recipient at /filters/encryption/recipients/0",
        "out-of-range at /timeouts/prepare",
    ] {
        assert!(names.contains(&expected), "{expected} is not in {names:?}");
    }
}

#[test]
fn a_private_key_in_a_job_is_never_repeated() {
    let backstay = backstay();
    let key = "AGE-SECRET-KEY-1QQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQ";
    let said = backstay
        .apply(&format!(
            "{{name: x, source: {{plugin: path, config: {{path: /etc}}}}, destinations: [{{plugin: local, config: {{path: /tmp}}}}], filters: {{encryption: {{recipients: [{key}]}}}}}}"
        ))
        .code(2);
    assert!(
        !said.stderr.contains(key) && !said.stdout.contains(key),
        "{}",
        said.stderr
    );
}

#[test]
fn a_file_with_one_wrong_job_stores_none() {
    let backstay = backstay();
    let good = "{name: good, source: {plugin: path, config: {path: /etc}}, destinations: [{plugin: local, config: {path: /tmp}}]}";
    backstay.apply(&format!("{good}\n---\n{{name: bad}}\n")).code(2);
    assert_eq!(backstay.json(&["job", "list"]), json!([]));
    backstay.apply(good).ok();
    assert!(backstay.apply(good).ok().stdout.contains("unchanged"));
    assert_eq!(backstay.json(&["job", "list"])[0]["name"], "good");
}

#[test]
fn a_file_that_is_no_job_says_so() {
    let backstay = backstay();
    for text in ["", "name: [", "just words", "- 1\n- 2", "name: a\nname: b\n"] {
        let said = backstay.apply(text).code(2);
        assert!(!said.stderr.is_empty(), "{text}");
    }
    let said = backstay.run(&["apply", "-f", "/does/not/exist.yaml"]).code(2);
    assert!(said.stderr.contains("/does/not/exist.yaml"), "{}", said.stderr);
}

#[test]
fn an_unknown_job_or_backup_is_a_usage_error_that_says_what_there_is() {
    let backstay = backstay();
    backstay.apply("{name: docs, source: {plugin: path, config: {path: /etc}}, destinations: [{plugin: local, config: {path: /tmp}}]}").ok();
    let said = backstay.run(&["run", "dcos"]).code(2);
    assert!(said.stderr.contains("docs"), "{}", said.stderr);
    let said = backstay
        .run_json(&["restore", "nonsense", "--to", "/tmp/x"])
        .code(2)
        .json();
    assert_eq!(said["error"]["code"], "configuration");
    backstay.run(&["run"]).code(2);
    backstay.run(&["restore", "latest:docs"]).code(2);
}

#[test]
fn plugins_show_what_they_may_do() {
    let backstay = backstay();
    let said = backstay.run(&["plugin", "info", "zfs"]).ok().stdout;
    assert!(
        said.contains("\n  run zfs\n      ") && said.contains("poolName (required)"),
        "{said}"
    );
    assert!(!said.contains("zfs snapshot"), "{said}");
    let said = backstay.run(&["plugin", "info", "zfs", "--commands"]).ok().stdout;
    assert!(said.contains("\n          zfs snapshot"), "{said}");
    let said = backstay.run(&["plugin", "info", "nonsense"]).code(2);
    assert!(
        said.stderr.contains("flash, local, ") && said.stderr.contains("script, zfs"),
        "{}",
        said.stderr
    );
}
