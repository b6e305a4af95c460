//! The scratch directory of a call: a place that only the host's user sees, reached one name at a time and never
//! through a link.
//!
//! It is `DATA_DIR/scratch/RUN-ID/`, with `files/` for what the plugin sees, and beside it what is only just being
//! copied. Whoever makes it has put the whole into the journal before.

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use backstay_model::error::show_bytes;
use backstay_model::{Code, Error, Result};
use backstay_stream::read::read;
use backstay_stream::recipe::FileRecipe;
use backstay_stream::tree::{self, MAX_PATH_BYTES, TarRecipe, TreeSpec, UnpackOptions, Unpacked};
use backstay_stream::{Context, Recipe};
use rustix::fs::{CWD, FileType, Mode, OFlags, RenameFlags, fstat, mkdirat, openat, renameat_with};
use rustix::io::Errno;

/// What the plugin sees of it.
const FILES: &str = "files";

/// What is being copied.
const INCOMING: &str = "incoming";

/// The longest name of a file in a directory, in bytes: what Linux file systems take.
const NAME_BYTES: usize = 255;

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// A scratch directory. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Scratch(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    outer: PathBuf,
    path: PathBuf,
    root: OwnedFd,
}

/// The part of a scratch directory's place that its plugin sees.
pub(crate) fn visible(place: &Path) -> PathBuf {
    place.join(FILES)
}

/// What was copied, and how much of it isn't as it was.
#[derive(Debug, Default)]
pub(crate) struct Copied {
    pub(crate) done: Unpacked,
    pub(crate) failed: u64,
    /// Bytes that it took, names and attributes included.
    pub(crate) taken_bytes: u64,
}

impl Scratch {
    /// Makes it at a place that is free.
    pub(crate) fn make(place: &Path) -> Result<Self> {
        let failed = |e| Error::io("make the scratch directory", place, e);
        let mut private = std::fs::DirBuilder::new();
        private.mode(0o700);
        if let Some(parent) = place.parent() {
            std::fs::DirBuilder::new()
                .mode(0o700)
                .recursive(true)
                .create(parent)
                .map_err(failed)?;
        }
        let path = visible(place);
        private
            .create(place)
            .and_then(|()| private.create(&path))
            .map_err(failed)?;
        let root = openat(CWD, &path, DIRECTORY, Mode::empty()).map_err(|e| failed(e.into()))?;
        Ok(Scratch(Arc::new(Inner {
            outer: place.to_owned(),
            path,
            root,
        })))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0.path
    }

    /// A new file for its owner alone.
    pub(crate) fn create(&self, name: &str) -> Result<File> {
        const NEW: OFlags = OFlags::WRONLY
            .union(OFlags::CREATE)
            .union(OFlags::EXCL)
            .union(OFlags::NOFOLLOW)
            .union(OFlags::CLOEXEC);
        let (directory, last) = self.parent(name)?;
        let made = openat(&directory, last, NEW, Mode::RUSR | Mode::WUSR);
        made.map(File::from).map_err(|e| failed("make", name, e))
    }

