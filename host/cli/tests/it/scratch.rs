//! The scratch directory of a source: its content becomes a backup, nothing leads out of it, and it never stays behind.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use backstay_testkit::cli::{Backstay, Moment, Output};
use backstay_testkit::process::{is_alive, wait_until};
use backstay_testkit::{compare, tools};
use serde_json::{Value, json};

struct Desk {
    backstay: Backstay,
    root: PathBuf,
}

impl Desk {
    fn new() -> Self {
        let backstay = Backstay::with_guests(env!("CARGO_BIN_EXE_backstay"), &["lab-source"]);
        let root = backstay.scratch_dir().join("root");
        fs::create_dir_all(root.join("deep/er")).unwrap();
        fs::create_dir(backstay.scratch_dir().join("store")).unwrap();
        fs::write(root.join("deep/er/file"), "content").unwrap();
        fs::write(root.join("other"), "more").unwrap();
        std::os::unix::fs::symlink("deep", root.join("link")).unwrap();
        Desk { backstay, root }
    }

    /// Runs a job whose source has this configuration.
    fn run(&self, config: &Value) -> Output {
        let store =
            json!({ "plugin": "local", "config": { "path": self.backstay.scratch_dir().join("store") } });
        let source = json!({ "plugin": "lab-source", "config": config });
        let guards = json!({ "minBytes": 1, "maxShrinkPercent": 100 });
        let job = json!({ "name": "j", "source": source, "destinations": [store], "guards": guards });
        self.backstay.apply(&job.to_string()).ok();
        self.backstay.run_json(&["run", "j"])
    }

    /// The newest backup, restored.
    fn restored(&self) -> PathBuf {
        let target = self.backstay.scratch_dir().join("restored");
        if target.exists() {
            fs::remove_dir_all(&target).unwrap();
        }
        self.backstay
            .run(&["restore", "latest:j", "--to", target.to_str().unwrap()])
            .ok();
        target
    }

    #[track_caller]
    fn is_clean(&self, at: &str) {
        let doctor = self.backstay.json(&["doctor"]);
        let journal = doctor["checks"]
            .as_array()
            .unwrap()
            .iter()
            .find(|c| c["check"] == "journal")
            .unwrap();
        assert_eq!(journal["says"], "nothing left to undo", "{at}");
        let scratch = self.backstay.data_dir().join("scratch");
        let left: Vec<_> = fs::read_dir(scratch)
            .into_iter()
            .flatten()
            .map(|e| e.unwrap().path())
            .collect();
        assert!(left.is_empty(), "{at}: {left:?} is left");
    }
}

#[test]
fn what_a_source_gathered_is_its_backup_and_the_directory_is_gone() {
    let desk = Desk::new();
    let config = json!({ "do": "scratch", "inner": "a/note", "text": "written", "root": desk.root,
        "script": "echo said; echo complained >&2; exit 3" });
    desk.run(&config).ok();
    desk.is_clean("after a run");
    let restored = desk.restored();
    desk.is_clean("after a restore");
    let text = |name: &str| fs::read_to_string(restored.join(name)).unwrap();
    assert_eq!(text("a/note"), "written");
    assert_eq!(text("said"), "said\n");
    assert_eq!(text("how"), "3 5 false false complained\n");
    assert_eq!(text("copied"), "3 3 11 0");
    compare::trees(&desk.root, &restored.join("copy")).unwrap();
}

#[test]
fn a_program_that_hangs_is_killed_with_its_group_and_one_that_talks_is_cut_short() {
    let desk = Desk::new();
    let mark = desk.backstay.scratch_dir().join("mark");
    let script = format!(
        "trap '' TERM; echo first; sleep 1000 & echo $! > {0}.new; mv {0}.new {0}; wait",
        mark.display()
    );
    desk.run(&json!({ "do": "scratch", "script": script })).ok();
    let restored = desk.restored();
    assert_eq!(fs::read_to_string(restored.join("said")).unwrap(), "first\n");
    assert_eq!(
        fs::read_to_string(restored.join("how")).unwrap(),
        "137 6 true false "
    );
    let child: u32 = fs::read_to_string(&mark).unwrap().trim().parse().unwrap();
    wait_until("the end of the whole group", Duration::from_secs(10), || {
        !is_alive(child)
    });

    desk.run(&json!({ "do": "scratch", "script": "head -c 100000000 /dev/zero" }))
        .ok();
    let restored = desk.restored();
    assert_eq!(fs::metadata(restored.join("said")).unwrap().len(), 1 << 20);
    assert_eq!(
        fs::read_to_string(restored.join("how")).unwrap(),
        "0 1048576 false true "
    );

    // What a program leaves behind with its output open doesn't count as the program.
    desk.run(&json!({ "do": "scratch", "script": "sleep 1000 & echo done" }))
        .ok();
    assert_eq!(
        fs::read_to_string(desk.restored().join("how")).unwrap(),
        "0 5 false false "
    );
}

#[test]
fn nothing_leads_out_of_it() {
    let desk = Desk::new();
    let before = super::abort::files(&desk.root);
    let refused = |config: &Value, words: &str| {
        let run = desk.run(config).code(14).json();
        let said = run["error"]["message"].as_str().unwrap();
        assert!(said.contains(words), "{config}: {said}");
        desk.is_clean(&config.to_string());
    };
    for name in [
        "../x",
        "/tmp/x",
        "a/../../x",
        ".",
        "..",
        "a//b",
        "a/",
        "./a",
        "a/./b",
        "a\0b",
        &"x".repeat(300),
    ] {
        refused(
            &json!({ "do": "scratch", "inner": name }),
            "is not a relative path of plain names",
        );
    }
    for (act, words) in [
        ("scratch-link", "something on the way is a link"),
        ("scratch-climb", "no grant"),
        ("scratch-twice", "a scratch directory that it can't have"),
        // On a slow machine it is stopped for the time that it takes.
        ("scratch-flood", "plugin lab-source was stopped in `open`"),
    ] {
        refused(&json!({ "do": act, "root": desk.root, "count": 20_000 }), words);
    }
    let job = json!({ "name": "k", "source": { "plugin": "lab-source", "config": { "do": "scratch", "when": "validate" } },
        "destinations": [{ "plugin": "local", "config": { "path": desk.backstay.scratch_dir().join("store") } }] });
    let said = desk.backstay.apply(&job.to_string()).code(2);
    assert!(
        said.stderr.contains("a scratch directory that it can't have"),
        "{}",
        said.stderr
    );
    assert_eq!(super::abort::files(&desk.root), before);
    assert_eq!(desk.backstay.json(&["backups"]), json!([]));
}

#[test]
fn killed_at_every_step_it_leaves_nothing() {
    tools::require(&["strace"]);
    let desk = Desk::new();
    let config = json!({ "do": "scratch", "inner": "a/note", "root": desk.root, "script": "echo said" });
    desk.run(&config).ok();
    let mut kills = 0;
    for call in ["mkdir", "mkdirat", "openat", "renameat2", "rmdir"] {
        // Programs and libraries are opened too: only what is opened below the scratch directory is of interest.
        let scratch = desk.backstay.data_dir().join("scratch");
        for nth in 1.. {
            let moment = Moment::of(call, nth);
            let moment = if call == "openat" {
                moment.on(&scratch)
            } else {
                moment
            };
            if !desk.backstay.killed_at(&["run", "j"], moment).was_killed_or_ok() {
                break;
            }
            kills += 1;
            desk.is_clean(&format!("{call} {nth}"));
        }
    }
    assert!(
        kills >= 8,
        "only {kills} steps were found to kill at: has the host changed?"
    );
    desk.run(&config).ok();
}
