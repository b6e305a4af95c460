//! What is in a tree's directory and isn't taken, as patterns for programs that walk directories by themselves.

use std::cmp::Ordering;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::iter::Peekable;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::vec;

use backstay_model::{Code, Error, Result};

use crate::context::Context;
use crate::tree::compare::Lines;
use crate::tree::copy::state::{Place, Root};
use crate::tree::copy::{TreeCopy, ended, failed, reader, temporary};
use crate::tree::directory::{self, Name};
use crate::tree::entry::{Kind, ROOT};
use crate::tree::path::{is_below, split};

/// The most patterns that a program is given: restic compares each with each file, at about 10 ns.
pub const MAX_LEFT_OUT: u64 = 50_000;

/// A name that no pattern means alone.
const ANY_NAME: &[u8] = b"\x01any\x01";

/// A directory that is taken, and the names in it of which nothing is known yet.
struct Level {
    path: Vec<u8>,
    names: Peekable<vec::IntoIter<Name>>,
    /// Whether anything in it is taken.
    is_used: bool,
    /// Whether what comes into it would not be taken either.
    is_closed: bool,
}

impl Level {
    /// A directory by its path, which is empty for the root. One that can't be listed can't be walked either.
    fn open(copy: &TreeCopy, root: &Root, path: Vec<u8>) -> Self {
        let opened = root.list(if path.is_empty() { ROOT } else { &path }).ok();
        let is_foreign = copy.spec.one_file_system
            && opened
                .as_ref()
                .and_then(|directory| Place::of(directory.as_fd()).ok())
                .is_some_and(|place| !place.is_on(root.place()));
        let names = opened.map_or_else(Vec::new, |directory| directory::names(directory.as_fd()).0);
        Level {
            is_closed: is_foreign || copy.spec.leaves_out_all_in(&path, ANY_NAME),
            path,
            names: names.into_iter().peekable(),
            is_used: false,
        }
    }
}

pub(super) fn patterns(copy: &TreeCopy, context: &Context) -> Result<File> {
    let root = copy.root()?;
    let real = copy
        .directory()
        .canonicalize()
        .map_err(|e| Error::io_as(Code::BackupFailed, "find", copy.directory(), e))?;
    let mut list = List {
        base: real.as_os_str().as_bytes(),
        out: temporary()?,
        count: 0,
    };
    let mut lines = Lines::new(reader(&copy.draft)?, "drafted");
    let mut levels: Vec<Level> = Vec::new();
    while let Some(line) = lines.next()? {
        context.cancel.check()?;
        context.meter.tick();
        if line.line.carried {
            continue;
        }
        let (parent, name) = split(&line.path);
        if line.path != ROOT {
            // Its directory may have no line: then it isn't walked, and nothing is known of those above.
            let is_done = |level: &mut Level| level.path != parent && !is_below(parent, &level.path);
            while let Some(level) = levels.pop_if(is_done) {
                list.rest(level)?;
            }
            if let Some(level) = levels.last_mut().filter(|level| level.path == parent) {
                list.before(level, name)?;
                level.is_used = true;
            }
        }
        if line.line.kind == Kind::Directory {
            let path = if line.path == ROOT { Vec::new() } else { line.path };
            levels.push(Level::open(copy, &root, path));
        }
    }
    while let Some(level) = levels.pop() {
        list.rest(level)?;
    }
    ended(list.out)
}

struct List<'a> {
    base: &'a [u8],
    out: BufWriter<File>,
    count: u64,
}

