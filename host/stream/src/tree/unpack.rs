//! A tree from an archive: into a directory, or only looked at.

use std::io::{Read, Write};
use std::path::Path;

use backstay_model::error::show_bytes;
use backstay_model::{Code, Error, Result};

use crate::context::Context;
use crate::tree::archive::{Archive, Member};
use crate::tree::entry::Kind;
use crate::tree::index::Line;
use crate::tree::place::Place;
use crate::tree::selection::Selection;
use crate::tree::sparse::Segment;

/// Bytes of content to handle at a time.
pub(crate) const COPY_BYTES: usize = 256 << 10;

/// What to unpack, and what with things that are there already.
#[derive(Debug, Clone, Default)]
pub struct UnpackOptions {
    /// Only these paths, relative to the root, each with all below it. None means everything.
    pub paths: Vec<Vec<u8>>,
    /// Replace what is there. Otherwise it is an error that there is something, but for directories.
    pub overwrite: bool,
    /// Read everything and write nothing.
    pub dry_run: bool,
}

/// What was unpacked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Files, directories, links and devices.
    pub entries: u64,
    /// Those of them that are directories.
    pub directories: u64,
    /// Bytes of files, with their holes.
    pub content_bytes: u64,
    /// Whether something is not as it was, for want of rights or of a file system that takes it; warnings say what.
    pub lossy: bool,
}

/// Writes the entries of a tar archive below `target`, which is made if it is missing, with owners,
/// modes, times, extended attributes and holes, and reads the archive to its end.
///
/// Nothing outside of `target` is ever touched, whatever the archive says. What is there is replaced by
/// new files, never written through. A directory that is there and not empty keeps its own owner, mode
/// and times unless `overwrite` is set, and one that only leads to what was asked for keeps them always. With `index`, one line for each entry is written to it, in the
/// order of the archive; see [`index_directory`](crate::tree::index_directory()).
///
/// The codes of warnings, for what the system doesn't allow or take: `owner-not-restored` (once; set-user-id
/// bits are left out then), `device-not-restored`, `xattr-not-restored` (once for each name of an attribute).
///
/// # Errors
/// [`Code::Archive`] if the archive is damaged, ends early, or names a place outside;
/// [`Code::Configuration`] if something is there already, or a path of `options` isn't in the archive;
/// otherwise whatever kept an entry from being written. What was written until then stays.
pub fn unpack(
    reader: impl Read,
    target: &Path,
    options: &UnpackOptions,
    context: &Context,
    index: Option<&mut dyn Write>,
) -> Result<Unpacked> {
    let mut selection = Selection::new(&options.paths)?;
    let place = if options.dry_run {
        None
    } else {
        Some(Place::open(target, options.overwrite, context)?)
    };
    let done = read(reader, &mut selection, context, place, index, &mut |_| {})?;
    selection.finish()?;
    Ok(done)
}

/// Reads a tar archive to its end and names each entry that `options` mean.
///
/// # Errors
/// As [`unpack`] for everything that doesn't depend on the target.
pub fn list(
    reader: impl Read,
    options: &UnpackOptions,
    context: &Context,
    each: &mut dyn FnMut(&[u8]),
) -> Result<Unpacked> {
    let mut selection = Selection::new(&options.paths)?;
    let done = read(reader, &mut selection, context, None, None, each)?;
    selection.finish()?;
    Ok(done)
}

/// Reads a tar archive to its end and checks all of it.
///
/// # Errors
/// [`Code::Archive`] if it is damaged, ends early, or names a place outside.
pub fn walk(reader: impl Read, context: &Context) -> Result<Unpacked> {
    list(reader, &UnpackOptions::default(), context, &mut |_| {})
}

