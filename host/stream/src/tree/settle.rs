//! What of a tree a directory has really kept: rights and file systems don't take everything.

use std::cmp::Ordering;
use std::io::{BufRead, Write};

use backstay_model::error::show;
use backstay_model::{Code, Error, Result};

use crate::context::Context;
use crate::tree::compare::{Lines, MAX_DIFFERENCES, Numbered, changes, order};
use crate::tree::entry::{Kind, ROOT};
use crate::tree::index::Line;
use crate::tree::path::os;
use crate::tree::scan::scan;
use crate::tree::spec::TreeSpec;

/// Writes the index of a directory as it is, with the hashes of content from the index that [`unpack`](crate::tree::unpack())
/// wrote while it filled the directory, and says how the two differ, one sentence for each path.
///
/// Owners, modes, times and attributes may differ, and devices may be missing. The content isn't read again.
///
/// # Errors
/// [`Code::Storage`] if another entry is missing, is of another type or size, or was never written.
pub fn index_kept(
    spec: &TreeSpec,
    written: impl BufRead,
    context: &Context,
    out: &mut dyn Write,
) -> Result<Vec<String>> {
    let mut written = Lines::new(written, "written");
    let mut next = written.next()?;
    let mut kept = Kept {
        spec,
        differences: Vec::new(),
        more: 0,
    };
    scan(spec, context, &mut |entry, _| {
        while let Some(lost) = next.take_if(|n| order(&n.path, &entry.path) == Ordering::Less) {
            kept.lose(&lost)?;
            next = written.next()?;
        }
        let mut line = Line::new(entry, None);
        match next.take_if(|n| n.path == entry.path) {
            Some(expected) => {
                line.blake3.clone_from(&expected.line.blake3);
                kept.compare(&expected, &line)?;
                next = written.next()?;
            }
            // The archive of a single file has none.
            None if entry.path == ROOT => {}
            None => return Err(kept.broken(&entry.path, "is there and was not written")),
        }
        line.write(out)
    })?;
    while let Some(lost) = next {
        kept.lose(&lost)?;
        next = written.next()?;
    }
    if kept.more > 0 {
        kept.differences.push(format!("and {} more", kept.more));
    }
    Ok(kept.differences)
}

struct Kept<'a> {
    spec: &'a TreeSpec,
    differences: Vec<String>,
    more: u64,
}

impl Kept<'_> {
    fn compare(&mut self, expected: &Numbered, line: &Line) -> Result<()> {
        let changed = changes(&expected.line, line);
        if let Some(what) = changed
            .iter()
            .find(|what| ["type", "content", "link target"].contains(what))
        {
            return Err(self.broken(&expected.path, &format!("has another {what} than was written")));
        }
        if !changed.is_empty() {
            self.differ(format!("{}: different {}", line.path, changed.join(", ")));
        }
        Ok(())
    }

    fn lose(&mut self, lost: &Numbered) -> Result<()> {
        if !matches!(lost.line.kind, Kind::Character | Kind::Block) {
            return Err(self.broken(&lost.path, "was written and is missing"));
        }
        self.differ(format!("{}: left out", lost.line.path));
        Ok(())
    }

    fn differ(&mut self, what: String) {
        if self.differences.len() < MAX_DIFFERENCES {
            self.differences.push(what);
        } else {
            self.more += 1;
        }
    }

    fn broken(&self, path: &[u8], what: &str) -> Error {
        let path = self.spec.root.join(os(path));
        Error::new(Code::Storage, format!("{} {what}", show(&path)))
            .hint("does something else write there, or does its file system treat names as the same?")
    }
}
