//! No silent loss: what is empty, unmounted, much smaller or unreadable is never backed up as if all were well.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use backstay_testkit::cli::{Backstay, Output};
use backstay_testkit::tools;
use serde_json::Value;

use super::abort::files;

struct Desk {
    backstay: Backstay,
    source: PathBuf,
    place: PathBuf,
}

impl Desk {
    fn new(more: &str) -> Self {
        Self::with_program(Path::new(env!("CARGO_BIN_EXE_backstay")), more)
    }

    fn with_program(program: &Path, more: &str) -> Self {
        let backstay = Backstay::new(program);
        let [source, place] = ["source", "place"].map(|name| backstay.scratch_dir().join(name));
        fs::create_dir(&source).unwrap();
        fs::create_dir(&place).unwrap();
        let desk = Desk {
            backstay,
            source,
            place,
        };
        desk.apply("", more);
        desk
    }

    fn apply(&self, source: &str, more: &str) {
        self.backstay
            .apply(&format!(
                "name: j\nsource: {{ plugin: path, config: {{ path: {}{source} }} }}\ndestinations: [{{ plugin: local, config: {{ path: {} }} }}]\n{more}\n",
                self.source.display(),
                self.place.display()
            ))
            .ok();
    }

    fn write(&self, name: &str, bytes: usize) {
        fs::write(self.source.join(name), vec![b'x'; bytes]).unwrap();
    }

    fn run(&self) -> Output {
        self.backstay.run_json(&["run", "j"])
    }

    /// The run must fail with this sentence and leave what is stored as it is.
    #[track_caller]
    fn refuses(&self, sentence: &str, hint: &str) {
        let before = files(&self.place);
        let run = self.run().code(4).json();
        assert_eq!(run["status"], "failed", "{run:#}");
        let error = &run["error"];
        assert!(error["message"].as_str().unwrap().contains(sentence), "{error:#}");
        assert!(
            error["hint"].as_str().unwrap_or_default().contains(hint),
            "{error:#}"
        );
        assert_eq!(run["backups"], Value::Array(Vec::new()));
        assert_eq!(files(&self.place), before, "something was left or touched");
    }

    fn frozen(&self) -> Value {
        self.backstay.json(&["job", "show", "j"])["retentionFrozen"].clone()
    }
}

#[test]
fn an_empty_source_is_refused_unless_the_job_allows_it() {
    let desk = Desk::new("");
    desk.refuses("the source is empty", "guards: { minBytes: 0 }");
    fs::create_dir(desk.source.join("only-directories")).unwrap();
    desk.write("of-no-bytes", 0);
    desk.refuses("the source is empty", "minBytes");
    assert!(files(&desk.place).is_empty());
    desk.apply("", "guards: { minBytes: 0 }");
    desk.run().ok();
}

#[test]
fn a_source_below_the_least_size_is_refused() {
    let desk = Desk::new("guards: { minBytes: 1000 }");
    desk.write("a", 999);
    desk.refuses("999 bytes of content, fewer than the 1000", "guards.minBytes");
    desk.write("b", 1);
    desk.run().ok();
}

#[test]
fn patterns_that_leave_nothing_are_an_empty_source() {
    let desk = Desk::new("");
    desk.write("a.log", 100);
    desk.apply(", exclude: [\"*.log\"]", "");
    desk.refuses("the source is empty", "path is right");
}

#[test]
fn a_shrink_past_the_guard_fails_and_freezes_retention_until_somebody_says_go_on() {
    for stream in ["", ", stream: false"] {
        let desk = Desk::new("");
        desk.apply(stream, "guards: { maxShrinkPercent: 30 }");
        desk.write("a", 70_000);
        desk.write("b", 30_000);
        desk.run().ok();
        assert_eq!(desk.frozen(), Value::Null);
        // The limit itself passes.
        fs::remove_file(desk.source.join("b")).unwrap();
        desk.run().ok();
        assert_eq!(desk.frozen(), Value::Null);
        desk.write("a", 48_999);
        for _ in 0..2 {
            desk.refuses(
                "shrank from 70000 to 48999 bytes since the last good backup",
                "--accept-shrink",
            );
            assert!(desk.frozen().as_str().unwrap().contains("shrank from 70000"));
        }
        desk.backstay
            .run(&["verify", "latest:j", "--level", "restore"])
            .ok();
        // Applying the job again decides nothing.
        desk.apply(stream, "guards: { maxShrinkPercent: 29 }");
        assert!(desk.frozen().is_string());
        desk.backstay.run(&["run", "j", "--accept-shrink"]).ok();
        assert_eq!(desk.frozen(), Value::Null);
        assert_eq!(desk.backstay.json(&["backups"]).as_array().unwrap().len(), 3);
        desk.run().ok();
    }
}