fn read(
    reader: impl Read,
    selection: &mut Selection,
    context: &Context,
    mut place: Option<Place<'_>>,
    mut index: Option<&mut dyn Write>,
    each: &mut dyn FnMut(&[u8]),
) -> Result<Unpacked> {
    let mut archive = Archive::new(reader, context);
    let mut buffer = vec![0; COPY_BYTES];
    let mut done = Unpacked::default();
    while let Some(member) = archive.next()? {
        let entry = &member.entry;
        if !selection.takes(&entry.path, entry.kind) {
            continue;
        }
        if entry.kind == Kind::Hardlink && !selection.contains(&entry.link) {
            let (path, link) = (show_bytes(&entry.path), show_bytes(&entry.link));
            let message =
                format!("{path} is a hard link to {link}, which holds its content and was not asked for");
            return Err(
                Error::new(Code::Configuration, message).hint(format!("ask for both {path} and {link}"))
            );
        }
        context.meter.enter(|| show_bytes(&entry.path));
        each(&entry.path);
        let hashed = index.is_some() && entry.kind == Kind::File;
        let mut content = Content::new(&mut archive, &mut buffer, hashed);
        match &mut place {
            Some(place) if selection.contains(&entry.path) => place.restore(&member, &mut content)?,
            Some(place) => place.lead(entry)?,
            None => content.copy(&member, &mut |_, _| Ok(()))?,
        }
        if let Some(index) = &mut index {
            Line::new(entry, content.hash()).write(*index)?;
        }
        done.entries += 1;
        done.directories += u64::from(entry.kind == Kind::Directory);
        done.content_bytes = done.content_bytes.saturating_add(entry.size);
    }
    if let Some(place) = place {
        done.lossy = place.finish()?;
    }
    Ok(done)
}

/// The content of the entry at hand.
pub(crate) struct Content<'c, 'a, R> {
    archive: &'c mut Archive<'a, R>,
    buffer: &'c mut [u8],
    hasher: Option<blake3::Hasher>,
}

impl<'c, 'a, R: Read> Content<'c, 'a, R> {
    pub(crate) fn new(archive: &'c mut Archive<'a, R>, buffer: &'c mut [u8], is_hashed: bool) -> Self {
        Content {
            archive,
            buffer,
            hasher: is_hashed.then(blake3::Hasher::new),
        }
    }

    /// The hash of what was copied, holes included, if it was hashed.
    pub(crate) fn hash(self) -> Option<blake3::Hash> {
        self.hasher.map(|hasher| hasher.finalize())
    }

    /// Gives each piece of data with its offset, in order, and hashes the content as a whole.
    pub(crate) fn copy(
        &mut self,
        member: &Member,
        write: &mut dyn FnMut(&[u8], u64) -> Result<()>,
    ) -> Result<()> {
        if member.entry.kind != Kind::File {
            return Ok(());
        }
        let whole = [Segment {
            offset: 0,
            bytes: member.entry.size,
        }];
        let mut end = 0;
        for segment in member.segments.as_deref().unwrap_or(&whole) {
            self.hash_hole(segment.offset - end)?;
            let mut offset = segment.offset;
            end = segment.offset + segment.bytes;
            while offset < end {
                let wanted = usize::try_from(end - offset)
                    .unwrap_or(usize::MAX)
                    .min(self.buffer.len());
                let n = self.archive.read(&mut self.buffer[..wanted])?;
                let bytes = &self.buffer[..n];
                if let Some(hasher) = &mut self.hasher {
                    hasher.update(bytes);
                }
                write(bytes, offset)?;
                offset += n as u64;
            }
        }
        self.hash_hole(member.entry.size - end)
    }

    fn hash_hole(&mut self, mut bytes: u64) -> Result<()> {
        let Some(hasher) = &mut self.hasher else {
            return Ok(());
        };
        let zeros = [0; 64 << 10];
        while bytes > 0 {
            self.archive.check()?;
            let n = usize::try_from(bytes).unwrap_or(usize::MAX).min(zeros.len());
            hasher.update(&zeros[..n]);
            bytes -= n as u64;
        }
        Ok(())
    }
}
