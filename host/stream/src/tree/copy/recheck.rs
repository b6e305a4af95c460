//! Compares a tree with what it was before a program copied it.

use std::collections::HashSet;

use backstay_model::error::{show, show_bytes};
use backstay_model::{Code, Error, Result};
use rustix::io::Errno;

use crate::context::Context;
use crate::tree::compare::{Lines, Numbered, changes};
use crate::tree::copy::content::{Content, unreadable};
use crate::tree::copy::earlier::Firsts;
use crate::tree::copy::state::State;
use crate::tree::copy::untaken::{self, Complaints};
use crate::tree::copy::{Copied, TreeCopy, Untaken, ended, reader, temporary};
use crate::tree::entry::Kind;
use crate::tree::index::Line;
use crate::tree::path::{is_below, os};

/// Writes the index of what a program can have copied.
pub(super) fn recheck(copy: &TreeCopy, untaken: &[Untaken], context: &Context) -> Result<Copied> {
    let root = copy.root()?;
    let mut complaints = Complaints::new(copy, untaken);
    let mut lines = Lines::new(reader(&copy.draft)?, "drafted");
    let mut states = reader(&copy.states)?;
    let mut contents = copy.reading.end(context)?;
    let mut index = temporary()?;
    // Names of files that have several: what is known of one is known of all.
    let mut doubted = HashSet::new();
    // The last directory whose place something else has taken: what is below it now is another's.
    let mut replaced: Option<Vec<u8>> = None;
    let mut carried = Carried::new(&copy.firsts);
    let mut size = copy.size;
    let (mut uncertain, mut files) = (0, 0);
    while let Some(Numbered { path, mut line }) = lines.next()? {
        context.cancel.check()?;
        if line.carried {
            let (is_missing, why) = complaints.about(&path);
            if is_missing {
                // What is uncertain may never have been stored.
                if let Some(why) = why.filter(|_| !line.uncertain) {
                    let message = format!("it could not be carried over: {why}");
                    context.notes.warn("not-kept", message, Some(show_bytes(&path)));
                }
                doubted.insert(line.path);
                size.carried = size.carried.saturating_sub(1);
                continue;
            }
            line = carried.settle(line);
            if line.kind == Kind::Hardlink && line.link.as_ref().is_some_and(|link| doubted.contains(link)) {
                line.uncertain = true;
            }
        } else {
            context.meter.tick();
            let before = State::read(&mut states)
                .map_err(|e| Error::internal("the list of a tree ends early").because(e))?;
            let content = match line.kind {
                Kind::File => Some(Content::read(&mut contents)?),
                _ => None,
            };
            let is_in_another = replaced
                .as_ref()
                .is_some_and(|directory| is_below(&path, directory));
            let now = if is_in_another {
                Ok(before)
            } else {
                root.state(&path)
            };
            let is_replaced = line.kind == Kind::Directory && now.is_ok_and(|now| !now.is_same(&before));
            if is_replaced {
                replaced = Some(path.clone());
            }
            let change = match now {
                Ok(now) if now == before && !is_in_another && content == Some(Content::Changed) => Some((
                    "changed-while-read",
                    "another file had its place for a while as it was copied",
                )),
                Ok(now) if now == before => None,
                Ok(_) if is_replaced => Some((
                    "changed-while-read",
                    "something else took its place while it was copied, so nothing is known of what is in it",
                )),
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
            let unread = match content {
                Some(Content::Unreadable(number)) => {
                    Some(unreadable(&std::io::Error::from_raw_os_error(number)))
                }
                _ => None,
            };
            if let Some(why) = unread.as_ref().filter(|_| copy.carries) {
                let message = format!("{}: {why}", show(&copy.directory().join(os(&path))));
                return Err(Error::new(Code::BackupFailed, message)
                    .hint("the next attempt leaves it out, so that what there was of it is carried over")
                    .retryable());
            }
            line.uncertain = change.is_some() || is_in_another || is_of_doubted || is_untaken;
            if let Some(Content::Hashed(hash)) = content {
                line.blake3 = Some(hash.to_hex().to_string());
            }
            if line.uncertain && copy.at_rest && line.kind != Kind::Directory {
                let message = format!("{} changed while it was copied", show_bytes(&path));
                return Err(Error::new(Code::Configuration, message));
            }
            line.uncertain |= unread.is_some();
            if line.uncertain {
                uncertain += 1;
                line.blake3 = None;
                line.data = Vec::new();
                doubted.insert(line.path.clone());
            } else if before.is_file() {
                files += 1;
            }
            // Something was put into a directory or taken out of it, and if it mattered, there is a warning for that.
            let change = change.filter(|_| is_replaced || line.kind != Kind::Directory);
            let words = match (change, why) {
                (Some((code, message)), _) => Some((code, message.to_owned())),
                (None, Some(why)) => Some(("unreadable", untaken::message(why))),
                (None, None) => unread.map(|why| ("unreadable", why)),
            };
            if let Some((code, message)) = words {
                let path = copy.directory().join(os(&path));
                context.notes.warn(code, message, Some(show(&path)));
            }
            carried.compare(&line);
        }
        line.write(&mut index)?;
    }
    complaints.end(copy, context);
    Ok(Copied {
        index: ended(index)?,
        size,
        uncertain,
        files,
    })
}

/// What is carried over as a further name of what is not.
struct Carried<'a> {
    firsts: &'a Firsts,
    /// Those of them that are in the tree as they were in the earlier copy.
    same: HashSet<&'a str>,
}

impl<'a> Carried<'a> {
    fn new(firsts: &'a Firsts) -> Self {
        Carried {
            firsts,
            same: HashSet::new(),
        }
    }

    /// Takes notice of a line of the tree.
    fn compare(&mut self, now: &Line) {
        if let Some((path, Some(first))) = self.firsts.get_key_value(&now.path)
            && !now.uncertain
            && changes(first, now).is_empty()
        {
            self.same.insert(path);
        }
    }

    /// What a line that is carried over stands for: with its first name gone or another, it is what that was.
    fn settle(&self, line: Line) -> Line {
        let is_link = line.kind == Kind::Hardlink;
        let link = line.link.as_deref().filter(|_| is_link);
        let Some((first, link)) = link.and_then(|link| Some((self.firsts.get(link)?, link))) else {
            return line;
        };
        match first {
            _ if self.same.contains(link) => line,
            Some(first) => Line {
                path: line.path,
                carried: true,
                uncertain: first.uncertain || line.uncertain,
                ..first.clone()
            },
            None => Line {
                uncertain: true,
                ..line
            },
        }
    }
}
