//! A stored tree that comes back as the tar stream of some program, as the tree that it was.

use std::io::{BufReader, Read};
use std::sync::Arc;

use backstay_model::error::show_bytes;
use backstay_model::{Code, Error, Result};

use crate::blocks::Blocks;
use crate::context::Context;
use crate::read::{Reading, read};
use crate::recipe::{Produced, Recipe};
use crate::tree::archive::{Archive, Member};
use crate::tree::chosen::ChosenLines;
use crate::tree::compare::{Lines, Numbered, order};
use crate::tree::content::push_zeros;
use crate::tree::encode::{END, encode, padding_bytes};
use crate::tree::entry::{Entry, Kind, ROOT, Xattr};
use crate::tree::index::hash;
use crate::tree::sparse::{self, Segment};
use crate::tree::unpack::{COPY_BYTES, Content};

/// A tree from its index and a tar stream that a program made of what it has kept.
///
/// Programs forget much on this way: links, devices, fractions of seconds, attributes. So the stream is only asked for the
/// content of files, which must have the hashes in the index, and whether directories and symbolic links are there. All
/// else comes from the index. Of what is uncertain in the index the stream's word is taken, but for what a directory itself
/// is, and for the attributes of what has the owner and mode that it had. What isn't in the index at all
/// was never backed up, and is left out.
///
/// The entries of the stream must be in the order of a walk: sorted by the bytes of their names, directories before what
/// is in them.
#[derive(Debug)]
pub struct MendedRecipe {
    index: Arc<dyn Recipe>,
    tar: Arc<dyn Recipe>,
    place: String,
}

impl MendedRecipe {
    /// Of an index that is proved, and a tar stream, or files that come as one by the index. `place` is how the stored
    /// tree is called in messages.
    pub fn new(index: Arc<dyn Recipe>, tar: Arc<dyn Recipe>, place: impl Into<String>) -> Self {
        MendedRecipe::of_paths(index, tar, place, &[])
    }

    /// The same for whoever wants only these paths, each with all below it: no more files come than are needed. A tar stream
    /// comes whole. No paths at all are everything.
    pub fn of_paths(
        index: Arc<dyn Recipe>,
        tar: Arc<dyn Recipe>,
        place: impl Into<String>,
        paths: &[String],
    ) -> Self {
        let chosen: Arc<dyn Recipe> = if paths.is_empty() {
            Arc::clone(&index)
        } else {
            Arc::new(ChosenLines::new(Arc::clone(&index), paths))
        };
        let (index, tar) = match tar.in_order_of(&chosen) {
            Some(files) => (chosen, files),
            None => (index, tar),
        };
        MendedRecipe {
            index,
            tar,
            place: place.into(),
        }
    }
}

impl Recipe for MendedRecipe {
    fn describe(&self) -> String {
        format!("the tree {}", self.place)
    }

    /// Ends well only if all that the index has is there.
    fn produce(&self, context: &Context, out: &mut Blocks) -> Result<Produced> {
        let inner = context.uncounted();
        let mut index = read(Arc::clone(&self.index), &inner)?;
        let mut tar = read(Arc::clone(&self.tar), &context.uncounted_but_alive())?;
        let mended =
            Mending::new(&self.place, &mut tar, context, out).and_then(|mending| mending.all(&mut index));
        match mended {
            Ok(produced) => {
                tar.finish()?;
                index.finish()?;
                Ok(produced)
            }
            Err(error) if error.code() == Code::Cancelled => Err(error),
            Err(error) => Err(index.fail(tar.fail(error))),
        }
    }
}

struct Mending<'a, R> {
    place: &'a str,
    archive: Archive<'a, R>,
    /// The entry of the stream that comes next.
    next: Option<Member>,
    context: &'a Context,
    out: &'a mut Blocks,
    header: Vec<u8>,
    buffer: Vec<u8>,
    produced: Produced,
}

impl<'a, R: Read> Mending<'a, R> {
    fn new(place: &'a str, tar: R, context: &'a Context, out: &'a mut Blocks) -> Result<Self> {
        let mut archive = Archive::new(tar, context);
        Ok(Mending {
            place,
            next: archive.next()?,
            archive,
            context,
            out,
            header: Vec::new(),
            buffer: vec![0; COPY_BYTES],
            produced: Produced {
                content_bytes: Some(0),
                entries: 0,
            },
        })
    }

    fn all(mut self, index: &mut Reading) -> Result<Produced> {
        let mut lines = Lines::new(BufReader::new(index), "stored");
        while let Some(line) = lines.next()? {
            self.context.cancel.check()?;
            self.context.meter.enter(|| show_bytes(&line.path));
            self.one(&line)?;
        }
        while self.next.is_some() {
            self.advance()?;
        }
        self.out.write(&END)?;
        Ok(self.produced)
    }

