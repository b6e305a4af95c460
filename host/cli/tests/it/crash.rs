//! `kill -9` at every step that lasts and at many moments: the next start leaves nothing half done, the next run works.
//!
//! `strace` kills the host as it enters its N-th call of a kind, so no step is missed and the host knows nothing of tests.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use backstay_testkit::cli::{Backstay, Moment, Output};
use backstay_testkit::process::{is_alive, wait_until};
use backstay_testkit::{compare, tools};
use serde_json::Value;

use super::abort::paths;

/// What a job looks like that is killed over and over.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Form {
    /// One tar stream at one destination.
    Plain,
    /// One tar stream, compressed and encrypted.
    Sealed,
    /// A tree at two destinations.
    Tree,
}

struct Desk {
    backstay: Backstay,
    source: PathBuf,
    places: Vec<PathBuf>,
}

impl Desk {
    fn new(form: Form) -> Self {
        tools::require(&["strace", "age-keygen"]);
        let backstay = Backstay::new(env!("CARGO_BIN_EXE_backstay"));
        let source = backstay.scratch_dir().join("source");
        fs::create_dir_all(source.join("deep/er")).unwrap();
        for n in 0..2_u8 {
            fs::write(source.join(format!("deep/er/{n}")), vec![n; 1000]).unwrap();
        }
        fs::write(source.join("large"), vec![b'x'; 2 << 20]).unwrap();
        std::os::unix::fs::symlink("deep", source.join("link")).unwrap();
        let key = backstay.scratch_dir().join("key");
        let made = Command::new("age-keygen").arg("-o").arg(&key).output().unwrap();
        assert!(made.status.success());
        let text = fs::read_to_string(&key).unwrap();
        let recipient = text
            .lines()
            .find_map(|l| l.strip_prefix("# public key: "))
            .unwrap();
        let count = if form == Form::Tree { 2 } else { 1 };
        let places: Vec<PathBuf> = (0..count)
            .map(|n| backstay.scratch_dir().join(format!("place-{n}")))
            .collect();
        let mut job = format!(
            "name: j\nsource: {{ plugin: path, config: {{ path: {}, stream: {} }} }}\ndestinations:\n",
            source.display(),
            form != Form::Tree
        );
        for place in &places {
            fs::create_dir(place).unwrap();
            job += &format!(
                "  - {{ plugin: local, config: {{ path: {}, minFreeBytes: 0 }} }}\n",
                place.display()
            );
        }
        if form == Form::Sealed {
            job += &format!(
                "filters: {{ compression: {{ algorithm: zstd }}, encryption: {{ recipients: [{recipient}] }} }}\n"
            );
        }
        // Each run restores what it made to a scratch place: one more thing that a crash can interrupt.
        job += "verify: { level: restore, afterRun: true }\n";
        let backstay = backstay.env("BACKSTAY_IDENTITY", key.to_str().unwrap());
        backstay.apply(&job).ok();
        backstay.run(&["run", "j"]).ok();
        Desk {
            backstay,
            source,
            places,
        }
    }

    /// Runs a command that is killed as it enters its `nth` call of `call`, on `path` alone if there is one.
    #[track_caller]
    fn is_killed_at(&self, args: &[&str], call: &str, path: Option<&Path>, nth: u32) -> bool {
        let moment = Moment::of(call, nth);
        let moment = path.map_or(moment, |path| moment.on(path));
        self.backstay.killed_at(args, moment).was_killed_or_ok()
    }

    /// Every kind of call that changes what lasts, and where.
    fn steps(&self) -> Vec<(&'static str, Option<PathBuf>)> {
        let mut steps = vec![
            ("fsync", Some(self.backstay.data_dir().join("backstay.db-wal"))),
            ("mkdir", None),
            ("mkdirat", None),
            ("renameat2", None),
            ("unlinkat", None),
            ("rmdir", None),
        ];
        for place in &self.places {
            steps.push(("fsync", Some(place.clone())));
            steps.push(("fsync", Some(place.join("j"))));
        }
        steps
    }

