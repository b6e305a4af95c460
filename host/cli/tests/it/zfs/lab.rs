//! A pool, a dataset that changes from backup to backup, and a job that backs it up to a directory.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use backstay_testkit::cli::{Backstay, Output};
use backstay_testkit::compare::{self, Except};
use backstay_testkit::process::wait_until;
use backstay_testkit::tools;
use backstay_testkit::zfs::{Dataset, Pool, Snapshot};
use serde_json::{Value, json};

pub const BINARY: &str = env!("CARGO_BIN_EXE_backstay");

pub struct Lab {
    pub backstay: Backstay,
    pub pool: Pool,
    pub source: Dataset,
}

/// A key for encrypted backups.
pub struct Key {
    pub recipient: String,
    pub file: PathBuf,
}

impl Lab {
    pub fn new() -> Self {
        let pool = Pool::create();
        let source = pool.dataset("source");
        let backstay = Backstay::new(BINARY);
        let lab = Lab {
            backstay,
            pool,
            source,
        };
        std::fs::create_dir(lab.store()).unwrap();
        lab
    }

    /// The directory that backups go to.
    pub fn store(&self) -> PathBuf {
        self.backstay.scratch_dir().join("store")
    }

    /// Applies the job `data` with more settings of the source.
    pub fn apply(&self, config: Value) {
        self.apply_with(config, json!({}));
    }

    /// Applies the job `data` with more settings of the source and of the job.
    pub fn apply_with(&self, config: Value, job: Value) {
        let job = self.job(config, job);
        self.backstay.apply(&job.to_string()).ok();
    }

    pub fn job(&self, config: Value, job: Value) -> Value {
        let local = json!({ "plugin": "local", "config": { "path": self.store() } });
        let mut all = json!({
            "name": "data",
            "source": { "plugin": "zfs", "config": { "poolName": self.source.name() } },
            "destinations": [local],
        });
        merge(&mut all["source"]["config"], config);
        merge(&mut all, job);
        all
    }

    /// Runs the job, which must succeed, and returns the backup that it made.
    pub fn back_up(&self) -> Value {
        let run = self.backstay.json(&["run", "data"]);
        assert_eq!(run["status"], "succeeded", "{run:#}");
        run["backups"][0].clone()
    }

    pub fn newest_run(&self) -> Value {
        self.backstay.json(&["runs"])[0].clone()
    }

    pub fn backups(&self) -> Vec<Value> {
        self.backstay.json(&["backups"]).as_array().unwrap().clone()
    }

    pub fn snapshots(&self) -> Vec<Snapshot> {
        self.pool.snapshots(self.source.name())
    }

    /// The tag of this installation's holds.
    pub fn tag(&self) -> String {
        let backups = self.backups();
        format!(
            "backstay-{}",
            backups[0]["manifest"]["instanceId"].as_str().unwrap()
        )
    }

    /// Asserts that of the job's snapshots exactly the one of `backup` is there, with one hold.
    #[track_caller]
    pub fn assert_only_base(&self, backup: &Value) {
        let base = facts(backup);
        let mut left = self.snapshots();
        left.retain(|s| s.name.contains("@backstay-"));
        let found: Vec<_> = left.iter().map(|s| (s.name.as_str(), s.guid.as_str())).collect();
        let expected = (base["snapshot"].as_str().unwrap(), base["guid"].as_str().unwrap());
        assert_eq!(found, [expected]);
        assert_eq!(self.pool.holds(expected.0), 1);
    }

    /// Asserts that the store holds the objects of the backups in the catalogue, and no other file.
    #[track_caller]
    pub fn assert_only_whole_backups(&self) {
        let mut expected: Vec<PathBuf> = Vec::new();
        for backup in self.backups() {
            expected.push(backup["location"].as_str().unwrap().into());
            expected.push(
                backup["manifest"]["artifacts"][0]["location"]
                    .as_str()
                    .unwrap()
                    .into(),
            );
        }
        expected.sort();
        let mut found = files_below(&self.store());
        found.sort();
        assert_eq!(found, expected);
        let scratch = self.backstay.data_dir().join("scratch");
        assert!(!scratch.exists() || files_below(&scratch).is_empty());
    }

    /// Restores to a dataset of a pool, which must succeed, and mounts it.
    #[track_caller]
    pub fn restore(&self, backup: &str, to: &Pool, name: &str, key: Option<&Key>) -> PathBuf {
        let target = format!("{}/{name}", to.name());
        let mut args = vec!["restore", backup, "--to", &target];
        let file = key.map(|k| k.file.to_str().unwrap().to_owned());
        if let Some(file) = &file {
            args.extend(["--identity", file]);
        }
        self.backstay.run(&args).ok();
        mount(to, name)
    }

    /// Runs the recovery kit by a shell that finds no Backstay, and mounts what it restored.
    #[track_caller]
    pub fn restore_by_kit(&self, backup: &str, to: &Pool, name: &str, key: Option<&Key>) -> PathBuf {
        let kit = self.backstay.run(&["recovery-kit", backup]).ok().stdout;
        let target = format!("{}/{name}", to.name());
        let result = run_kit(&kit, &target, key);
        assert_eq!(result.code, 0, "{}\n{}\n{kit}", result.stdout, result.stderr);
        mount(to, name)
    }
}

