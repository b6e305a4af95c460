//! What restic itself, and tools that build on it, find in the repository.

use std::fs;
use std::path::Path;
use std::process::Command;

use backstay_testkit::compare;
use serde_json::{Value, json};

use super::lab::{Lab, job_id};

fn tags(snapshot: &Value) -> Vec<&str> {
    let tags = snapshot["tags"].as_array().unwrap();
    tags.iter().map(|tag| tag.as_str().unwrap()).collect()
}

#[test]
fn restic_itself_restores_what_was_stored_and_knows_whose_it_is() {
    let lab = Lab::new();
    let more = json!({ "tags": ["nightly"], "host": "nas", "origin": "cellar", "accountId": "42", "compression": "max" });
    let run = lab.run_with(&more).ok().json();
    let (job, run_id) = (job_id(&lab), run["id"].as_str().unwrap());
    let snapshots = lab.repository.snapshots();
    assert_eq!(snapshots.len(), 2, "the data and the manifest");
    let of_data = |s: &&Value| s["paths"][0].as_str().unwrap().ends_with("/data.tar");
    let data = snapshots.iter().find(of_data).unwrap();
    assert_eq!(
        tags(data),
        [
            "backstay",
            &format!("run:{run_id}"),
            "object:data.tar",
            &format!("backup:{job}"),
            "backup_name=j",
            "origin=cellar",
            "account_id=42",
            "nightly"
        ]
    );
    assert_eq!(data["hostname"], "nas");
    let started = lab.backstay.json(&["runs"])[0]["startedAt"].as_str().unwrap()[..19].to_owned();
    assert_eq!(&data["time"].as_str().unwrap()[..19], started);
    let (id, path) = (data["id"].as_str().unwrap(), data["paths"][0].as_str().unwrap());
    let target = lab.at("by-restic");
    lab.repository
        .run(&["restore", id, "--target", target.to_str().unwrap()]);
    let restored = fs::read(target.join(&path[1..])).unwrap();
    assert!(lab.repository.run(&["dump", id, path]).stdout == restored);
    assert!(
        lab.backstay
            .run(&["restore", "latest:j", "--to", "-"])
            .ok()
            .stdout_bytes
            == restored
    );
    let unpacked = lab.at("unpacked");
    fs::create_dir(&unpacked).unwrap();
    let tar = Command::new("tar")
        .args(["-xpf", target.join(&path[1..]).to_str().unwrap(), "-C"])
        .arg(&unpacked)
        .status();
    assert!(tar.unwrap().success());
    compare::trees(&lab.at("source"), &unpacked).unwrap();
    lab.repository.run(&["check", "--read-data"]);
}

#[test]
fn what_was_there_before_is_not_stored_again() {
    let lab = Lab::new();
    let noise = crate::destinations::noise(3 << 20);
    fs::write(lab.at("source/noise"), &noise).unwrap();
    let logged = |lab: &Lab| {
        let log = lab.backstay.run(&["logs", "j"]).ok().stdout;
        let line = log.lines().find(|line| line.contains("/data.tar: ")).unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        let new = words.iter().position(|word| *word == "bytes").unwrap();
        words[new - 3].parse::<usize>().unwrap()
    };
    lab.run_with(&json!({})).ok();
    let first = logged(&lab);
    fs::write(lab.at("source/another"), "a few bytes").unwrap();
    lab.run().ok();
    let second = logged(&lab);
    assert!(
        first > noise.len() && second < noise.len() / 2,
        "{first}, then {second}"
    );
    // What the job has made of it first can't be shared, and the log says so.
    let mut job = lab.job(&lab.config(&json!({})));
    job["filters"] = json!({ "compression": { "algorithm": "zstd", "level": 1 } });
    lab.apply(&job);
    lab.run().ok();
    let log = lab.backstay.run(&["logs", "j"]).ok().stdout;
    assert!(log.contains("leave the job's filters out"), "{log}");
}

