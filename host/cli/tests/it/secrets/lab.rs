//! A job whose source hands a secret to a program.

use std::fs;
use std::path::PathBuf;

use backstay_testkit::cli::{Backstay, Output};
use serde_json::{Value, json};

pub struct Lab {
    pub backstay: Backstay,
}

impl Lab {
    pub fn new() -> Self {
        Self::on(|backstay| backstay)
    }

    pub fn on(change: impl FnOnce(Backstay) -> Backstay) -> Self {
        let backstay = change(Backstay::with_guests(
            env!("CARGO_BIN_EXE_backstay"),
            &["lab-source"],
        ));
        fs::create_dir(backstay.scratch_dir().join("store")).unwrap();
        Lab { backstay }
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.backstay.scratch_dir().join(name)
    }

    pub fn key(&self) -> PathBuf {
        self.backstay.data_dir().join("secrets.key")
    }

    /// The job `name`, whose program gets the secret `token` as `LAB_SECRET`.
    pub fn job(&self, name: &str, script: &str, more: &Value) -> Value {
        let mut job = json!({
            "name": name,
            "source": { "plugin": "lab-source", "config": { "do": "secret", "secret": "token", "script": script } },
            "destinations": [{ "plugin": "local", "config": { "path": self.at("store") } }],
            "guards": { "minBytes": 0 },
        });
        let fields = job.as_object_mut().unwrap();
        fields.extend(more.as_object().unwrap().clone());
        job
    }

    #[track_caller]
    pub fn apply(&self, name: &str, script: &str) {
        self.backstay
            .apply(&self.job(name, script, &json!({})).to_string())
            .ok();
    }

    /// What the newest backup of a job holds.
    #[track_caller]
    pub fn content(&self, job: &str) -> String {
        let backup = format!("latest:{job}");
        self.backstay.run(&["restore", &backup, "--to", "-"]).ok().stdout
    }

    /// What the doctor says of the things whose name begins so.
    #[track_caller]
    pub fn doctor(&self, about: &str) -> Vec<(String, bool, String)> {
        let doctor = self.backstay.run_json(&["doctor"]).json();
        let checks = doctor["checks"].as_array().unwrap().iter();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        checks
            .map(|check| (text(&check["check"]), check["ok"] == true, text(&check["says"])))
            .filter(|(check, _, _)| check.starts_with(about))
            .collect()
    }
}

/// All that a command said.
pub fn said(output: &Output) -> String {
    format!("{}{}", output.stdout, output.stderr)
}
