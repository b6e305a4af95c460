//! A directory of the call's own, for small things that must be written before they can be streamed.
//!
//! The host removes it when the run ends, however it ends: a plugin needs no journal for it, and no capability.

use crate::Failure;
use crate::bindings::backstay::plugin::scratch as host;
use crate::command::{self, Command};
use crate::content::{ByteStream, Tree, TreeOptions};
use crate::failure::Result;

pub use host::{Bounds, Copied, Recorded};

/// A scratch directory. Names in it are relative paths of plain names; nothing is written over.
#[derive(Debug)]
pub struct Scratch(host::Directory);

impl Scratch {
    pub(crate) fn as_host(&self) -> &host::Directory {
        &self.0
    }

    /// Makes it: once in each call that is part of a run, such as [`open`](crate::Source::open),
    /// [`restore`](crate::Source::restore), [`put`](crate::Destination::put) or a destination's
    /// [`open`](crate::Destination::open).
    ///
    /// # Errors
    /// The call can't have one, or has one, or there is no room.
    pub fn make() -> Result<Self> {
        host::make().map(Scratch)
    }

    /// Its absolute path, for the arguments of a program; `{scratch}` in the manifest's patterns.
    pub fn path(&self) -> String {
        self.0.path()
    }

    /// Writes a text to a file.
    ///
    /// # Errors
    /// The name is taken or isn't a plain relative path, or there is no room.
    pub fn write(&self, name: &str, text: &str) -> Result<()> {
        self.0.write(name, text)
    }

    /// Runs a program to its end and writes its output to a file. One that ends badly or is killed at the end
    /// of its time is no failure; what it said by then is kept.
    ///
    /// # Errors
    /// It can't be started: there is no such program, or no grant for it. Else as for [`Scratch::write`].
    pub fn record(&self, name: &str, command: &Command, bounds: Bounds) -> Result<Recorded> {
        self.0.record(name, command.as_host(), bounds)
    }

    /// Copies a directory or a file. Needs the capability `read` for it. Patterns are relative to the scratch
    /// directory. What can't be copied as it is becomes a warning of the run.
    ///
    /// # Errors
    /// There is no grant, nothing is there, or it is larger than a scratch directory. Else as for [`Scratch::write`].
    pub fn copy(&self, path: &str, name: &str, options: &TreeOptions) -> Result<Copied> {
        self.0.copy(path, name, options)
    }

    /// A file in it as a stream.
    ///
    /// # Errors
    /// There is no such file.
    pub fn file(&self, name: &str) -> Result<ByteStream> {
        self.0.file(name)
    }

    /// All of it as a tree.
    ///
    /// # Errors
    /// A pattern is wrong.
    pub fn tree(&self, options: &TreeOptions) -> Result<Tree> {
        self.0.tree(options)
    }

    /// The files of a stored tree, which programs bring: `many` copies those that are in the list on its input into this
    /// directory, which must be empty, and `one` writes the one that it reads the name of to its output. Only for
    /// [`open`](crate::Destination::open) to give back. For `meanings` see [`Command::pipe_explained`].
    ///
    /// # Errors
    /// There is no grant for one of the commands.
    pub fn fetch(
        &self,
        many: &Command,
        one: &Command,
        meanings: impl IntoIterator<Item = (String, Failure)>,
    ) -> Result<ByteStream> {
        self.0
            .fetch(many.as_host(), one.as_host(), &command::as_host(meanings))
    }
}
