//! What part of which tree is meant.

use std::path::{Path, PathBuf};

use backstay_model::Result;

use crate::tree::patterns::Patterns;

/// A directory with all below it, or a single file, less what patterns leave out.
#[derive(Debug, Clone)]
pub struct TreeSpec {
    pub(crate) root: PathBuf,
    pub(crate) include: Patterns,
    pub(crate) exclude: Patterns,
    pub(crate) one_file_system: bool,
}

impl TreeSpec {
    /// The tree below `root`, which may be a symbolic link to it.
    ///
    /// A pattern is like one of `.gitignore`: `*` and `?` match within a name, `**` across directories;
    /// a leading `/` ties it to the root, else it matches at any depth; a trailing `/` means
    /// directories only; a directory takes all below it. Without `include` all is taken; with it only
    /// what matches, and the directories that lead there. `exclude` wins. Patterns don't apply to a root
    /// that is a file. With `one_file_system` a directory on another file system than the root is kept
    /// without its content; files aren't looked at in this respect.
    ///
    /// # Errors
    /// [`Configuration`](backstay_model::Code::Configuration), naming a pattern that can't be understood or can never match.
    pub fn new(
        root: impl Into<PathBuf>,
        include: &[impl AsRef<str>],
        exclude: &[impl AsRef<str>],
        one_file_system: bool,
    ) -> Result<Self> {
        Ok(TreeSpec {
            root: root.into(),
            include: Patterns::new(include, "include")?,
            exclude: Patterns::new(exclude, "exclude")?,
            one_file_system,
        })
    }

    /// All below `root`.
    ///
    /// # Errors
    /// None in practice; see [`TreeSpec::new`].
    pub fn all(root: impl Into<PathBuf>) -> Result<Self> {
        TreeSpec::new(root, &[] as &[&str], &[] as &[&str], false)
    }

    /// The directory or file.
    pub fn root(&self) -> &Path {
        &self.root
    }
}
