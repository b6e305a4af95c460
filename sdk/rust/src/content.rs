//! Streams and trees: handles for data that the host moves.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bindings::backstay::plugin::data as host;
use crate::failure::Result;
use crate::{Failure, Previous, Target};

pub use host::{
    Artifact, ByteStream, Content, FileInfo, FileKind, Tree, TreeOptions, UnpackOptions, UnpackReport,
};

/// Media type of a file tree as one tar stream.
pub const TAR: &str = "application/x-tar";

/// Media type of a file tree.
pub const TREE: &str = "application/x-directory";

/// Looks at a path without following symbolic links; nothing if there is none. Needs the capability
/// `read` or `write` for it.
///
/// # Errors
/// There is no grant for it, or the operating system fails.
pub fn stat(path: &str) -> Result<Option<FileInfo>> {
    host::stat(path)
}

impl ByteStream {
    /// The text as a stream.
    pub fn text(text: &str) -> ByteStream {
        host::text(text)
    }

    /// A file as a stream. Needs the capability `read` for it.
    ///
    /// # Errors
    /// There is no grant for it, or no such file.
    pub fn file(path: &str) -> Result<ByteStream> {
        host::file(path)
    }
}

impl Tree {
    /// A directory or a file as a tree. Needs the capability `read` for it.
    ///
    /// # Errors
    /// There is no grant for it, nothing is there, or a pattern is wrong.
    pub fn open(path: &str, options: &TreeOptions) -> Result<Tree> {
        host::directory(path, options)
    }

    /// The tree as one tar stream. Files that vanish, change or can't be read while it is made become
    /// warnings of the run.
    pub fn tar(&self) -> ByteStream {
        host::tar(self)
    }
}

impl Default for TreeOptions {
    /// Everything.
    fn default() -> Self {
        TreeOptions {
            include: Vec::new(),
            exclude: Vec::new(),
            one_file_system: false,
        }
    }
}

impl Artifact {
    /// A stream of a media type.
    pub fn stream(name: impl Into<String>, media_type: impl Into<String>, stream: ByteStream) -> Self {
        Artifact {
            name: name.into(),
            media_type: media_type.into(),
            content: Content::Bytes(stream),
            metadata: "{}".to_owned(),
            base: None,
        }
    }

    /// A tree as one tar stream.
    pub fn tar(name: impl Into<String>, tree: &Tree) -> Self {
        Artifact::stream(name, TAR, tree.tar())
    }

    /// A tree as files.
    pub fn tree(name: impl Into<String>, tree: Tree) -> Self {
        Artifact {
            name: name.into(),
            media_type: TREE.to_owned(),
            content: Content::Files(tree),
            metadata: "{}".to_owned(),
            base: None,
        }
    }

    /// Sets the facts to keep in the manifest. They must be a JSON object.
    ///
    /// # Errors
    /// They can't be written as JSON.
    pub fn with_metadata(mut self, facts: &impl Serialize) -> Result<Self> {
        self.metadata = serde_json::to_string(facts)?;
        Ok(self)
    }

    /// Says that it is an increment to an earlier backup, one of those in `previous`.
    pub fn based_on(mut self, backup_id: impl Into<String>) -> Self {
        self.base = Some(backup_id.into());
        self
    }

    /// The facts that [`Artifact::with_metadata`] set when it was backed up.
    ///
    /// # Errors
    /// They are of another shape.
    pub fn metadata_as<T: DeserializeOwned>(&self) -> Result<T> {
        metadata_as(&self.metadata)
    }
}

impl Previous {
    /// The facts that [`Artifact::with_metadata`] set.
    ///
    /// # Errors
    /// They are of another shape.
    pub fn metadata_as<T: DeserializeOwned>(&self) -> Result<T> {
        metadata_as(&self.metadata)
    }
}

/// Facts from a manifest.
///
/// # Errors
/// They are of another shape.
pub fn metadata_as<T: DeserializeOwned>(metadata: &str) -> Result<T> {
    serde_json::from_str(metadata)
        .map_err(|e| Failure::internal(format!("the metadata of a backup can't be read: {e}")))
}

impl Content {
    /// The stream, for a plugin that only ever offers streams.
    ///
    /// # Errors
    /// It is a tree.
    pub fn into_stream(self) -> Result<ByteStream> {
        match self {
            Content::Bytes(stream) => Ok(stream),
            Content::Files(_) => Err(Failure::internal(
                "this plugin offered a stream and was given a tree back",
            )),
        }
    }

    /// Writes a tar stream or a tree into a directory, with owners, modes, times and xattrs. Needs the
    /// capability `write` for the directory.
    ///
    /// # Errors
    /// There is no grant for it, something is in the way, or the data is damaged.
    pub fn unpack(self, directory: &str, options: &UnpackOptions) -> Result<UnpackReport> {
        host::unpack(self, directory, options)
    }
}

impl Target {
    /// The same wishes, for [`Content::unpack`].
    pub fn unpack_options(&self) -> UnpackOptions {
        UnpackOptions {
            paths: self.paths.clone(),
            overwrite: self.overwrite,
            dry_run: self.dry_run,
        }
    }
}
