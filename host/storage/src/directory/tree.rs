//! Trees as files: written by the host from a tar stream, or by a program that copies trees itself.

use std::io::{BufRead, BufReader, BufWriter, Seek as _, Write};
use std::path::Path;
use std::sync::Arc;

use backstay_model::{Code, Error, Result};
use backstay_stream::read::read;
use backstay_stream::tree::{self, KeptTree, TreeSpec, UnpackOptions, Unpacked};
use backstay_stream::{Context, Recipe};

use super::Directory;
use crate::key::Key;
use crate::sink::{full, publish};

impl Directory {
    /// Stores a tree as files, from its tar stream, and writes the index of what is stored to `index`. What this
    /// place doesn't keep as it was (owners, times, attributes) is the warning `not-kept`.
    ///
    /// # Errors
    /// The root cause; then nothing is there.
    pub fn put_tree(
        &self,
        key: &Key,
        tar: Arc<dyn Recipe>,
        index: &mut dyn Write,
        context: &Context,
    ) -> Result<Unpacked> {
        let _storing = context.meter.store();
        self.refuse_taken(key)?;
        self.create_parent(key)?;
        let result = self.fill_tree(key, tar, index, context);
        result
            .map_err(full)
            .map_err(|error| match self.remove_partial(key) {
                Ok(()) => error,
                Err(e) => error.hint(format!(
                    "what was written so far could not be removed either: {}",
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
        self.remove_partial(key)?;
        // The stream counts the entries; unpacking them on the other side doesn't count them again.
        let mut reading = read(tar, context)?;
        // Waiting counts as movement for the run, so it isn't done uncounted.
        let throttle = context.throttle.clone();
        let waits = context;
        let context = &context.uncounted();
        let target = self.path.join(key.partial());
        let shown = self.shown(key);
        let failed = |e| Error::io("write the index of", &shown, e);
        let mut written = BufWriter::new(tempfile::tempfile().map_err(failed)?);
        let unpacked = match tree::unpack(
            &mut throttle.reader(&mut reading, waits),
            &target,
            &UnpackOptions::default(),
            context,
            Some(&mut written),
        ) {
            Ok(unpacked) => unpacked,
            Err(error) => return Err(reading.fail(error)),
        };
        reading.finish()?;
        context.cancel.check()?;
        let mut written = written.into_inner().map_err(|e| failed(e.into_error()))?;
        written.rewind().map_err(failed)?;
        self.publish_tree(key, BufReader::new(written), index, context)?;
        Ok(unpacked)
    }

    /// Makes the directory in which a program may put a tree that is to be stored under a key, which must be free.
    /// Returns its path. What an interrupted attempt left in it is gone.
    ///
    /// # Errors
    /// It can't be made, or its path is no text.
    pub fn begin_tree(&self, key: &Key) -> Result<String> {
        self.refuse_taken(key)?;
        self.create_parent(key)?;
        self.remove_partial(key)?;
        let path = self.path.join(key.partial());
        self.root
            .create_dir(key.partial())
            .map_err(|e| Error::io("create the directory", &path, e))?;
        path.into_os_string().into_string().map_err(|path| {
            let shown = backstay_model::error::show(Path::new(&path));
            Error::new(Code::Configuration, format!("the path {shown} is not UTF-8"))
                .hint("give the directory another name")
        })
    }

    /// Stores what a program put into the directory of [`Directory::begin_tree`] under its key. `written` is the index of
    /// what it should have put there; that of what is stored goes to `index`.
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
        let _storing = context.meter.store();
        self.publish_tree(key, written, index, &context.uncounted())
            .map_err(full)
    }

    /// Gives a tree that was written to its temporary name the real one, once it is durable and all of it is there.
    fn publish_tree(
        &self,
        key: &Key,
        written: impl BufRead,
        index: &mut dyn Write,
        context: &Context,
    ) -> Result<KeptTree> {
        let shown = self.shown(key);
        let spec = TreeSpec::all(self.path.join(key.partial()))?;
        let kept = tree::index_kept(&spec, written, context, index)?;
        if !kept.lost.is_empty() {
            let message = format!("not all of it is kept there as it was: {}", kept.lost.join("; "));
            context.notes.warn("not-kept", message, Some(shown.clone()));
        }
        // A capability to a directory is no open file; opening it again gives one.
        let synced = self
            .root
            .open(".")
            .and_then(|root| rustix::fs::syncfs(&root).map_err(Into::into));
        synced.map_err(|e| Error::io("write to disk", &shown, e))?;
        publish(&self.root, key, &shown)?;
        Ok(kept)
    }

    /// Makes a symbolic link at a key to another key in the same directory, in place of the link that may be there. It is
    /// for people and programs that look for the newest of something; nothing here follows it.
    ///
    /// # Errors
    /// Something other than a link is there, the keys are of different directories, or it can't be made.
    pub fn link(&self, key: &Key, target: &Key) -> Result<()> {
        let failed = |e| Error::io("make the link", self.shown(key), e);
        let ((directory, _), (beside, name)) = (key.split(), target.split());
        if directory != beside {
            let message = format!("{key} can't be a link to {target}, which is not beside it");
            return Err(Error::new(Code::Security, message));
        }
        match self.root.symlink_metadata(key.as_str()) {
            Ok(meta) if !meta.is_symlink() => {
                let message = format!("{} is there and is no link", self.shown(key));
                return Err(Error::new(Code::Storage, message).hint("move it away"));
            }
            _ => {}
        }
        self.remove_partial(key)?;
        self.root.symlink(name, key.partial()).map_err(failed)?;
        self.root
            .rename(key.partial(), &self.root, key.as_str())
            .map_err(failed)
    }
}