    /// What must hold after the next start, whatever was going on before.
    #[track_caller]
    fn is_clean(&self, at: &str) -> Value {
        let runs = self.backstay.json(&["runs"]);
        for run in runs.as_array().unwrap() {
            let status = run["status"].as_str().unwrap();
            assert!(["succeeded", "interrupted"].contains(&status), "{at}: {run:#}");
        }
        let mut expected = BTreeSet::new();
        let mut trees = Vec::new();
        for backup in self
            .backstay
            .json(&["backups", "--limit", "100000"])
            .as_array()
            .unwrap()
        {
            let location = |of: &Value| PathBuf::from(of["location"].as_str().unwrap());
            expected.insert(location(backup));
            for artifact in backup["manifest"]["artifacts"].as_array().unwrap() {
                let object = location(artifact);
                if artifact["form"] == "tree" {
                    trees.push(object.clone());
                    expected.insert(object.with_extension("index"));
                }
                expected.insert(object);
            }
        }
        for path in expected.clone() {
            expected.extend(
                path.ancestors()
                    .filter(|a| self.places.iter().any(|p| a.starts_with(p) && a != p))
                    .map(Path::to_owned),
            );
        }
        let mut found = BTreeSet::new();
        for place in &self.places {
            found.extend(paths(place));
        }
        found.retain(|path| !trees.iter().any(|tree| path.starts_with(tree) && path != tree));
        assert_eq!(
            found, expected,
            "{at}: what is stored and what is in the catalogue differ"
        );
        let scratch = self.backstay.data_dir().join("scratch");
        if scratch.exists() {
            assert!(paths(&scratch).is_empty(), "{at}: scratch files are left");
        }
        let doctor = self.backstay.json(&["doctor"]);
        let checks = doctor["checks"].as_array().unwrap();
        let journal = checks.iter().find(|c| c["check"] == "journal").unwrap();
        assert_eq!(journal["says"], "nothing left to undo", "{at}");
        runs
    }

    /// A run, which ends in a restore to a scratch place.
    #[track_caller]
    fn works(&self, at: &str) {
        let run = self.backstay.run_json(&["run", "j"]);
        assert_eq!(run.code, 0, "{at}: {}{}", run.stdout, run.stderr);
        assert_eq!(
            run.json()["backups"].as_array().unwrap().len(),
            self.places.len(),
            "{at}"
        );
    }

    #[track_caller]
    fn restores(&self) {
        let target = self.backstay.scratch_dir().join("restored");
        self.backstay
            .run(&["restore", "latest:j", "--to", target.to_str().unwrap()])
            .ok();
        compare::trees(&self.source, &target).unwrap();
        fs::remove_dir_all(&target).unwrap();
    }
}

#[track_caller]
fn survives_kills_at_every_step(form: Form) {
    let desk = Desk::new(form);
    let mut kills = 0;
    for (call, path) in desk.steps() {
        for nth in 1.. {
            let at = format!("{form:?}, {call} {nth} on {path:?}");
            let newest = desk.backstay.json(&["runs"])[0]["id"].clone();
            if !desk.is_killed_at(&["run", "j"], call, path.as_deref(), nth) {
                break;
            }
            kills += 1;
            let runs = desk.is_clean(&at);
            if runs[0]["id"] != newest && runs[0]["status"] == "interrupted" {
                assert!(
                    runs[0]["error"]["message"]
                        .as_str()
                        .unwrap()
                        .contains("went away"),
                    "{at}"
                );
            }
            // Each run takes its time; that the next one works is seen often enough with every third.
            if kills % 3 == 0 {
                desk.works(&at);
            }
        }
    }
    assert!(
        kills >= 20,
        "only {kills} steps were found to kill at: has the host changed?"
    );
    desk.works("at the end");
    desk.is_clean("at the end");
    desk.restores();
}

#[test]
fn killed_at_every_step_of_a_compressed_and_encrypted_stream() {
    survives_kills_at_every_step(Form::Sealed);
}

#[test]
fn killed_at_every_step_of_a_tree_at_two_destinations() {
    survives_kills_at_every_step(Form::Tree);
}

#[test]
fn killed_at_many_moments() {
    /// For each form.
    const MOMENTS: u32 = 10;
    for form in [Form::Plain, Form::Sealed, Form::Tree] {
        let desk = Desk::new(form);
        let started = Instant::now();
        desk.works("undisturbed");
        let whole = started.elapsed();
        let mut interrupted = 0;
        for moment in 0..MOMENTS {
            let at = whole * (2 * moment + 1) / (2 * MOMENTS);
            let mut running = desk.backstay.spawn(&["run", "j"]);
            std::thread::sleep(at);
            running.kill();
            let runs = desk.is_clean(&format!("{form:?}, killed after {at:?}"));
            interrupted += u32::from(runs[0]["status"] == "interrupted");
            if moment % 3 == 0 {
                desk.works(&format!("{form:?}, after a kill after {at:?}"));
            }
        }
        assert!(interrupted > 0, "every kill came too late to interrupt anything");
        desk.works("at the end");
        desk.restores();
    }
}

#[test]
fn killed_while_it_cleans_up_after_a_kill() {
    let desk = Desk::new(Form::Tree);
    let mut kills = 0;
    let wal = desk.backstay.data_dir().join("backstay.db-wal");
    for (call, path) in [
        ("unlinkat", None),
        ("fsync", Some(wal.as_path())),
        ("rmdir", None),
    ] {
        for nth in (1..).step_by(if call == "unlinkat" { 3 } else { 1 }) {
            // A whole tree is there under its temporary name.
            assert!(desk.is_killed_at(&["run", "j"], "renameat2", None, 1));
            if !desk.is_killed_at(&["runs"], call, path, nth) {
                desk.is_clean("at the end");
                break;
            }
            kills += 1;
            // Once more, and then to the end.
            desk.is_killed_at(&["runs"], call, path, 1);
            desk.is_clean(&format!("{call} {nth} of cleaning up"));
            assert!(nth < 100, "it never gets to its end");
        }
    }
    assert!(
        kills >= 5,
        "only {kills} steps were found to kill at: has the host changed?"
    );
    desk.works("at the end");
}