    fn one(&mut self, expected: &Numbered) -> Result<()> {
        let here = self.take(&expected.path)?;
        self.mend(expected, here.as_ref())?;
        match here {
            Some(member) => self.follow(Some(&member.entry.path)),
            None => Ok(()),
        }
    }

    /// Gives what a line of the index stands for.
    fn mend(&mut self, expected: &Numbered, here: Option<&Member>) -> Result<()> {
        let (path, line) = (&expected.path, &expected.line);
        let mut entry = line
            .entry(path.clone())
            .ok_or_else(|| self.damaged(path, "its line in the index makes no sense"))?;
        if line.uncertain {
            return self.guess(entry, here);
        }
        match (entry.kind, here) {
            (Kind::File, Some(member)) if member.entry.kind == Kind::File => {
                if member.entry.size != entry.size {
                    let what = format!("it has {} bytes instead of {}", member.entry.size, entry.size);
                    return Err(self.damaged(path, &what));
                }
            }
            (Kind::Symlink, Some(member)) if member.entry.kind == Kind::Symlink => {
                // Programs that keep targets as text lose bytes that are none; the index has them.
                if member.entry.link != entry.link && str::from_utf8(&entry.link).is_ok() {
                    return Err(self.damaged(path, "different link target"));
                }
            }
            (Kind::Directory, Some(member)) if member.entry.kind == Kind::Directory => {}
            // The directory that all is in is often left out, and a program may know nothing of these kinds.
            (Kind::Directory, None) if path == ROOT => {}
            (Kind::Fifo | Kind::Character | Kind::Block, _) => {}
            (Kind::Hardlink, here) => {
                // It has no content and no attributes of its own, but other programs look at these.
                if let Some(Member { entry: other, .. }) = here {
                    (entry.mode, entry.mtime) = (other.mode, other.mtime);
                    (entry.uid, entry.gid) = (other.uid, other.gid);
                }
            }
            (_, Some(_)) => return Err(self.damaged(path, "different type")),
            (_, None) => {
                // It may come later, in a stream that isn't sorted.
                while self.next.is_some() {
                    self.advance()?;
                }
                let hint = "some programs end as if all were well when the place stops answering: verify it once more; if it stays so, restore from another backup or destination";
                return Err(self.damaged(path, "missing").hint(hint));
            }
        }
        if let (Some(known), true, Some(member)) = (&line.xattrs, entry.xattrs.is_empty(), here) {
            entry.xattrs.clone_from(&member.entry.xattrs);
            if hash(&entry.xattrs) != *known {
                return Err(self.damaged(path, "different extended attributes"));
            }
        }
        let content = here.filter(|_| entry.kind == Kind::File);
        // The program may know the holes by itself.
        let map = line
            .segments()
            .filter(|_| content.is_some_and(|member| member.segments.is_none()));
        if map
            .as_ref()
            .is_some_and(|map| !sparse::is_sound(map, entry.size, sparse::data_bytes(map)))
        {
            return Err(self.damaged(path, "its line in the index makes no sense"));
        }
        let found = self.give(&entry, content, map.as_deref())?;
        if line.blake3.is_some() && found != line.blake3 {
            return Err(self.damaged(path, "different content"));
        }
        Ok(())
    }

    /// Gives what there is of an entry that is uncertain.
    ///
    /// A directory is so for what came into it or went. What it was itself comes from the index, because most programs
    /// forget the attributes and access lists, and with an access list the group's part of the mode means another thing.
    fn guess(&mut self, mut known: Entry, here: Option<&Member>) -> Result<()> {
        let Some(member) = here else {
            let is_root = known.path == ROOT && known.kind == Kind::Directory;
            return if is_root {
                self.give(&known, None, None).map(drop)
            } else {
                Ok(())
            };
        };
        let found = &member.entry;
        if known.kind != found.kind || known.kind == Kind::Hardlink {
            return self.give(found, here, None).map(drop);
        }
        if known.kind == Kind::Directory {
            if known.xattrs.is_empty() {
                known.xattrs.clone_from(&found.xattrs);
            }
            return self.give(&known, None, None).map(drop);
        }
        let mut entry = found.clone();
        let is_alike = (known.mode, known.uid, known.gid) == (found.mode, found.uid, found.gid);
        let is_known = is_alike && !known.xattrs.is_empty();
        if is_known {
            let is_new = |xattr: &Xattr| !found.xattrs.iter().any(|has| has.name == xattr.name);
            entry.xattrs.extend(known.xattrs.into_iter().filter(is_new));
            entry.xattrs.sort();
        }
        if let Some(key) = member.foreign.first().filter(|_| !is_known) {
            let message = format!("it changed while it was copied, and {key} of it can't be restored");
            let path = Some(show_bytes(&entry.path));
            self.context.notes.warn("xattr-not-restored", message, path);
        }
        self.give(&entry, here, None).map(drop)
    }

