//! What is said about a job that is wrong.

use serde_json::{Value, json};

use super::lab::Lab;

/// What `job validate` says, for a person.
fn said(lab: &Lab, config: &Value) -> String {
    let file = lab.backstay.scratch_dir().join("job.json");
    std::fs::write(&file, lab.job(config.clone(), json!({})).to_string()).unwrap();
    let output = lab
        .backstay
        .run_json(&["job", "validate", "-f", file.to_str().unwrap()]);
    let all = output.json();
    let all = all["diagnostics"].as_array().unwrap().iter();
    let lines = all.map(|d| {
        let text = |key: &str| d[key].as_str().unwrap_or("-").to_owned();
        format!(
            "{} at {}: {}\n    hint: {}",
            text("code"),
            text("pointer"),
            text("message"),
            text("hint")
        )
    });
    let text: Vec<String> = lines.collect();
    let here = lab.backstay.scratch_dir().to_string_lossy().into_owned();
    text.join("\n").replace(&here, "HERE")
}

#[test]
fn every_rule_has_its_message() {
    let lab = Lab::new();
    let mut all = String::new();
    for config in [
        json!({}),
        json!({ "containers": ["--all", "a/b", ""] }),
        json!({ "containers": "web" }),
        json!({ "container": ["web"] }),
        json!({ "labels": ["=x", "", "a\u{7}b"] }),
        json!({ "labels": ["a", "b", "c", "d", "e", "f", "g", "h", "i"] }),
        json!({ "project": "my shop" }),
        json!({ "containers": ["web"], "engine": "lxc" }),
        json!({ "containers": ["web"], "host": "tcp://nas:2375" }),
        json!({ "containers": ["web"], "host": "unix:///run/../x" }),
        json!({ "containers": ["web"], "action": "kill" }),
        json!({ "containers": ["web"], "actions": { "a b": "stop" } }),
        json!({ "containers": ["web"], "action": "quiesce" }),
        json!({ "containers": ["web"], "action": "quiesce", "quiesce": "sync", "resume": " " }),
        json!({ "containers": ["web"], "quiesce": "sync" }),
        json!({ "containers": ["web"], "stopTimeout": 3601 }),
        json!({ "containers": ["web"], "exclude": [""], "excludeFiles": [" "] }),
        json!({ "containers": ["web"], "bindPaths": ["/", "srv", "/srv/../etc", "/proc"], "dataRoot": "/run/x" }),
    ] {
        all += &format!("{config}\n{}\n\n", said(&lab, &config));
    }
    insta::assert_snapshot!(all);
}

#[test]
fn what_the_machine_lacks_is_said() {
    let lab = Lab::new();
    lab.run_obedient("web", &["--rm", "--volume", "/etc:/host-etc:ro"]);
    lab.containers
        .run("bare", &[], backstay_testkit::containers::OBEDIENT);
    let mut all = String::new();
    for config in [
        json!({ "containers": ["wbe"] }),
        json!({ "labels": ["backup=yes"], "project": "shop" }),
        json!({ "project": "shop" }),
        json!({ "containers": ["web"] }),
        json!({ "containers": ["web"], "action": "pause", "actions": { "db": "stop" } }),
        json!({ "containers": ["web"], "action": "pause", "exclude": ["/host-etc"], "dataRoot": "/srv/engine" }),
        json!({ "containers": ["bare"] }),
    ] {
        let shown = config
            .to_string()
            .replace(&*lab.backstay.scratch_dir().to_string_lossy(), "HERE");
        all += &format!("{shown}\n{}\n\n", said(&lab, &config));
    }
    let volumes = lab.containers.volumes().to_string_lossy().into_owned();
    insta::assert_snapshot!(all.replace(&volumes, "VOLUMES"));
}
