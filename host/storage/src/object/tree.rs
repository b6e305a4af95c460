//! Trees as files: each regular file is an object below the tree's key, and all else is in the index.

mod fetch;
mod name;
mod store;

use std::io::Write;
use std::sync::Arc;

use backstay_model::{Code, Error, Result};
use backstay_stream::read::read;
use backstay_stream::tree::{self, FetchRecipe, Unpacked};
use backstay_stream::{Cancel, Context, Recipe};
use futures::{TryStreamExt as _, stream};

use super::list::{self, Go};
use super::{ObjectStore, Shared};
use crate::{Key, ObjectInfo};

impl ObjectStore {
    /// Stores a tree as files, from its tar stream, and writes the index of what is stored to `index`.
    ///
    /// # Errors
    /// The root cause; then nothing is there. [`Code::Configuration`] if a path is too long, or objects are to be locked.
    pub fn put_tree(
        &self,
        key: &Key,
        tar: Arc<dyn Recipe>,
        index: &mut dyn Write,
        context: &Context,
    ) -> Result<Unpacked> {
        let shared = &self.shared;
        if shared.access.lock.is_some() {
            // One would have to be locked before it is known whether the last one can be stored.
            return Err(Error::new(
                Code::Configuration,
                "the files of a tree can't be locked one by one",
            )
            .hint("store the tree as one tar stream, or leave out the object lock"));
        }
        let _storing = context.meter.store();
        if self.stat(key)?.is_some() {
            let message = format!("{} exists already", shared.location(key.as_str()));
            return Err(Error::new(Code::Storage, message));
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
        let stored = tree::scatter(
            throttle.reader(&mut reading, context),
            &mut files,
            &context.uncounted(),
            index,
        );
        let unpacked = match stored {
            Ok(unpacked) => unpacked,
            Err(error) => return Err(reading.fail(error)),
        };
        reading.finish()?;
        context.cancel.check()?;
        files.finish()?;
        Ok(unpacked)
    }

    /// The files of a stored tree, which come in the order of its index. Nothing is looked for yet: what isn't there is found
    /// missing by whoever reads them.
    pub fn get_files(&self, key: &Key) -> FetchRecipe {
        FetchRecipe::new(fetch::Files::new(Arc::clone(&self.shared), key.clone()))
    }

    /// What is there of a tree; nothing if it has no files.
    pub(super) fn stat_tree(&self, key: &Key) -> Result<Option<ObjectInfo>> {
        let amount = self.shared.amount(key)?;
        Ok((amount.files > 0).then(|| ObjectInfo {
            key: key.as_str().to_owned(),
            size_bytes: amount.bytes,
            is_tree: true,
        }))
    }

    /// Removes all files of a tree, one by one: not every store can do that for many at once.
    pub(super) fn delete_tree(&self, key: &Key) -> Result<()> {
        let shared = &self.shared;
        let directory = format!("{key}/");
        if shared.is_whole() {
            return shared.remove(&directory);
        }
        let mut files = Vec::new();
        loop {
            list::walk(shared, &directory, &mut |entry| {
                files.push(entry.path().to_owned());
                Ok(if files.len() < REMOVED { Go::On } else { Go::Home })
            })?;
            if files.is_empty() {
                return Ok(());
            }
            let removing = stream::iter(files.drain(..).map(Ok))
                .try_for_each_concurrent(PARALLEL, |file| async move { shared.looks.delete(&file).await });
            shared.wait(&Cancel::default(), None, "remove", key.as_str(), removing)?;
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
    fn amount(&self, key: &Key) -> Result<Amount> {
        let mut amount = Amount::default();
        list::walk(self, &format!("{key}/"), &mut |entry| {
            amount.files += 1;
            amount.bytes += entry.metadata().content_length();
            Ok(Go::On)
        })?;
        Ok(amount)
    }
}
