//! What is said about a job before it runs.

use std::fs;

use serde_json::{Value, json};

use super::lab::Lab;

/// All that is said about a configuration, a line each.
fn said(lab: &Lab, config: &Value) -> String {
    let file = lab.backstay.scratch_dir().join("looked-at.json");
    fs::write(&file, lab.job(config)).unwrap();
    let output = lab
        .backstay
        .run_json(&["job", "validate", "-f", file.to_str().unwrap()])
        .json();
    let mut lines = Vec::new();
    for d in output["diagnostics"].as_array().unwrap() {
        let text = |key: &str| d[key].as_str().unwrap_or("-").to_owned();
        let [severity, pointer, code] = ["severity", "pointer", "code"].map(text);
        lines.push(format!(
            "{severity} {pointer} {code}: {} ({})",
            text("message"),
            text("hint")
        ));
    }
    lines.join("\n").replace(lab.root.to_str().unwrap(), "ROOT")
}

#[test]
fn every_rule_says_what_is_wrong_and_what_to_do() {
    let lab = Lab::new();
    let never = json!({ "collect": "never" });
    let mut all = Vec::new();
    for config in [
        json!({}),
        json!({ "privateKeys": false }),
        json!({ "root": "mnt" }),
        json!({ "root": "/mnt/../etc" }),
        json!({ "exclude": ["*.bak", ""] }),
        json!({ "commandTimeoutSeconds": 0 }),
        json!({ "commandTimeoutSeconds": 301 }),
        json!({ "maxOutputBytes": 67_108_865 }),
        json!({ "pve": { "vmConfig": false } }),
        json!({ "pve": { "collect": "maybe" } }),
        json!({ "pve": never, "pbs": never, "system": never }),
        json!({ "root": "/nowhere" }),
        json!({ "root": "/nowhere", "system": never }),
        json!({ "root": "/nowhere", "pve": { "collect": "always" } }),
    ] {
        let config_text = config.to_string().replace(lab.root.to_str().unwrap(), "ROOT");
        all.push(format!("{config_text}\n{}", said(&lab, &config)));
    }
    insta::assert_snapshot!(all.join("\n\n"));
}

#[test]
fn what_it_asks_for_is_shown_before_anything_runs() {
    let lab = Lab::new();
    let info = lab
        .backstay
        .run(&["plugin", "info", "proxmox", "--commands"])
        .ok()
        .stdout;
    for words in [
        "pvesh get /nodes/*/storage",
        "{config.root:-}/etc/pve",
        "to record the versions",
    ] {
        assert!(info.contains(words), "{info}");
    }
}
