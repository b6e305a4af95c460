//! One backup for each thing that can happen, all at one destination: all of it is done, and all of it is looked for.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use backstay_testkit::cli::{Backstay, Output};
use backstay_testkit::compare;
use serde_json::Value;

use super::harm::{HARMS, Harm, LEVELS, PARTS, Part, found_by};
use crate::destinations::noise;
use crate::destinations::places::{Local, ObjectS3Files, Place, RcloneDisk, ResticDisk, RsyncDisk};
use crate::roundtrip::{Key, key};

/// A destination whose stored files can be reached.
pub trait Damageable: Place {
    /// Its plugin.
    const PLUGIN: &str;

    /// The levels that are tried. The deeper ones read no more of what is stored.
    const TRIED: &[&str] = &["size", "checksum"];

    /// After which a restore is tried.
    const RESTORED: &[Harm] = &[Harm::MiddleBit];

    /// The destination of the backup number `n` of a job, as the job names it, and where its files are.
    fn nth(&self, _job: &str, _: usize) -> (String, PathBuf) {
        (self.destination(), self.files())
    }

    /// The file that holds a part of a backup.
    fn part(&self, files: &Path, backup: &Value, part: Part) -> PathBuf {
        let artifact = &backup["manifest"]["artifacts"][0];
        let object = files.join(artifact["object"].as_str().unwrap());
        match part {
            Part::File => object.join("sub/file"),
            Part::Index => files.join(artifact["index"]["object"].as_str().unwrap()),
            Part::Manifest => object.with_file_name("manifest.json"),
            _ => object,
        }
    }
}

impl Damageable for Local {
    const PLUGIN: &str = "local";
    const TRIED: &[&str] = &LEVELS;
    const RESTORED: &[Harm] = &[Harm::MiddleBit, Harm::CutShort, Harm::Deleted, Harm::Swapped];
}

impl Damageable for ObjectS3Files {
    const PLUGIN: &str = "object";
}

impl Damageable for RcloneDisk {
    const PLUGIN: &str = "rclone";
}

impl Damageable for RsyncDisk {
    const PLUGIN: &str = "rsync";
}

impl Damageable for ResticDisk {
    const PLUGIN: &str = "restic";

    /// What is in a repository may belong to all of its backups.
    fn nth(&self, job: &str, n: usize) -> (String, PathBuf) {
        self.another(&format!("{job}-{n}"))
    }

    fn part(&self, files: &Path, backup: &Value, part: Part) -> PathBuf {
        let object = backup["manifest"]["artifacts"][0]["object"].as_str().unwrap();
        match part {
            Part::Snapshot | Part::TreeSnapshot => Self::snapshot_of(files, object),
            _ => Self::largest_pack(files),
        }
    }
}

/// One thing that happens.
#[derive(Debug, Clone, Copy)]
struct Case {
    part: Part,
    harm: Harm,
    found_by: &'static str,
}

/// What is stored together because it is stored in the same way: by what the source and the filters say.
#[derive(Clone, Copy)]
pub struct Form {
    job: &'static str,
    source: &'static str,
    filters: &'static str,
    parts: &'static [Part],
}

pub const STREAMS: Form = FORMS[0];
pub const SEALED: Form = FORMS[1];

const FORMS: [Form; 3] = [
    Form {
        job: "streams",
        source: "",
        filters: "",
        parts: &[Part::Stream, Part::Manifest, Part::Pack, Part::Snapshot],
    },
    Form {
        job: "sealed",
        source: "",
        filters: "compression: { algorithm: zstd }, encryption: { recipients: [RECIPIENT] }",
        parts: &[Part::Sealed],
    },
    Form {
        job: "trees",
        source: ", stream: false",
        filters: "",
        parts: &[Part::File, Part::Index, Part::TreePack, Part::TreeSnapshot],
    },
];

impl Form {
    fn cases(&self, plugin: &str) -> Vec<Case> {
        let parts = PARTS.into_iter().filter(|part| self.parts.contains(part));
        let all = parts.flat_map(|part| HARMS.map(|harm| (part, harm)));
        let cases = all.filter_map(|(part, harm)| {
            let found_by = found_by(plugin, part, harm)?;
            Some(Case { part, harm, found_by })
        });
        cases.collect()
    }
}

