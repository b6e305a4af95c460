//! The index of a tree: what each entry is, one line of JSON each, with a hash of its content.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt as _;

use backstay_model::error::{from_io, show};
use backstay_model::{Code, Error, Result};
use blake3::{Hash, Hasher};
use serde::{Deserialize, Serialize};

use crate::context::Context;
use crate::tree::entry::{Entry, Kind, Time, Xattr};
use crate::tree::path::{escape, unescape};
use crate::tree::scan::{Taken, scan};
use crate::tree::sparse::Segment;
use crate::tree::spec::TreeSpec;
use crate::tree::unpack::Unpacked;

/// Bytes to read at a time.
pub(crate) const READ_BYTES: usize = 256 << 10;

/// Most pieces of data in one file of which a line has the places; in one with more, holes come back as zeros.
pub(crate) const MOST_PIECES: usize = 1 << 16;

/// One line of an index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Line {
    pub(crate) path: String,
    #[serde(rename = "type")]
    pub(crate) kind: Kind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) size: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mode: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) uid: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) gid: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mtime: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) link: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) device: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) xattrs: Option<String>,
    /// Their names and values, where nobody else may keep them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) attributes: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) blake3: Option<String>,
    /// Offset and bytes of each piece of data of a file with holes, where nobody else may keep them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) data: Vec<(u64, u64)>,
    /// It changed or vanished while it was copied, so nothing is known of what is stored under its path.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) uncertain: bool,
    /// It was gone from the source, and was taken over from the copy before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) carried: bool,
}

impl Line {
    pub(crate) fn new(entry: &Entry, content: Option<Hash>) -> Self {
        let own = entry.kind != Kind::Hardlink;
        let linked = matches!(entry.kind, Kind::Symlink | Kind::Hardlink);
        let device = matches!(entry.kind, Kind::Character | Kind::Block);
        Line {
            path: escape(&entry.path),
            kind: entry.kind,
            size: (entry.kind == Kind::File).then_some(entry.size),
            // Symbolic links have none of their own.
            mode: (own && entry.kind != Kind::Symlink).then(|| format!("{:04o}", entry.mode)),
            uid: own.then_some(entry.uid),
            gid: own.then_some(entry.gid),
            mtime: own.then(|| entry.mtime.to_string()),
            link: linked.then(|| escape(&entry.link)),
            device: device.then(|| format!("{}:{}", entry.device.0, entry.device.1)),
            xattrs: (own && !entry.xattrs.is_empty()).then(|| hash(&entry.xattrs)),
            attributes: Vec::new(),
            blake3: content.map(|hash| hash.to_hex().to_string()),
            data: Vec::new(),
            uncertain: false,
            carried: false,
        }
    }

    /// The same with what programs forget: the names and values of attributes, and the map of a file with holes.
    pub(crate) fn in_full(self, entry: &Entry, segments: Option<&[Segment]>) -> Self {
        let text = |xattr: &Xattr| (escape(xattr.name.to_bytes()), escape(&xattr.value));
        let segments = segments.unwrap_or_default();
        Line {
            attributes: match self.xattrs {
                Some(_) => entry.xattrs.iter().map(text).collect(),
                None => Vec::new(),
            },
            data: segments.iter().map(|piece| (piece.offset, piece.bytes)).collect(),
            ..self
        }
    }

    /// Where the data of a file with holes is, if the line says so.
    pub(crate) fn segments(&self) -> Option<Vec<Segment>> {
        let segment = |(offset, bytes): &(u64, u64)| Segment {
            offset: *offset,
            bytes: *bytes,
        };
        (!self.data.is_empty()).then(|| self.data.iter().map(segment).collect())
    }

