//! A program, a place for its backups, and jobs between them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use backstay_testkit::cli::{Backstay, Output};

use super::places::Place;
use crate::roundtrip::{Key, key};

/// Bytes that don't compress, the same each time.
pub fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let step = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..bytes).map(step).collect()
}

/// Each way in which a stream is stored.
pub const FILTERS: [(&str, &str); 2] = [
    ("plain", ""),
    (
        "sealed",
        "compression: { algorithm: zstd, level: 1 }, encryption: { recipients: [RECIPIENT] }",
    ),
];

/// A program with a place for its backups.
pub struct Desk<P> {
    pub backstay: Backstay,
    pub place: P,
    pub key: Key,
}

impl<P: Place> Desk<P> {
    pub fn new() -> Self {
        let backstay = Backstay::with_guests(env!("CARGO_BIN_EXE_backstay"), &["lab-source"]);
        let own = backstay.scratch_dir().join("destination");
        fs::create_dir(&own).unwrap();
        let place = P::start(&own);
        place.introduce(&backstay);
        let key = key(backstay.scratch_dir(), "key.txt");
        Desk { backstay, place, key }
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.backstay.scratch_dir().join(name)
    }

    /// A job that backs up what `source.sh` writes.
    pub fn stream_job(&self, filters: &str) {
        let script = self.at("source.sh").display().to_string();
        let source = format!("{{ plugin: lab-source, config: {{ do: command, script: '. {script}' }} }}");
        self.apply(&source, filters);
    }

    /// A job that backs up the directory.
    pub fn tree_job(&self, directory: &Path, filters: &str) {
        let source = format!(
            "{{ plugin: path, config: {{ path: {}, stream: false }} }}",
            directory.display()
        );
        self.apply(&source, filters);
    }

    fn apply(&self, source: &str, filters: &str) {
        let filters = filters.replace("RECIPIENT", &self.key.public);
        let destination = self.place.destination();
        self.backstay
            .apply(&format!(
                "name: j\nsource: {source}\ndestinations: [{destination}]\nfilters: {{ {filters} }}\nguards: {{ minBytes: 0, maxShrinkPercent: 100 }}\nretries: {{ attempts: 1 }}\n"
            ))
            .ok();
    }

    /// What the source runs from now on.
    pub fn script(&self, text: &str) {
        fs::write(self.at("source.sh"), text).unwrap();
    }

    pub fn run(&self) -> Output {
        self.backstay.run_json(&["run", "j"])
    }

    pub fn verify(&self, level: &str) -> Output {
        let identity = self.key.file.to_str().unwrap();
        self.backstay
            .run(&["verify", "latest:j", "--level", level, "--identity", identity])
    }

    pub fn restore(&self, to: &str) -> Output {
        let identity = self.key.file.to_str().unwrap();
        self.backstay
            .run(&["restore", "latest:j", "--to", to, "--identity", identity])
    }

    pub fn stored(&self) -> BTreeSet<String> {
        self.place.stored()
    }

    /// At the place is what is in the catalogue, and nothing is left to do.
    #[track_caller]
    pub fn holds_what_it_should(&self, at: &str) {
        let mut expected = BTreeSet::new();
        for backup in self.backstay.json(&["backups"]).as_array().unwrap() {
            let object = backup["manifest"]["artifacts"][0]["object"].as_str().unwrap();
            let (directory, _) = object.rsplit_once('/').unwrap();
            expected.extend([object.to_owned(), format!("{directory}/manifest.json")]);
            if P::HAS_DIRECTORIES {
                expected.insert(directory.to_owned());
            }
        }
        assert_eq!(self.stored(), expected, "{at}");
        self.has_nothing_to_undo(at);
    }

    #[track_caller]
    pub fn has_nothing_to_undo(&self, at: &str) {
        assert_eq!(self.place.unfinished(), Vec::<String>::new(), "{at}");
        let doctor = self.backstay.json(&["doctor"]);
        let checks = doctor["checks"].as_array().unwrap();
        let journal = checks.iter().find(|c| c["check"] == "journal").unwrap();
        assert_eq!(journal["says"], "nothing left to undo", "{at}");
    }
}
