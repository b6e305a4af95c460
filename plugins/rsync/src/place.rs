//! Where snapshots are kept, whichever machine it is on, for those who need not know.

use backstay_sdk::content::stat;
use backstay_sdk::directory::{Directory, Receipt};
use backstay_sdk::{FileKind, Result, Store};

use crate::config::Config;
use crate::remote::Remote;

/// A place that was found and may be used.
pub enum Place<'a> {
    /// A directory of this machine.
    Disk(Directory<'a>, Store),
    /// One of another machine.
    Remote(Remote<'a>),
}

impl<'a> Place<'a> {
    /// The place, to read from it and to delete in it, if its disk is the one of earlier runs.
    ///
    /// # Errors
    /// It isn't there, or not mounted.
    pub fn open(config: &'a Config) -> Result<Self> {
        match Remote::of(config) {
            Some(remote) => {
                remote.refuse_if_unmounted()?;
                Ok(Place::Remote(remote))
            }
            None => {
                let directory = config.directory();
                directory.refuse_if_unmounted()?;
                let store = directory.open()?;
                Ok(Place::Disk(directory, store))
            }
        }
    }

    /// Where an object is, for a person.
    pub fn location(&self, key: &str) -> String {
        match self {
            Place::Disk(directory, _) => directory.location(key),
            Place::Remote(remote) => remote.location(key),
        }
    }

    /// All objects whose key ends with a suffix.
    ///
    /// # Errors
    /// They can't be listed.
    pub fn find(&self, suffix: &str) -> Result<Vec<Receipt>> {
        match self {
            Place::Disk(_, store) => {
                let found = store.find(suffix)?.into_iter().map(|object| {
                    if object.is_tree {
                        Receipt::tree(object.key)
                    } else {
                        Receipt::file(object.key)
                    }
                });
                Ok(found.collect())
            }
            Place::Remote(remote) => remote.find(suffix),
        }
    }

    /// As [`Place::find`], of one job.
    ///
    /// # Errors
    /// They can't be listed.
    pub fn find_of(&self, job: &str, suffix: &str) -> Result<Vec<Receipt>> {
        match self {
            Place::Disk(..) => {
                let of_job = format!("{job}/");
                let found = self.find(suffix)?.into_iter();
                Ok(found.filter(|object| object.key().starts_with(&of_job)).collect())
            }
            Place::Remote(remote) => remote.find_of(job, suffix),
        }
    }

    /// Whether a stored tree is under a key.
    ///
    /// # Errors
    /// It can't be looked at.
    pub fn has_tree(&self, key: &str) -> Result<bool> {
        match self {
            Place::Disk(directory, _) => {
                let there = stat(&directory.location(key))?;
                Ok(there.is_some_and(|info| info.kind == FileKind::Directory))
            }
            Place::Remote(remote) => {
                let job = key.split('/').next().unwrap_or(key);
                let trees = remote.find_of(job, &format!("/{key}"))?;
                Ok(trees.iter().any(Receipt::is_tree))
            }
        }
    }

    /// A small object as text.
    ///
    /// # Errors
    /// It can't be read.
    pub fn text(&self, key: &str, most_bytes: u32) -> Result<String> {
        match self {
            Place::Disk(_, store) => store.get(key)?.read_text(most_bytes),
            Place::Remote(remote) => remote.text(key, most_bytes),
        }
    }

    /// Removes an object, and what an interrupted copy of it left.
    ///
    /// # Errors
    /// Some of it may be there still.
    pub fn delete(&self, key: &str) -> Result<()> {
        match self {
            Place::Disk(_, store) => store.delete(key),
            Place::Remote(remote) => remote.delete(key),
        }
    }
}