    /// What the line says of an entry with this path, in the form that it has in an archive; nothing if that can't be.
    pub(crate) fn entry(&self, path: Vec<u8>) -> Option<Entry> {
        let device = match &self.device {
            None => (0, 0),
            Some(numbers) => {
                let (major, minor) = numbers.split_once(':')?;
                (major.parse().ok()?, minor.parse().ok()?)
            }
        };
        let xattr = |(name, value): &(String, String)| {
            Some(Xattr {
                name: CString::new(unescape(name)?).ok()?,
                value: unescape(value)?,
            })
        };
        // What it has no word for it doesn't have: a symbolic link no mode, a further name of a file nothing at all.
        let mode = self.mode.as_deref().unwrap_or("0777");
        let mtime = self.mtime.as_deref().unwrap_or("0");
        Some(Entry {
            path,
            kind: self.kind,
            mode: u32::from_str_radix(mode, 8).ok()? & 0o7777,
            uid: self.uid.unwrap_or(0),
            gid: self.gid.unwrap_or(0),
            mtime: Time::parse(mtime.as_bytes())?,
            size: self.size.unwrap_or(0),
            link: unescape(self.link.as_deref().unwrap_or_default())?,
            device,
            xattrs: self.attributes.iter().map(xattr).collect::<Option<_>>()?,
        })
    }

    pub(crate) fn write(&self, out: &mut dyn Write) -> Result<()> {
        let mut line =
            serde_json::to_vec(self).map_err(|e| Error::internal("cannot write an index").because(e))?;
        line.push(b'\n');
        out.write_all(&line)
            .map_err(|e| from_io(e, Code::Storage, "the index could not be written"))
    }
}

/// Writes the index of a tree as it is in a directory.
///
/// A line has `path`, `type`, and what there is for that type of `size`, `mode`, `uid`, `gid`, `mtime`,
/// `link`, `device`, `xattrs` (BLAKE3 over all names and values) and `blake3` (over the content of a
/// file, with its holes). A [`TreeCopy`](crate::tree::TreeCopy) adds `uncertain`, `carried`, `attributes` with names and
/// values, and `data` with the offset and bytes of each piece of a file with holes. In `path`, `link` and `attributes` a
/// backslash is written twice, and a byte that can't be printed as `\xNN`. A further name of an entry is a `hardlink` with nothing but its `link`.
///
/// The lines are those that [`unpack`](crate::tree::unpack()) writes for an archive of the same tree by
/// [`TarRecipe`](crate::tree::TarRecipe), byte for byte.
///
/// # Errors
/// The root can't be read, somebody cancelled, or `out` failed. Anything else that can't be read is a
/// warning, and its line lacks a hash or is missing.
pub fn index_directory(spec: &TreeSpec, context: &Context, out: &mut dyn Write) -> Result<Unpacked> {
    let mut done = Unpacked::default();
    let mut buffer = vec![0; READ_BYTES];
    scan(spec, context, &mut |entry, file| {
        let content = match file {
            Some((file, _)) => match hash_content(file, entry.size, context, &mut buffer)? {
                Ok(hash) => Some(hash),
                Err(error) => {
                    let path = spec.root.join(crate::tree::path::os(&entry.path));
                    context.notes.warn(
                        "unreadable",
                        format!("it could not be read to its end: {error}"),
                        Some(show(&path)),
                    );
                    None
                }
            },
            None => None,
        };
        done.entries += 1;
        done.content_bytes += entry.size;
        Line::new(entry, content).write(out).map(|()| Taken::Yes)
    })?;
    Ok(done)
}

pub(crate) fn hash_content(
    file: &File,
    size: u64,
    context: &Context,
    buffer: &mut [u8],
) -> Result<io::Result<Hash>> {
    let mut hasher = Hasher::new();
    let mut offset = 0;
    while offset < size {
        context.cancel.check()?;
        let wanted = usize::try_from(size - offset)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        match file.read_at(&mut buffer[..wanted], offset) {
            Ok(0) => break,
            Ok(n) => {
                hasher.update(&buffer[..n]);
                offset += n as u64;
                context.meter.tick();
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Ok(Err(e)),
        }
    }
    Ok(Ok(hasher.finalize()))
}

/// The hash of attributes, which are sorted by name.
pub(crate) fn hash(xattrs: &[Xattr]) -> String {
    let mut hasher = Hasher::new();
    for xattr in xattrs {
        for bytes in [xattr.name.to_bytes(), &xattr.value] {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        }
    }
    hasher.finalize().to_hex().to_string()
}
