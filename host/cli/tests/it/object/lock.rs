//! Objects that nobody may delete for a while.

use std::fs;
use std::path::PathBuf;
use std::time::SystemTime;

use backstay_testkit::cli::{Backstay, Output};
use backstay_testkit::compare;
use backstay_testkit::moto::LockingStore;
use backstay_testkit::stores::Protocol;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::lab::{self, noise, said};

struct Lab {
    backstay: Backstay,
    store: LockingStore,
}

impl Lab {
    /// A store with a bucket that locks objects, and one that doesn't; each a remote of the same name.
    fn new() -> Self {
        let store = LockingStore::start();
        let backstay = Backstay::new(env!("CARGO_BIN_EXE_backstay"));
        let secret = backstay.scratch_dir().join("secret");
        fs::write(&secret, "any").unwrap();
        for (name, has_lock) in [("locks", true), ("plain", false)] {
            store.make_bucket(name, has_lock);
            let endpoint = store.endpoint();
            let mut args = vec!["remote", "add", name, "--type", "s3", "--bucket", name];
            args.extend(["--endpoint", &endpoint, "--account", "backstay"]);
            args.extend(["--secret-from-file", secret.to_str().unwrap()]);
            backstay.run(&args).ok();
        }
        fs::create_dir(backstay.scratch_dir().join("source")).unwrap();
        let lab = Lab { backstay, store };
        fs::write(lab.at("source/file"), "content").unwrap();
        lab
    }

    fn at(&self, name: &str) -> PathBuf {
        self.backstay.scratch_dir().join(name)
    }

    fn apply(&self, remote: &str, lock: &Value, more: &Value) -> Output {
        let config = json!({ "remote": remote, "prefix": "nas", "objectLock": lock });
        let mut job = json!({
            "name": "j",
            "source": { "plugin": "path", "config": { "path": self.at("source") } },
            "destinations": [{ "plugin": "object", "config": config }],
            "retries": { "attempts": 1 },
        });
        job.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        self.backstay.apply(&job.to_string())
    }
}

#[test]
fn what_is_stored_can_be_deleted_by_nobody_until_its_lock_ends() {
    let lab = Lab::new();
    // Some parts, and the manifest in one request.
    fs::write(lab.at("source/noise"), noise(20 << 20)).unwrap();
    let governance = json!({ "mode": "governance", "days": 30 });
    lab.apply("locks", &governance, &json!({})).ok();
    let before = Timestamp::try_from(SystemTime::now()).unwrap();
    lab.backstay.run(&["run", "j"]).ok();
    let versions = lab.store.try_to_delete_all("locks");
    assert_eq!(versions.len(), 2, "{versions:#?}");
    for version in &versions {
        assert_eq!(version["mode"], "GOVERNANCE", "{version}");
        assert_eq!(version["deleted"], false, "{version}");
        let until: Timestamp = version["until"].as_str().unwrap().parse().unwrap();
        let hours = until.duration_since(before).as_hours();
        assert!((30 * 24 - 1..=30 * 24).contains(&hours), "{version}");
    }
    lab.backstay.run(&["verify", "latest:j"]).ok();
    let target = lab.at("restored");
    let restore = ["restore", "latest:j", "--to", target.to_str().unwrap()];
    lab.backstay.run(&restore).ok();
    compare::trees(&lab.at("source"), &target).unwrap();
}

#[test]
fn what_retention_lets_go_is_kept_by_the_store_as_an_older_version() {
    let lab = Lab::new();
    let compliance = json!({ "mode": "compliance", "days": 1 });
    let applied = lab
        .apply("locks", &compliance, &json!({ "retention": { "keepLast": 1 } }))
        .ok();
    assert!(
        said(&applied).contains("cannot-be-undone") || said(&applied).contains("not even the owner"),
        "{}",
        said(&applied)
    );
    lab.backstay.run(&["run", "j"]).ok();
    lab.backstay.run(&["run", "j"]).ok();
    assert_eq!(lab.backstay.json(&["backups"]).as_array().unwrap().len(), 1);
    let versions = lab.store.try_to_delete_all("locks");
    assert_eq!(versions.len(), 4, "{versions:#?}");
    assert!(
        versions
            .iter()
            .all(|v| v["mode"] == "COMPLIANCE" && v["deleted"] == false)
    );
    let latest = versions.iter().filter(|v| v["isLatest"] == true).count();
    assert_eq!(latest, 2, "{versions:#?}");
    lab.backstay.run(&["verify", "latest:j"]).ok();
}

#[test]
fn where_nothing_can_be_locked_nothing_is_stored() {
    let lab = Lab::new();
    let governance = json!({ "mode": "governance", "days": 30 });
    lab.apply("plain", &governance, &json!({})).ok();
    let run = lab.backstay.run(&["run", "j"]).code(2);
    assert!(said(&run).contains("has no object lock"), "{}", said(&run));
    assert_eq!(lab.store.try_to_delete_all("plain"), Vec::<Value>::new());
    // Nor at a store that takes the question for another one.
    let other = lab::Lab::new(Protocol::S3);
    let job = format!(
        "name: j\nsource: {{ plugin: path, config: {{ path: {} }} }}\ndestinations: [{{ plugin: object, config: {{ remote: main, objectLock: {{ mode: governance, days: 30 }} }} }}]\nretries: {{ attempts: 1 }}\n",
        other.at("source").display()
    );
    other.backstay.apply(&job).ok();
    let run = other.backstay.run(&["run", "j"]).code(2);
    assert!(said(&run).contains("has no object lock"), "{}", said(&run));
    assert_eq!(other.server.objects(), Vec::<String>::new());
}

#[test]
fn a_lock_is_for_days_and_for_s3() {
    let lab = Lab::new();
    for days in [0, 40_000] {
        let refused = lab.apply(
            "locks",
            &json!({ "mode": "governance", "days": days }),
            &json!({}),
        );
        assert!(said(&refused.code(2)).contains("/objectLock/days"));
    }
    let dav = lab::Lab::new(Protocol::WebDav);
    let job = format!(
        "name: j\nsource: {{ plugin: path, config: {{ path: {} }} }}\ndestinations: [{{ plugin: object, config: {{ remote: main, objectLock: {{ mode: governance, days: 30 }} }} }}]\n",
        dav.at("source").display()
    );
    let refused = dav.backstay.apply(&job).code(2);
    assert!(
        said(&refused).contains("can be locked in an `s3` one only"),
        "{}",
        said(&refused)
    );
}
