//! Modes, owners, extended attributes, access lists and times that a careless tool loses.

use std::os::unix::fs::{PermissionsExt, chown, lchown};
use std::path::Path;
use std::process::Command;

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_OMIT, XattrFlags, setxattr, utimensat};

use super::{directory, file};
use crate::fail::OrFail;

/// Seconds since 1970 and nanoseconds, by the name of the file that gets them.
const TIMES: [(&str, i64, u32); 9] = [
    ("1901", -2_147_483_648, 0),
    ("1969-last-nanosecond", -1, 999_999_999),
    ("1970", 0, 0),
    ("1970-first-nanosecond", 0, 1),
    ("2001-nanoseconds", 1_000_000_000, 123_456_789),
    ("2026-trailing-zeros", 1_790_000_000, 120_000_000),
    ("2038", 2_147_483_648, 5),
    ("2100", 4_102_444_800, 1),
    ("2242-beyond-octal-in-tar", 8_589_934_592, 0),
];

/// Adds files for each kind of metadata, and sets the times of directories made before.
pub(super) fn all(root: &Path) {
    let metadata = directory(root, b"metadata");
    modes(&metadata);
    owners(&metadata);
    attributes(&metadata);
    access_lists(&metadata);
    for (name, seconds, nanoseconds) in TIMES {
        set_time(&file(&metadata, name.as_bytes(), b"when"), seconds, nanoseconds);
    }
    let old = [
        ("empty-directory", 0),
        ("links/other", 1_000_000_007),
        ("links/dangling", 1_000_000_009),
    ];
    for (name, seconds) in old {
        set_time(&root.join(name), seconds, 7);
    }
    for (name, seconds) in [
        ("special/fifo", 1_000_000_011),
        ("special", 4_102_444_800),
        ("metadata", -5),
    ] {
        set_time(&root.join(name), seconds, 0);
    }
    set_time(root, 1_234_567_890, 987_654_321);
}

fn modes(parent: &Path) {
    for mode in [0o4755, 0o2755, 0o6711, 0o000, 0o444, 0o222, 0o777] {
        set_mode(
            &file(parent, format!("mode-{mode:04o}").as_bytes(), b"mode"),
            mode,
        );
    }
    for mode in [0o1777, 0o2775, 0o000, 0o700] {
        set_mode(
            &directory(parent, format!("directory-mode-{mode:04o}").as_bytes()),
            mode,
        );
    }
    let read_only = directory(parent, b"read-only-directory");
    set_mode(&file(&read_only, b"read-only-file", b"read me"), 0o444);
    set_mode(&directory(&read_only, b"read-only-below"), 0o555);
    set_mode(&read_only, 0o555);
}

fn owners(parent: &Path) {
    for (name, user, group) in [
        ("owner-plain", 1234, 5678),
        ("owner-beyond-octal-in-tar", 3_000_000_000, 2_097_152),
    ] {
        let path = file(parent, name.as_bytes(), b"owner");
        chown(&path, Some(user), Some(group)).or_fail("change an owner");
    }
    // Changing the owner clears the bit, so a restore that sets the mode first loses it.
    let path = file(parent, b"owner-and-setuid", b"owner");
    chown(&path, Some(1234), Some(5678)).or_fail("change an owner");
    set_mode(&path, 0o6755);
    lchown(parent.join("../links/to-file"), Some(1234), Some(5678))
        .or_fail("change the owner of a symbolic link");
}

fn attributes(parent: &Path) {
    let path = file(parent, b"attributes", b"attributes");
    set_attribute(&path, "user.text", b"plain text");
    set_attribute(&path, "user.binary", b"\0\xff\n=\0");
    set_attribute(&path, "user.empty", b"");
    set_attribute(&path, "user.long", &[b'v'; 2000]);
    set_attribute(&path, "user.name with space and\nnewline", b"odd name");
    set_attribute(&path, "trusted.backstay", b"root only");
    let below = directory(parent, b"directory-attributes");
    set_attribute(&below, "user.directory", b"on a directory");
    set_attribute(&below, "trusted.directory", b"root only, on a directory");
}

fn access_lists(parent: &Path) {
    let path = file(parent, b"access-list", b"access");
    set_access_list(&path, &["-m", "u:1234:rw,g:5678:r,m::rw"]);
    let below = directory(parent, b"directory-access-list");
    set_access_list(&below, &["-m", "u:1234:rwx"]);
    set_access_list(&below, &["-d", "-m", "u:1234:rx,g::rx,o::-"]);
    file(&below, b"inherits", b"access");
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
        .or_fail(format!("set mode {mode:o}"));
}

fn set_attribute(path: &Path, name: &str, value: &[u8]) {
    setxattr(path, name, value, XattrFlags::CREATE).or_fail(format!("set the attribute {name:?}"));
}

fn set_access_list(path: &Path, args: &[&str]) {
    let result = Command::new("setfacl")
        .args(args)
        .arg("--")
        .arg(path)
        .output()
        .or_fail("run setfacl");
    if !result.status.success() {
        panic!(
            "can't set an access list: {}",
            String::from_utf8_lossy(&result.stderr)
        );
    }
}

fn set_time(path: &Path, seconds: i64, nanoseconds: u32) {
    let times = Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: seconds,
            tv_nsec: nanoseconds.into(),
        },
    };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)
        .or_fail(format!("set the time of {}", path.display()));
}
