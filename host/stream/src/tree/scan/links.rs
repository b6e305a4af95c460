//! Which entries are further names of one that came before.

use std::collections::HashMap;

use rustix::fs::Stat;

use crate::tree::entry::{Time, size_of};

/// The entries with several names, by device and inode, until all their names were seen.
#[derive(Debug, Default)]
pub(crate) struct Links(HashMap<(u64, u64), First>);

#[derive(Debug)]
struct First {
    path: Vec<u8>,
    size: u64,
    mtime: Time,
    names_left: u64,
}

/// What is known of an entry.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It is the first of its names.
    New,
    /// It is the same as the entry at this path.
    Same(Vec<u8>),
    /// It has the number of one that was seen, but it, or what it was, has changed.
    Changed,
}

impl Links {
    /// Looks an entry up that has more than one name, and remembers it.
    pub(crate) fn see(&mut self, path: &[u8], stat: &Stat) -> Seen {
        let key = (stat.st_dev, stat.st_ino);
        let (size, mtime) = (size_of(stat), Time::of(stat));
        let mut seen = Seen::New;
        if let Some(first) = self.0.get_mut(&key) {
            // A number is used again once its file is deleted.
            if (first.size, first.mtime) == (size, mtime) {
                let path = first.path.clone();
                first.names_left = first.names_left.saturating_sub(1);
                if first.names_left == 0 {
                    self.0.remove(&key);
                }
                return Seen::Same(path);
            }
            seen = Seen::Changed;
        }
        #[allow(
            clippy::useless_conversion,
            reason = "the width of a link count depends on the processor"
        )]
        let names_left = u64::from(stat.st_nlink).saturating_sub(1);
        self.0.insert(
            key,
            First {
                path: path.to_vec(),
                size,
                mtime,
                names_left,
            },
        );
        seen
    }

    /// Forgets an entry of which nobody took the first name.
    pub(crate) fn forget(&mut self, stat: &Stat) {
        self.0.remove(&(stat.st_dev, stat.st_ino));
    }
}
