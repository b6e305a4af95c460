//! One entry of a tree, as it is in a directory and as it is in an archive.

use std::ffi::CString;
use std::fmt;

use rustix::fs::{FileType, Stat};
use serde::{Deserialize, Serialize};

/// The path of the root of a tree.
pub(crate) const ROOT: &[u8] = b".";

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    File,
    Directory,
    Symlink,
    /// Another name of an entry that came before it.
    Hardlink,
    Fifo,
    /// A character device.
    Character,
    /// A block device.
    Block,
}

impl Kind {
    /// The kind for a type of file; nothing for sockets.
    pub(crate) fn of(file_type: FileType) -> Option<Kind> {
        match file_type {
            FileType::RegularFile => Some(Kind::File),
            FileType::Directory => Some(Kind::Directory),
            FileType::Symlink => Some(Kind::Symlink),
            FileType::Fifo => Some(Kind::Fifo),
            FileType::CharacterDevice => Some(Kind::Character),
            FileType::BlockDevice => Some(Kind::Block),
            _ => None,
        }
    }
}

/// An extended attribute.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Xattr {
    pub(crate) name: CString,
    pub(crate) value: Vec<u8>,
}

/// One entry of a tree, without the content of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Relative to the root, plain names joined by `/`; [`ROOT`] for the root itself.
    pub(crate) path: Vec<u8>,
    pub(crate) kind: Kind,
    /// The twelve bits that `chmod` takes.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: Time,
    /// Bytes of a file, holes included; 0 for all else.
    pub(crate) size: u64,
    /// The target of a symbolic link as it is, or the path of the entry that a hard link is the same as.
    pub(crate) link: Vec<u8>,
    /// Major and minor number of a device.
    pub(crate) device: (u32, u32),
    /// Sorted by name.
    pub(crate) xattrs: Vec<Xattr>,
}

impl Entry {
    /// An entry with what `stat` tells.
    pub(crate) fn new(path: Vec<u8>, kind: Kind, stat: &Stat) -> Self {
        let device = matches!(kind, Kind::Character | Kind::Block);
        Entry {
            path,
            kind,
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            mtime: Time::of(stat),
            size: if kind == Kind::File { size_of(stat) } else { 0 },
            link: Vec::new(),
            device: if device {
                (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev))
            } else {
                (0, 0)
            },
            xattrs: Vec::new(),
        }
    }
}

/// Bytes of a file.
pub(crate) fn size_of(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

/// An instant: nanoseconds are counted forward from the second, also before 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Time {
    pub(crate) seconds: i64,
    pub(crate) nanoseconds: u32,
}

const NANOSECONDS: i128 = 1_000_000_000;

impl Time {
    pub(crate) fn of(stat: &Stat) -> Self {
        Time {
            seconds: stat.st_mtime,
            nanoseconds: u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
        }
    }

    /// Reads a decimal number of seconds, as pax has it. Digits beyond nanoseconds are dropped.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let text = str::from_utf8(text).ok()?;
        let (negative, number) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || whole.len() > 20 || !digits(whole) || !digits(fraction) {
            return None;
        }
        let nanoseconds: i128 = format!("{:0<9.9}", fraction).parse().ok()?;
        let total = whole.parse::<i128>().ok()? * NANOSECONDS + nanoseconds;
        let total = if negative { -total } else { total };
        Some(Time {
            seconds: i64::try_from(total.div_euclid(NANOSECONDS)).ok()?,
            nanoseconds: u32::try_from(total.rem_euclid(NANOSECONDS)).ok()?,
        })
    }
}

impl fmt::Display for Time {
    /// A decimal number of seconds with nine places.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = i128::from(self.seconds) * NANOSECONDS + i128::from(self.nanoseconds);
        let sign = if total < 0 { "-" } else { "" };
        let total = total.abs();
        write!(f, "{sign}{}.{:09}", total / NANOSECONDS, total % NANOSECONDS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn half_a_second_before_1970_is_minus_one_half() {
        let time = Time {
            seconds: -1,
            nanoseconds: 500_000_000,
        };
        assert_eq!(time.to_string(), "-0.500000000");
        assert_eq!(Time::parse(b"-0.5"), Some(time));
    }

    #[test]
    fn what_is_no_number_is_no_time() {
        for text in [
            "",
            "-",
            ".5",
            "1e3",
            "1.2.3",
            "+1",
            " 1",
            "99999999999999999999",
            "--1",
            "1.\u{661}",
        ] {
            assert_eq!(Time::parse(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_time_is_read_back_as_it_was_written(seconds: i64, nanoseconds in 0..1_000_000_000_u32) {
            let time = Time { seconds, nanoseconds };
            prop_assert_eq!(Time::parse(time.to_string().as_bytes()), Some(time));
        }
    }
}
