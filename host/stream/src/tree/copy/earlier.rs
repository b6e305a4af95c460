//! What an earlier copy of a tree had, for what is to be carried over from there.

use std::cmp::Ordering;
use std::io::BufRead;

use backstay_model::Result;

use crate::tree::compare::{Lines, Numbered, order};
use crate::tree::entry::{Entry, Kind, ROOT};

/// What an earlier copy had.
pub(super) struct Earlier<'e> {
    lines: Lines<&'e mut dyn BufRead>,
    next: Option<Numbered>,
    /// The entry of the tree that came last and has nothing below it any more, because it is no directory.
    leaf: Option<Vec<u8>>,
}

impl<'e> Earlier<'e> {
    pub(super) fn new(index: &'e mut dyn BufRead) -> Result<Self> {
        let mut lines = Lines::new(index, "earlier");
        Ok(Earlier {
            next: lines.next()?,
            lines,
            leaf: None,
        })
    }

    /// The next that is gone from the tree and comes before an entry of it.
    pub(super) fn before(&mut self, entry: Option<&Entry>) -> Result<Option<Numbered>> {
        loop {
            let Some(next) = self.next.take() else {
                return Ok(None);
            };
            match entry.map_or(Ordering::Less, |entry| order(&next.path, &entry.path)) {
                Ordering::Less => {}
                place => {
                    self.leaf = entry
                        .filter(|e| e.kind != Kind::Directory)
                        .map(|e| e.path.clone());
                    self.next = if place == Ordering::Equal {
                        self.lines.next()?
                    } else {
                        Some(next)
                    };
                    return Ok(None);
                }
            }
            self.next = self.lines.next()?;
            let is_below_leaf = self.leaf.as_ref().is_some_and(|leaf| {
                next.path
                    .strip_prefix(&leaf[..])
                    .is_some_and(|rest| rest.starts_with(b"/"))
            });
            if next.path != ROOT && !is_below_leaf {
                return Ok(Some(next));
            }
        }
    }
}