/// A host with a source and a place.
pub struct Lab<P> {
    pub backstay: Backstay,
    place: P,
    key: Key,
}

/// What must be found of a backup: the level that finds it, and the object that must be named.
struct Expected {
    what: String,
    harm: Harm,
    found_by: &'static str,
    object: String,
}

/// Does everything to a destination that its column of the table says, and looks for it.
pub fn everything_is_found<P: Damageable>() {
    let lab = Lab::<P>::new();
    let mut expected = BTreeMap::new();
    for form in &FORMS {
        let cases = form.cases(P::PLUGIN);
        if !cases.is_empty() {
            lab.damage(form, &cases, &mut expected);
        }
    }
    for level in P::TRIED {
        lab.finds(level, &expected);
    }
    let restored = expected
        .iter()
        .filter(|(_, case)| P::RESTORED.contains(&case.harm));
    for (number, (backup, case)) in restored.enumerate() {
        lab.refuses_to_restore(backup, case, number);
    }
    lab.restores_what_is_whole(&expected);
}

impl<P: Damageable> Lab<P> {
    pub fn new() -> Self {
        let backstay = Backstay::new(env!("CARGO_BIN_EXE_backstay"));
        let own = backstay.scratch_dir().join("destination");
        fs::create_dir(&own).unwrap();
        let place = P::start(&own);
        place.introduce(&backstay);
        let key = key(backstay.scratch_dir(), "key.txt");
        let lab = Lab { backstay, place, key };
        fs::create_dir_all(lab.source().join("sub")).unwrap();
        lab
    }

    fn source(&self) -> PathBuf {
        self.backstay.scratch_dir().join("source")
    }

    /// Makes the source another one of the same size.
    pub fn plant(&self, version: usize) {
        let (source, noise) = (self.source(), noise(100_000 + version));
        fs::write(source.join("noise"), &noise[version..]).unwrap();
        fs::write(source.join("sub/file"), &noise[version..5000 + version]).unwrap();
        // As long in the index as any other.
        let seconds = 1_700_000_000 + version as u64;
        let time = SystemTime::UNIX_EPOCH + Duration::new(seconds, 123_456_789);
        for path in ["noise", "sub/file", "sub", ""] {
            let file = fs::File::open(source.join(path)).unwrap();
            file.set_modified(time).unwrap();
        }
    }

    /// Stores the source so many times in one run.
    pub fn store(&self, form: &Form, times: usize) -> Vec<Value> {
        let destinations: String = (0..times)
            .map(|n| format!("  - {}\n", self.place.nth(form.job, n).0))
            .collect();
        let filters = form.filters.replace("RECIPIENT", &self.key.public);
        self.backstay
            .apply(&format!(
                "name: {}\nsource: {{ plugin: path, config: {{ path: {}{} }} }}\ndestinations:\n{destinations}filters: {{ {filters} }}\nretries: {{ attempts: 1 }}\n",
                form.job,
                self.source().display(),
                form.source,
            ))
            .ok();
        let run = self.backstay.json(&["run", form.job]);
        let backups = run["backups"].as_array().unwrap().clone();
        assert_eq!(backups.len(), times, "{run:#}");
        backups
    }

    /// Makes a backup for each case, and one more, and lets it happen.
    fn damage(&self, form: &Form, cases: &[Case], expected: &mut BTreeMap<String, Expected>) {
        let with_older = cases.iter().filter(|case| case.harm.needs_older()).count();
        let mut older = Vec::new();
        if with_older > 0 {
            self.plant(1);
            older = self.store(form, with_older);
        }
        self.plant(2);
        let backups = self.store(form, cases.len() + 1);
        for (n, (case, backup)) in cases.iter().zip(&backups).enumerate() {
            let files = self.place.nth(form.job, n).1;
            let other = case.harm.needs_older().then(|| older.pop().unwrap());
            let other_file = other.as_ref().map(|o| self.place.part(&files, o, case.part));
            let file = self.place.part(&files, backup, case.part);
            case.harm.happens_to(&file, other_file.as_deref());
            let swapped = other.filter(|_| case.harm == Harm::Swapped);
            for damaged in swapped.iter().chain([backup]) {
                let id = damaged["id"].as_str().unwrap().to_owned();
                expected.insert(id, Expected::new(case, damaged));
            }
        }
    }

