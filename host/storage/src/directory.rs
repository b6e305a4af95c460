//! A directory of this machine as a place: an internal disk, an external drive, a mounted share.

mod tree;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use backstay_model::filters::Filters;
use backstay_model::{Code, Error, Result};
use backstay_stream::pump::pump;
use backstay_stream::recipe::FileRecipe;
use backstay_stream::tree::{content_bytes, empty_directory};
use backstay_stream::{Context, Recipe, Transfer};
use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions};

use crate::direct::Writer;
use crate::key::{DEEPEST, Key};
use crate::sink::{FileSink, identity, sync_directory};
use crate::{ObjectInfo, Space};

/// An open directory. Nothing outside of it can be reached through it, not by `..` and not by a link.
#[derive(Debug)]
pub struct Directory {
    root: Dir,
    path: PathBuf,
}

impl Directory {
    /// Opens a directory that exists.
    ///
    /// # Errors
    /// [`Code::Environment`] if it isn't there or is no directory: making one would hide a drive that isn't mounted.
    pub fn open(path: &Path) -> Result<Self> {
        let root = Dir::open_ambient_dir(path, ambient_authority()).map_err(|e| match e.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => Error::new(
                Code::Environment,
                format!("there is no directory {}", path.display()),
            )
            .because(e)
            .hint("is the drive or share mounted? if so, create the directory first"),
            _ => Error::io("open the directory", path, e),
        })?;
        Ok(Directory {
            root,
            path: path.to_owned(),
        })
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
        self.refuse_taken(key)?;
        self.create_parent(key)?;
        let partial = key.partial();
        let shown = self.shown(key);
        // A new file: an earlier attempt that hangs may still write to its own.
        match self.root.remove_file(&partial) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io("remove what is left of", &shown, e));
            }
            _ => {}
        }
        let file = self
            .root
            .open_with(&partial, OpenOptions::new().write(true).create_new(true))
            .map_err(|e| Error::io("create", &shown, e))?;
        let meta = file.metadata().map_err(|e| Error::io("look at", &shown, e))?;
        let sink = FileSink {
            root: &self.root,
            key,
            shown,
            file: Writer::new(file.into_std()),
            identity: Some(identity(&meta)),
        };
        pump(recipe, filters, sink, context).map(|(transfer, _)| transfer)
    }

    /// A stored object.
    ///
    /// # Errors
    /// [`Code::Storage`] if there is none, or it is no file: opening a pipe would wait for ever.
    pub fn get(&self, key: &Key) -> Result<FileRecipe> {
        let meta = self
            .root
            .metadata(key.as_str())
            .map_err(|e| self.absent(key, e))?;
        if !meta.is_file() {
            let message = format!("{} is not a file", self.shown(key));
            return Err(Error::new(Code::Storage, message));
        }
        let file = self.root.open(key.as_str()).map_err(|e| self.absent(key, e))?;
        Ok(FileRecipe::opened(file.into_std(), self.shown(key)))
    }

    /// The directory of a stored tree.
    ///
    /// # Errors
    /// [`Code::Storage`] if there is none.
    pub fn get_tree(&self, key: &Key) -> Result<PathBuf> {
        self.root
            .open_dir(key.as_str())
            .map_err(|e| self.absent(key, e))?;
        Ok(self.path.join(key.as_str()))
    }

    /// What is at a key.
    ///
    /// # Errors
    /// The place can't be read.
    pub fn stat(&self, key: &Key) -> Result<Option<ObjectInfo>> {
        let meta = match self.root.symlink_metadata(key.as_str()) {
            Ok(meta) => meta,
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
            Err(e) => return Err(Error::io("look at", self.shown(key), e)),
        };
        let size_bytes = if meta.is_dir() {
            self.tree_size(key.as_str())?
        } else {
            meta.len()
        };
        Ok(Some(ObjectInfo {
            key: key.as_str().to_owned(),
            size_bytes,
            is_tree: meta.is_dir(),
        }))
    }

    /// All complete objects whose key ends with `suffix`, sorted. Stored trees are not looked into deeper than keys go.
    ///
    /// # Errors
    /// The place can't be read.
    pub fn find(&self, suffix: &str) -> Result<Vec<ObjectInfo>> {
        let mut found = Vec::new();
        let mut open = vec![String::new()];
        while let Some(at) = open.pop() {
            let failed = |e| Error::io("list", self.path.join(&at), e);
            let entries = if at.is_empty() {
                self.root.entries()
            } else {
                self.root.read_dir(&at)
            }
            .map_err(failed)?;
            for entry in entries {
                let entry = entry.map_err(failed)?;
                let Ok(name) = entry.file_name().into_string() else {
                    continue;
                };
                let key = if at.is_empty() {
                    name
                } else {
                    format!("{at}/{name}")
                };
                let Ok(key) = Key::parse(&key) else { continue };
                let meta = match entry.metadata() {
                    Ok(meta) => meta,
                    Err(e) if e.kind() == ErrorKind::NotFound => continue,
                    Err(e) => return Err(failed(e)),
                };
                if meta.is_dir() {
                    if key.as_str().split('/').count() < DEEPEST {
                        open.push(key.as_str().to_owned());
                    }
                } else if meta.is_file() && key.as_str().ends_with(suffix) {
                    found.push(ObjectInfo {
                        key: key.as_str().to_owned(),
                        size_bytes: meta.len(),
                        is_tree: false,
                    });
                }
            }
        }
        found.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(found)
    }

    /// Removes an object or a tree, what an interrupted `put` of it left, and directories that are empty then. On
    /// return it is gone for good: no power loss brings it back.
    ///
    /// # Errors
    /// Something can't be removed. What isn't there is no failure.
    pub fn delete(&self, key: &Key) -> Result<()> {
        self.remove(key.as_str(), key)?;
        self.remove_partial(key)?;
        let mut directory = key.split().0;
        while !directory.is_empty() && self.root.remove_dir(directory).is_ok() {
            directory = directory.rsplit_once('/').map_or("", |(parent, _)| parent);
        }
        let opened = if directory.is_empty() {
            self.root.try_clone()
        } else {
            self.root.open_dir(directory)
        };
        match opened.and_then(|directory| sync_directory(&directory)) {
            // Somebody else may have emptied and removed it meanwhile.
            Err(e) if e.kind() != ErrorKind::NotFound => Err(Error::io("write to disk", self.shown(key), e)),
            _ => Ok(()),
        }
    }

    /// Room on the filesystem.
    ///
    /// # Errors
    /// The system can't tell.
    pub fn space(&self) -> Result<Space> {
        let stat = rustix::fs::fstatvfs(&self.root)
            .map_err(|e| Error::io("find the room in", &self.path, e.into()))?;
        Ok(Space {
            total_bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
            available_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
        })
    }

    /// Where an object is, for a person.
    pub fn location(&self, key: &Key) -> String {
        self.shown(key)
    }

    fn shown(&self, key: &Key) -> String {
        self.path.join(key.as_str()).display().to_string()
    }

    fn absent(&self, key: &Key, e: std::io::Error) -> Error {
        if e.kind() == ErrorKind::NotFound {
            return Error::new(Code::Storage, format!("{} is not there", self.shown(key)));
        }
        Error::io("open", self.shown(key), e)
    }

    fn refuse_taken(&self, key: &Key) -> Result<()> {
        match self.root.symlink_metadata(key.as_str()) {
            Ok(_) => Err(Error::new(
                Code::Storage,
                format!("{} exists already", self.shown(key)),
            )),
            Err(_) => Ok(()),
        }
    }

    fn create_parent(&self, key: &Key) -> Result<()> {
        let mut at = String::new();
        let mut parent = self
            .root
            .try_clone()
            .map_err(|e| Error::io("open", &self.path, e))?;
        let (directory, _) = key.split();
        for name in directory.split('/').filter(|n| !n.is_empty()) {
            at = if at.is_empty() {
                name.to_owned()
            } else {
                format!("{at}/{name}")
            };
            let failed = |e| Error::io("create the directory", self.path.join(&at), e);
            match parent.create_dir(name) {
                Ok(()) => sync_directory(&parent).map_err(failed)?,
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
                Err(e) => return Err(failed(e)),
            }
            parent = parent.open_dir(name).map_err(failed)?;
        }
        Ok(())
    }

    fn remove_partial(&self, key: &Key) -> Result<()> {
        self.remove(&key.partial(), key)
    }

    fn remove(&self, name: &str, key: &Key) -> Result<()> {
        let failed = |e| Error::io("remove", self.shown(key), e);
        match self.root.symlink_metadata(name) {
            Ok(meta) if meta.is_dir() => {
                self.root.open_dir(name).map_err(failed)?;
                empty_directory(&self.path.join(name))?;
                self.root.remove_dir(name).map_err(failed)
            }
            Ok(_) => self.root.remove_file(name).map_err(failed),
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(()),
            Err(e) => Err(failed(e)),
        }
    }

    /// Bytes of its files with their holes, each file once however many names it has.
    fn tree_size(&self, name: &str) -> Result<u64> {
        let path = self.path.join(name);
        self.root
            .open_dir(name)
            .map_err(|e| Error::io("look at", &path, e))?;
        content_bytes(&path).map_err(|e| match e.code() {
            Code::BackupFailed => e.with_code(Code::Storage),
            _ => e,
        })
    }
}
