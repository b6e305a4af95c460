//! Snapshots at another machine, by a real ssh server.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use backstay_testkit::compare;
use backstay_testkit::disk::SmallDisk;
use backstay_testkit::process::{is_alive, wait_until, with_descendants};
use backstay_testkit::ssh::SshServer;
use backstay_testkit::tree::{Size, hostile};
use serde_json::{Value, json};

use super::lab::Lab;
use crate::destinations::noise;

const PATIENCE: Duration = Duration::from_secs(60);

/// A lab whose place is reached by ssh.
struct Away {
    lab: Lab,
    server: SshServer,
}

impl Away {
    fn new() -> Self {
        let lab = Lab::new();
        let server = SshServer::start(&lab.at("ssh"));
        Away { lab, server }
    }

    fn config(&self, place: &Path, more: Value) -> Value {
        let mut config = json!({
            "host": "127.0.0.1", "port": self.server.port(), "remotePath": place, "minFreeBytes": 0,
            "identityFile": self.server.key(), "knownHostsFile": self.server.known_hosts(),
        });
        config
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        config
    }

    fn apply(&self, config: Value, more: Value) {
        self.apply_to(&self.lab.at("place"), config, more);
    }

    fn apply_to(&self, place: &Path, config: Value, more: Value) {
        let mut job = json!({
            "name": "j",
            "source": { "plugin": "path", "config": { "path": self.lab.at("source"), "stream": false } },
            "destinations": [{ "plugin": "rsync", "config": self.config(place, config) }],
            "retries": { "attempts": 1 },
        });
        job.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        self.lab.backstay.apply(&job.to_string()).ok();
    }

    /// Runs, and gives the directory of the snapshot.
    #[track_caller]
    fn snapshot(&self) -> std::path::PathBuf {
        let run = self.lab.run().ok().json();
        let location = run["backups"][0]["manifest"]["artifacts"][0]["location"].clone();
        let place = location.as_str().unwrap().strip_prefix("127.0.0.1:").unwrap();
        place.into()
    }

    /// A run fails with this exit code, says this, and says what to do.
    #[track_caller]
    fn fails(&self, code: i32, says: &str) -> String {
        let error = self.lab.run().code(code).json()["error"].clone();
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(says), "{error}");
        error["hint"].as_str().unwrap().to_owned()
    }
}

#[test]
fn a_tree_is_kept_at_another_machine_as_it_is_and_shares_what_has_not_changed() {
    let away = Away::new();
    let lab = &away.lab;
    fs::create_dir(lab.at("my place")).unwrap();
    hostile(
        &lab.at("source"),
        Size::default().sparse_bytes(1 << 20).path_bytes(2_000).depth(20),
    );
    lab.write("changes", "before");
    away.apply_to(&lab.at("my place"), json!({}), json!({}));
    let run = lab.run();
    let first = lab.at("my place/j/latest").canonicalize().unwrap().join("data");
    compare::trees(&lab.at("source"), &first).unwrap();
    lab.verify().ok();
    lab.comes_back("target");
    lab.write("changes", "after!");
    let again = lab.run();
    assert_eq!(again.code, run.code, "{}", again.stderr);
    let second = lab.at("my place/j/latest").canonicalize().unwrap().join("data");
    assert_ne!(first, second);
    assert_eq!(fs::read(first.join("changes")).unwrap(), b"before");
    compare::trees(&lab.at("source"), &second).unwrap();
    let artifact = &again.json()["backups"][0]["manifest"]["artifacts"][0];
    let statistics = &artifact["statistics"]["stage1"];
    assert_eq!(statistics["bytesTransferred"], 6, "{statistics}");
    assert_eq!(statistics["localPath"], artifact["location"]);
}

#[test]
fn what_is_stored_there_is_verified_restored_by_hand_and_removed() {
    let away = Away::new();
    let lab = &away.lab;
    lab.write("sub/file", noise(100_000));
    lab.write("gone", "soon");
    away.apply(json!({ "deleteExtraneous": false }), json!({}));
    let first = away.snapshot();
    fs::remove_file(lab.at("source/gone")).unwrap();
    away.apply(
        json!({ "deleteExtraneous": false }),
        json!({ "retention": { "keepLast": 1 } }),
    );
    let second = away.snapshot();
    assert_eq!(fs::read(second.join("gone")).unwrap(), b"soon");
    assert!(!first.parent().unwrap().exists());
    assert!(lab.at("place/j/latest/manifest.json").exists());
    // By the printed commands, as somebody does who has a known server and a key.
    let kit = lab.backstay.run(&["recovery-kit", "latest:j"]).ok();
    let known = format!("-o UserKnownHostsFile={} ", away.server.known_hosts().display());
    let script = kit.stdout.replace("ssh -p ", &format!("ssh {known}-p "));
    fs::write(lab.at("kit.sh"), script).unwrap();
    let done = Command::new("bash")
        .arg(lab.at("kit.sh"))
        .arg(lab.at("by-hand"))
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    compare::trees(&second, &lab.at("by-hand")).unwrap();
    // What is known is there is found again by a host that knows nothing.
    lab.backstay.run(&["verify", "latest:j", "--level", "size"]).ok();
    let mut damaged = fs::read(second.join("sub/file")).unwrap();
    damaged[50_000] ^= 1;
    fs::write(second.join("sub/file"), damaged).unwrap();
    let found = lab.verify().code(8);
    assert!(found.stderr.contains("sub/file"), "{}", found.stderr);
    fs::remove_file(second.join("sub/file")).unwrap();
    lab.backstay
        .run(&["verify", "latest:j", "--level", "size"])
        .code(8);
}

