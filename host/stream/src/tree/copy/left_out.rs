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
use crate::tree::copy::{TreeCopy, ended, failed, reader, temporary};
use crate::tree::directory::{self, Name};
use crate::tree::entry::{Kind, ROOT};
use crate::tree::path::split;

/// The most patterns that a program is given: restic compares each with each file, at about 10 ns.
pub const MAX_LEFT_OUT: u64 = 50_000;

/// A directory that is taken, and the names in it of which nothing is known yet.
struct Level {
    path: Vec<u8>,
    names: Peekable<vec::IntoIter<Name>>,
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
            while let Some(level) = levels.pop_if(|level| level.path != parent) {
                list.rest(level)?;
            }
            if let Some(level) = levels.last_mut() {
                list.before(level, name)?;
            }
        }
        if line.line.kind == Kind::Directory {
            // One that can't be listed can't be walked either.
            let opened = root.list(&line.path);
            let names = opened.map_or_else(|_| Vec::new(), |directory| directory::names(directory.as_fd()).0);
            levels.push(Level {
                path: if line.path == ROOT { Vec::new() } else { line.path },
                names: names.into_iter().peekable(),
            });
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
                self.add(&level.path, next.name.to_bytes())?;
            }
        }
        Ok(())
    }

    /// Leaves out all that isn't known.
    fn rest(&mut self, level: Level) -> Result<()> {
        for name in level.names {
            self.add(&level.path, name.name.to_bytes())?;
        }
        Ok(())
    }

    fn add(&mut self, directory: &[u8], name: &[u8]) -> Result<()> {
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
        for part in [directory, name] {
            if !part.is_empty() && path != b"/" {
                path.push(b'/');
            }
            path.extend_from_slice(part);
        }
        let mut line = pattern(&path);
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