#[test]
fn a_source_that_came_back_stays_frozen_until_somebody_says_go_on() {
    let desk = Desk::new("");
    desk.write("a", 1000);
    desk.run().ok();
    desk.write("a", 10);
    desk.refuses("shrank", "--accept-shrink");
    desk.write("a", 1000);
    desk.run().ok();
    assert!(desk.frozen().is_string());
    desk.backstay.run(&["run", "j", "--accept-shrink"]).ok();
    assert_eq!(desk.frozen(), Value::Null);
}

#[test]
fn accepting_a_shrink_that_then_fails_decides_nothing() {
    let desk = Desk::new("");
    desk.write("a", 1000);
    desk.run().ok();
    desk.write("a", 10);
    desk.refuses("shrank", "--accept-shrink");
    let hidden = desk.place.with_extension("hidden");
    fs::rename(&desk.place, &hidden).unwrap();
    desk.backstay.run(&["run", "j", "--accept-shrink"]).code(3);
    assert!(desk.frozen().is_string());
}

/// A tmpfs that a test mounts and unmounts.
struct Mount(PathBuf);

impl Mount {
    fn new(at: &Path) -> Self {
        tools::require(&["mount", "umount"]);
        tools::require_root("to mount a file system");
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "backstay-test"])
            .arg(at)
            .status()
            .unwrap();
        assert!(status.success());
        Mount(at.to_owned())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let status = Command::new("umount").arg("--lazy").arg(&self.0).status();
        assert!(
            status.is_ok_and(|s| s.success()),
            "can't unmount {}",
            self.0.display()
        );
    }
}

#[test]
fn a_source_whose_file_system_is_gone() {
    for inner in ["", "inner"] {
        let desk = Desk::new("guards: { minBytes: 0 }");
        // What lies under the mount must not be taken for the data, not even if it is large enough.
        fs::create_dir_all(desk.source.join("inner")).unwrap();
        desk.write("inner/under", 5000);
        let mount = Mount::new(&desk.source);
        fs::create_dir_all(desk.source.join("inner")).unwrap();
        desk.write("inner/data", 1000);
        let path = desk.source.join(inner);
        let apply = |more: &str| {
            desk.backstay
                .apply(&format!(
                    "name: j\nsource: {{ plugin: path, config: {{ path: {}{more} }} }}\ndestinations: [{{ plugin: local, config: {{ path: {} }} }}]\nguards: {{ minBytes: 0 }}\n",
                    path.to_str().unwrap().trim_end_matches('/'),
                    desk.place.display()
                ))
                .ok()
        };
        apply("");
        desk.run().ok();
        drop(mount);
        let sentence = format!(
            "was on the filesystem mounted at {}, which is not mounted now",
            desk.source.display()
        );
        desk.refuses(&sentence, "mount it");
        desk.refuses(&sentence, "requireMount: false");
        let mount = Mount::new(&desk.source);
        fs::create_dir_all(desk.source.join("inner")).unwrap();
        desk.write("inner/data", 1000);
        desk.run().ok();
        drop(mount);
        apply(", requireMount: false");
        desk.run().ok();
    }
}

#[test]
fn a_destination_whose_file_system_is_gone() {
    let desk = Desk::new("");
    desk.write("a", 1000);
    let mount = Mount::new(&desk.place);
    desk.run().ok();
    drop(mount);
    let run = desk.run().json();
    assert_eq!(run["status"], "failed", "{run:#}");
    let message = run["error"]["message"].as_str().unwrap();
    assert!(
        message.contains(desk.place.to_str().unwrap()) && message.contains("mounted"),
        "{message}"
    );
    assert!(files(&desk.place).is_empty(), "it was written under the mount");
}

