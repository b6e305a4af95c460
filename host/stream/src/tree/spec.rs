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
    /// Where the root is in what patterns are relative to; empty if that is the root itself.
    pub(crate) place: Vec<u8>,
    /// What is left out besides, by the end that takes the tree.
    left_out: Option<Patterns>,
    /// Each name of a file with several is taken for a file of its own.
    pub(crate) separate_names: bool,
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
            place: Vec::new(),
            left_out: None,
            separate_names: false,
        })
    }

    /// The same tree without what these patterns match, which are of the same form as the others. `list` is how they are
    /// called in messages.
    ///
    /// # Errors
    /// As [`TreeSpec::new`].
    pub fn leaving_out(mut self, patterns: &[impl AsRef<str>], list: &str) -> Result<Self> {
        self.left_out = Some(Patterns::new(patterns, list)?);
        Ok(self)
    }

    /// The same tree with each name of a file that has several taken for a file of its own.
    pub fn with_separate_names(mut self) -> Self {
        self.separate_names = true;
        self
    }

    /// Whether a pattern leaves out what is at a path.
    pub(crate) fn excludes(&self, path: &[u8], is_directory: bool) -> bool {
        let left_out = self.left_out.as_ref();
        self.exclude.matches(path, is_directory)
            || left_out.is_some_and(|all| all.matches(path, is_directory))
    }

    /// Whether whatever has a name in a directory, whose path is empty for the root, would be left out.
    pub(crate) fn leaves_out_all_in(&self, directory: &[u8], name: &[u8]) -> bool {
        let parts = [&self.place[..], directory, name];
        let parts: Vec<&[u8]> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        let path = parts.join(&b'/');
        self.excludes(&path, false) && self.excludes(&path, true)
    }

    /// The same tree with patterns that are relative to a directory in which its root is called `place`, a
    /// relative path of plain names. They apply to a root that is a file then, too.
    pub fn placed(mut self, place: &str) -> Self {
        self.place = place.as_bytes().to_vec();
        self
    }

    /// Whether the patterns leave out a placed tree as a whole.
    pub fn is_left_out(&self) -> bool {
        let is_directory = self.root.is_dir();
        let whole = self.place.len();
        let excluded = |end: usize| {
            self.exclude
                .matches(&self.place[..end], end < whole || is_directory)
        };
        let may_hold_more = is_directory && self.include.may_match_below(&self.place);
        self.place_ends().any(excluded) || !(self.takes_root() || may_hold_more)
    }

    /// Whether all below the root is meant.
    pub(crate) fn takes_root(&self) -> bool {
        let is_directory = self.root.is_dir();
        let whole = self.place.len();
        let included = |end: usize| {
            self.include
                .matches(&self.place[..end], end < whole || is_directory)
        };
        self.include.is_empty() || self.place_ends().any(included)
    }

    /// Where each of the names in the place ends.
    fn place_ends(&self) -> impl Iterator<Item = usize> {
        let slashes = self.place.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        let whole = (!self.place.is_empty()).then_some(self.place.len());
        slashes.map(|(at, _)| at).chain(whole)
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
