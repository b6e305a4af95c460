//! Failures have their class and say the next step, before the first run where that can be.

use std::fs;
use std::net::TcpListener;

use backstay_testkit::disk::SmallDisk;
use backstay_testkit::restic::{PASSWORD, Repository};
use serde_json::json;

use super::lab::{Lab, ends};

#[test]
fn wrong_fields_are_named_with_what_to_do() {
    let lab = Lab::new();
    let cases = [
        json!({}),
        json!({ "repository": "backups", "passwordSecret": "restic" }),
        json!({ "repository": "rclone:nas:backups", "passwordSecret": "restic" }),
        json!({ "repository": "rest:https://user:hidden@host/", "passwordSecret": "restic" }),
        json!({ "repository": "/srv/restic", "passwordSecret": "../x", "password": "hidden" }),
        json!({ "repository": "/srv/restic", "passwordSecret": "absent", "environmentSecrets": { "AWS_SECRET_ACCESS_KEY": "none" } }),
        json!({ "repository": "/srv/restic", "passwordSecret": "restic", "environment": { "PATH": "/tmp", "ST_KEY": "hidden" } }),
        json!({ "repository": "/srv/restic", "passwordSecret": "restic", "tags": ["a,b", "backup:1", ""], "host": "a,b" }),
        json!({ "repository": "/srv/restic", "passwordSecret": "restic", "compression": "best", "host": "" }),
    ];
    let said: Vec<String> = cases
        .iter()
        .map(|case| format!("{case}\n{}", lab.says(case)))
        .collect();
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn what_is_not_there_is_said_before_the_first_run() {
    let lab = Lab::new();
    lab.secret("wrong", "another password");
    let port = closed_port();
    let said = [
        lab.says(&lab.config(&json!({}))),
        lab.says(&lab.config(&json!({ "repository": "/nowhere/yet" }))),
        lab.says(&lab.config(&json!({ "repository": "/nowhere/yet", "init": true }))),
        lab.says(&lab.config(&json!({ "passwordSecret": "wrong" }))),
        lab.says(&lab.config(&json!({ "repository": format!("rest:http://127.0.0.1:{port}/") }))),
    ];
    insta::assert_snapshot!(said.join("\n").replace(&port.to_string(), "PORT"));
}

/// A port that nobody listens at.
fn closed_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

#[test]
fn failures_of_repositories_have_their_class() {
    let lab = Lab::new();
    lab.run_with(&json!({})).ok();
    lab.secret("restic", "another password");
    ends(lab.run(), 15, "wrong password or no key found");
    lab.backstay
        .run(&["verify", "latest:j", "--level", "size"])
        .code(15);
    lab.secret("restic", PASSWORD);
    let nobody = format!("rest:http://127.0.0.1:{}/", closed_port());
    ends(
        lab.run_with(&json!({ "repository": nobody })),
        6,
        "connection refused",
    );
    let disk = SmallDisk::mount(8 << 20);
    let small = Repository::create(&disk.path().join("repository"));
    fs::write(lab.at("source/large"), crate::destinations::noise(12 << 20)).unwrap();
    ends(
        lab.run_with(&json!({ "repository": small.path() })),
        12,
        "no space left on device",
    );
    assert!(small.snapshots().is_empty() && small.locks().is_empty());
    assert!(!lab.run_with(&json!({})).ok().stdout.contains(PASSWORD));
}
