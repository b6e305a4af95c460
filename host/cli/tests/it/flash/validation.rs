//! Every rule for a job's configuration, by the message that a person gets.

use std::fmt::Write as _;
use std::fs;

use serde_json::{Value, json};

use super::lab::{GitData, Lab};

/// What is said about a configuration: a line for each thing, with the paths of this test made plain.
fn said(lab: &Lab, config: Value) -> String {
    let file = lab.backstay.scratch_dir().join("wrong.json");
    fs::write(&file, lab.job(&config).to_string()).unwrap();
    let output = lab
        .backstay
        .run_json(&["job", "validate", "-f", file.to_str().unwrap()]);
    let scratch = lab.backstay.scratch_dir().to_str().unwrap();
    let mut text = String::new();
    for found in output.json()["diagnostics"].as_array().unwrap() {
        let word = |key: &str| found[key].as_str().unwrap_or_default().replace(scratch, "/TEST");
        writeln!(
            text,
            "{} {} {}: {}",
            word("severity"),
            word("pointer"),
            word("code"),
            word("message")
        )
        .unwrap();
        if !word("hint").is_empty() {
            writeln!(text, "    hint: {}", word("hint")).unwrap();
        }
    }
    text
}

/// All cases as one text, each with what it is about.
fn all(lab: &Lab, cases: &[(&str, Value)]) -> String {
    cases
        .iter()
        .map(|(about, config)| format!("-- {about}\n{}", said(lab, config.clone())))
        .collect()
}

#[test]
fn what_is_right_is_accepted_in_silence() {
    let lab = Lab::new(GitData::Elsewhere);
    let cache = lab.backstay.scratch_dir().join("c.tar");
    for config in [
        json!({}),
        json!({ "streamDirect": true, "includeGitHistory": false, "commitMessage": "x" }),
        json!({ "streamDirect": false, "localCachePath": cache }),
        json!({ "secrets": [], "exclude": ["*.tmp", "/a/**/b"], "untracked": ["logs/"], "largeFileBytes": 0 }),
        json!({ "userName": "Anna", "userEmail": "a@b", "serverName": "Tower", "requireMount": false }),
    ] {
        assert_eq!(said(&lab, config.clone()), "", "{config}");
    }
}

#[test]
fn each_rule_between_and_within_fields() {
    let lab = Lab::new(GitData::Elsewhere);
    let in_drive = lab.drive.join("cache.tar");
    let cases = [
        ("a cache without need", json!({ "localCachePath": "/tmp/x.tar" })),
        (
            "a cache while streaming",
            json!({ "streamDirect": true, "localCachePath": "/tmp/x.tar" }),
        ),
        (
            "a cache on the drive",
            json!({ "streamDirect": false, "localCachePath": in_drive }),
        ),
        (
            "a relative cache",
            json!({ "streamDirect": false, "localCachePath": "x.tar" }),
        ),
        (
            "git data that isn't named .git",
            json!({ "gitPath": "/mnt/flash" }),
        ),
        ("relative git data", json!({ "gitPath": "boot/.git" })),
        ("git data that climbs", json!({ "gitPath": "/mnt/../x/.git" })),
        (
            "git data with odd characters",
            json!({ "gitPath": "/mnt/a b;c/.git" }),
        ),
        (
            "git data inside of the drive",
            json!({ "gitPath": lab.drive.join("config/.git") }),
        ),
        ("git data of the wrong type", json!({ "gitPath": 7 })),
        ("a relative drive", json!({ "path": "boot" })),
        ("an empty message", json!({ "commitMessage": "" })),
        ("a blank message", json!({ "commitMessage": " \n" })),
        (
            "an odd author",
            json!({ "userName": "a <b>", "userEmail": "a\nb" }),
        ),
        ("a server of two lines", json!({ "serverName": "a\nb" })),
        (
            "words for yes and no",
            json!({ "includeGitHistory": "no", "streamDirect": 1 }),
        ),
        (
            "bad patterns",
            json!({ "secrets": ["", "!a"], "exclude": ["{a,b}", "a\nb"], "untracked": ["../x", "[a"] }),
        ),
        ("less than no bytes", json!({ "largeFileBytes": -1 })),
        ("an unknown key", json!({ "gitpath": "/x/.git" })),
        (
            "a level that belongs to the job's filters",
            json!({ "compressionLevel": 6 }),
        ),
    ];
    insta::assert_snapshot!("rules", all(&lab, &cases));
}

#[test]
fn a_drive_elsewhere_needs_to_know_where_its_git_data_is() {
    let lab = Lab::new(GitData::Elsewhere);
    let mut job = lab.job(&json!({}));
    job["source"]["config"].as_object_mut().unwrap().remove("gitPath");
    let said = lab.backstay.apply(&job.to_string()).code(2);
    let all = said.stdout + &said.stderr;
    assert!(
        all.contains("`path` is not /boot, so `gitPath` must say where the git data is"),
        "{all}"
    );
}

#[test]
fn each_thing_that_the_machine_lacks() {
    let lab = Lab::new(GitData::Elsewhere);
    let scratch = lab.backstay.scratch_dir().to_owned();
    let file = scratch.join("file");
    fs::write(&file, "x").unwrap();
    let make = |name: &str, inside: &str| {
        let git_dir = scratch.join(name).join(".git");
        fs::create_dir_all(git_dir.join(inside)).unwrap();
        git_dir
    };
    let (no_head, linked) = (make("no-head", "objects"), make("linked", "commondir"));
    let link = scratch.join("link/.git");
    fs::create_dir(scratch.join("link")).unwrap();
    fs::write(&link, "gitdir: /x\n").unwrap();
    fs::create_dir(lab.drive.join(".git")).unwrap();
    let cases = [
        ("no drive", json!({ "path": scratch.join("none") })),
        ("a file for a drive", json!({ "path": file })),
        (
            "a cache that is there",
            json!({ "streamDirect": false, "localCachePath": file }),
        ),
        ("a damaged repository", json!({ "gitPath": no_head })),
        ("a linked work tree", json!({ "gitPath": linked })),
        ("the link of a submodule", json!({ "gitPath": link })),
        ("another repository on the drive", json!({})),
    ];
    insta::assert_snapshot!("machine", all(&lab, &cases));
}
