//! Paths too long for one system call, links of every kind, and files that aren't files.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, linkat, makedev, mkdirat, mknodat, openat};

use super::{directory, file, path};
use crate::fail::OrFail;

/// Names of 255 bytes in one another; the file at the end has a path of `bytes` from the root.
pub(super) fn long_path(root: &Path, bytes: usize) {
    let mut left = bytes.saturating_sub("long/".len());
    let mut names = vec![b"long".to_vec()];
    while left > 255 {
        names.push(vec![b'l'; 255.min(left - 2)]);
        left -= 1 + 255.min(left - 2);
    }
    write_file(
        &descend(root, &names),
        &vec![b'f'; left.clamp(1, 255)],
        b"at the end of a long path",
    );
}

/// One-letter names, `levels` deep.
pub(super) fn deep_path(root: &Path, levels: usize) {
    let names = vec![b"d".to_vec(); levels];
    write_file(&descend(root, &names), b"bottom", b"at the bottom");
}

/// Makes each directory in the one before it, by handle, and returns the last.
fn descend(root: &Path, names: &[Vec<u8>]) -> OwnedFd {
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let mut at = openat(CWD, root, flags, Mode::empty()).or_fail("open the tree's root");
    for name in names {
        let name = OsStr::from_bytes(name);
        mkdirat(&at, name, Mode::from_raw_mode(0o755)).or_fail("make a directory on a long path");
        at = openat(&at, name, flags, Mode::empty()).or_fail("open a directory on a long path");
    }
    at
}

fn write_file(at: &OwnedFd, name: &[u8], content: &[u8]) {
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::EXCL;
    let handle = openat(
        at.as_fd(),
        OsStr::from_bytes(name),
        flags,
        Mode::from_raw_mode(0o644),
    )
    .or_fail("make a file at the end of a long path");
    let mut file = std::fs::File::from(handle);
    std::io::Write::write_all(&mut file, content).or_fail("write a file at the end of a long path");
}

/// Hard links within and across directories, and symbolic links that lead astray.
pub(super) fn links(root: &Path) {
    let links = directory(root, b"links");
    let other = directory(&links, b"other");
    let first = file(&links, b"hard-one", b"three names, one file");
    for (parent, name) in [(&links, &b"hard-two"[..]), (&other, b"hard-three\n")] {
        std::fs::hard_link(&first, path(parent, name)).or_fail("make a hard link");
    }
    let empty = file(&other, b"hard-empty-one", b"");
    std::fs::hard_link(&empty, path(&links, b"hard-empty-two")).or_fail("make a hard link to an empty file");
    let sameness = file(&links, b"equal-but-not-linked", b"three names, one file");
    linkat(CWD, &sameness, CWD, root.join("zz-linked-last"), AtFlags::empty()).or_fail("make a hard link");

    let long_target = vec![b't'; 3000];
    let targets: [(&[u8], &[u8]); 11] = [
        (b"to-file", b"hard-one"),
        (b"to-directory", b"other"),
        (b"to-parent", b".."),
        (b"to-absolute", b"/etc/hostname"),
        (b"dangling", b"no/such/file"),
        (b"loop-one", b"loop-two"),
        (b"loop-two", b"loop-one"),
        (b"to-itself", b"to-itself"),
        (b"target-newline", b"line\nbreak"),
        (b"target-not-utf8", b"\xff\xfe"),
        (b"target-long", &long_target),
    ];
    for (name, target) in targets {
        symlink(OsStr::from_bytes(target), path(&links, name)).or_fail("make a symbolic link");
    }
}

/// A pipe that would block whoever opens it, and a device that never ends.
pub(super) fn special_files(root: &Path) {
    let special = directory(root, b"special");
    let mode = Mode::from_raw_mode(0o640);
    mknodat(CWD, special.join("fifo"), FileType::Fifo, mode, 0).or_fail("make a fifo");
    mknodat(
        CWD,
        special.join("char-device"),
        FileType::CharacterDevice,
        mode,
        makedev(1, 5),
    )
    .or_fail("make a character device");
}