    /// Writes a text to a new file.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<()> {
        let mut file = self.create(name)?;
        file.write_all(text.as_bytes())
            .map_err(|e| Error::io("write", self.shown(name), e))
    }

    /// A regular file in it.
    pub(crate) fn file(&self, name: &str) -> Result<FileRecipe> {
        const OLD: OFlags = OFlags::RDONLY
            .union(OFlags::NOFOLLOW)
            .union(OFlags::NONBLOCK)
            .union(OFlags::CLOEXEC);
        let names = names(name)?;
        let (last, above) = names.split_last().ok_or_else(|| refused(name))?;
        let mut directory = None;
        for each in above {
            let at = directory.as_ref().unwrap_or(&self.0.root);
            directory =
                Some(openat(at, *each, DIRECTORY, Mode::empty()).map_err(|e| failed("find", name, e))?);
        }
        let file = openat(
            directory.as_ref().unwrap_or(&self.0.root),
            *last,
            OLD,
            Mode::empty(),
        )
        .map_err(|e| failed("open", name, e))?;
        let stat = fstat(&file).map_err(|e| failed("look at", name, e))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Error::new(
                Code::Security,
                format!("`{}` is not a regular file", shown(name)),
            ));
        }
        Ok(FileRecipe::opened(File::from(file), self.shown(name)))
    }

    /// Copies a tree to a name that is free, taking at most so many bytes. Warnings go to the context's notes.
    pub(crate) fn copy(
        &self,
        spec: TreeSpec,
        name: &str,
        most_bytes: u64,
        context: &Context,
    ) -> Result<Copied> {
        names(name)?;
        if spec.is_left_out() {
            return Ok(Copied::default());
        }
        let incoming = self.0.outer.join(INCOMING);
        tree::empty_directory(&incoming)?;
        let is_file = spec.root().is_file();
        let source = spec.root().to_owned();
        // Its own notes, so that what could not be copied is known by number.
        let inner = Context {
            notes: backstay_stream::context::Notes::default(),
            ..context.uncounted()
        };
        let recipe: Arc<dyn Recipe> = Arc::new(TarRecipe::new(spec));
        let mut reading = read(recipe, &inner)?;
        let mut bounded = Bounded {
            inner: &mut reading,
            left: most_bytes,
            is_over: false,
        };
        let unpacked = tree::unpack(&mut bounded, &incoming, &UnpackOptions::default(), &inner, None);
        let (left, is_over) = (bounded.left, bounded.is_over);
        let done = match unpacked {
            Ok(done) => done,
            Err(_) if is_over => {
                let message = format!(
                    "{} takes more room than a scratch directory has",
                    source.display()
                );
                return Err(
                    reading.fail(Error::new(Code::DiskSpace, message).hint("leave large files out of it"))
                );
            }
            Err(error) => return Err(reading.fail(error)),
        };
        reading.finish()?;
        let (warnings, more) = inner.notes.take();
        let failed = warnings.len() as u64 + more;
        context.notes.add(warnings, more);
        self.take_in(&incoming, is_file, name)?;
        Ok(Copied {
            done,
            failed,
            taken_bytes: most_bytes - left,
        })
    }

    /// Moves what was copied to its name.
    fn take_in(&self, incoming: &Path, is_file: bool, name: &str) -> Result<()> {
        let lost = |e| Error::io("find what was copied in", incoming, e);
        let (directory, last) = self.parent(name)?;
        let from = if is_file {
            let mut entries = std::fs::read_dir(incoming).map_err(lost)?;
            match entries.next() {
                Some(entry) => entry.map_err(lost)?.path(),
                None => return Ok(()),
            }
        } else {
            incoming.to_owned()
        };
        let moved = renameat_with(CWD, &from, directory.as_fd(), last, RenameFlags::NOREPLACE);
        moved.map_err(|e| self::failed("make", name, e))
    }

    /// The directory that a name is in, made if need be.
    fn parent<'n>(&self, name: &'n str) -> Result<(OwnedFd, &'n str)> {
        let names = names(name)?;
        let (last, above) = names.split_last().ok_or_else(|| refused(name))?;
        let mut directory = self
            .0
            .root
            .try_clone()
            .map_err(|e| Error::io("open", self.path(), e))?;
        for each in above {
            match mkdirat(&directory, *each, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(e) => return Err(failed("make a directory for", name, e)),
            }
            directory = openat(&directory, *each, DIRECTORY, Mode::empty())
                .map_err(|e| failed("enter a directory of", name, e))?;
        }
        Ok((directory, last))
    }

    fn shown(&self, name: &str) -> PathBuf {
        self.path().join(shown(name))
    }
}

/// The plain names that a name consists of.
fn names(name: &str) -> Result<Vec<&str>> {
    let names: Vec<&str> = name.split('/').collect();
    let plain =
        |part: &&str| !matches!(*part, "" | "." | "..") && part.len() <= NAME_BYTES && !part.contains('\0');
    if name.len() >= MAX_PATH_BYTES || !names.iter().all(plain) {
        return Err(refused(name));
    }
    Ok(names)
}

fn refused(name: &str) -> Error {
    let message = format!(
        "`{}` is not a relative path of plain names, as a scratch directory needs",
        shown(name)
    );
    Error::new(Code::Security, message)
}

fn failed(operation: &str, name: &str, error: Errno) -> Error {
    match error {
        Errno::LOOP | Errno::NOTDIR => Error::new(
            Code::Security,
            format!(
                "cannot {operation} `{}` in the scratch directory: something on the way is a link or a file",
                shown(name)
            ),
        ),
        Errno::EXIST => Error::new(
            Code::Internal,
            format!("`{}` is in the scratch directory already", shown(name)),
        ),
        error => Error::io(operation, shown(name), error.into()),
    }
}

fn shown(name: &str) -> String {
    const MOST_CHARS: usize = 200;
    show_bytes(name.as_bytes()).chars().take(MOST_CHARS).collect()
}

