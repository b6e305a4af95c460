//! What a script leaves in its output directory: measured while it writes, cleaned when it has ended.
//!
//! All of it goes by directory descriptors, one name at a time, never through a link: the script may rename what it
//! likes while it is looked at.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use backstay_model::error::show_bytes;
use backstay_model::{Error, Result};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Stat, Uid};
use rustix::process::{getegid, geteuid};

use crate::limits::{Broken, Limits, OUTPUT_DEPTH};

/// How many of the things that were removed are named.
const NAMED: usize = 100;

/// Bits of a mode that lend somebody else's rights.
const LENDING: u32 = 0o7000;

/// What a directory holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Size {
    /// Files, directories and links.
    pub entries: u64,
    /// Bytes of file content.
    pub bytes: u64,
}

/// What was left after cleaning.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// What is there now.
    pub size: Size,
    /// What was taken away, for the run's warnings.
    pub removed: Vec<Removed>,
    /// How much more was taken away.
    pub more: u64,
}

/// Something that was taken away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    /// Relative path, printable.
    pub path: String,
    /// What it was, such as `a link that leads out of the output`.
    pub what: &'static str,
}

impl Size {
    fn broken(self, limits: &Limits) -> Option<Broken> {
        if self.bytes > limits.output_bytes {
            Some(Broken::OutputBytes)
        } else if self.entries > limits.output_entries {
            Some(Broken::OutputEntries)
        } else {
            None
        }
    }
}

/// Which limit a directory breaks that is still being written to. What can't be looked at now isn't counted.
pub fn broken(directory: &Path, limits: &Limits) -> Option<Broken> {
    let opened = open(CWD, directory).ok()?;
    let mut size = Size::default();
    measure(&opened, 0, &mut size, limits)
}

fn measure(directory: &OwnedFd, depth: usize, size: &mut Size, limits: &Limits) -> Option<Broken> {
    if depth > OUTPUT_DEPTH {
        return Some(Broken::OutputDepth);
    }
    for entry in Dir::read_from(directory).ok()?.flatten() {
        let name = entry.file_name();
        if is_dots(name) {
            continue;
        }
        let Ok(stat) = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) else {
            continue;
        };
        size.entries += 1;
        if is_file(&stat) {
            size.bytes = size.bytes.saturating_add(length(&stat));
        }
        if let Some(broken) = size.broken(limits) {
            return Some(broken);
        }
        if kind(&stat) == FileType::Directory
            && let Ok(below) = open(directory.as_fd(), name)
            && let Some(broken) = measure(&below, depth + 1, size, limits)
        {
            return Some(broken);
        }
    }
    None
}

/// Takes away what could harm whoever reads the output: devices, pipes, sockets, links that lead out of it, and bits
/// that lend rights; and makes all of it the host's own. Nothing may write there any more.
///
/// # Errors
/// It can't be read or changed, or is more than the limits allow: then [`Broken`] is in the second place.
pub fn clean(directory: &Path, limits: &Limits) -> Result<Result<Cleaned, Broken>> {
    let failed = |e: rustix::io::Errno| Error::io("look through", directory, e.into());
    let mut cleaner = Cleaner {
        limits,
        owner: geteuid().is_root().then(|| (geteuid(), getegid())),
        path: PathBuf::new(),
        cleaned: Cleaned::default(),
    };
    let root = open(CWD, directory).map_err(failed)?;
    cleaner.own(CWD, directory).map_err(failed)?;
    rustix::fs::fchmod(&root, Mode::from_raw_mode(0o700)).map_err(failed)?;
    match cleaner.clean(&root, 0) {
        Ok(None) => Ok(Ok(cleaner.cleaned)),
        Ok(Some(broken)) => Ok(Err(broken)),
        Err(e) => Err(Error::io("clean", directory.join(&cleaner.path), e.into())),
    }
}

struct Cleaner<'a> {
    limits: &'a Limits,
    owner: Option<(Uid, Gid)>,
    path: PathBuf,
    cleaned: Cleaned,
}