    /// The entry of the stream with this path, if it has one.
    fn take(&mut self, path: &[u8]) -> Result<Option<Member>> {
        use std::cmp::Ordering;
        loop {
            match self.next.as_ref().map(|next| order(&next.entry.path, path)) {
                None | Some(Ordering::Greater) => return Ok(None),
                Some(Ordering::Less) => self.advance()?,
                // Its content is read before the next is looked for.
                Some(Ordering::Equal) => return Ok(self.next.take()),
            }
        }
    }

    /// Goes on to what comes after an entry of the stream.
    fn advance(&mut self) -> Result<()> {
        let last = self.next.take().map(|member| member.entry.path);
        self.follow(last.as_deref())
    }

    fn follow(&mut self, last: Option<&[u8]>) -> Result<()> {
        self.next = self.archive.next()?;
        match (last, &self.next) {
            (Some(last), Some(next)) if order(last, &next.entry.path).is_ge() => {
                let (last, next) = (show_bytes(last), show_bytes(&next.entry.path));
                let message = format!(
                    "{} comes back with {next} after {last}, which is not sorted by name",
                    self.place
                );
                Err(Error::new(Code::Verification, message)
                    .hint("nothing is known to be damaged; the program that gives it back must sort it"))
            }
            _ => Ok(()),
        }
    }

    /// Gives an entry with the content that the stream has for it, less what the holes of a `map` are filled with, and the
    /// hash of that.
    fn give(
        &mut self,
        entry: &Entry,
        member: Option<&Member>,
        map: Option<&[Segment]>,
    ) -> Result<Option<String>> {
        self.header.clear();
        let segments = map.or_else(|| member.and_then(|member| member.segments.as_deref()));
        let bytes = encode(entry, segments, &mut self.header);
        self.out.write(&self.header)?;
        let mut content = Content::new(&mut self.archive, &mut self.buffer, true);
        let mut holes = Holes::new(map, entry.size);
        if let Some(member) = member {
            let out = &mut *self.out;
            content.copy(member, &mut |bytes, offset| holes.leave_out(bytes, offset, out))?;
            push_zeros(padding_bytes(bytes) as u64, self.context, self.out)?;
        }
        let hash = content.hash().map(|hash| hash.to_hex().to_string());
        if !holes.are_empty {
            return Err(self.damaged(&entry.path, "there is something in its holes"));
        }
        self.produced.entries += 1;
        self.produced.content_bytes = self.produced.content_bytes.map(|bytes| bytes + entry.size);
        Ok(hash)
    }

    fn damaged(&self, path: &[u8], what: &str) -> Error {
        Error::new(
            Code::Verification,
            format!("{} is damaged: {}: {what}", self.place, show_bytes(path)),
        )
        .hint("restore from another backup or destination; keep this one until you have found out why")
    }
}

/// The holes of a file whose whole content comes by.
struct Holes<'m> {
    left: std::iter::Peekable<std::slice::Iter<'m, Segment>>,
    is_known: bool,
    size: u64,
    are_empty: bool,
}

impl<'m> Holes<'m> {
    /// By the map of the file's data; nothing if it has none, or the content comes without them.
    fn new(map: Option<&'m [Segment]>, size: u64) -> Self {
        Holes {
            left: map.unwrap_or_default().iter().peekable(),
            is_known: map.is_some(),
            size,
            are_empty: true,
        }
    }

    /// Gives what of these bytes, which are at an offset of the file, is data.
    fn leave_out(&mut self, mut bytes: &[u8], mut offset: u64, out: &mut Blocks) -> Result<()> {
        if !self.is_known {
            return out.write(bytes);
        }
        while !bytes.is_empty() {
            let is_over = |piece: &&Segment| piece.offset + piece.bytes <= offset;
            while self.left.next_if(is_over).is_some() {}
            let (is_data, until) = match self.left.peek() {
                Some(piece) if piece.offset <= offset => (true, piece.offset + piece.bytes),
                Some(piece) => (false, piece.offset),
                None => (false, self.size),
            };
            let length = usize::try_from(until.saturating_sub(offset)).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(length.clamp(1, bytes.len()));
            if is_data {
                out.write(now)?;
            } else {
                self.are_empty &= now.iter().all(|byte| *byte == 0);
            }
            (bytes, offset) = (later, offset + now.len() as u64);
        }
        Ok(())
    }
}
