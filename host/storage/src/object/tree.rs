//! Trees as files: each regular file is an object below the tree's key, and all else is in the index.

mod fetch;
mod name;
mod store;

use std::io::Write;
use std::ops::ControlFlow;
use std::sync::Arc;

use backstay_model::{Code, Error, Result};
use backstay_stream::read::read;
use backstay_stream::tree::{self, FetchRecipe, Unpacked};
use backstay_stream::{Cancel, Context, Recipe};
use futures::{TryStreamExt as _, stream};
use opendal::ErrorKind;

use super::{ObjectStore, PATIENCE, Shared, list};
use crate::{Key, ObjectInfo};

impl ObjectStore {
    /// Stores a tree as files, from its tar stream, and writes the index of what is stored to `index`.
    ///
    /// # Errors
    /// The root cause; then nothing is there. [`Code::Configuration`] if objects are to be locked.
    pub fn put_tree(
        &self,
        key: &Key,
        tar: Arc<dyn Recipe>,
        index: &mut dyn Write,
        context: &Context,
    ) -> Result<Unpacked> {
        if self.shared.access.lock.is_some() {
            // One would have to be locked before it is known whether the last one can be stored.
            return Err(Error::new(
                Code::Configuration,
                "the files of a tree can't be locked one by one",
            )
            .hint("store the tree as one tar stream, or leave out the object lock"));
        }
        let _storing = context.meter.store();
        if self.stat(key)?.is_some() {
            return Err(self.taken(key));
        }
        self.fill_tree(key, tar, index, context)
            .map_err(|error| match self.delete(key) {
                Ok(()) => error,
                Err(e) => error.hint(format!(
                    "what was stored so far could not be removed either: {}",
                    e.report()
                )),
            })
    }

    fn fill_tree(
        &self,
        key: &Key,
        tar: Arc<dyn Recipe>,
        index: &mut dyn Write,
        context: &Context,
    ) -> Result<Unpacked> {
        // The stream counts the entries; taking them apart on the other side doesn't count them again.
        let mut reading = read(tar, context)?;
        let throttle = context.throttle.clone();
        let mut files = store::Files::new(Arc::clone(&self.shared), key.clone(), context.cancel.clone());
        let scattered = tree::scatter(
            throttle.reader(&mut reading, context),
            &mut files,
            &context.uncounted(),
            index,
        );
        let stored = match scattered {
            Ok(unpacked) => reading
                .finish()
                .and_then(|_| context.cancel.check())
                .and_then(|()| files.finish())
                .map(|()| unpacked),
            Err(error) => Err(reading.fail(error)),
        };
        if stored.is_err() {
            files.give_up();
        }
        stored
    }

    /// The files of a stored tree, which come in the order of its index. Nothing is looked for yet: what isn't there is found
    /// missing by whoever reads them.
    pub fn get_files(&self, key: &Key) -> FetchRecipe {
        FetchRecipe::new(fetch::Files::new(Arc::clone(&self.shared), key.clone()))
    }

    /// What is there of a tree; nothing if it has no files.
    pub(super) fn stat_tree(&self, key: &Key) -> Result<Option<ObjectInfo>> {
        let amount = self.shared.amount(key, &Cancel::default())?;
        Ok((amount.files > 0).then(|| ObjectInfo {
            key: key.as_str().to_owned(),
            size_bytes: amount.bytes,
            is_tree: true,
        }))
    }

    /// Removes all files of a tree, one by one: not every store can do that for many at once.
    pub(super) fn delete_tree(&self, key: &Key) -> Result<()> {
        let (shared, cancel) = (&self.shared, Cancel::default());
        let directory = format!("{key}/");
        if shared.is_whole() {
            // Some servers refuse a request for a directory where there is a file.
            return match shared.is_directory(key.as_str())? {
                true => shared.remove(&directory),
                false => Ok(()),
            };
        }
        let mut before: Vec<String> = Vec::new();
        loop {
            let mut files = Vec::new();
            list::walk(shared, &directory, &cancel, &mut |entry| {
                files.push(entry.path().to_owned());
                Ok(match files.len() {
                    REMOVED => ControlFlow::Break(()),
                    _ => ControlFlow::Continue(()),
                })
            })?;
            if files.is_empty() {
                return Ok(());
            }
            if files.first() == before.first() {
                let shown = shared.location(files.first().map_or("", String::as_str));
                return Err(
                    Error::new(Code::Storage, format!("{shown} was removed and is still there"))
                        .hint("remove it by the store's own tools")
                        .retryable(),
                );
            }
            let removing = stream::iter(files.iter().map(Ok))
                .try_for_each_concurrent(PARALLEL, |file| async move { shared.looks.delete(file).await });
            shared.wait(&cancel, None, "remove", key.as_str(), removing)?;
            before = files;
        }
    }
}

/// Files that are removed before it is looked for more of them.
const REMOVED: usize = 10_000;

/// How many of them at once.
const PARALLEL: usize = 16;

/// How much a tree is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Amount {
    files: u64,
    bytes: u64,
}

impl Shared {
    fn amount(&self, key: &Key, cancel: &Cancel) -> Result<Amount> {
        let mut amount = Amount::default();
        list::walk(self, &format!("{key}/"), cancel, &mut |entry| {
            amount.files += 1;
            amount.bytes += entry.metadata().content_length();
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(amount)
    }

    fn is_directory(&self, path: &str) -> Result<bool> {
        self.wait(&Cancel::default(), Some(PATIENCE), "look at", path, async {
            match self.looks.stat(path).await {
                Ok(meta) => Ok(meta.is_dir()),
                Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
                Err(e) => Err(e),
            }
        })
    }
}
