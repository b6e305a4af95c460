//! The sources, each with data of its own.

use std::fs;
use std::path::PathBuf;

use backstay_testkit::cli::Backstay;
use backstay_testkit::compare;
use serde_json::{Value, json};

use crate::database::{desk, sqlite};
use crate::flash::lab::GitData;
use crate::{docker, flash as drive, proxmox, script as scripts, zfs as pools};

/// A source.
pub trait Origin {
    /// Its plugin.
    const PLUGIN: &str;

    /// Makes it.
    fn start() -> Self;

    /// The host that it is on.
    fn backstay(&self) -> &Backstay;

    /// As a job names it.
    fn source(&self) -> Value;

    /// Restores a backup to a place that is called so, and compares.
    fn restore(&self, backstay: &Backstay, name: &str, args: &[&str]);
}

/// Restores to a new directory.
fn restored(backstay: &Backstay, name: &str, args: &[&str]) -> PathBuf {
    let target = backstay.scratch_dir().join(format!("restored-{name}"));
    let to = ["restore", "--to", target.to_str().unwrap()];
    backstay.run(&[&to, args].concat()).ok();
    target
}

/// A directory, as one stream or as files.
pub struct Path<const STREAM: bool>(Backstay);

impl<const STREAM: bool> Origin for Path<STREAM> {
    const PLUGIN: &str = "path";

    fn start() -> Self {
        let backstay = super::host();
        let root = backstay.scratch_dir().join("source");
        fs::create_dir_all(root.join("deep/empty")).unwrap();
        fs::write(root.join("deep/file"), "content").unwrap();
        fs::hard_link(root.join("deep/file"), root.join("same")).unwrap();
        std::os::unix::fs::symlink("nowhere", root.join("link")).unwrap();
        Path(backstay)
    }

    fn backstay(&self) -> &Backstay {
        &self.0
    }

    fn source(&self) -> Value {
        let root = self.0.scratch_dir().join("source");
        json!({ "plugin": "path", "config": { "path": root, "stream": STREAM } })
    }

    fn restore(&self, backstay: &Backstay, name: &str, args: &[&str]) {
        let target = restored(backstay, name, args);
        compare::trees(&self.0.scratch_dir().join("source"), &target).unwrap();
    }
}

/// A drive as Unraid makes it.
pub struct Flash(drive::lab::Lab, PathBuf);

impl Origin for Flash {
    const PLUGIN: &str = "flash";

    fn start() -> Self {
        let lab = drive::lab::Lab::new(GitData::Elsewhere);
        let expected = lab.expected();
        Flash(lab, expected)
    }

    fn backstay(&self) -> &Backstay {
        &self.0.backstay
    }

    fn source(&self) -> Value {
        self.0.job(&json!({ "includeGitHistory": false }))["source"].clone()
    }

    fn restore(&self, backstay: &Backstay, name: &str, args: &[&str]) {
        compare::trees(&self.1, &restored(backstay, name, args)).unwrap();
    }
}

/// A dataset.
pub struct Zfs(pools::lab::Lab);

impl Origin for Zfs {
    const PLUGIN: &str = "zfs";

    fn start() -> Self {
        let lab = pools::lab::Lab::new();
        pools::lab::change(lab.source.mountpoint(), 0);
        Zfs(lab)
    }

    fn backstay(&self) -> &Backstay {
        &self.0.backstay
    }

    fn source(&self) -> Value {
        self.0.job(json!({}), json!({}))["source"].clone()
    }

    fn restore(&self, backstay: &Backstay, name: &str, args: &[&str]) {
        let target = format!("{}/{name}", self.0.pool.name());
        backstay.run(&[&["restore", "--to", &target], args].concat()).ok();
        let mounted = pools::lab::mount(&self.0.pool, name);
        pools::lab::assert_same(self.0.source.mountpoint(), &mounted);
    }
}

/// A script that writes two files.
pub struct Script(scripts::lab::Lab, PathBuf);

impl Origin for Script {
    const PLUGIN: &str = "script";

    fn start() -> Self {
        let lab = scripts::lab::Lab::new();
        let text = "cd \"$BACKSTAY_OUTPUT_DIR\" && mkdir sub && echo one > sub/one && echo two > two";
        let script = lab.script("make.sh", &format!("#!/bin/sh\n{text}\n"));
        Script(lab, script)
    }

    fn backstay(&self) -> &Backstay {
        &self.0.backstay
    }

    fn source(&self) -> Value {
        json!({ "plugin": "script", "config": { "scriptPath": self.1 } })
    }

    fn restore(&self, backstay: &Backstay, name: &str, args: &[&str]) {
        let target = restored(backstay, name, args);
        assert_eq!(fs::read(target.join("sub/one")).unwrap(), b"one\n");
        assert_eq!(fs::read(target.join("two")).unwrap(), b"two\n");
        assert_eq!(fs::read_dir(&target).unwrap().count(), 2);
    }
}

/// A container with a volume, which isn't stopped for it.
pub struct Docker(docker::lab::Lab, PathBuf);

impl Origin for Docker {
    const PLUGIN: &str = "docker";

    fn start() -> Self {
        let lab = docker::lab::Lab::new();
        let volume = lab.run_obedient("shop", &[]);
        Docker(lab, volume)
    }

    fn backstay(&self) -> &Backstay {
        &self.0.backstay
    }

    fn source(&self) -> Value {
        let config = json!({ "containers": ["shop"], "actions": { "shop": "none" } });
        self.0.job(config, json!({}))["source"].clone()
    }

    fn restore(&self, backstay: &Backstay, name: &str, args: &[&str]) {
        let target = restored(backstay, name, args);
        compare::trees(&self.1, &target.join("volume-shop-data")).unwrap();
    }
}

/// A node of Proxmox.
pub struct Proxmox(proxmox::lab::Lab);

impl Origin for Proxmox {
    const PLUGIN: &str = "proxmox";

    fn start() -> Self {
        Proxmox(proxmox::lab::Lab::new())
    }

    fn backstay(&self) -> &Backstay {
        &self.0.backstay
    }

    fn source(&self) -> Value {
        let job: Value = serde_json::from_str(&self.0.job(&proxmox::lab::steady())).unwrap();
        job["source"].clone()
    }

    fn restore(&self, backstay: &Backstay, name: &str, args: &[&str]) {
        let target = restored(backstay, name, args);
        for file in [
            "etc/network/interfaces",
            "etc/apt/sources.list",
            "etc/pve/storage.cfg",
        ] {
            assert_eq!(
                fs::read(target.join(file)).unwrap(),
                fs::read(self.0.root.join(file)).unwrap()
            );
        }
        let said = fs::read(target.join("commands/pve/pveversion.txt")).unwrap();
        assert!(said.starts_with(b"pveversion"));
    }
}

/// A database in a file.
pub struct Database(desk::Desk);

impl Origin for Database {
    const PLUGIN: &str = "database";

    fn start() -> Self {
        let desk = desk::Desk::new();
        sqlite::sql(
            &desk.file("app.db"),
            "CREATE TABLE t (x); INSERT INTO t VALUES (1), (2)",
        );
        Database(desk)
    }

    fn backstay(&self) -> &Backstay {
        &self.0.backstay
    }

    fn source(&self) -> Value {
        let config = sqlite::source(&self.0.file("app.db"));
        json!({ "plugin": "database", "config": config })
    }

    fn restore(&self, backstay: &Backstay, name: &str, args: &[&str]) {
        let target = restored(backstay, &format!("{name}.db"), args);
        assert_eq!(sqlite::sql(&target, "SELECT group_concat(x) FROM t"), "1,2");
    }
}