#[test]
fn each_way_in_which_the_other_machine_refuses_is_named_with_what_to_do() {
    let mut away = Away::new();
    away.lab.write("file", "content");
    away.apply(json!({}), json!({}));
    away.server.forget(false);
    let hint = away.fails(14, "Host key verification failed");
    assert!(hint.contains("fingerprint"), "{hint}");
    away.server.forget(true);
    let hint = away.fails(14, "Host key verification failed");
    assert!(hint.contains("another key than before"), "{hint}");
    away.server.remember();
    let key = fs::read(away.server.key()).unwrap();
    fs::copy(away.server.other_key(), away.server.key()).unwrap();
    let hint = away.fails(7, "Permission denied (publickey)");
    assert!(hint.contains("authorized_keys"), "{hint}");
    fs::write(away.server.key(), key).unwrap();
    fs::rename(away.lab.at("place"), away.lab.at("elsewhere")).unwrap();
    let hint = away.fails(3, "place is not there");
    assert!(hint.contains("mount"), "{hint}");
    fs::rename(away.lab.at("elsewhere"), away.lab.at("place")).unwrap();
    away.server.stop();
    let hint = away.fails(6, "Connection refused");
    assert!(hint.contains("port"), "{hint}");
    away.server.restart();
    assert_eq!(fs::read_dir(away.lab.at("place")).unwrap().count(), 0);
    away.snapshot();
    away.server.stop();
    let unknown = away.lab.verify().code(6);
    assert!(
        unknown.stderr.contains("Connection refused"),
        "{}",
        unknown.stderr
    );
}

#[test]
fn what_a_killed_host_or_a_broken_connection_left_there_is_removed() {
    let mut away = Away::new();
    away.lab.write("file", "good");
    away.apply(json!({}), json!({}));
    away.snapshot();
    let stored = away.lab.stored();
    away.lab.write("large", noise(1_000_000));
    away.apply(
        json!({}),
        json!({ "filters": { "throttle": { "bytesPerSecond": "4k" } } }),
    );
    let in_the_middle = |lab: &Lab| {
        let run = lab.backstay.spawn(&["run", "j", "--json"]);
        wait_until("rsync to copy", PATIENCE, || {
            lab.stored().iter().any(|name| name.contains("partial"))
        });
        run
    };
    let mut run = in_the_middle(&away.lab);
    let below = with_descendants(run.pid());
    run.kill();
    wait_until("rsync to end", PATIENCE, || {
        !below.iter().any(|pid| is_alive(*pid))
    });
    away.lab.backstay.run(&["runs"]).ok();
    assert_eq!(away.lab.stored(), stored);
    let run = in_the_middle(&away.lab);
    away.server.stop();
    let ended = run.wait();
    assert_eq!(ended.code, 6, "{}{}", ended.stdout, ended.stderr);
    assert!(away.lab.stored() != stored);
    away.server.restart();
    away.lab.backstay.run(&["runs"]).ok();
    assert_eq!(away.lab.stored(), stored);
    away.apply(json!({}), json!({}));
    away.snapshot();
    away.lab.comes_back("target");
}

#[test]
fn a_full_disk_there_is_said_before_anything_is_copied_and_while_it_is() {
    let away = Away::new();
    away.lab.write("large", noise(3_000_000));
    let disk = SmallDisk::mount(2 << 20);
    away.apply_to(disk.path(), json!({}), json!({}));
    away.fails(12, "3000000 are to be stored");
    away.lab.write("large", noise(1_500_000));
    away.lab.run().ok();
    away.lab.write("new", noise(1_500_000));
    away.fails(12, "rsync ended with status");
    assert_eq!(fs::read_dir(disk.path().join("j")).unwrap().count(), 2);
}

#[test]
fn owners_are_kept_in_attributes_where_the_account_may_not_give_files_away() {
    let away = Away::new();
    away.lab.write("of-another", "content");
    chown(away.lab.at("source/of-another"), Some(1234), Some(4321)).unwrap();
    away.apply(json!({ "fakeSuper": true }), json!({}));
    let stored = away.snapshot().join("of-another");
    assert_eq!(fs::metadata(stored).unwrap().uid(), 0);
    away.lab.verify().ok();
    away.lab.comes_back("target");
}

#[test]
fn what_the_snapshot_there_has_lost_is_said_once_and_not_claimed() {
    let away = Away::new();
    let lab = &away.lab;
    for name in ["stays", "goes", "lost"] {
        lab.write(name, name);
    }
    let guards = json!({ "guards": { "maxShrinkPercent": 100 } });
    away.apply(json!({ "deleteExtraneous": false }), guards);
    away.snapshot();
    for name in ["goes", "lost"] {
        fs::remove_file(lab.at("source").join(name)).unwrap();
    }
    let stored = away.snapshot();
    fs::remove_file(stored.join("lost")).unwrap();
    let run = lab.run().code(1).json();
    assert_eq!(run["warnings"][0]["code"], "not-kept", "{run}");
    assert_eq!(run["warnings"][0]["path"], "lost", "{run}");
    lab.verify().ok();
    assert!(away.snapshot().join("goes").exists());
    lab.verify().ok();
}
