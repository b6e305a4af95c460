//! Data directories that are made once and copied, because compiling a plugin takes longer than most tests.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

use crate::fail::OrFail;
use crate::guests;

/// Fills `data_dir` with compiled plugins, and with the named guests installed.
///
/// The templates lie in the target directory. They are made anew when the binary or a guest has changed.
pub(crate) fn fill(binary: &Path, installed: &[&str], data_dir: &Path) {
    let mut magic = [0; 4];
    let read = std::fs::File::open(binary).and_then(|mut file| file.read_exact(&mut magic));
    // A script stands in its place, and nothing is known of what it does.
    if read.is_err() || magic != *b"\x7fELF" {
        assert!(
            installed.is_empty(),
            "guests can only be installed by a real binary"
        );
        return;
    }
    let files: Vec<PathBuf> = installed.iter().map(|name| guests::path(name)).collect();
    let home = guests::target_dir().join("data");
    std::fs::create_dir_all(&home).or_fail("make a directory for templates");
    let lock = std::fs::File::create(home.join("lock")).or_fail("open the lock of the templates");
    flock(&lock, FlockOperation::LockExclusive).or_fail("lock the templates");
    let template = home.join(format!("{:016x}", digest(binary, &files)));
    if !template.exists() {
        discard_old(&home);
        let unfinished = home.join("unfinished");
        make(binary, &files, &unfinished);
        std::fs::rename(&unfinished, &template).or_fail("keep a template");
    }
    // Only what is installed makes the database worth a copy: else each directory has an identity of its own.
    let part = if installed.is_empty() { "cache" } else { "." };
    let part = template.join(part);
    if !part.exists() {
        return;
    }
    let copied = Command::new("cp")
        .arg("-a")
        .arg(part)
        .arg(data_dir)
        .status()
        .or_fail("run cp");
    assert!(copied.success(), "can't copy {}", template.display());
}

fn make(binary: &Path, guests: &[PathBuf], data_dir: &Path) {
    if data_dir.exists() {
        std::fs::remove_dir_all(data_dir).or_fail("remove an unfinished template");
    }
    std::fs::create_dir(data_dir).or_fail("make a template");
    let run = |args: &[&std::ffi::OsStr]| {
        let output = Command::new(binary)
            .args(args)
            .env("BACKSTAY_DATA_DIR", data_dir)
            .stdin(Stdio::null())
            .output()
            .or_fail("run backstay");
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    for guest in guests {
        let (is_done, said) = run(&[
            "plugin".as_ref(),
            "install".as_ref(),
            guest.as_os_str(),
            "--yes".as_ref(),
        ]);
        assert!(is_done, "can't install {}: {said}", guest.display());
    }
    // It loads all plugins. What it finds doesn't matter here: a tool may be missing.
    run(&["doctor".as_ref()]);
}

/// Removes templates of binaries that nobody tests any more.
fn discard_old(home: &Path) {
    const OLD: Duration = Duration::from_secs(24 * 3600);
    for entry in std::fs::read_dir(home).or_fail("list the templates").flatten() {
        let made = entry.metadata().and_then(|found| found.modified());
        let is_old = made.is_ok_and(|made| made.elapsed().is_ok_and(|age| age > OLD));
        if is_old && entry.path().is_dir() {
            std::fs::remove_dir_all(entry.path()).or_fail("remove an old template");
        }
    }
}

fn digest(binary: &Path, files: &[PathBuf]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for file in files.iter().map(PathBuf::as_path).chain([binary]) {
        let found = file.metadata().or_fail(format!("look at {}", file.display()));
        (file, found.len(), found.mtime(), found.mtime_nsec(), found.ino()).hash(&mut hasher);
    }
    hasher.finish()
}
