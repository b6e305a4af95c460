//! What a script may use, and which limit it broke.

use std::fmt;
use std::time::Duration;

use backstay_model::{Code, Error};

/// Limits of one script with all that it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Time until it must have ended: stops a wait without end.
    pub time: Duration,
    /// Memory of all its processes together: stops allocation without end. One process alone gets no more than this
    /// from the kernel, all together are ended within a moment of passing it.
    pub memory_bytes: u64,
    /// Processes and threads at once: stops a fork bomb.
    pub processes: u32,
    /// Bytes of content that it may leave in its output directory, and the longest file: stops filling the disk.
    pub output_bytes: u64,
    /// Files, directories and links that it may leave: stops using up the filesystem's inodes.
    pub output_entries: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            time: Duration::from_secs(300),
            memory_bytes: 1 << 30,
            processes: 128,
            output_bytes: 10 << 30,
            output_entries: 1_000_000,
        }
    }
}

/// Files that one process may have open.
pub(crate) const OPEN_FILES: u64 = 1024;

/// Bytes of each temporary filesystem. They count as memory nowhere else.
pub(crate) const TEMPORARY_BYTES: u64 = 64 << 20;

/// Levels of directories in the output: stops trees that no other program can walk.
pub(crate) const OUTPUT_DEPTH: usize = 64;

/// The longest script, in bytes.
pub const SCRIPT_BYTES: u64 = 4 << 20;

/// A limit that a script broke, for which it was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// [`Limits::time`].
    Time,
    /// [`Limits::memory_bytes`].
    Memory,
    /// [`Limits::processes`].
    Processes,
    /// [`Limits::output_bytes`].
    OutputBytes,
    /// [`Limits::output_entries`].
    OutputEntries,
    /// Directories nested in its output: more than any tool can walk.
    OutputDepth,
    /// The filesystem of its output was about to be full.
    DiskSpace,
}

impl Broken {
    /// The failure, for a script of this name.
    pub fn error(self, script: &str, limits: &Limits) -> Error {
        let stopped = |code, what: fmt::Arguments<'_>| {
            Error::new(code, format!("the script {script} was stopped: {what}"))
        };
        match self {
            Broken::Time => stopped(
                Code::BackupFailed,
                format_args!("it took longer than {} s", limits.time.as_secs_f64()),
            )
            .hint("raise its `timeout` (at most 3600s), or find out what it waits for"),
            Broken::Memory => stopped(
                Code::Security,
                format_args!("it used more than {} MiB of memory", limits.memory_bytes >> 20),
            )
            .hint("raise its `maxMemoryBytes` if it needs that much"),
            Broken::Processes => stopped(
                Code::Security,
                format_args!("it had more than {} processes at once", limits.processes),
            )
            .hint("raise its `maxProcesses` if it needs that many"),
            Broken::OutputBytes => stopped(
                Code::Security,
                format_args!("it wrote more than {} bytes", limits.output_bytes),
            )
            .hint("raise its `maxOutputBytes` if it needs that much"),
            Broken::OutputEntries => stopped(
                Code::Security,
                format_args!("it made more than {} files", limits.output_entries),
            )
            .hint("let it write an archive instead of so many files"),
            Broken::OutputDepth => stopped(
                Code::Security,
                format_args!("it nested directories more than {OUTPUT_DEPTH} levels deep"),
            ),
            Broken::DiskSpace => stopped(
                Code::DiskSpace,
                format_args!("the disk that it writes to is nearly full"),
            )
            .hint("make room on the disk of the data directory"),
        }
    }
}
