//! A program, a directory to back up, and a directory for its snapshots.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use backstay_testkit::cli::{Backstay, Output};
use backstay_testkit::{compare, tools};
use serde_json::{Value, json};

pub struct Lab {
    pub backstay: Backstay,
}

impl Lab {
    pub fn new() -> Self {
        tools::require(&["rsync"]);
        let backstay = Backstay::new(env!("CARGO_BIN_EXE_backstay"));
        let lab = Lab { backstay };
        fs::create_dir(lab.at("source")).unwrap();
        fs::create_dir(lab.at("place")).unwrap();
        lab
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.backstay.scratch_dir().join(name)
    }

    /// A file of the source.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.at("source").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// The job, with more in the destination's configuration and in the job itself.
    pub fn apply(&self, config: Value, more: Value) {
        self.apply_to(&self.at("place"), config, more).ok();
    }

    pub fn apply_to(&self, place: &Path, config: Value, more: Value) -> Output {
        let mut destination = json!({ "localDestination": place, "minFreeBytes": 0 });
        destination
            .as_object_mut()
            .unwrap()
            .extend(config.as_object().unwrap().clone());
        let mut job = json!({
            "name": "j",
            "source": { "plugin": "path", "config": { "path": self.at("source"), "stream": false } },
            "destinations": [{ "plugin": "rsync", "config": destination }],
            "retries": { "attempts": 1 },
        });
        job.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        self.backstay.apply(&job.to_string())
    }

    pub fn run(&self) -> Output {
        self.backstay.run_json(&["run", "j"])
    }

    /// Runs, and says where the snapshot is.
    #[track_caller]
    pub fn snapshot(&self) -> PathBuf {
        let run = self.run().ok().json();
        let artifact = &run["backups"][0]["manifest"]["artifacts"][0];
        assert_eq!(artifact["form"], "tree");
        PathBuf::from(artifact["location"].as_str().unwrap())
    }

    pub fn verify(&self) -> Output {
        self.backstay.run(&["verify", "latest:j", "--level", "checksum"])
    }

    /// The newest backup restored is the source.
    #[track_caller]
    pub fn comes_back(&self, name: &str) {
        let target = self.at(name);
        self.backstay
            .run(&["restore", "latest:j", "--to", target.to_str().unwrap()])
            .ok();
        compare::trees(&self.at("source"), &target).unwrap();
    }

    /// The names in the job's directory, and in those of its backups.
    pub fn stored(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let Ok(backups) = fs::read_dir(self.at("place/j")) else {
            return found;
        };
        for backup in backups {
            let backup = backup.unwrap();
            let id = backup.file_name().into_string().unwrap();
            if id == "latest" {
                continue;
            }
            for entry in fs::read_dir(backup.path()).unwrap() {
                found.insert(format!(
                    "{id}/{}",
                    entry.unwrap().file_name().into_string().unwrap()
                ));
            }
            found.insert(id);
        }
        found
    }
}
