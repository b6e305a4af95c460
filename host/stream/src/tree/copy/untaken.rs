//! What a program says that it could not take, found again among the paths of the tree.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt as _;

use backstay_model::error::show;

use crate::context::Context;
use crate::tree::copy::{TreeCopy, Untaken};

/// Complaints by path, as programs write paths: bytes that are no text are replaced, each in its own way.
pub(super) struct Complaints<'a> {
    by_path: BTreeMap<String, Complaint<'a>>,
    /// The directory that was complained of last, and is not taken with all below it.
    below: Option<Vec<u8>>,
}

struct Complaint<'a> {
    of: &'a Untaken,
    is_found: bool,
}

impl<'a> Complaints<'a> {
    pub(super) fn new(copy: &TreeCopy, untaken: &'a [Untaken]) -> Self {
        let base = copy
            .directory()
            .canonicalize()
            .unwrap_or_else(|_| copy.directory().to_owned());
        let base = plain(base.as_os_str().as_bytes());
        let relative = |path: &str| {
            let path = plain(path.as_bytes());
            let inside = path.strip_prefix(&base).filter(|rest| rest.starts_with('/'));
            let path = inside.unwrap_or(&path);
            path.trim_start_matches("./").trim_start_matches('/').to_owned()
        };
        let by_path = untaken.iter().map(|of| {
            let complaint = Complaint { of, is_found: false };
            (relative(&of.path), complaint)
        });
        Complaints {
            by_path: by_path.collect(),
            below: None,
        }
    }

    /// Whether an entry was not taken; and why, if the program has complained of it and not of a directory above.
    pub(super) fn about(&mut self, path: &[u8]) -> (bool, Option<&'a str>) {
        if self.by_path.is_empty() {
            return (false, None);
        }
        let is_below = self.below.as_ref().is_some_and(|directory| {
            path.strip_prefix(directory.as_slice())
                .is_some_and(|rest| rest.starts_with(b"/"))
        });
        match self.by_path.get_mut(&plain(path)) {
            Some(complaint) => {
                complaint.is_found = true;
                if !is_below {
                    self.below = Some(path.to_vec());
                }
                (true, Some(&complaint.of.why))
            }
            None => (is_below, None),
        }
    }

    /// Warns of what the tree did not have when it was walked.
    pub(super) fn end(self, copy: &TreeCopy, context: &Context) {
        let others = self.by_path.into_values().filter(|complaint| !complaint.is_found);
        for Complaint { of, .. } in others {
            let path = copy.directory().join(&of.path);
            context
                .notes
                .warn("unreadable", message(&of.why), Some(show(&path)));
        }
    }
}

pub(super) fn message(why: &str) -> String {
    format!("it could not be read when it was copied: {why}")
}

/// A path as text, with one sign for any number of bytes that are no text.
fn plain(path: &[u8]) -> String {
    let mut text = String::with_capacity(path.len());
    for c in String::from_utf8_lossy(path).chars() {
        if c != char::REPLACEMENT_CHARACTER || !text.ends_with(c) {
            text.push(c);
        }
    }
    text
}