#[test]
fn a_killed_restore_leaves_its_target_as_it_was() {
    let desk = Desk::new(Form::Sealed);
    let target = desk.backstay.scratch_dir().join("target");
    let restore = ["restore", "latest:j", "--to", target.to_str().unwrap()];
    let wal = desk.backstay.data_dir().join("backstay.db-wal");
    for was_there in [false, true] {
        let mut kills = 0;
        let mut check = |at: &str| {
            kills += 1;
            let runs = desk.is_clean(at);
            assert_eq!(runs[0]["kind"], "restore", "{at}");
            let is_over = runs[0]["status"] == "succeeded";
            assert!(is_over || runs[0]["status"] == "interrupted", "{at}");
            let is_empty = !target.exists() || fs::read_dir(&target).unwrap().count() == 0;
            if is_empty && !is_over {
                assert_eq!(target.exists(), was_there, "{at}");
            } else {
                // It was killed after the last byte: then all of it stays.
                compare::trees(&desk.source, &target).unwrap();
            }
        };
        let prepare = || {
            let _ = fs::remove_dir_all(&target);
            if was_there {
                fs::create_dir(&target).unwrap();
            }
        };
        for (call, path) in [
            ("fsync", Some(wal.as_path())),
            ("mkdirat", None),
            ("symlinkat", None),
            ("utimensat", None),
        ] {
            for nth in (1..).step_by(if call == "utimensat" { 4 } else { 1 }) {
                prepare();
                let newest = desk.backstay.json(&["runs"])[0]["id"].clone();
                if !desk.is_killed_at(&restore, call, path, nth) {
                    compare::trees(&desk.source, &target).unwrap();
                    break;
                }
                if desk.backstay.json(&["runs"])[0]["id"] != newest {
                    check(&format!("{call} {nth} of a restore"));
                }
            }
        }
        assert!(
            kills >= 4,
            "only {kills} steps were found to kill at: has the host changed?"
        );
    }
    desk.works("at the end");
}

#[test]
fn what_a_plugin_did_is_undone_after_a_kill_and_its_program_is_gone() {
    let backstay = Backstay::with_guests(env!("CARGO_BIN_EXE_backstay"), &["lab-source"]);
    let (place, mark) = (
        backstay.scratch_dir().join("place"),
        backstay.scratch_dir().join("mark"),
    );
    fs::create_dir(&place).unwrap();
    let job = |undo: &str| {
        let config = format!(
            "do: journaled-command, undoScript: \"{undo}\", script: \"echo $$ > {0}.new; mv {0}.new {0}; echo data; exec sleep 1000\"",
            mark.display()
        );
        backstay
            .apply(&format!(
                "name: j\nsource: {{ plugin: lab-source, config: {{ {config} }} }}\ndestinations: [{{ plugin: local, config: {{ path: {} }} }}]\n",
                place.display()
            ))
            .ok();
    };
    let crash = || {
        let mut running = backstay.spawn(&["run", "j"]);
        wait_until("the source's program", Duration::from_secs(60), || mark.exists());
        running.kill();
        let pid: u32 = fs::read_to_string(&mark).unwrap().trim().parse().unwrap();
        wait_until("the end of the source's program", Duration::from_secs(10), || {
            !is_alive(pid)
        });
    };
    job(&format!("rm {}", mark.display()));
    crash();
    let runs = backstay.json(&["runs"]);
    assert_eq!(runs[0]["status"], "interrupted");
    assert!(!mark.exists(), "the plugin's side effect was not undone");

    // What can't be undone now is said, stays, and is tried again with what the run was configured with.
    job(&format!("test -e {0}.allowed && rm {0}", mark.display()));
    crash();
    let said = backstay.run(&["runs"]).ok();
    assert!(said.stderr.contains("could not be undone"), "{}", said.stderr);
    let doctor: Output = backstay.run_json(&["doctor"]).code(3);
    assert!(
        doctor.stdout.contains("1 runs have something to undo"),
        "{}",
        doctor.stdout
    );
    job("false");
    fs::write(mark.with_extension("allowed"), "").unwrap();
    fs::rename(
        mark.with_extension("allowed"),
        format!("{}.allowed", mark.display()),
    )
    .unwrap();
    backstay.run(&["runs"]).ok();
    assert!(!mark.exists(), "it was not tried again");
    backstay.run(&["doctor"]).ok();
    assert!(paths(&place).is_empty());
}
