//! Compares a tree with what it was before a program copied it.

use std::collections::HashSet;

use backstay_model::error::show;
use backstay_model::{Code, Error, Result};
use rustix::io::Errno;

use crate::context::Context;
use crate::tree::compare::{Lines, Numbered};
use crate::tree::copy::state::State;
use crate::tree::copy::untaken::{self, Complaints};
use crate::tree::copy::{Copied, TreeCopy, Untaken, ended, reader, temporary};
use crate::tree::entry::Kind;
use crate::tree::path::os;

/// Writes the index of what a program can have copied.
pub(super) fn recheck(copy: &TreeCopy, untaken: &[Untaken], context: &Context) -> Result<Copied> {
    let root = copy.root()?;
    let mut complaints = Complaints::new(copy, untaken);
    let mut lines = Lines::new(reader(&copy.draft)?, "drafted");
    let mut states = reader(&copy.states)?;
    let mut index = temporary()?;
    // Names of files that have several: what is known of one is known of all.
    let mut doubted = HashSet::new();
    let mut uncertain = 0;
    while let Some(Numbered { path, mut line }) = lines.next()? {
        context.cancel.check()?;
        if !line.carried {
            context.meter.tick();
            let before = State::read(&mut states)
                .map_err(|e| Error::internal("the list of a tree ends early").because(e))?;
            let change = match root.state(&path) {
                Ok(now) if now == before => None,
                Ok(_) => Some(("changed-while-read", "it changed while it was copied")),
                Err(Errno::NOENT | Errno::NOTDIR) if !copy.size.is_directory => {
                    return Err(copy.gone("vanished while it was copied"));
                }
                Err(Errno::NOENT | Errno::NOTDIR) => Some(("vanished", "it vanished while it was copied")),
                Err(e) => {
                    let path = copy.directory().join(os(&path));
                    let error = Error::io_as(Code::BackupFailed, "look again at", path, e.into());
                    return Err(error
                        .hint("nothing is known of what was copied of it; try again")
                        .retryable());
                }
            };
            let is_of_doubted =
                line.kind == Kind::Hardlink && line.link.as_ref().is_some_and(|link| doubted.contains(link));
            let (is_untaken, why) = complaints.about(&path);
            line.uncertain = change.is_some() || is_of_doubted || is_untaken;
            if line.uncertain {
                uncertain += 1;
                line.blake3 = None;
                line.data = Vec::new();
                doubted.insert(line.path.clone());
            }
            // Something was put into a directory or taken out of it, and if it mattered, there is a warning for that.
            let change = change.filter(|_| line.kind != Kind::Directory);
            let words = match (change, why) {
                (Some((code, message)), _) => Some((code, message.to_owned())),
                (None, Some(why)) => Some(("unreadable", untaken::message(why))),
                (None, None) => None,
            };
            if let Some((code, message)) = words {
                let path = copy.directory().join(os(&path));
                context.notes.warn(code, message, Some(show(&path)));
            }
        }
        line.write(&mut index)?;
    }
    complaints.end(copy, context);
    Ok(Copied {
        index: ended(index)?,
        size: copy.size,
        uncertain,
    })
}
