//! A place to run scripts in.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use backstay_confine::lines::Hear;
use backstay_confine::{Ended, How, Limits, Script};
use backstay_model::Error;
use backstay_testkit::tools;
use tempfile::TempDir;

/// A directory that nobody else may enter, with an empty output directory in it.
pub struct Lab {
    directory: TempDir,
}

/// What a script did.
pub struct Done {
    pub ended: Ended,
    pub lines: Vec<String>,
}

impl Lab {
    pub fn new() -> Self {
        tools::require(&["bwrap", "setpriv", "python3", "perl", "node", "bash"]);
        tools::require_root("because scripts become a user of their own");
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("output")).unwrap();
        Lab { directory }
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn output(&self) -> PathBuf {
        self.path().join("output")
    }

    /// A script in this language, which is not on the disk at all.
    pub fn script(&self, name: &str, content: &str) -> Script {
        Script {
            path: self.path().join(name),
            content: content.into(),
            args: Vec::new(),
            directory: None,
            readable: Vec::new(),
            hidden: Vec::new(),
            output: Some(self.output()),
            network: false,
            env: Vec::new(),
            limits: Limits {
                time: Duration::from_secs(60),
                ..Limits::default()
            },
        }
    }

    pub fn run(&self, script: &Script) -> Done {
        self.run_until(script, &AtomicBool::new(false))
    }

    pub fn run_until(&self, script: &Script, stop: &AtomicBool) -> Done {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let hear: Hear = Arc::new({
            let lines = Arc::clone(&lines);
            move |_, line: &str| lines.lock().unwrap().push(line.to_owned())
        });
        let ended = backstay_confine::run(script, stop, &hear).unwrap();
        let lines = lines.lock().unwrap().clone();
        Done { ended, lines }
    }

    /// Why a script isn't run at all.
    #[track_caller]
    pub fn refused(&self, script: &Script) -> Error {
        let hear: Hear = Arc::new(|_, line: &str| panic!("it ran and said {line}"));
        backstay_confine::run(script, &AtomicBool::new(false), &hear).unwrap_err()
    }

    /// Runs a shell script that must end well, and returns what it said.
    #[track_caller]
    pub fn sh(&self, content: &str) -> Vec<String> {
        self.run(&self.script("a.sh", content)).ok()
    }

    /// Runs a Python script that must end well, and returns what it said.
    #[track_caller]
    pub fn python(&self, content: &str) -> Vec<String> {
        self.run(&self.script("a.py", content)).ok()
    }
}

impl Done {
    #[track_caller]
    pub fn ok(self) -> Vec<String> {
        assert_eq!(self.ended.how, How::Exited(0), "{:?}", self.lines);
        self.lines
    }
}

/// Whether a process has this word in its command line. The words of tests are unique.
pub fn is_anywhere(word: &str) -> bool {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    lines
        .into_iter()
        .any(|line| String::from_utf8_lossy(&line).contains(word))
}
