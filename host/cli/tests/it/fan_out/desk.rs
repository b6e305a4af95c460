//! A job whose source counts how often it is read, and places that are looked at as files.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use backstay_testkit::cli::{Backstay, Output};
use serde_json::Value;

use crate::abort::paths;

pub struct Desk {
    pub backstay: Backstay,
}

impl Desk {
    pub fn new() -> Self {
        let labs = ["lab-source", "lab-destination"];
        let desk = Desk {
            backstay: Backstay::with_guests(env!("CARGO_BIN_EXE_backstay"), &labs),
        };
        desk.source("true");
        desk
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.backstay.scratch_dir().join(name)
    }

    /// A job that stores what the source's script writes at each of these destinations.
    pub fn apply(&self, destinations: &[String], more: &str) {
        let script = self.at("source.sh").display().to_string();
        let source = format!("{{ plugin: lab-source, config: {{ do: command, script: '. {script}' }} }}");
        self.apply_source(&source, destinations, more);
    }

    pub fn apply_source(&self, source: &str, destinations: &[String], more: &str) {
        let destinations: String = destinations.iter().map(|d| format!("  - {{ {d} }}\n")).collect();
        self.backstay
            .apply(&format!(
                "name: j\nsource: {source}\ndestinations:\n{destinations}guards: {{ minBytes: 0, maxShrinkPercent: 100 }}\n{more}\n"
            ))
            .ok();
    }

    /// What the source runs from now on.
    pub fn source(&self, text: &str) {
        let log = self.at("reads");
        fs::write(
            self.at("source.sh"),
            format!("echo read >> {}\n{text}\n", log.display()),
        )
        .unwrap();
    }

    /// How often the source was read so far.
    pub fn reads(&self) -> usize {
        fs::read_to_string(self.at("reads")).map_or(0, |text| text.lines().count())
    }

    /// A directory as a place.
    pub fn local(&self, name: &str) -> String {
        let place = self.at(name);
        fs::create_dir_all(&place).unwrap();
        format!(
            "plugin: local, config: {{ path: {}, minFreeBytes: 0 }}",
            place.display()
        )
    }

    /// A place that gives what it gets to a script, which says how many bytes it has kept.
    pub fn script_place(&self, name: &str, script: &str, more: &str) -> String {
        let file = self.at(name);
        fs::write(&file, script).unwrap();
        format!(
            "plugin: lab-destination, config: {{ do: process, script: '. {}'{more} }}",
            file.display()
        )
    }

    pub fn run(&self) -> Output {
        self.backstay.run_json(&["run", "j"])
    }

    pub fn events(&self) -> String {
        let events = self.backstay.json(&["logs", "j"]);
        let messages = events.as_array().unwrap().iter();
        messages
            .map(|e| format!("{}\n", e["message"].as_str().unwrap()))
            .collect()
    }

    /// Runs the job, which must end with this code and sentence, and leave nothing anywhere.
    #[track_caller]
    pub fn fails(&self, code: i32, sentence: &str, places: &[&str]) -> Value {
        let run = self.run().code(code).json();
        let message = run["error"]["message"].as_str().unwrap();
        assert!(message.contains(sentence), "{message}");
        assert!(!message.contains("roken pipe"), "{message}");
        for place in places {
            let found = paths(&self.at(place));
            assert_eq!(found, BTreeSet::new(), "something is left in {place}");
        }
        assert_eq!(self.backstay.json(&["backups"]), serde_json::json!([]));
        self.has_nothing_to_undo();
        run
    }

    #[track_caller]
    pub fn has_nothing_to_undo(&self) {
        let doctor = self.backstay.json(&["doctor"]);
        let checks = doctor["checks"].as_array().unwrap();
        let journal = checks.iter().find(|c| c["check"] == "journal").unwrap();
        assert_eq!(journal["says"], "nothing left to undo");
    }
}

/// The one artifact of a destination's backup, as its manifest tells of it.
pub fn artifact(run: &Value, destination: usize) -> &Value {
    &run["backups"][destination]["manifest"]["artifacts"][0]
}

/// The bytes of the one object in a directory of backups.
#[track_caller]
pub fn object(place: &Path) -> Vec<u8> {
    let mut found = paths(place);
    found.retain(|path| path.is_file() && !path.ends_with("manifest.json"));
    assert_eq!(found.len(), 1, "{found:?}");
    fs::read(found.first().unwrap()).unwrap()
}

/// A script that writes so many mebibytes which don't compress, the same each time.
pub fn noise(desk: &Desk, mebibytes: usize) -> String {
    let file = desk.at("noise");
    fs::write(&file, crate::destinations::noise(1 << 20)).unwrap();
    let file = file.display();
    format!("n=0; while [ $n -lt {mebibytes} ]; do cat {file} || exit 1; n=$((n+1)); done")
}
