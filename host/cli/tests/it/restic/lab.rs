//! A program, a repository, and a job `j` between a directory and it.

use std::fs;
use std::path::PathBuf;

use backstay_testkit::cli::{Backstay, Output};
use backstay_testkit::restic::{PASSWORD, Repository};
use serde_json::{Value, json};

pub struct Lab {
    pub backstay: Backstay,
    pub repository: Repository,
}

impl Lab {
    pub fn new() -> Self {
        let backstay = Backstay::with_guests(env!("CARGO_BIN_EXE_backstay"), &["lab-source"]);
        let repository = Repository::create(&backstay.scratch_dir().join("repository"));
        let lab = Lab { backstay, repository };
        fs::create_dir(lab.at("source")).unwrap();
        fs::write(lab.at("source/file"), "content of a file").unwrap();
        lab.secret("restic", PASSWORD);
        lab
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.backstay.scratch_dir().join(name)
    }

    pub fn secret(&self, name: &str, text: &str) {
        self.backstay.secret(name, text);
    }

    /// The configuration, with more or other fields.
    pub fn config(&self, more: &Value) -> Value {
        let mut config = json!({ "repository": self.repository.path(), "passwordSecret": "restic" });
        let fields = config.as_object_mut().unwrap();
        fields.extend(more.as_object().unwrap().clone());
        config
    }

    /// A job of the directory.
    pub fn job(&self, config: &Value) -> Value {
        json!({
            "name": "j",
            "source": { "plugin": "path", "config": { "path": self.at("source"), "stream": true } },
            "destinations": [{ "plugin": "restic", "config": config }],
            "guards": { "minBytes": 0, "maxShrinkPercent": 100 },
            "retries": { "attempts": 1 },
        })
    }

    #[track_caller]
    pub fn apply(&self, job: &Value) {
        self.backstay.apply(&job.to_string()).ok();
    }

    /// Applies a job of what a shell script writes.
    #[track_caller]
    pub fn apply_script(&self, script: &str) {
        let mut job = self.job(&self.config(&json!({})));
        job["source"] = json!({ "plugin": "lab-source", "config": { "do": "command", "script": script } });
        self.apply(&job);
    }

    #[track_caller]
    pub fn run(&self) -> Output {
        self.backstay.run_json(&["run", "j"])
    }

    /// Runs the job with this configuration.
    #[track_caller]
    pub fn run_with(&self, more: &Value) -> Output {
        self.apply(&self.job(&self.config(more)));
        self.run()
    }

    /// What is said of a configuration.
    pub fn says(&self, config: &Value) -> String {
        let file = self.at("validated.json");
        fs::write(&file, self.job(config).to_string()).unwrap();
        let output = self
            .backstay
            .run(&["job", "validate", "-f", file.to_str().unwrap()]);
        let said = format!("{}{}[{}]\n", output.stdout, output.stderr, output.code);
        said.replace(self.backstay.scratch_dir().to_str().unwrap(), "DIR")
    }
}

/// Asserts how a run ended, that its words hold `sentence`, and that the next step is said.
#[track_caller]
pub fn ends(output: Output, code: i32, sentence: &str) {
    let error = &output.code(code).json()["error"];
    assert!(error["message"].as_str().unwrap().contains(sentence), "{error}");
    assert!(error["hint"].is_string(), "{error}");
}

/// The id of the job.
pub fn job_id(lab: &Lab) -> String {
    let job = lab.backstay.json(&["job", "show", "j"]);
    job["id"].as_str().unwrap().to_owned()
}
