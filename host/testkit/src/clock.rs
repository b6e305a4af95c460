//! A clock that a test sets, for all commands of one data directory: years of backups in seconds.
//!
//! It is libfaketime, so the host under test knows nothing of it. Programs that the host starts have an environment
//! of their own and see the real time.

use std::path::PathBuf;
use std::process::Command;

use crate::cli::Backstay;
use crate::fail::OrFail;
use crate::tools;

/// Says what time it is.
#[derive(Debug)]
pub struct Clock {
    file: PathBuf,
}

impl Clock {
    /// Takes over the time of all commands from here on, and sets their local zone to UTC. Set the clock before the
    /// first of them.
    ///
    /// # Panics
    /// `faketime` is missing.
    #[track_caller]
    pub fn of(backstay: Backstay) -> (Backstay, Clock) {
        tools::require(&["faketime"]);
        let library = library();
        let file = backstay.scratch_dir().join("clock");
        let backstay = backstay
            .env("LD_PRELOAD", &library)
            .env("FAKETIME_TIMESTAMP_FILE", &file.to_string_lossy())
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("DONT_FAKE_MONOTONIC", "1")
            .env("NO_FAKE_STAT", "1")
            .env("TZ", "UTC");
        (backstay, Clock { file })
    }

    /// Every command started after this starts at `time`, such as `2026-11-21 03:00:00`, in UTC.
    ///
    /// # Panics
    /// The file that it is kept in can't be written.
    #[track_caller]
    pub fn set(&self, time: &str) {
        std::fs::write(&self.file, format!("@{time}\n")).or_fail("set the clock");
    }
}

/// The library of `faketime`, as that says itself. It fails if an earlier process with its number was killed and left
/// something in shared memory; the next one has another number.
#[track_caller]
fn library() -> String {
    let mut complaint = String::new();
    for _ in 0..10 {
        let output = Command::new("faketime")
            .args(["-m", "-f", "+0", "printenv", "LD_PRELOAD"])
            .output()
            .or_fail("ask faketime for its library");
        let library = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if output.status.success() && !library.is_empty() {
            return library;
        }
        complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    }
    panic!("faketime doesn't say where its library is: {complaint}");
}