/// Runs a recovery kit with nothing of Backstay in its environment.
pub fn run_kit(kit: &str, target: &str, key: Option<&Key>) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("kit.sh");
    std::fs::write(&script, kit).unwrap();
    let mut bash = Command::new("bash");
    bash.arg(&script).arg(target).args(key.map(|k| &k.file));
    bash.env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .current_dir("/");
    let result = bash.output().unwrap();
    Output {
        code: result.status.code().unwrap(),
        stdout: String::from_utf8_lossy(&result.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&result.stderr).into_owned(),
        stdout_bytes: result.stdout,
    }
}

pub fn mount(pool: &Pool, name: &str) -> PathBuf {
    let dataset = format!("{}/{name}", pool.name());
    pool.zfs(&["mount", &dataset]);
    pool.mountpoint().join(name)
}

/// What the plugin keeps in a backup's manifest.
pub fn facts(backup: &Value) -> &Value {
    &backup["manifest"]["artifacts"][0]["metadata"]
}

pub fn id(backup: &Value) -> &str {
    backup["id"].as_str().unwrap()
}

/// Changes a file system: some files are new, some change, some go.
pub fn change(root: &Path, step: u32) {
    std::fs::create_dir(root.join(format!("directory {step}"))).unwrap();
    for number in 0..20 {
        let file = root.join(format!("directory {step}/file-{number}"));
        std::fs::write(file, format!("{step} {number} ").repeat(100 * number)).unwrap();
    }
    std::fs::write(root.join("changes"), format!("step {step}").repeat(30_000)).unwrap();
    if step > 0 {
        let old = root.join(format!("directory {}", step - 1));
        std::fs::remove_file(old.join("file-3")).unwrap();
        std::fs::rename(old.join("file-4"), root.join(format!("moved-{step}"))).unwrap();
        std::fs::write(old.join("file-5"), "rewritten").unwrap();
    }
}

/// Adds one of each kind that file systems have; zfs-fuse can't hold all of the test kit's hostile tree.
pub fn add_odd_files(root: &Path) {
    tools::require(&["setfacl", "setfattr"]);
    let script = r#"
        set -euo pipefail
        mkdir -p "odd $(printf 'new\nline')/empty directory" odd/deep/deeper
        printf x > "odd/$(printf 'not-utf8-\377')"
        : > odd/empty
        printf 'sparse' | dd of=odd/sparse bs=1 seek=16777216 status=none
        printf linked > odd/link-1; ln odd/link-1 odd/deep/link-2
        ln -s ../nowhere odd/dangling; ln -s . odd/loop
        mkfifo odd/fifo; mknod odd/device c 1 3
        printf x > odd/setuid; chown 1234:5678 odd/setuid; chmod 6755 odd/setuid
        printf x > odd/attributes; setfattr -n user.name -v value odd/attributes
        setfattr -n trusted.name -v value odd/attributes; setfacl -m u:1234:r odd/attributes
        setfacl -d -m g:5678:rwx odd/deep; chmod 1777 odd/deep/deeper
        touch -d '1970-01-02 UTC' odd/empty
    "#;
    let status = Command::new("bash")
        .args(["-c", script])
        .current_dir(root)
        .status();
    assert!(status.unwrap().success());
}

/// Runs `zfs` until it works: zfs-fuse calls a dataset busy for a moment after its last use.
pub fn zfs_when_free(pool: &Pool, args: &[&str]) {
    wait_until(&format!("zfs {args:?} to work"), Duration::from_secs(20), || {
        pool.try_zfs(args).is_ok()
    });
}

/// A copy of a tree as it is now, to compare a restore with later.
pub fn keep_copy(root: &Path, copy: &Path) {
    let status = Command::new("cp")
        .args(["-a", "--sparse=always"])
        .arg(root)
        .arg(copy)
        .status();
    assert!(status.unwrap().success());
}

/// zfs-fuse cuts times to seconds; another file system takes up other room.
#[track_caller]
pub fn assert_same(original: &Path, copy: &Path) {
    compare::trees_except(original, copy, &[Except::Subseconds, Except::Allocation]).unwrap();
}

pub fn new_key(directory: &Path) -> Key {
    tools::require(&["age-keygen", "age"]);
    let file = directory.join("key.txt");
    let made = Command::new("age-keygen").arg("-o").arg(&file).output().unwrap();
    assert!(made.status.success());
    let text = std::fs::read_to_string(&file).unwrap();
    let recipient = text
        .lines()
        .find_map(|line| line.strip_prefix("# public key: "))
        .unwrap();
    Key {
        recipient: recipient.to_owned(),
        file,
    }
}

pub fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            files.extend(files_below(&entry.path()));
        } else {
            files.push(entry.path());
        }
    }
    files
}

/// zfs-fuse ends a receive that was killed only when it notices.
pub fn wait_until_gone(pool: &Pool, dataset: &str) {
    wait_until(&format!("{dataset} to vanish"), Duration::from_secs(10), || {
        !pool.exists(dataset)
    });
}

pub fn wait_until_seen(pool: &Pool, dataset: &str) {
    wait_until(&format!("{dataset} to appear"), Duration::from_secs(10), || {
        pool.exists(dataset)
    });
}

fn merge(into: &mut Value, from: Value) {
    let (Value::Object(into), Value::Object(from)) = (into, from) else {
        panic!("not two objects");
    };
    into.extend(from);
}
