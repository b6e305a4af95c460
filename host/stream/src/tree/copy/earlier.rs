//! What an earlier copy of a tree had: what is to be carried over from there, and what is still the same.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter};

use backstay_model::Result;
use blake3::Hash;

use crate::tree::compare::{Lines, Numbered, order};
use crate::tree::copy::{ended, temporary};
use crate::tree::entry::{Entry, Kind, ROOT};
use crate::tree::index::Line;
use crate::tree::path::is_below;

/// What the earlier copy had under paths of which further names are carried over, and which are not themselves; nothing
/// if it had none.
pub(super) type Firsts = HashMap<String, Option<Line>>;

/// What an earlier copy had.
pub(super) struct Earlier<'e> {
    lines: Lines<&'e mut dyn BufRead>,
    next: Option<Numbered>,
    /// What it had under the path of the entry of the tree that came last.
    here: Option<Line>,
    /// Whether what is gone from the tree is carried over.
    carries: bool,
    /// The entry of the tree that came last and has nothing below it any more, because it is no directory.
    leaf: Option<Vec<u8>>,
    /// What may have further names, marked if it is carried over.
    passed: BufWriter<File>,
    /// What has further names that are carried over.
    wanted: HashSet<String>,
}

impl<'e> Earlier<'e> {
    pub(super) fn new(index: &'e mut dyn BufRead, carries: bool) -> Result<Self> {
        let mut lines = Lines::new(index, "earlier");
        Ok(Earlier {
            next: lines.next()?,
            lines,
            here: None,
            carries,
            leaf: None,
            passed: temporary()?,
            wanted: HashSet::new(),
        })
    }

    /// The next that is gone from the tree and comes before an entry of it, marked as carried over.
    pub(super) fn before(&mut self, entry: Option<&Entry>) -> Result<Option<Numbered>> {
        self.here = None;
        loop {
            let Some(mut next) = self.next.take() else {
                return Ok(None);
            };
            match entry.map_or(Ordering::Less, |entry| order(&next.path, &entry.path)) {
                Ordering::Less => {}
                place => {
                    self.leaf = entry
                        .filter(|e| e.kind != Kind::Directory)
                        .map(|e| e.path.clone());
                    self.next = if place == Ordering::Equal {
                        self.pass(&mut next.line, false)?;
                        self.here = Some(next.line);
                        self.lines.next()?
                    } else {
                        Some(next)
                    };
                    return Ok(None);
                }
            }
            self.next = self.lines.next()?;
            let is_below_leaf = self.leaf.as_ref().is_some_and(|leaf| is_below(&next.path, leaf));
            let is_carried = self.carries && next.path != ROOT && !is_below_leaf;
            self.pass(&mut next.line, is_carried)?;
            if is_carried {
                return Ok(Some(next));
            }
        }
    }

    /// Whether the entry of the tree that came last is a file with this content, and was the same then.
    pub(super) fn had(&self, entry: &Entry, content: Hash) -> bool {
        let is_same = |line: &Line| {
            !line.uncertain
                && line.kind == Kind::File
                && line.size == Some(entry.size)
                && line.blake3.as_deref() == Some(content.to_hex().as_str())
        };
        entry.kind == Kind::File && self.here.as_ref().is_some_and(is_same)
    }

    fn pass(&mut self, line: &mut Line, is_carried: bool) -> Result<()> {
        line.carried = is_carried;
        if !self.carries {
            return Ok(());
        }
        match line.kind {
            Kind::Directory => {}
            Kind::Hardlink if is_carried => self.wanted.extend(line.link.clone()),
            Kind::Hardlink => {}
            _ => line.write(&mut self.passed)?,
        }
        Ok(())
    }

    /// What is to be known of the first names of what is carried over.
    pub(super) fn end(self) -> Result<Firsts> {
        let mut firsts: Firsts = self.wanted.into_iter().map(|path| (path, None)).collect();
        if firsts.is_empty() {
            return Ok(firsts);
        }
        let mut lines = Lines::new(BufReader::new(ended(self.passed)?), "earlier");
        while let Some(Numbered { line, .. }) = lines.next()? {
            if line.carried {
                firsts.remove(&line.path);
            } else if let Some(first) = firsts.get_mut(&line.path) {
                *first = Some(line);
            }
        }
        Ok(firsts)
    }
}