    /// Runs a command with the key.
    pub fn run(&self, command: &str, args: &[&str]) -> Output {
        let identity = ["--identity", self.key.file.to_str().unwrap()];
        self.backstay.run(&[&[command], args, &identity].concat())
    }

    /// Verifies all backups: exit code 8, and those that a level finds are found with the object and the place named.
    #[track_caller]
    fn finds(&self, level: &str, expected: &BTreeMap<String, Expected>) {
        let output = self.run("verify", &["--all", "--json", "--level", level]).code(8);
        let rank = |level| LEVELS.iter().position(|l| *l == level).unwrap();
        let mut wrong = Vec::new();
        for run in output.json().as_array().unwrap() {
            let id = run["backups"][0]["id"].as_str().unwrap();
            let error = &run["error"];
            let said = error["message"].as_str().unwrap_or_default();
            let case = expected.get(id).filter(|case| rank(case.found_by) <= rank(level));
            let is_right = match case {
                None => error.is_null(),
                Some(case) => error["code"] == "verification" && case.is_named_in(said),
            };
            if !is_right {
                let what = expected.get(id).map_or("nothing", |case| &case.what);
                let object = case.map_or("", |case| &case.object);
                wrong.push(format!("{what} to {object} ({id}): {error}"));
            }
        }
        assert!(wrong.is_empty(), "by {level}:\n{}", wrong.join("\n"));
        let catalogue = self.backstay.json(&["backups", "--limit", "1000"]);
        for backup in catalogue.as_array().unwrap() {
            let case = expected.get(backup["id"].as_str().unwrap());
            let is_found = case.is_some_and(|case| rank(case.found_by) <= rank(level));
            assert_eq!(backup["verifiedOk"], !is_found, "by {level}: {backup:#}");
        }
    }

    /// A restore of what is damaged fails with the object's name and leaves nothing behind, in one of four ways.
    #[track_caller]
    fn refuses_to_restore(&self, backup: &str, case: &Expected, number: usize) {
        let target = self.backstay.scratch_dir().join("target");
        let to = target.to_str().unwrap();
        let ways: [&[&str]; 4] = [
            &[backup, "--to", to],
            &[backup, "--to", to, "sub/file"],
            &[backup, "--to", to, "--dry-run"],
            &[backup, "--to", "-"],
        ];
        let way = ways[number % 4];
        let output = self.run("restore", way);
        let said = &output.stderr;
        assert!(
            output.code == 8 && case.is_named_in(said),
            "{}, restored by {way:?}, {}: {said}",
            case.what,
            output.code
        );
        let left = fs::read_dir(&target).map_or(0, |entries| entries.count());
        assert_eq!(left, 0, "{}: something was restored by {way:?}", case.what);
    }

    /// The newest backup of each job has had nothing done to it.
    #[track_caller]
    fn restores_what_is_whole(&self, expected: &BTreeMap<String, Expected>) {
        let catalogue = self.backstay.json(&["backups", "--limit", "1000"]);
        let mut jobs = BTreeSet::new();
        for backup in catalogue.as_array().unwrap() {
            let (id, job) = (backup["id"].as_str().unwrap(), backup["job"].as_str().unwrap());
            if expected.contains_key(id) || !jobs.insert(job.to_owned()) {
                continue;
            }
            let target = self.backstay.scratch_dir().join(format!("whole-{job}"));
            self.run("restore", &[id, "--to", target.to_str().unwrap()]).ok();
            compare::trees(&self.source(), &target).unwrap();
        }
        assert!(!jobs.is_empty());
    }
}

impl Expected {
    fn new(case: &Case, backup: &Value) -> Self {
        let artifact = &backup["manifest"]["artifacts"][0];
        let location = artifact["location"].as_str().unwrap();
        let object = match case.part {
            Part::Manifest => backup["location"].as_str().unwrap().to_owned(),
            Part::Index => format!("{location}.index"),
            _ => location.to_owned(),
        };
        Expected {
            what: format!("{:?}", case.harm),
            harm: case.harm,
            found_by: case.found_by,
            object,
        }
    }

    /// Whether a text names the object with its place: `data` alone is the beginning of `data.index`.
    fn is_named_in(&self, said: &str) -> bool {
        said.match_indices(&self.object)
            .any(|(at, object)| !said[at + object.len()..].starts_with(['.', '-']))
    }
}