impl Cleaner<'_> {
    fn clean(&mut self, directory: &OwnedFd, depth: usize) -> rustix::io::Result<Option<Broken>> {
        use std::os::unix::ffi::OsStrExt as _;
        if depth > OUTPUT_DEPTH {
            return Ok(Some(Broken::OutputDepth));
        }
        for entry in Dir::read_from(directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if is_dots(name) {
                continue;
            }
            self.path.push(std::ffi::OsStr::from_bytes(name.to_bytes()));
            if let Some(broken) = self.entry(directory.as_fd(), name, depth)? {
                return Ok(Some(broken));
            }
            self.path.pop();
        }
        Ok(None)
    }

    fn entry(
        &mut self,
        directory: BorrowedFd<'_>,
        name: &std::ffi::CStr,
        depth: usize,
    ) -> rustix::io::Result<Option<Broken>> {
        let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let unwanted = match kind(&stat) {
            FileType::RegularFile | FileType::Directory => None,
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(directory, name, Vec::new())?;
                leads_out(target.to_bytes(), depth).then_some("a link that leads out of the output")
            }
            FileType::Fifo => Some("a named pipe"),
            FileType::Socket => Some("a socket"),
            _ => Some("a device"),
        };
        if let Some(what) = unwanted {
            rustix::fs::unlinkat(directory, name, AtFlags::empty())?;
            self.note(what);
            return Ok(None);
        }
        self.cleaned.size.entries += 1;
        if is_file(&stat) {
            self.cleaned.size.bytes = self.cleaned.size.bytes.saturating_add(length(&stat));
        }
        if let Some(broken) = self.cleaned.size.broken(self.limits) {
            return Ok(Some(broken));
        }
        self.own(directory, name)?;
        if kind(&stat) == FileType::Symlink {
            return Ok(None);
        }
        let readable = if kind(&stat) == FileType::Directory {
            0o700
        } else {
            0o400
        };
        let mode = stat.st_mode & 0o7777;
        let wanted = mode & !LENDING | readable;
        // A change of owner takes some of these bits away by itself, and not those of directories.
        if mode != wanted {
            rustix::fs::chmodat(directory, name, Mode::from_raw_mode(wanted), AtFlags::empty())?;
        }
        if is_file(&stat) && mode & 0o6000 != 0 {
            self.note("a bit that lends the owner's rights (the file is kept)");
        }
        if kind(&stat) == FileType::Directory {
            let below = open(directory, name)?;
            return self.clean(&below, depth + 1);
        }
        Ok(None)
    }

    fn own(&self, directory: BorrowedFd<'_>, name: impl rustix::path::Arg) -> rustix::io::Result<()> {
        match self.owner {
            Some((user, group)) => rustix::fs::chownat(
                directory,
                name,
                Some(user),
                Some(group),
                AtFlags::SYMLINK_NOFOLLOW,
            ),
            None => Ok(()),
        }
    }

    fn note(&mut self, what: &'static str) {
        if self.cleaned.removed.len() < NAMED {
            let path = show_bytes(self.path.as_os_str().as_encoded_bytes());
            self.cleaned.removed.push(Removed { path, what });
        } else {
            self.cleaned.more += 1;
        }
    }
}

/// Whether a link in a directory `depth` levels below the root leads out, or might: what comes after a name may go
/// through another link, so `..` counts only in front.
fn leads_out(target: &[u8], depth: usize) -> bool {
    if target.starts_with(b"/") {
        return true;
    }
    let mut parts = target
        .split(|b| *b == b'/')
        .filter(|part| !part.is_empty() && *part != b".")
        .peekable();
    let mut up = 0;
    while parts.next_if(|part| *part == b"..").is_some() {
        up += 1;
    }
    up > depth || parts.any(|part| part == b"..")
}

fn open(parent: BorrowedFd<'_>, name: impl rustix::path::Arg) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

fn is_file(stat: &Stat) -> bool {
    kind(stat) == FileType::RegularFile
}

fn length(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

fn is_dots(name: &std::ffi::CStr) -> bool {
    matches!(name.to_bytes(), b"." | b"..")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_could_harm_is_taken_away_and_named() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("output");
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(root.join("a/file"), "12345").unwrap();
        fs::set_permissions(root.join("a/file"), fs::Permissions::from_mode(0o6755)).unwrap();
        fs::write(root.join("secret"), "").unwrap();
        fs::set_permissions(root.join("secret"), fs::Permissions::from_mode(0o000)).unwrap();
        symlink("../file", root.join("a/b/inside")).unwrap();
        for (name, target) in [
            ("abs", "/etc/passwd"),
            ("up", "../x"),
            ("a/b/up", "../../../x"),
            ("dot", "a/../a"),
        ] {
            symlink(target, root.join(name)).unwrap();
        }
        rustix::fs::mknodat(CWD, root.join("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
        let cleaned = clean(&root, &Limits::default()).unwrap().unwrap();
        assert_eq!(cleaned.size, Size { entries: 5, bytes: 5 });
        let mut removed: Vec<&str> = cleaned
            .removed
            .iter()
            .map(|removed| removed.path.as_str())
            .collect();
        removed.sort_unstable();
        assert_eq!(
            removed,
            ["a/b/up", "a/file", "abs", "dot", "fifo", "socket", "up"]
        );
        let mode = |name: &str| fs::metadata(root.join(name)).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode("a/file"), mode("secret")), (0o755, 0o400));
        assert!(root.join("a/b/inside").is_symlink() && !root.join("fifo").exists());
    }

    #[test]
    fn limits_hold_while_it_is_written_and_after() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("file"), "12345").unwrap();
        let bytes = Limits {
            output_bytes: 4,
            ..Limits::default()
        };
        let entries = Limits {
            output_entries: 0,
            ..Limits::default()
        };
        for (limits, expected) in [(&bytes, Broken::OutputBytes), (&entries, Broken::OutputEntries)] {
            assert_eq!(broken(directory.path(), limits), Some(expected));
            assert_eq!(clean(directory.path(), limits).unwrap(), Err(expected));
        }
        fs::create_dir_all(directory.path().join("d/".repeat(OUTPUT_DEPTH + 2))).unwrap();
        let limits = Limits::default();
        assert_eq!(broken(directory.path(), &limits), Some(Broken::OutputDepth));
        assert_eq!(
            clean(directory.path(), &limits).unwrap(),
            Err(Broken::OutputDepth)
        );
    }

    proptest! {
        #[test]
        fn a_link_that_stays_resolves_inside(target in "(\\.\\.|\\.|a|b)(/(\\.\\.|\\.|a|b)){0,6}", depth in 0usize..3) {
            if !leads_out(target.as_bytes(), depth) {
                let mut level = i64::try_from(depth).unwrap();
                for part in target.split('/') {
                    level += match part { ".." => -1, "." => 0, _ => 1 };
                    prop_assert!(level >= 0);
                }
            }
        }
    }
}
