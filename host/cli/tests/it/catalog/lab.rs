//! An old machine with backups, fresh machines that know nothing, and manifests as an attacker would write them.

use std::fs;
use std::path::{Path, PathBuf};

use backstay_model::manifest::Manifest;
use backstay_testkit::cli::{Backstay, Output};
use serde_json::{Value, json};

/// A machine with a job `j` that was run a few times, and the directory that it backs up to.
pub struct Lab {
    pub old: Backstay,
    pub source: PathBuf,
    pub place: PathBuf,
}

impl Lab {
    pub fn new(job: Value) -> Self {
        let old = Backstay::new(env!("CARGO_BIN_EXE_backstay"));
        let [source, place] = ["source", "place"].map(|name| old.scratch_dir().join(name));
        fs::create_dir_all(source.join("sub")).unwrap();
        fs::create_dir(&place).unwrap();
        fs::write(source.join("sub/file"), "content").unwrap();
        fs::write(source.join("other"), vec![b'x'; 100_000]).unwrap();
        let mut all = json!({
            "name": "j",
            "source": { "plugin": "path", "config": { "path": source } },
            "destinations": [{ "plugin": "local", "config": { "path": place } }],
        });
        let Value::Object(more) = job else {
            panic!("a job is an object")
        };
        all.as_object_mut().unwrap().extend(more);
        all["source"]["config"]["path"] = json!(source);
        old.apply(&all.to_string()).ok();
        Lab { old, source, place }
    }

    /// Makes a backup.
    pub fn back_up(&self) -> Value {
        self.old.json(&["run", "j"])["backups"][0].clone()
    }

    /// Writes a manifest, sealed as a host would, under `JOB/BACKUP` of its own or of `directory`. `change` makes
    /// it what it is.
    pub fn forge(&self, from: &Value, directory: &str, change: impl FnOnce(&mut Value)) {
        let mut value = from["manifest"].clone();
        change(&mut value);
        let mut manifest: Manifest = serde_json::from_value(value).unwrap();
        let text = manifest.seal().unwrap();
        self.put(&format!("{directory}/manifest.json"), text.as_bytes());
    }

    /// Writes a file at the destination.
    pub fn put(&self, name: &str, bytes: &[u8]) {
        let file = self.place.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, bytes).unwrap();
    }
}

pub fn fresh() -> Backstay {
    Backstay::new(env!("CARGO_BIN_EXE_backstay"))
}

/// Rebuilds from a directory.
pub fn rebuild(backstay: &Backstay, place: &Path, more: &[&str]) -> Output {
    let config = json!({ "path": place }).to_string();
    let fixed = ["catalog", "rebuild", "--plugin", "local", "--config", &config];
    backstay.run(&[&fixed, more].concat())
}

/// What a rebuild from one directory did.
#[track_caller]
pub fn rebuilt(backstay: &Backstay, place: &Path, code: i32) -> Value {
    rebuild(backstay, place, &["--json"]).code(code).json()["destinations"][0].clone()
}

/// The catalogue, newest first.
pub fn backups(backstay: &Backstay) -> Vec<Value> {
    backstay.json(&["backups"]).as_array().unwrap().clone()
}

/// Kinds of problems by manifest, sorted.
pub fn problems(rebuilt: &Value) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = rebuilt["problems"]
        .as_array()
        .unwrap()
        .iter()
        .map(|problem| {
            let word = |name: &str| problem[name].as_str().unwrap().to_owned();
            (word("manifest"), word("kind"))
        })
        .collect();
    all.sort();
    all
}
