//! Snapshots that are copied on to an object store, a real S3 server.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use backstay_testkit::rclone::{Protocol, Server};
use serde_json::{Value, json};

use super::lab::Lab;
use crate::destinations::noise;

const KEY: &str = "s3-secret-access-key-of-a-test";

struct Store {
    lab: Lab,
    server: Server,
}

impl Store {
    fn new() -> Self {
        let lab = Lab::new();
        fs::create_dir_all(lab.at("served/bucket")).unwrap();
        let server = Server::start(Protocol::S3, &lab.at("served"), KEY);
        fs::write(lab.at("rclone.conf"), server.remote("store")).unwrap();
        Store { lab, server }
    }

    fn apply(&self, more: Value) {
        let mut to = json!({ "remote": "store:bucket/off-site", "configFile": self.lab.at("rclone.conf") });
        to.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        self.lab.apply(json!({ "syncToS3": to }), json!({}));
    }

    /// Runs, and gives what is kept of the second stage.
    #[track_caller]
    fn run(&self) -> Value {
        let run = self.lab.run().ok().json();
        run["backups"][0]["manifest"]["artifacts"][0]["statistics"]["stage2"].clone()
    }

    /// The files at the store, without the directories that they are in.
    fn there(&self) -> BTreeMap<String, Vec<u8>> {
        let mut found = BTreeMap::new();
        let mut left = vec![self.lab.at("served/bucket")];
        while let Some(directory) = left.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    left.push(path);
                } else {
                    let name = path.strip_prefix(self.lab.at("served/bucket")).unwrap();
                    found.insert(name.display().to_string(), fs::read(&path).unwrap());
                }
            }
        }
        found
    }
}

#[test]
fn a_new_date_is_copied_within_the_store_but_for_what_is_new() {
    let store = Store::new();
    store.lab.write("large", noise(100_000));
    store.lab.write("sub/changes", "before");
    store.apply(json!({ "s3Prefix": "rsync/YYYY-MM-DD/hhmmss", "storageClass": "STANDARD_IA" }));
    let first = store.run();
    assert_eq!(first["filesUploaded"], 2, "{first}");
    // The server refuses one of two files that make the same directory at the same time, and rclone sends it again.
    let sent = |stage: &Value| stage["bytesUploaded"].as_u64().unwrap();
    assert!(sent(&first) >= 100_006, "{first}");
    assert_eq!(first["verified"], true);
    let path = |stage: &Value| {
        let path = stage["s3Path"].as_str().unwrap();
        path.strip_prefix("store:bucket/").unwrap().to_owned()
    };
    assert!(path(&first).starts_with("off-site/rsync/20"), "{first}");
    assert!(path(&first).ends_with("/data/"), "{first}");
    store.lab.write("sub/changes", "after!");
    // Another second is another directory.
    std::thread::sleep(Duration::from_millis(1_100));
    let second = store.run();
    assert_eq!(second["filesUploaded"], 1, "{second}");
    assert!((6..100).contains(&sent(&second)), "{second}");
    assert_eq!(second["filesCopiedThere"], 1, "{second}");
    let there = store.there();
    assert_eq!(there[&(path(&first) + "sub/changes")], b"before");
    assert_eq!(there[&(path(&second) + "sub/changes")], b"after!");
    assert_eq!(there[&(path(&second) + "large")], noise(100_000));
}

#[test]
fn what_is_gone_is_deleted_there_only_if_the_job_says_so() {
    let store = Store::new();
    store.lab.write("keeps", "here");
    store.lab.write("goes", "soon");
    store.apply(json!({}));
    store.run();
    fs::remove_file(store.lab.at("source/goes")).unwrap();
    store.run();
    assert!(store.there().contains_key("off-site/data/goes"));
    store.apply(json!({ "deleteFromS3": true }));
    assert_eq!(store.run()["filesDeleted"], 1);
    let there: Vec<String> = store.there().into_keys().collect();
    assert_eq!(there, ["off-site/data/keeps"]);
}

#[test]
fn a_store_that_is_away_is_a_warning_and_the_snapshot_counts() {
    let mut store = Store::new();
    store.lab.write("file", "content");
    store.apply(json!({}));
    store.server.stop();
    let run = store.lab.run().code(1).json();
    let warning = &run["warnings"][0];
    assert_eq!(warning["code"], "not-copied-on", "{run}");
    let said = warning["message"].as_str().unwrap();
    assert!(said.contains("store:bucket/off-site/data/"), "{said}");
    let location = run["backups"][0]["manifest"]["artifacts"][0]["location"]
        .as_str()
        .unwrap();
    assert!(Path::new(location).join("file").exists());
    store.lab.verify().ok();
    store.server.restart();
    assert_eq!(store.run()["filesUploaded"], 1);
}
