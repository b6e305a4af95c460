//! A place of any kind, with the same verbs for all.

use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::sync::Arc;

use backstay_model::filters::Filters;
use backstay_model::remote::RemoteKind;
use backstay_model::{Code, Error, Result};
use backstay_stream::tree::{KeptTree, Unpacked};
use backstay_stream::{Context, Recipe, Transfer};
use tokio::runtime::Handle;

use crate::object::{Access, Probed};
use crate::recovery::quote;
use crate::{Directory, Key, ObjectInfo, ObjectStore, SftpStore, Space};

/// Where objects are kept.
#[derive(Debug)]
pub enum Place {
    /// A directory of this machine.
    Directory(Directory),
    /// An object store.
    Object(ObjectStore),
    /// A directory of an SFTP server.
    Sftp(SftpStore),
}

impl Place {
    /// Makes ready to use a remote. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Code::Configuration`] if the settings or the prefix are not usable.
    pub fn remote(access: Access, handle: Handle) -> Result<Self> {
        match access.remote.kind {
            RemoteKind::Sftp => SftpStore::open(access, handle).map(Place::Sftp),
            _ => ObjectStore::open(access, handle).map(Place::Object),
        }
    }

    /// Whether it is reached over a network.
    pub fn is_remote(&self) -> bool {
        !matches!(self, Place::Directory(_))
    }

    /// Tries everything that a backup needs on an object named `name`, and leaves nothing behind.
    ///
    /// # Errors
    /// The first step that fails, why, and what to do. [`Code::Internal`] for a directory, which needs no trial.
    pub fn probe(&self, name: &str) -> Result<Vec<Probed>> {
        match self {
            Place::Directory(_) => Err(Error::internal("a directory is tried by using it")),
            Place::Object(place) => place.probe(name),
            Place::Sftp(place) => place.probe(name),
        }
    }

    /// Stores what a recipe gives, filtered, under a key that is free.
    ///
    /// # Errors
    /// The root cause; then nothing is there.
    pub fn put(
        &self,
        key: &Key,
        recipe: Arc<dyn Recipe>,
        filters: &Filters,
        context: &Context,
    ) -> Result<Transfer> {
        match self {
            Place::Directory(place) => place.put(key, recipe, filters, context),
            Place::Object(place) => place.put(key, recipe, filters, context),
            Place::Sftp(place) => place.put(key, recipe, filters, context),
        }
    }

    /// Stores a tree as files, from its tar stream, and writes the index of what is stored to `index`.
    ///
    /// # Errors
    /// The root cause; then nothing is there. [`Code::Configuration`] if the place keeps no trees.
    pub fn put_tree(
        &self,
        key: &Key,
        tar: Arc<dyn Recipe>,
        index: &mut dyn Write,
        context: &Context,
    ) -> Result<Unpacked> {
        match self {
            Place::Directory(place) => place.put_tree(key, tar, index, context),
            Place::Object(place) => place.put_tree(key, tar, index, context),
            Place::Sftp(place) => Err(place.without_trees()),
        }
    }

    /// Makes the directory in which a program may put a tree that is to be stored under a key, and returns its path.
    ///
    /// # Errors
    /// It can't be made. [`Code::Configuration`] if the place keeps no trees.
    pub fn begin_tree(&self, key: &Key) -> Result<String> {
        match self {
            Place::Directory(place) => place.begin_tree(key),
            Place::Object(place) => Err(place.without_directories()),
            Place::Sftp(place) => Err(place.without_trees()),
        }
    }

    /// Stores what a program put into that directory; `written` is the index of what it should have put there.
    ///
    /// # Errors
    /// Something is missing, or is there that should not be. Then nothing is under the key.
    pub fn end_tree(
        &self,
        key: &Key,
        written: impl BufRead,
        index: &mut dyn Write,
        context: &Context,
    ) -> Result<KeptTree> {
        match self {
            Place::Directory(place) => place.end_tree(key, written, index, context),
            Place::Object(place) => Err(place.without_directories()),
            Place::Sftp(place) => Err(place.without_trees()),
        }
    }

    /// Makes a symbolic link at a key to one beside it, in place of the link that may be there.
    ///
    /// # Errors
    /// It can't be made. [`Code::Configuration`] if the place has no links.
    pub fn link(&self, key: &Key, target: &Key) -> Result<()> {
        match self {
            Place::Directory(place) => place.link(key, target),
            Place::Object(place) => Err(place.without_directories()),
            Place::Sftp(place) => Err(place.without_trees()),
        }
    }