impl List<'_> {
    /// Leaves out what comes before a name that is taken.
    fn before(&mut self, level: &mut Level, taken: &[u8]) -> Result<()> {
        while let Some(next) = level.names.next_if(|next| next.name.to_bytes() <= taken) {
            if next.name.to_bytes().cmp(taken) == Ordering::Less {
                self.add(&level.path, Some(next.name.to_bytes()))?;
            }
        }
        Ok(())
    }

    /// Leaves out all that isn't known; where nothing is taken, by one pattern that holds for what comes later, too: in
    /// `/proc` that is the program itself.
    fn rest(&mut self, mut level: Level) -> Result<()> {
        if !level.is_used && (level.is_closed || level.names.peek().is_some()) {
            return self.add(&level.path, None);
        }
        for name in level.names {
            self.add(&level.path, Some(name.name.to_bytes()))?;
        }
        Ok(())
    }

    /// Leaves out a name in a directory, or without one any name.
    fn add(&mut self, directory: &[u8], name: Option<&[u8]>) -> Result<()> {
        self.count += 1;
        if self.count > MAX_LEFT_OUT {
            let message = format!(
                "more than {MAX_LEFT_OUT} paths of the tree are left out, and the program would compare each with each file"
            );
            return Err(Error::new(Code::Configuration, message).hint(
                "leave out or name whole directories, or have the destination keep the tree as a tar stream",
            ));
        }
        let mut path = self.base.to_vec();
        for part in [directory, name.unwrap_or_default()] {
            if !part.is_empty() && path != b"/" {
                path.push(b'/');
            }
            path.extend_from_slice(part);
        }
        let mut line = pattern(&path);
        match name {
            Some(_) => {}
            None if path == b"/" => line.push(b'*'),
            None => line.extend_from_slice(b"/*"),
        }
        line.push(b'\n');
        self.out.write_all(&line).map_err(failed)
    }
}

/// A pattern that matches a path and no other, in a line of a file that restic reads: it cuts white space off the end of
/// each line, replaces variables, and has no way to write the end of a line but as what no other character is.
fn pattern(path: &[u8]) -> Vec<u8> {
    const LINE_FEED: &str = "[^\u{1}-\u{9}\u{b}-\u{10ffff}]";
    let mut pattern = Vec::with_capacity(path.len() + 16);
    let mut chunks = path.utf8_chunks().peekable();
    while let Some(chunk) = chunks.next() {
        let is_last = chunk.invalid().is_empty() && chunks.peek().is_none();
        let mut chars = chunk.valid().chars().peekable();
        while let Some(c) = chars.next() {
            let ends_line = is_last && chars.peek().is_none();
            let mut utf8 = [0; 4];
            let bytes = c.encode_utf8(&mut utf8).as_bytes();
            match c {
                '\n' => pattern.extend_from_slice(LINE_FEED.as_bytes()),
                '\\' | '*' | '?' | '[' => pattern.extend([b'\\', bytes[0]]),
                '$' => pattern.extend_from_slice(b"$$"),
                _ if c == '\r' || (ends_line && c.is_whitespace()) => {
                    pattern.push(b'[');
                    pattern.extend_from_slice(bytes);
                    pattern.push(b']');
                }
                _ => pattern.extend_from_slice(bytes),
            }
        }
        pattern.extend_from_slice(chunk.invalid());
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_something_to_the_reader_is_escaped() {
        for (path, expected) in [
            (&b"/a/b c"[..], &b"/a/b c"[..]),
            (b"/a*b?[c]", b"/a\\*b\\?\\[c]"),
            (b"/back\\slash", b"/back\\\\slash"),
            (b"/$HOME/", b"/$$HOME/"),
            (b"/end ", b"/end[ ]"),
            (b"/\xff ", b"/\xff[ ]"),
            (b"/ \xff", b"/ \xff"),
            (b"/a\rb", b"/a[\r]b"),
            ("/\u{a0}x\u{2003}".as_bytes(), "/\u{a0}x[\u{2003}]".as_bytes()),
            (b"/a\nb", "/a[^\u{1}-\u{9}\u{b}-\u{10ffff}]b".as_bytes()),
        ] {
            assert_eq!(pattern(path), expected, "{}", String::from_utf8_lossy(path));
        }
    }
}