/// The run must end as a warning that names `path`, in the run and in the manifest.
#[track_caller]
fn warns(desk: &Desk, code: &str, path: &Path) -> Value {
    let run = desk.run().code(1).json();
    assert_eq!(run["status"], "warning", "{run:#}");
    for warnings in [&run["warnings"], &run["backups"][0]["manifest"]["warnings"]] {
        let found = warnings
            .as_array()
            .unwrap()
            .iter()
            .any(|w| w["code"] == code && w["path"] == path.to_str().unwrap());
        assert!(found, "no `{code}` of {} in {warnings:#}", path.display());
    }
    let stored = run["backups"][0]["location"].as_str().unwrap();
    let manifest: Value = serde_json::from_slice(&fs::read(stored).unwrap()).unwrap();
    assert_eq!(manifest["warnings"], run["backups"][0]["manifest"]["warnings"]);
    run
}

#[test]
fn a_file_that_cannot_be_read_is_a_warning_in_the_run_and_in_the_manifest() {
    use std::os::unix::fs::PermissionsExt as _;
    tools::require(&["setpriv"]);
    tools::require_root("to take away the right to read everything");
    let directory = tempfile::tempdir().unwrap();
    let weak = directory.path().join("backstay");
    let capabilities = "-dac_override,-dac_read_search";
    let text = format!(
        "#!/bin/sh\nexec setpriv --bounding-set={capabilities} --inh-caps={capabilities} {} \"$@\"\n",
        env!("CARGO_BIN_EXE_backstay")
    );
    fs::write(&weak, text).unwrap();
    fs::set_permissions(&weak, fs::Permissions::from_mode(0o755)).unwrap();
    for stream in ["", ", stream: false"] {
        let desk = Desk::with_program(&weak, "");
        desk.apply(stream, "");
        desk.write("good", 1000);
        desk.write("secret", 1000);
        fs::create_dir(desk.source.join("closed")).unwrap();
        desk.write("closed/file", 1000);
        for (name, mode) in [("secret", 0o000), ("closed", 0o000)] {
            fs::set_permissions(desk.source.join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        warns(&desk, "unreadable", &desk.source.join("secret"));
        let run = warns(&desk, "unreadable", &desk.source.join("closed"));
        assert_eq!(desk.backstay.json(&["runs"])[0]["warnings"], run["warnings"]);
        let text = desk.backstay.run(&["run", "j"]).code(1).stdout;
        assert!(
            text.contains("warning") && text.contains("could not be"),
            "{text}"
        );
        let target = desk.backstay.scratch_dir().join("target");
        // A directory that is stored closed can't be looked into again, which is said again.
        desk.backstay
            .run(&["restore", "latest:j", "--to", target.to_str().unwrap()])
            .code(i32::from(!stream.is_empty()));
        assert_eq!(fs::read(target.join("good")).unwrap().len(), 1000);

        // What is stored of a directory that may not be changed goes away with a run that fails.
        let before = files(&desk.place);
        fs::set_permissions(&desk.source, fs::Permissions::from_mode(0o555)).unwrap();
        desk.apply(stream, "guards: { minBytes: 1000000 }");
        desk.run().code(4);
        assert_eq!(files(&desk.place), before);
        fs::set_permissions(&desk.source, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

#[test]
fn a_file_that_changes_while_it_is_read_is_a_warning() {
    let desk = Desk::new("");
    desk.write("still", 1000);
    desk.write("busy", 60 << 20);
    let busy = desk.source.join("busy");
    let over = Arc::new(AtomicBool::new(false));
    let writer = std::thread::spawn({
        let (busy, over) = (busy.clone(), Arc::clone(&over));
        move || {
            use std::os::unix::fs::FileExt as _;
            let file = fs::File::options().write(true).open(busy).unwrap();
            while !over.load(Ordering::Relaxed) {
                file.write_at(b"y", 0).unwrap();
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        }
    });
    warns(&desk, "changed-while-read", &busy);
    over.store(true, Ordering::Relaxed);
    writer.join().unwrap();
    desk.backstay
        .run(&["verify", "latest:j", "--level", "restore"])
        .ok();
    desk.run().ok();
}