#[test]
fn a_repository_is_made_only_if_the_job_says_so_and_never_in_place_of_one_that_is_away() {
    let lab = Lab::new();
    let place = lab.at("new");
    let moved = lab.at("moved");
    lab.apply(&lab.job(&lab.config(&json!({}))));
    fs::rename(lab.repository.path(), &moved).unwrap();
    super::lab::ends(lab.run(), 5, "unable to open config file");
    assert!(!lab.repository.path().exists());
    let config = json!({ "repository": place, "init": true });
    lab.run_with(&config).ok();
    assert!(place.join("config").exists());
    fs::rename(&place, lab.at("unmounted")).unwrap();
    super::lab::ends(lab.run(), 5, "has held backups of this job, and is not there now");
    assert!(!place.exists());
    fs::rename(lab.at("unmounted"), &place).unwrap();
    lab.run().ok();
}

#[test]
fn a_new_machine_finds_all_backups_in_the_repository() {
    let lab = Lab::new();
    lab.run_with(&json!({})).ok();
    lab.run().ok();
    let ids = |lab: &Lab| {
        let backups = lab.backstay.json(&["backups"]);
        let ids = backups.as_array().unwrap().iter().map(|b| b["id"].to_string());
        ids.collect::<Vec<_>>()
    };
    let new = Lab::new();
    let config = lab.config(&json!({})).to_string();
    new.backstay
        .run(&["catalog", "rebuild", "--plugin", "restic", "--config", &config])
        .ok();
    assert_eq!(ids(&new), ids(&lab));
    let target = new.at("target");
    new.backstay
        .run(&["restore", "latest:j", "--to", target.to_str().unwrap()])
        .ok();
    compare::trees(&lab.at("source"), &target).unwrap();
}

#[test]
fn restic_is_given_the_variables_that_the_job_names() {
    let lab = Lab::new();
    lab.secret("s3-key", "secret-access-key-of-a-test");
    let more = json!({
        "environmentSecrets": { "AWS_SECRET_ACCESS_KEY": "s3-key" },
        "environment": { "AWS_DEFAULT_REGION": "eu west" },
        "cacheDirectory": lab.at("cache"),
    });
    lab.run_with(&more).ok();
    lab.backstay
        .run(&["verify", "latest:j", "--level", "checksum"])
        .ok();
    assert!(lab.at("cache").is_dir());
    let kit = lab.backstay.run(&["recovery-kit", "latest:j"]).ok().stdout;
    assert!(
        kit.contains("AWS_DEFAULT_REGION='eu west' restic --repo="),
        "{kit}"
    );
    assert!(!kit.contains("secret-access-key-of-a-test"), "{kit}");
}

/// The first block of the documentation that is marked with this language.
fn block(page: &str, language: &str) -> String {
    let (_, rest) = page.split_once(&format!("```{language}\n")).unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

#[test]
fn the_example_of_the_documentation_runs_as_printed() {
    let lab = Lab::new();
    let page = include_str!("../../../../docs/destinations/restic.md");
    let job = block(page, "yaml")
        .replace("/srv/documents", lab.at("source").to_str().unwrap())
        .replace("/mnt/nas", lab.at("nas").to_str().unwrap());
    // The blocks before and after it are what a person types.
    let setup = block(page, "console").replace("$ ", "");
    let program = Path::new(env!("CARGO_BIN_EXE_backstay")).parent().unwrap();
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", program.display());
    let done = Command::new("bash")
        .args(["-ec", &setup])
        .current_dir(lab.backstay.scratch_dir())
        .env("PATH", path)
        .env("BACKSTAY_DATA_DIR", lab.backstay.data_dir())
        .status();
    assert!(done.unwrap().success());
    lab.backstay.apply(&job).ok();
    lab.backstay.run(&["run", "documents"]).ok();
    let target = lab.at("target");
    lab.backstay
        .run(&["restore", "latest:documents", "--to", target.to_str().unwrap()])
        .ok();
    compare::trees(&lab.at("source"), &target).unwrap();
}
