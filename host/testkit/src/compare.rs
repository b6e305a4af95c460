//! Compares two trees by a program that shares no code with the host: a Python script over the bare system calls.
//!
//! Compared are names, types, modes, owners, times to the nanosecond, sizes, contents, link targets, device numbers,
//! extended attributes with access lists, and which names are hard links of one another. Not compared are access
//! and change times, inode numbers and where holes lie; but the copy may not take up much more room than the
//! original. Works below any depth and length of path.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use crate::fail::OrFail;
use crate::tools;

const SCRIPT: &str = include_str!("compare.py");

/// What a comparison may leave out, where the other end can't do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Except {
    /// Mode, owner, time and attributes of the two root directories themselves.
    Root,
    /// The part of a time below a second; zfs-fuse doesn't keep it.
    Subseconds,
    /// All times, for trees that were made apart from each other.
    Times,
    /// How much room the copy takes up.
    Allocation,
    /// Modes, owners, times and attributes, and which names are one file: all but names, types and content.
    Metadata,
    /// Directories with nothing in them, which the copy may lack.
    EmptyDirectories,
}

/// Compares the tree `copy` with the tree `original`, their roots included.
///
/// # Errors
/// They differ: the first 20 differences, a line each, with the path as a Python bytes literal.
///
/// # Panics
/// Either can't be read.
#[track_caller]
pub fn trees(original: &Path, copy: &Path) -> Result<(), String> {
    trees_except(original, copy, &[])
}

/// As [`trees`], leaving out what `exceptions` names.
///
/// # Errors
/// As [`trees`].
///
/// # Panics
/// As [`trees`].
#[track_caller]
pub fn trees_except(original: &Path, copy: &Path, exceptions: &[Except]) -> Result<(), String> {
    tools::require(&["python3"]);
    let flags = exceptions.iter().map(|exception| match exception {
        Except::Root => "root",
        Except::Subseconds => "subseconds",
        Except::Times => "times",
        Except::Allocation => "allocation",
        Except::Metadata => "metadata",
        Except::EmptyDirectories => "empty-directories",
    });
    let args = [
        OsStr::new("-c"),
        OsStr::new(SCRIPT),
        original.as_os_str(),
        copy.as_os_str(),
    ];
    let result = Command::new("python3")
        .args(args)
        .args(flags)
        .output()
        .or_fail("run python3");
    match result.status.code() {
        Some(0) => Ok(()),
        Some(10) => Err(String::from_utf8_lossy(&result.stdout).into_owned()),
        _ => panic!(
            "can't compare {} with {}: {}",
            original.display(),
            copy.display(),
            String::from_utf8_lossy(&result.stderr)
        ),
    }
}
