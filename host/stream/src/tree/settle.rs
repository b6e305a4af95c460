//! What of a tree a directory has really kept: rights and file systems don't take everything.

use std::cmp::Ordering;
use std::io::{BufRead, Write};

use backstay_model::error::show;
use backstay_model::{Code, Error, Result};

use crate::context::Context;
use crate::tree::compare::{Lines, MAX_DIFFERENCES, Numbered, changes, order};
use crate::tree::entry::{Kind, ROOT};
use crate::tree::index::{Line, READ_BYTES, hash_content};
use crate::tree::path::os;
use crate::tree::scan::{Taken, scan};
use crate::tree::spec::TreeSpec;

/// What a directory keeps.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct KeptTree {
    /// How it differs from what was written, one sentence for each path.
    pub lost: Vec<String>,
    /// Files, directories, links and devices.
    pub entries: u64,
    /// Bytes of content, holes included, each file once.
    pub content_bytes: u64,
}

/// Writes the index of a directory as it is, with the hashes of content from the index that [`unpack`](crate::tree::unpack())
/// or a [`TreeCopy`](crate::tree::TreeCopy) wrote while it was filled, and says how the two differ.
///
/// Owners, modes, times and attributes may differ, and devices may be missing. The content isn't read again. A file that
/// is the same as one before it may be a further name of that: programs that copy trees link what is equal. What is
/// uncertain may be anything, or missing, and what was to be carried over may be missing or another: its content is read.
///
/// # Errors
/// [`Code::Storage`] if another entry is missing, is of another type or size, or was never written.
pub fn index_kept(
    spec: &TreeSpec,
    written: impl BufRead,
    context: &Context,
    out: &mut dyn Write,
) -> Result<KeptTree> {
    let mut written = Lines::new(written, "written");
    let mut next = written.next()?;
    let mut kept = Kept {
        spec,
        differences: Vec::new(),
        more: 0,
    };
    let mut tree = KeptTree::default();
    let mut buffer = vec![0; READ_BYTES];
    scan(spec, context, &mut |entry, file| {
        tree.entries += 1;
        tree.content_bytes += entry.size;
        while let Some(lost) = next.take_if(|n| order(&n.path, &entry.path) == Ordering::Less) {
            kept.lose(&lost)?;
            next = written.next()?;
        }
        let mut line = Line::new(entry, None);
        match next.take_if(|n| n.path == entry.path) {
            Some(expected) => {
                (line.uncertain, line.carried) = (expected.line.uncertain, expected.line.carried);
                if entry.kind == Kind::File {
                    line.blake3.clone_from(&expected.line.blake3);
                }
                // The file that it was a name of is another one now, or somebody changed it in the copy before: so nobody has
                // hashed it.
                let is_unknown = line.carried
                    && match expected.line.kind {
                        Kind::Hardlink => true,
                        kind => {
                            kind != entry.kind
                                || (expected.line.size, &expected.line.mtime) != (line.size, &line.mtime)
                        }
                    };
                if let (true, Some((file, _))) = (is_unknown, file) {
                    let hash = hash_content(file, entry.size, context, &mut buffer)?;
                    let hash = hash.map_err(|e| Error::io("read", spec.root.join(os(&entry.path)), e))?;
                    line.blake3 = Some(hash.to_hex().to_string());
                }
                kept.compare(&expected, &line)?;
                next = written.next()?;
            }
            // The archive of a single file has none.
            None if entry.path == ROOT => {}
            None => return Err(kept.broken(&entry.path, "is there and was not written")),
        }
        line.write(out).map(|()| Taken::Yes)
    })?;
    while let Some(lost) = next {
        kept.lose(&lost)?;
        next = written.next()?;
    }
    if kept.more > 0 {
        kept.differences.push(format!("and {} more", kept.more));
    }
    tree.lost = kept.differences;
    Ok(tree)
}

struct Kept<'a> {
    spec: &'a TreeSpec,
    differences: Vec<String>,
    more: u64,
}

impl Kept<'_> {
    fn compare(&mut self, expected: &Numbered, line: &Line) -> Result<()> {
        let is_name = |kind| matches!(kind, Kind::File | Kind::Hardlink);
        let is_linked = expected.line.kind == Kind::File && line.kind == Kind::Hardlink;
        let is_parted = line.carried
            && is_name(expected.line.kind)
            && is_name(line.kind)
            && expected.line.kind != line.kind;
        if line.uncertain || is_linked || is_parted {
            return Ok(());
        }
        let changed = changes(&expected.line, line);
        // Somebody changed it in the copy before. To fail would be to fail for ever.
        if line.carried && !changed.is_empty() {
            let what = changed.join(", ");
            self.differ(format!("{}: different {what} in the copy before", line.path));
            return Ok(());
        }
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
        if lost.line.uncertain {
            return Ok(());
        }
        // Somebody took it out of the copy before. To fail would be to fail for ever.
        if lost.line.carried {
            self.differ(format!("{}: missing in the copy before", lost.line.path));
            return Ok(());
        }
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
