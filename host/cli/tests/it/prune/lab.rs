//! A job `j` whose backups are made at any time of any year.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use backstay_testkit::cli::Backstay;
use backstay_testkit::clock::Clock;
use serde_json::Value;

pub const BINARY: &str = env!("CARGO_BIN_EXE_backstay");

pub struct Lab {
    pub backstay: Backstay,
    pub clock: Clock,
    pub source: PathBuf,
    pub place: PathBuf,
}

impl Lab {
    /// A job without retention, which stores one tar stream.
    pub fn new() -> Self {
        let place = |backstay: &Backstay| backstay.scratch_dir().join("place");
        Self::at(Backstay::new(BINARY), place)
    }

    /// The same, which stores at `place`.
    pub fn at(backstay: Backstay, place: impl FnOnce(&Backstay) -> PathBuf) -> Self {
        let (backstay, clock) = Clock::of(backstay);
        let (source, place) = (backstay.scratch_dir().join("source"), place(&backstay));
        fs::create_dir_all(source.join("deep")).unwrap();
        fs::write(source.join("deep/file"), "content of a file").unwrap();
        fs::create_dir_all(&place).unwrap();
        let lab = Lab {
            backstay,
            clock,
            source,
            place,
        };
        lab.clock.set("2026-11-21 12:00:00");
        lab.apply("");
        lab
    }

    /// Applies the job with more of it.
    #[track_caller]
    pub fn apply(&self, more: &str) {
        self.backstay.apply(&self.job("stream: true", "", more)).ok();
    }

    pub fn job(&self, source: &str, destinations: &str, more: &str) -> String {
        format!(
            "name: j\nsource: {{ plugin: path, config: {{ path: {}, {source} }} }}\ndestinations:\n  - {{ plugin: local, config: {{ path: {}, minFreeBytes: 0 }} }}\n{destinations}{more}\n",
            self.source.display(),
            self.place.display()
        )
    }

    /// Runs the job at a time, which must succeed. What comes after it is later in that minute.
    #[track_caller]
    pub fn back_up(&self, at: &str) -> Value {
        self.clock.set(at);
        let run = self.backstay.json(&["run", "j"]);
        self.clock.set(&format!("{}59", &at[..17]));
        assert_eq!(run["status"], "succeeded", "{run:#}");
        run
    }

    /// Backups at noon of these days, oldest first: their ids.
    #[track_caller]
    pub fn history(&self, days: &[&str]) -> Vec<String> {
        let made = days
            .iter()
            .map(|day| self.back_up(&format!("{day} 12:00:00"))["backups"][0]["id"].clone());
        made.map(|id| id.as_str().unwrap().to_owned()).collect()
    }

    /// The days of the backups in the catalogue, newest first.
    #[track_caller]
    pub fn days(&self) -> Vec<String> {
        days(&self.backstay.json(&["backups"]))
    }

    /// Asserts that at `place` there are exactly the backups of the catalogue, each of them whole.
    #[track_caller]
    pub fn assert_in_step(&self, at: &str) {
        let backups = self.backstay.json(&["backups"]);
        let mut listed = BTreeSet::new();
        for backup in backups.as_array().unwrap() {
            let location = Path::new(backup["location"].as_str().unwrap());
            if location.starts_with(&self.place) {
                listed.insert(location.parent().unwrap().to_owned());
            }
        }
        assert_eq!(directories(&self.place.join("j")), listed, "{at}");
        assert_whole(&self.place.join("j"), at);
    }
}

/// The days of some backups.
pub fn days(backups: &Value) -> Vec<String> {
    let backups = backups.as_array().unwrap().iter();
    backups
        .map(|b| b["createdAt"].as_str().unwrap()[..10].to_owned())
        .collect()
}

/// The directories right in a directory, whether or not it is there.
pub fn directories(parent: &Path) -> BTreeSet<PathBuf> {
    let Ok(entries) = fs::read_dir(parent) else {
        return BTreeSet::new();
    };
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// Asserts that of each backup that has a manifest all is there that the manifest names: whoever finds it may trust it.
#[track_caller]
pub fn assert_whole(job: &Path, at: &str) {
    for directory in directories(job) {
        let Ok(text) = fs::read(directory.join("manifest.json")) else {
            continue;
        };
        let manifest: Value = serde_json::from_slice(&text).unwrap();
        for artifact in manifest["artifacts"].as_array().unwrap() {
            let location = Path::new(artifact["location"].as_str().unwrap());
            if artifact["form"] == "tree" {
                assert!(
                    location.join("deep/file").is_file() && location.with_extension("index").is_file(),
                    "{at}: {} is half gone and has a manifest",
                    location.display()
                );
            } else {
                let stored = fs::metadata(location).map(|m| m.len()).ok();
                assert_eq!(
                    stored,
                    artifact["stored"]["bytes"].as_u64(),
                    "{at}: {}",
                    location.display()
                );
            }
        }
    }
}

/// What was decided: the day, what becomes of it, and why, newest first.
pub fn decided(prune: &Value, destination: usize) -> Vec<String> {
    let backups = prune["destinations"][destination]["backups"].as_array().unwrap();
    let line = |backup: &Value| {
        let reasons: Vec<&str> = backup["reasons"]
            .as_array()
            .unwrap()
            .iter()
            .map(|r| r.as_str().unwrap())
            .collect();
        let day = &backup["createdAt"].as_str().unwrap()[..10];
        format!(
            "{day} {}: {}",
            backup["action"].as_str().unwrap(),
            reasons.join(", ")
        )
    };
    backups.iter().map(line).collect()
}
