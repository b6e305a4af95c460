//! How a tree differs from what was stored of it, without reading the content of any file.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::io::BufRead;

use backstay_model::Result;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::context::Context;
use crate::tree::compare::{Lines, Numbered, changes, order};
use crate::tree::entry::{Entry, Kind, ROOT};
use crate::tree::index::Line;
use crate::tree::scan::{Taken, scan};
use crate::tree::spec::TreeSpec;

/// What would become of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Fate {
    /// It wasn't there.
    New,
    /// It was another.
    Changed,
    /// It is gone, and would not be in the new backup.
    Deleted,
    /// It is gone, and would be taken over from the backup before.
    Carried,
}

/// An entry that would not stay as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// What would become of it.
    pub change: Fate,
    /// Relative to the root, as in an index.
    pub path: String,
    /// Bytes of content: of what is gone as it was, else as it is.
    pub bytes: u64,
    /// In what it differs, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub what: Vec<Cow<'static, str>>,
}

/// So many entries with so much content.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Amount {
    /// Files, directories, links and devices, but for the root itself.
    pub entries: u64,
    /// Bytes of content, holes included, each file once.
    pub bytes: u64,
}

impl Amount {
    fn add(&mut self, bytes: u64) {
        self.entries += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

/// How much of a tree would become what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Amounts {
    /// What wasn't there.
    pub new: Amount,
    /// What was another.
    pub changed: Amount,
    /// What is gone, and would not be in the new backup.
    pub deleted: Amount,
    /// What is gone, and would be taken over from the backup before.
    pub carried: Amount,
    /// What would stay as it is.
    pub unchanged: Amount,
}

/// Walks a tree and says how it differs from `earlier`, an index of it; all is new without one. A file whose size, times
/// and attributes are the same counts as unchanged. What is gone is deleted if the copy `mirrors` the tree, else carried.
/// What can't be read is a warning.
///
/// # Errors
/// The root can't be read, `earlier` is no index, somebody cancelled, or `each` failed.
pub fn preview(
    spec: &TreeSpec,
    earlier: Option<&mut dyn BufRead>,
    mirrors: bool,
    context: &Context,
    each: &mut dyn FnMut(Change) -> Result<()>,
) -> Result<Amounts> {
    let mut comparing = Comparing {
        lines: earlier.map(|index| Lines::new(index, "earlier")),
        next: None,
        leaf: None,
        mirrors,
        amounts: Amounts::default(),
        each,
    };
    comparing.advance()?;
    scan(spec, context, &mut |entry, _| {
        comparing.take(entry).map(|()| Taken::Yes)
    })?;
    comparing.gone_before(None)?;
    Ok(comparing.amounts)
}

struct Comparing<'e, 'c> {
    lines: Option<Lines<&'e mut dyn BufRead>>,
    next: Option<Numbered>,
    /// The entry of the tree that came last, if nothing can be below it.
    leaf: Option<Vec<u8>>,
    mirrors: bool,
    amounts: Amounts,
    each: &'c mut dyn FnMut(Change) -> Result<()>,
}

impl Comparing<'_, '_> {
    fn advance(&mut self) -> Result<()> {
        self.next = match &mut self.lines {
            Some(lines) => lines.next()?,
            None => None,
        };
        Ok(())
    }

    fn take(&mut self, entry: &Entry) -> Result<()> {
        self.gone_before(Some(&entry.path))?;
        let before = match &self.next {
            Some(next) if next.path == entry.path => self.next.take(),
            _ => None,
        };
        if before.is_some() {
            self.advance()?;
        }
        self.leaf = (entry.kind != Kind::Directory).then(|| entry.path.clone());
        if entry.path == ROOT {
            return Ok(());
        }
        let Some(before) = before else {
            self.amounts.new.add(entry.size);
            return self.tell(Fate::New, &Line::new(entry, None), Vec::new());
        };
        let mut now = Line::new(entry, None);
        now.blake3.clone_from(&before.line.blake3);
        let what = if before.line.uncertain {
            vec!["unknown"]
        } else {
            changes(&before.line, &now)
        };
        if what.is_empty() {
            self.amounts.unchanged.add(entry.size);
            return Ok(());
        }
        self.amounts.changed.add(entry.size);
        self.tell(Fate::Changed, &now, what)
    }

    /// Tells of what comes before a path and isn't in the tree; without a path of all that is left.
    fn gone_before(&mut self, path: Option<&[u8]>) -> Result<()> {
        loop {
            let is_before =
                |next: &Numbered| path.is_none_or(|path| order(&next.path, path) == Ordering::Less);
            if !self.next.as_ref().is_some_and(is_before) {
                return Ok(());
            }
            let Some(gone) = self.next.take() else {
                return Ok(());
            };
            self.advance()?;
            if gone.path == ROOT {
                continue;
            }
            let is_below_leaf = self.leaf.as_ref().is_some_and(|leaf| {
                let rest = gone.path.strip_prefix(&leaf[..]);
                rest.is_some_and(|rest| rest.starts_with(b"/"))
            });
            let bytes = gone.line.size.unwrap_or(0);
            let fate = if self.mirrors || is_below_leaf {
                self.amounts.deleted.add(bytes);
                Fate::Deleted
            } else {
                self.amounts.carried.add(bytes);
                Fate::Carried
            };
            self.tell(fate, &gone.line, Vec::new())?;
        }
    }

    fn tell(&mut self, change: Fate, line: &Line, what: Vec<&'static str>) -> Result<()> {
        (self.each)(Change {
            change,
            path: line.path.clone(),
            bytes: line.size.unwrap_or(0),
            what: what.into_iter().map(Cow::Borrowed).collect(),
        })
    }
}
