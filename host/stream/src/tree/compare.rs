//! How two trees differ, by their indexes.

use std::cmp::Ordering;
use std::io::BufRead;

use backstay_model::error::from_io;
use backstay_model::{Code, Error, Result};

use crate::tree::entry::ROOT;
use crate::tree::index::Line;
use crate::tree::path::{names, unescape};

/// Differences that are described; further ones are only counted.
pub const MAX_DIFFERENCES: usize = 20;

/// Says how `actual` differs from `expected`, one sentence for each path; nothing if it doesn't.
///
/// Both are indexes in the order in which this module walks trees, and are read once, line by line. The
/// root counts only if both have it: the archive of a single file has none. A path that is uncertain in `expected`
/// may be anything or missing.
///
/// # Errors
/// [`Code::Verification`] if one can't be read, isn't an index, or isn't in order.
pub fn compare_index(expected: impl BufRead, actual: impl BufRead) -> Result<Vec<String>> {
    let mut expected = Lines::new(expected, "expected");
    let mut actual = Lines::new(actual, "actual");
    let mut differences = Vec::new();
    let mut more = 0_u64;
    let mut differ = |what: String| {
        if differences.len() < MAX_DIFFERENCES {
            differences.push(what)
        } else {
            more += 1
        }
    };
    let (mut left, mut right) = (expected.next()?, actual.next()?);
    loop {
        let order = match (&left, &right) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(left), Some(right)) => order(&left.path, &right.path),
        };
        if order == Ordering::Equal {
            if let (Some(left), Some(right)) = (&left, &right)
                && !left.line.uncertain
            {
                let changed = changes(&left.line, &right.line);
                if !changed.is_empty() {
                    differ(format!("{}: different {}", left.line.path, changed.join(", ")));
                }
            }
        } else {
            let (here, word) = if order == Ordering::Less {
                (&left, "missing")
            } else {
                (&right, "extra")
            };
            if let Some(one) = here
                .as_ref()
                .filter(|one| one.path != ROOT && !one.line.uncertain)
            {
                differ(format!("{}: {word}", one.line.path));
            }
        }
        if order != Ordering::Greater {
            left = expected.next()?;
        }
        if order != Ordering::Less {
            right = actual.next()?;
        }
    }
    if more > 0 {
        differences.push(format!("and {more} more"));
    }
    Ok(differences)
}

/// The words for what two lines of one path differ in.
pub(crate) fn changes(expected: &Line, actual: &Line) -> Vec<&'static str> {
    if expected.kind != actual.kind {
        return vec!["type"];
    }
    let content = (expected.size, &expected.blake3) == (actual.size, &actual.blake3);
    let owner = (expected.uid, expected.gid) == (actual.uid, actual.gid);
    [
        (content, "content"),
        (expected.mode == actual.mode, "mode"),
        (owner, "owner"),
        (expected.mtime == actual.mtime, "time"),
        (expected.link == actual.link, "link target"),
        (expected.device == actual.device, "device numbers"),
        (expected.xattrs == actual.xattrs, "extended attributes"),
    ]
    .into_iter()
    .filter(|(same, _)| !same)
    .map(|(_, word)| word)
    .collect()
}

/// The order of a walk: a directory, then what is in it by name.
pub(crate) fn order(a: &[u8], b: &[u8]) -> Ordering {
    names(a).cmp(names(b))
}

pub(crate) struct Lines<R> {
    reader: R,
    which: &'static str,
    number: u64,
    last: Option<Vec<u8>>,
}

pub(crate) struct Numbered {
    pub(crate) path: Vec<u8>,
    pub(crate) line: Line,
}

impl<R: BufRead> Lines<R> {
    pub(crate) fn new(reader: R, which: &'static str) -> Self {
        Lines {
            reader,
            which,
            number: 0,
            last: None,
        }
    }

    pub(crate) fn next(&mut self) -> Result<Option<Numbered>> {
        let mut text = Vec::new();
        let n = self.reader.read_until(b'\n', &mut text);
        if n.map_err(|e| from_io(e, Code::Verification, "an index could not be read"))? == 0 {
            return Ok(None);
        }
        self.number += 1;
        let line: Line =
            serde_json::from_slice(&text).map_err(|e| self.fault("can't be understood").because(e))?;
        let path = unescape(&line.path).ok_or_else(|| self.fault("has a damaged path"))?;
        if self
            .last
            .as_ref()
            .is_some_and(|last| order(last, &path) != Ordering::Less)
        {
            return Err(self.fault("isn't in order"));
        }
        self.last = Some(path.clone());
        Ok(Some(Numbered { path, line }))
    }

    fn fault(&self, what: &str) -> Error {
        Error::new(
            Code::Verification,
            format!("line {} of the {} index {what}", self.number, self.which),
        )
    }
}
