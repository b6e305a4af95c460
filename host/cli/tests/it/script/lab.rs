//! Jobs with scripts.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use backstay_testkit::cli::{Backstay, Output};
use backstay_testkit::tools;
use serde_json::{Value, json};

pub struct Lab {
    pub backstay: Backstay,
}

impl Lab {
    pub fn new() -> Self {
        tools::require(&["bwrap", "setpriv", "python3"]);
        let backstay = Backstay::new(env!("CARGO_BIN_EXE_backstay"));
        for name in ["store", "notes"] {
            fs::create_dir(backstay.scratch_dir().join(name)).unwrap();
        }
        fs::write(backstay.scratch_dir().join("notes/file"), "content\n").unwrap();
        for path in [backstay.scratch_dir(), &backstay.scratch_dir().join("notes")] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        Lab { backstay }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.backstay.scratch_dir().join(name)
    }

    /// Writes a script and returns its path.
    pub fn script(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// Applies a job `j` whose source is a script, with more of its configuration and of the job.
    #[track_caller]
    pub fn apply(&self, script: &Path, config: Value, job: Value) {
        let mut source = json!({ "scriptPath": script });
        merge(&mut source, config);
        self.apply_source(json!({ "plugin": "script", "config": source }), job);
    }

    /// Applies a job `j` with this source.
    #[track_caller]
    pub fn apply_source(&self, source: Value, job: Value) {
        let mut all = json!({ "name": "j", "source": source, "destinations": [self.destination()] });
        merge(&mut all, job);
        self.backstay.apply(&all.to_string()).ok();
    }

    pub fn destination(&self) -> Value {
        json!({ "plugin": "local", "config": { "path": self.path("store"), "minFreeBytes": 0 } })
    }

    #[track_caller]
    pub fn run(&self, code: i32) -> Value {
        self.backstay.run_json(&["run", "j"]).code(code).json()
    }

    /// Runs the job, which must fail with this exit code, and returns the reason.
    #[track_caller]
    pub fn reason(&self, code: i32) -> String {
        let run = self.run(code);
        assert_eq!(run["backups"], json!([]));
        self.assert_clean();
        run["error"]["message"].as_str().unwrap().to_owned()
    }

    /// The log of the newest run.
    pub fn log(&self) -> String {
        let run = self.backstay.json(&["runs"])[0]["id"]
            .as_str()
            .unwrap()
            .to_owned();
        self.backstay.run(&["logs", &run]).ok().stdout
    }

    #[track_caller]
    pub fn restore(&self) -> PathBuf {
        let target = self.path("restored");
        self.backstay
            .run(&["restore", "latest:j", "--to", target.to_str().unwrap()])
            .ok();
        target
    }

    /// Nothing of a run is left in the scratch space or the journal.
    #[track_caller]
    pub fn assert_clean(&self) {
        let scratch = self.backstay.data_dir().join("scratch");
        let left: Vec<_> = fs::read_dir(&scratch).into_iter().flatten().flatten().collect();
        assert!(left.is_empty(), "{left:?}");
        let doctor = self.backstay.json(&["doctor"]);
        let checks = doctor["checks"].as_array().unwrap();
        let journal = checks.iter().find(|check| check["check"] == "journal").unwrap();
        assert_eq!(journal["says"], "nothing left to undo");
    }

    /// What is wrong with a job, as the program says it.
    pub fn diagnostics(&self, job: &Value) -> Output {
        let file = self.path("wrong.json");
        fs::write(&file, job.to_string()).unwrap();
        self.backstay
            .run_json(&["job", "validate", "-f", file.to_str().unwrap()])
    }
}

fn merge(into: &mut Value, from: Value) {
    let (Value::Object(into), Value::Object(from)) = (into, from) else {
        panic!("not two objects");
    };
    into.extend(from);
}

/// Whether a process has this word in its command line. The words of tests are unique.
pub fn is_anywhere(word: &str) -> bool {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    lines
        .into_iter()
        .any(|line| String::from_utf8_lossy(&line).contains(word))
}
