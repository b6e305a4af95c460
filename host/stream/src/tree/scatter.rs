//! The files of a tree one by one, for whoever keeps no directories.

use std::io::{Read, Write};

use backstay_model::Result;
use backstay_model::error::show_bytes;

use crate::context::Context;
use crate::tree::archive::Archive;
use crate::tree::entry::Kind;
use crate::tree::index::{Line, MOST_PIECES};
use crate::tree::unpack::{COPY_BYTES, Content, Unpacked};

/// Where files go.
pub trait FileSink {
    /// Begins a file with its path in the tree and its size in bytes.
    ///
    /// # Errors
    /// It can't be kept.
    fn begin(&mut self, path: &[u8], size: u64) -> Result<()>;

    /// Takes the next bytes of it.
    ///
    /// # Errors
    /// They can't be kept.
    fn write(&mut self, bytes: &[u8]) -> Result<()>;

    /// Ends it: all its bytes were given.
    ///
    /// # Errors
    /// It, or one before it, can't be kept.
    fn end(&mut self) -> Result<()>;
}

/// Gives each regular file of a tar archive to `files`, its holes as zeros, and reads the archive to its end. One line for
/// each entry is written to `index`, with all that there is to know of it besides content.
///
/// # Errors
/// As [`walk`](crate::tree::walk), and what `files` or `index` fail at.
pub fn scatter(
    reader: impl Read,
    files: &mut dyn FileSink,
    context: &Context,
    index: &mut dyn Write,
) -> Result<Unpacked> {
    let mut archive = Archive::new(reader, context);
    let mut buffer = vec![0; COPY_BYTES];
    let mut done = Unpacked::default();
    while let Some(member) = archive.next()? {
        let entry = &member.entry;
        context.meter.enter(|| show_bytes(&entry.path));
        let is_file = entry.kind == Kind::File;
        let mut content = Content::new(&mut archive, &mut buffer, is_file);
        if is_file {
            files.begin(&entry.path, entry.size)?;
            let mut end = 0;
            content.copy(&member, &mut |bytes, offset| {
                zeros(files, offset - end, context)?;
                end = offset + bytes.len() as u64;
                files.write(bytes)
            })?;
            zeros(files, entry.size - end, context)?;
            files.end()?;
        }
        let pieces = member.segments.as_deref().filter(|all| all.len() <= MOST_PIECES);
        Line::new(entry, content.hash())
            .in_full(entry, pieces)
            .write(index)?;
        done.entries += 1;
        done.directories += u64::from(entry.kind == Kind::Directory);
        done.content_bytes = done.content_bytes.saturating_add(entry.size);
    }
    Ok(done)
}

fn zeros(files: &mut dyn FileSink, mut bytes: u64, context: &Context) -> Result<()> {
    let zeros = [0; 64 << 10];
    while bytes > 0 {
        context.cancel.check()?;
        let n = usize::try_from(bytes).unwrap_or(usize::MAX).min(zeros.len());
        files.write(&zeros[..n])?;
        bytes -= n as u64;
    }
    Ok(())
}
