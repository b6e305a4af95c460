//! A tree as a tar stream.

use std::fs::File;
use std::os::fd::AsFd as _;

use backstay_model::error::show;
use backstay_model::{Code, Error, Result};
use rustix::fs::{Advice, Stat, fadvise, fstat};

use crate::blocks::Blocks;
use crate::context::Context;
use crate::recipe::{Produced, Recipe};
use crate::tree::content::{ContentWriter, Gap, push_zeros};
use crate::tree::encode::{END, encode, padding_bytes};
use crate::tree::path::os;
use crate::tree::scan::{Taken, scan};
use crate::tree::sparse::{self, Segment};
use crate::tree::spec::TreeSpec;

/// From this size on the kernel is told that a file is read from its start to its end.
const ADVISED_BYTES: u64 = 1 << 20;

/// A tree as one POSIX pax archive that GNU tar, bsdtar and Python read.
///
/// It holds any names, files with holes (GNU's format 1.0), hard links, devices, numeric owners,
/// nanosecond times and extended attributes; POSIX ACLs are the attributes `system.posix_acl_*`. The
/// same tree gives the same bytes. Each file has exactly the size in its header: what is missing of
/// one that shrinks or breaks while it is read is filled with zeros, and there is a warning.
///
/// The codes of warnings: `vanished`, `unreadable`, `changed-while-read`, `xattrs-unreadable`,
/// `socket-skipped`, `path-too-long`.
#[derive(Debug)]
pub struct TarRecipe(TreeSpec);

impl TarRecipe {
    /// The archive of a tree.
    pub fn new(spec: TreeSpec) -> Self {
        TarRecipe(spec)
    }
}

impl Recipe for TarRecipe {
    fn describe(&self) -> String {
        format!("tar of {}", show(&self.0.root))
    }

    /// The content is the files' size with holes, each file once.
    fn produce(&self, context: &Context, out: &mut Blocks) -> Result<Produced> {
        let mut header = Vec::new();
        let mut content = ContentWriter::new();
        let (mut entries, mut content_bytes) = (0, 0);
        scan(&self.0, context, &mut |entry, file| {
            header.clear();
            entries += 1;
            content_bytes += entry.size;
            let Some((file, stat)) = file else {
                encode(entry, None, &mut header);
                return out.write(&header).map(|()| Taken::Yes);
            };
            let segments = if u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512) < entry.size {
                sparse::segments(file, entry.size).unwrap_or(None)
            } else {
                None
            };
            let stored_bytes = encode(entry, segments.as_deref(), &mut header);
            out.write(&header)?;
            if entry.size == 0 {
                return Ok(Taken::Yes);
            }
            if stored_bytes >= ADVISED_BYTES {
                // Only speed depends on it.
                let _ = fadvise(file, 0, None, Advice::Sequential);
            }
            let whole = [Segment {
                offset: 0,
                bytes: entry.size,
            }];
            let gap = push_content(
                &mut content,
                file,
                segments.as_deref().unwrap_or(&whole),
                context,
                out,
            )?;
            push_zeros(padding_bytes(stored_bytes) as u64, context, out)?;
            if let Some((code, message)) = verdict(file, stat, gap) {
                let path = if self.0.root.is_dir() {
                    self.0.root.join(os(&entry.path))
                } else {
                    self.0.root.clone()
                };
                context.notes.warn(code, message, Some(show(&path)));
            }
            Ok(Taken::Yes)
        })?;
        if entries == 0 {
            return Err(Error::new(
                Code::Internal,
                format!("nothing was found at {}", show(&self.0.root)),
            ));
        }
        out.write(&END)?;
        Ok(Produced {
            content_bytes: Some(content_bytes),
            entries,
        })
    }
}

/// Pushes the pieces of a file; after the first gap only zeros.
fn push_content(
    content: &mut ContentWriter,
    file: &File,
    segments: &[Segment],
    context: &Context,
    out: &mut Blocks,
) -> Result<Option<Gap>> {
    let mut gap = None;
    for segment in segments {
        if gap.is_some() {
            push_zeros(segment.bytes, context, out)?;
        } else {
            gap = content.push(file, *segment, context, out)?;
        }
    }
    Ok(gap)
}

/// What to say about a file once it was read.
fn verdict(file: &File, before: &Stat, gap: Option<Gap>) -> Option<(&'static str, String)> {
    if let Some(Gap::Failed(error)) = gap {
        return Some((
            "unreadable",
            format!("it could not be read to its end, and is filled with zeros from there: {error}"),
        ));
    }
    if gap.is_some() {
        return Some((
            "changed-while-read",
            "it shrank while it was read, and is filled with zeros".to_owned(),
        ));
    }
    let times = |s: &Stat| {
        (
            s.st_size,
            s.st_mtime,
            s.st_mtime_nsec,
            s.st_ctime,
            s.st_ctime_nsec,
        )
    };
    match fstat(file.as_fd()) {
        Ok(after) if times(&after) == times(before) => None,
        Ok(_) => Some(("changed-while-read", "it changed while it was read".to_owned())),
        Err(error) => Some((
            "unreadable",
            format!(
                "its state after reading is unknown: {}",
                std::io::Error::from(error)
            ),
        )),
    }
}
