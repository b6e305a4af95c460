//! Which entries of an archive are asked for.

use std::collections::{BTreeMap, HashSet};

use backstay_model::error::show_bytes;
use backstay_model::{Code, Error, Result};

use crate::tree::entry::{Kind, ROOT};
use crate::tree::path;

/// Paths that are asked for, each with all below it.
#[derive(Debug)]
pub(crate) struct Selection {
    /// Whether each was found.
    wanted: BTreeMap<Vec<u8>, bool>,
    leading: HashSet<Vec<u8>>,
    all: bool,
}

impl Selection {
    /// # Errors
    /// [`Code::Configuration`], naming a path that isn't a relative one.
    pub(crate) fn new(paths: &[Vec<u8>]) -> Result<Self> {
        let mut wanted = BTreeMap::new();
        let mut leading = HashSet::new();
        for asked in paths {
            let path = path::normalise(asked).map_err(|why| {
                Error::new(
                    Code::Configuration,
                    format!("the path `{}` {why}", show_bytes(asked)),
                )
                .hint("paths are relative to the root of the backed-up tree")
            })?;
            leading.extend(above(&path).map(<[u8]>::to_vec));
            wanted.insert(path, false);
        }
        let all = paths.is_empty() || wanted.contains_key(ROOT);
        if all {
            wanted.clear();
        }
        Ok(Selection { wanted, leading, all })
    }

    /// Whether an entry is asked for, or is a directory on the way to one that is.
    pub(crate) fn takes(&mut self, path: &[u8], kind: Kind) -> bool {
        if self.all {
            return true;
        }
        let mut found = false;
        for prefix in above(path).chain([path]) {
            if let Some(seen) = self.wanted.get_mut(prefix) {
                *seen = true;
                found = true;
            }
        }
        found || (kind == Kind::Directory && self.leading.contains(path))
    }

    /// Whether an entry is asked for.
    pub(crate) fn contains(&self, path: &[u8]) -> bool {
        self.all
            || above(path)
                .chain([path])
                .any(|prefix| self.wanted.contains_key(prefix))
    }

    /// # Errors
    /// [`Code::Configuration`], naming what was asked for and never came.
    pub(crate) fn finish(&self) -> Result<()> {
        let missing: Vec<String> = self
            .wanted
            .iter()
            .filter(|(_, found)| !**found)
            .map(|(path, _)| show_bytes(path))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(Error::new(
            Code::Configuration,
            format!("not in the backup: {}", missing.join(", ")),
        )
        .hint("list the backup to see the paths that it holds"))
    }
}

/// The directories above a path, without the root.
fn above(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.iter()
        .enumerate()
        .filter(|(_, b)| **b == b'/')
        .map(|(at, _)| &path[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_takes_what_is_below_it_and_the_directories_above() {
        let mut selection = Selection::new(&[b"./a/b/".to_vec(), b"c".to_vec()]).unwrap();
        assert!(selection.takes(b"a", Kind::Directory));
        assert!(!selection.takes(b"a", Kind::File));
        assert!(selection.takes(b"a/b", Kind::File));
        assert!(selection.takes(b"a/b/x", Kind::File));
        assert!(!selection.takes(b"a/bc", Kind::File));
        assert!(!selection.takes(b".", Kind::Directory));
        let error = selection.finish().unwrap_err();
        assert_eq!(error.to_string(), "not in the backup: c");
    }

    #[test]
    fn the_root_takes_everything() {
        let mut selection = Selection::new(&[b"./".to_vec(), b"a".to_vec()]).unwrap();
        assert!(selection.takes(b"x", Kind::File));
        assert!(selection.finish().is_ok());
    }
}