    /// A stored object.
    ///
    /// # Errors
    /// [`Code::Storage`] if there is none.
    pub fn get(&self, key: &Key) -> Result<Arc<dyn Recipe>> {
        Ok(match self {
            Place::Directory(place) => Arc::new(place.get(key)?),
            Place::Object(place) => Arc::new(place.get(key)?),
            Place::Sftp(place) => Arc::new(place.get(key)?),
        })
    }

    /// The directory of a stored tree.
    ///
    /// # Errors
    /// [`Code::Storage`] if there is none. [`Code::Configuration`] if the place keeps no trees.
    pub fn get_tree(&self, key: &Key) -> Result<PathBuf> {
        match self {
            Place::Directory(place) => place.get_tree(key),
            Place::Object(place) => Err(place.without_directories()),
            Place::Sftp(place) => Err(place.without_trees()),
        }
    }

    /// The files of a stored tree of a place without directories. Only with the tree's index do they come, or are found
    /// missing.
    ///
    /// # Errors
    /// [`Code::Configuration`] if the place keeps no trees, or as directories.
    pub fn get_files(&self, key: &Key) -> Result<Arc<dyn Recipe>> {
        match self {
            Place::Directory(place) => Err(Error::new(
                Code::Configuration,
                format!("{} is a directory", place.location(key)),
            )),
            Place::Object(place) => Ok(Arc::new(place.get_files(key))),
            Place::Sftp(place) => Err(place.without_trees()),
        }
    }

    /// What is at a key.
    ///
    /// # Errors
    /// The place can't be read.
    pub fn stat(&self, key: &Key) -> Result<Option<ObjectInfo>> {
        match self {
            Place::Directory(place) => place.stat(key),
            Place::Object(place) => place.stat(key),
            Place::Sftp(place) => place.stat(key),
        }
    }

    /// All complete objects whose key ends with `suffix`, sorted.
    ///
    /// # Errors
    /// The place can't be read.
    pub fn find(&self, suffix: &str) -> Result<Vec<ObjectInfo>> {
        match self {
            Place::Directory(place) => place.find(suffix),
            Place::Object(place) => place.find(suffix),
            Place::Sftp(place) => place.find(suffix),
        }
    }

    /// Removes an object or a tree, and what an interrupted `put` of it left.
    ///
    /// # Errors
    /// Something can't be removed. What isn't there is no failure.
    pub fn delete(&self, key: &Key) -> Result<()> {
        match self {
            Place::Directory(place) => place.delete(key),
            Place::Object(place) => place.delete(key),
            Place::Sftp(place) => place.delete(key),
        }
    }

    /// Where an object is, for a person.
    pub fn location(&self, key: &Key) -> String {
        match self {
            Place::Directory(place) => place.location(key),
            Place::Object(place) => place.location(key),
            Place::Sftp(place) => place.location(key),
        }
    }

    /// The shell command that writes a stored stream to its standard output on a machine without Backstay. It holds
    /// no secret.
    pub fn recovery_command(&self, key: &Key) -> String {
        match self {
            Place::Directory(place) => format!("cat {}", quote(&place.location(key))),
            Place::Object(place) => place.recovery_command(key),
            Place::Sftp(place) => place.recovery_command(key),
        }
    }

    /// The shell command that writes the files of a stored tree into `$TARGET`, which is a directory, on a machine without
    /// Backstay. It holds no secret.
    ///
    /// # Errors
    /// [`Code::Configuration`] if the place keeps no trees.
    pub fn tree_recovery_command(&self, key: &Key) -> Result<String> {
        match self {
            Place::Directory(place) => Ok(format!("cp -a {}/. \"$TARGET\"", quote(&place.location(key)))),
            Place::Object(place) => Ok(place.tree_recovery_command(key)),
            Place::Sftp(place) => Err(place.without_trees()),
        }
    }

    /// Room in it.
    ///
    /// # Errors
    /// It can't tell: remotes never do.
    pub fn space(&self) -> Result<Space> {
        match self {
            Place::Directory(place) => place.space(),
            Place::Object(place) => Err(without_room(&place.place())),
            Place::Sftp(place) => Err(without_room(&place.place())),
        }
    }
}

fn without_room(place: &str) -> Error {
    Error::new(Code::Storage, format!("{place} doesn't say how much room it has"))
}