/// Input of at most so many bytes.
struct Bounded<R> {
    inner: R,
    left: u64,
    is_over: bool,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        match self.left.checked_sub(n as u64) {
            Some(left) => self.left = left,
            None => {
                self.is_over = true;
                return Err(io::Error::other("too much to copy"));
            }
        }
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scratch() -> (tempfile::TempDir, Scratch) {
        let directory = tempfile::tempdir().unwrap();
        let scratch = Scratch::make(&directory.path().join("scratch/one")).unwrap();
        (directory, scratch)
    }

    #[test]
    fn it_is_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let (directory, scratch) = scratch();
        scratch.write("a/b", "x").unwrap();
        for (path, mode) in [
            ("scratch", 0o700),
            ("scratch/one", 0o700),
            ("scratch/one/files/a/b", 0o600),
        ] {
            let found = std::fs::metadata(directory.path().join(path))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(found & 0o777, mode, "{path}");
        }
    }

    #[test]
    fn a_link_leads_nowhere_whoever_made_it() {
        let (directory, scratch) = scratch();
        let outside = directory.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("secret"), "x").unwrap();
        std::os::unix::fs::symlink(&outside, scratch.path().join("link")).unwrap();
        std::os::unix::fs::symlink(outside.join("new"), scratch.path().join("dangling")).unwrap();
        let spec = || TreeSpec::all(&outside).unwrap();
        for error in [
            scratch.write("link/new", "x").unwrap_err(),
            scratch.write("link", "x").unwrap_err(),
            scratch.write("dangling", "x").unwrap_err(),
            scratch.file("link/secret").unwrap_err(),
            scratch.file("dangling").unwrap_err(),
            scratch
                .copy(spec(), "link/new", 1 << 20, &Context::default())
                .unwrap_err(),
            scratch
                .copy(spec(), "dangling", 1 << 20, &Context::default())
                .unwrap_err(),
        ] {
            assert!(
                matches!(error.code(), Code::Security | Code::Internal),
                "{error:?}"
            );
        }
        assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1);
    }

    #[test]
    fn a_copy_that_is_too_large_is_refused() {
        let (directory, scratch) = scratch();
        std::fs::write(directory.path().join("large"), vec![1; 100_000]).unwrap();
        let spec = TreeSpec::all(directory.path().join("large")).unwrap();
        let error = scratch
            .copy(spec, "large", 50_000, &Context::default())
            .unwrap_err();
        assert_eq!(error.code(), Code::DiskSpace);
        assert!(error.to_string().contains("large takes more room"), "{error}");
    }

    #[test]
    fn patterns_see_a_copy_under_its_new_name() {
        let (directory, scratch) = scratch();
        let source = directory.path().join("source");
        std::fs::create_dir_all(source.join("priv")).unwrap();
        for name in ["keep.cfg", "leave.bak", "priv/key"] {
            std::fs::write(source.join(name), name).unwrap();
        }
        let spec = |path: &Path, place: &str, exclude: &[&str]| {
            TreeSpec::new(path, &[] as &[&str], exclude, false)
                .unwrap()
                .placed(place)
        };
        let copy = |path: &Path, place: &str, exclude: &[&str]| {
            let copied = scratch
                .copy(spec(path, place, exclude), place, 1 << 20, &Context::default())
                .unwrap();
            (
                copied.done.entries - copied.done.directories,
                copied.done.directories,
                copied.failed,
            )
        };
        assert_eq!(copy(&source, "etc/pve", &["*.bak", "/etc/pve/priv"]), (1, 1, 0));
        assert_eq!(
            std::fs::read(scratch.path().join("etc/pve/keep.cfg")).unwrap(),
            b"keep.cfg"
        );
        assert_eq!(copy(&source, "etc/other", &["/etc/other"]), (0, 0, 0));
        assert_eq!(copy(&source, "var/other", &["/var"]), (0, 0, 0));
        assert_eq!(
            copy(&source.join("keep.cfg"), "etc/hosts", &["/etc/hosts"]),
            (0, 0, 0)
        );
        assert_eq!(
            copy(&source.join("keep.cfg"), "etc/hosts", &["/hosts"]),
            (1, 0, 0)
        );
        assert_eq!(
            std::fs::read(scratch.path().join("etc/hosts")).unwrap(),
            b"keep.cfg"
        );
        assert!(!scratch.path().join("etc/other").exists() && !scratch.path().join("var").exists());
    }

    proptest! {
        #[test]
        fn no_name_leads_out(name in "[a./\\x00]{0,8}") {
            let plain = names(&name).is_ok();
            let is_escape = name.starts_with('/') || name.split('/').any(|n| matches!(n, "" | "." | ".."));
            prop_assert_eq!(plain, !is_escape && !name.contains('\0'));
        }
    }
}
