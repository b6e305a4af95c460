//! Containers of their own for a test, and a job that backs some of them up to a directory.

use std::path::{Path, PathBuf};
use std::process::Command;

use backstay_testkit::cli::{Backstay, Output};
use backstay_testkit::containers::{Containers, OBEDIENT};
use serde_json::{Value, json};

pub const BINARY: &str = env!("CARGO_BIN_EXE_backstay");

pub struct Lab {
    pub backstay: Backstay,
    pub containers: Containers,
}

impl Lab {
    pub fn new() -> Self {
        let containers = Containers::start();
        let backstay = Backstay::new(BINARY);
        let lab = Lab { backstay, containers };
        std::fs::create_dir(lab.store()).unwrap();
        lab
    }

    /// The directory that backups go to.
    pub fn store(&self) -> PathBuf {
        self.backstay.scratch_dir().join("store")
    }

    /// A directory for the test's own files.
    pub fn directory(&self, name: &str) -> PathBuf {
        let path = self.backstay.scratch_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    /// Runs a container with a volume `NAME-data` that holds a file.
    pub fn run_with_volume(&self, name: &str, options: &[&str], script: &str) -> PathBuf {
        let volume = format!("{name}-data");
        let path = self.containers.volume(&volume);
        std::fs::write(path.join("file"), format!("of {name}")).unwrap();
        let mount = format!("{volume}:/data");
        self.containers
            .run(name, &[&["--volume", &mount], options].concat(), script);
        path
    }

    /// Runs a container that stops when it is asked to.
    pub fn run_obedient(&self, name: &str, options: &[&str]) -> PathBuf {
        self.run_with_volume(name, options, OBEDIENT)
    }

    /// A job of this source, merged over one that knows where the engine is.
    pub fn job(&self, config: Value, more: Value) -> Value {
        let mut all = json!({
            "name": "c",
            "source": { "plugin": "docker", "config": {
                "engine": "podman",
                "host": self.containers.address(),
                "dataRoot": self.containers.volumes(),
            } },
            "destinations": [{ "plugin": "local", "config": { "path": self.store(), "minFreeBytes": 0 } }],
            "retries": { "attempts": 1 },
        });
        merge(&mut all["source"]["config"], config);
        merge(&mut all, more);
        all
    }

    /// Applies the job `c`. It may be warned of.
    #[track_caller]
    pub fn apply(&self, config: Value) {
        self.apply_with(config, json!({}));
    }

    #[track_caller]
    pub fn apply_with(&self, config: Value, more: Value) {
        self.backstay.apply(&self.job(config, more).to_string()).ok();
    }

    /// Runs the job, which must succeed without a warning, and returns the backup.
    #[track_caller]
    pub fn back_up(&self) -> Value {
        let run = self.run(0);
        run["backups"][0].clone()
    }

    /// Runs the job, which must end with this exit code, and returns the run.
    #[track_caller]
    pub fn run(&self, code: i32) -> Value {
        self.backstay.run_json(&["run", "c"]).code(code).json()
    }

    /// What a run warned of, as `CODE: MESSAGE`.
    pub fn warnings(run: &Value) -> Vec<String> {
        let all = run["warnings"].as_array().unwrap().iter();
        all.map(|w| {
            format!(
                "{}: {}",
                w["code"].as_str().unwrap(),
                w["message"].as_str().unwrap()
            )
        })
        .collect()
    }

    #[track_caller]
    pub fn assert_states(&self, expected: &[(&str, &str)]) {
        for (name, state) in expected {
            assert_eq!(self.containers.state(name), *state, "{name}");
        }
    }

    pub fn newest_run(&self) -> Value {
        self.backstay.json(&["runs"])[0].clone()
    }

    /// The lines of the newest run's log.
    pub fn log(&self) -> String {
        let run = self.newest_run();
        self.backstay
            .run(&["logs", run["id"].as_str().unwrap()])
            .ok()
            .stdout
    }
}

/// The names of a backup's artifacts.
pub fn artifacts(backup: &Value) -> Vec<&str> {
    let all = backup["manifest"]["artifacts"].as_array().unwrap().iter();
    all.map(|a| a["name"].as_str().unwrap()).collect()
}

/// What the plugin keeps about an artifact.
pub fn facts<'a>(backup: &'a Value, name: &str) -> &'a Value {
    let all = backup["manifest"]["artifacts"].as_array().unwrap();
    &all.iter().find(|a| a["name"] == name).unwrap()["metadata"]
}

/// A copy of a tree as it is now, to compare a restore with later.
pub fn keep_copy(root: &Path, copy: &Path) {
    let copied = Command::new("cp")
        .args(["-a", "--sparse=always"])
        .arg(root)
        .arg(copy)
        .status();
    assert!(copied.unwrap().success());
}

/// Runs a recovery kit with nothing of Backstay in its environment.
pub fn run_kit(kit: &str, target: &Path) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("kit.sh");
    std::fs::write(&script, kit).unwrap();
    let mut bash = Command::new("bash");
    bash.arg(&script)
        .arg(target)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    let result = bash.current_dir("/").output().unwrap();
    Output {
        code: result.status.code().unwrap(),
        stdout: String::from_utf8_lossy(&result.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&result.stderr).into_owned(),
        stdout_bytes: result.stdout,
    }
}

fn merge(into: &mut Value, from: Value) {
    let (Value::Object(into), Value::Object(from)) = (into, from) else {
        panic!("not two objects");
    };
    into.extend(from);
}
