//! `data`: streams and trees as handles, and the few things a guest may do with them itself.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use backstay_model::filters::Filters;
use backstay_model::journal::{HostEntry, Owner, UndoWhen};
use backstay_model::{Code, Error, Result};
use backstay_stream::read::read;
use backstay_stream::recipe::{FileRecipe, TextRecipe};
use backstay_stream::tree::{self, TarRecipe, TreeSpec, UnpackOptions, Unpacked};
use backstay_stream::{Context, Recipe};
use wasmtime::component::Resource;

use crate::bindings::wit::data::{
    self as wit, Content, FileInfo, FileKind, HostByteStream, HostTree, TreeOptions,
    UnpackOptions as GuestOptions, UnpackReport,
};
use crate::bindings::wit::types::Failure;
use crate::host::{ByteStream, Host, Tree, answer};

/// The most that `read-text` gives, in bytes.
const TEXT_BYTES: u32 = 1 << 20;

impl Host {
    /// The recipe that a content stands for; a tree as its tar stream.
    fn take_content(&mut self, content: Content) -> wasmtime::Result<Result<Arc<dyn Recipe>>> {
        Ok(match content {
            Content::Bytes(stream) => readable(self.table.delete(stream)?),
            Content::Files(tree) => {
                let Tree { spec, is_payload } = self.table.delete(tree)?;
                let recipe = Arc::new(TarRecipe::new(TreeSpec::clone(&spec)));
                readable(ByteStream {
                    is_payload,
                    ..ByteStream::plain(recipe)
                })
            }
        })
    }

    /// The directory that may be unpacked into; or one in which at least each of `names` may be written. Directories on
    /// the way to a name are left as they are, and none of them may be a link.
    fn granted_target(&self, target: &str, names: &[String]) -> Result<PathBuf> {
        let refused = match self.grants.write(target) {
            Ok(real) => return Ok(real),
            Err(refused) => refused,
        };
        let plain = |name: &String| name.split('/').all(|part| !matches!(part, "" | "." | ".."));
        if names.is_empty() || !names.iter().all(plain) {
            return Err(refused);
        }
        let real = Path::new(target)
            .canonicalize()
            .map_err(|e| Error::io("find", target, e))?;
        for name in names {
            let path = self
                .grants
                .write(&format!("{}/{name}", target.trim_end_matches('/')))?;
            if path != real.join(name) {
                return Err(refused);
            }
        }
        Ok(real)
    }

    /// The tree at a path, without the host's own database.
    ///
    /// Closing another handle to that file would drop the locks that this process has on it.
    ///
    /// Patterns are relative to a directory in which it is called `place`; nothing for the path itself.
    pub(super) fn tree_at(&self, path: &str, place: Option<&str>, options: TreeOptions) -> Result<TreeSpec> {
        let root = self.grants.read(path)?;
        let TreeOptions {
            include,
            mut exclude,
            one_file_system,
        } = options;
        let data_dir = self
            .scope
            .data_dir
            .canonicalize()
            .unwrap_or_else(|_| self.scope.data_dir.clone());
        if let Ok(below) = data_dir.strip_prefix(&root)
            && let Some(below) = below.to_str()
        {
            let database = Path::new(place.unwrap_or_default())
                .join(below)
                .join(backstay_store::FILE_NAME);
            let database = database.to_string_lossy();
            let is_left_out = |pattern: &String| {
                let pattern = pattern.trim_matches(['/', '*']);
                !pattern.is_empty() && database.starts_with(pattern)
            };
            if self.scope.run.is_some() && !exclude.iter().any(is_left_out) {
                let message = format!(
                    "the database of Backstay itself in {} is left out: exclude `/{database}*` to say that you know",
                    data_dir.display()
                );
                self.scope.context.notes.warn("own-database", message, None);
            }
            exclude.push(format!("/{}*", literal(&database)));
        }
        let spec = TreeSpec::new(root, &include, &exclude, one_file_system)?;
        Ok(match place {
            Some(place) => spec.placed(place),
            None => spec,
        })
    }

    async fn unpack_into(
        &mut self,
        recipe: Arc<dyn Recipe>,
        target: &str,
        options: GuestOptions,
    ) -> Result<UnpackReport> {
        self.run()?;
        let target = self.granted_target(target, &options.paths)?;
        let context = self.scope.context.clone();
        let listener = Arc::clone(&self.scope.listener);
        let dry_run = options.dry_run;
        let options = UnpackOptions {
            paths: options.paths.into_iter().map(String::into_bytes).collect(),
            overwrite: options.overwrite,
            ..UnpackOptions::default()
        };
        if dry_run {
            let done = self
                .blocking(move || {
                    let say = |path: &[u8]| {
                        listener.log(
                            backstay_model::event::Level::Info,
                            backstay_model::error::show_bytes(path),
                        )
                    };
                    dry_unpack(recipe, &options, &context, say)
                })
                .await?;
            return Ok(report(&done));
        }
        let fresh = Fresh::look(&target)?;
        if let Fresh::Yes { remove } = fresh {
            let run = self.run()?;
            let path = target
                .to_str()
                .ok_or_else(|| Error::new(Code::Configuration, "the target's path is not UTF-8"))?;
            let entry = serde_json::to_string(&HostEntry::EmptyDirectory {
                path: path.to_owned(),
                remove,
            })
            .map_err(|e| Error::internal("cannot write a journal entry").because(e))?;
            run.store
                .record_entry(run.run_id, &Owner::Host, UndoWhen::OnAbort, &entry)
                .await?;
        }
        let done = self
            .blocking(move || unpack(recipe, &target, &options, &context))
            .await?;
        Ok(report(&done))
    }
}

/// A path as a pattern that matches only it.
fn literal(path: &str) -> String {
    let mut pattern = String::new();
    for c in path.chars() {
        if "*?[]{}!\\".contains(c) {
            pattern.extend(['[', c, ']'])
        } else {
            pattern.push(c)
        }
    }
    pattern
}

/// The recipe of a stream whose content the guest may have: not of what it was called to store, which
/// is still to be encrypted.
pub(super) fn readable(stream: ByteStream) -> Result<Arc<dyn Recipe>> {
    if stream.is_payload {
        return Err(Error::new(
            Code::Security,
            "a destination can't look into what it stores",
        ));
    }
    Ok(stream.recipe)
}

/// Whether a restore's target has nothing in it, so that all in it afterwards came from the restore.
enum Fresh {
    No,
    Yes { remove: bool },
}

impl Fresh {
    fn look(target: &Path) -> Result<Self> {
        match std::fs::read_dir(target) {
            Ok(mut entries) => Ok(if entries.next().is_none() {
                Fresh::Yes { remove: false }
            } else {
                Fresh::No
            }),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Fresh::Yes { remove: true }),
            Err(e) => Err(Error::io("look into", target, e)),
        }
    }
}

fn unpack(
    recipe: Arc<dyn Recipe>,
    target: &Path,
    options: &UnpackOptions,
    context: &Context,
) -> Result<Unpacked> {
    let mut reading = read(recipe, context)?;
    match tree::unpack(&mut reading, target, options, context, None) {
        Ok(unpacked) => {
            reading.finish()?;
            Ok(unpacked)
        }
        Err(error) => Err(reading.fail(error)),
    }
}

fn dry_unpack(
    recipe: Arc<dyn Recipe>,
    options: &UnpackOptions,
    context: &Context,
    mut say: impl FnMut(&[u8]),
) -> Result<Unpacked> {
    let mut reading = read(recipe, context)?;
    match tree::list(&mut reading, options, context, &mut say) {
        Ok(unpacked) => {
            reading.finish()?;
            Ok(unpacked)
        }
        Err(error) => Err(reading.fail(error)),
    }
}

fn report(done: &Unpacked) -> UnpackReport {
    UnpackReport {
        entries: done.entries,
        bytes: done.content_bytes,
    }
}

fn read_text(recipe: Arc<dyn Recipe>, most: u32, context: &Context) -> Result<String> {
    let most = u64::from(most.min(TEXT_BYTES));
    let what = recipe.describe();
    let mut reading = read(recipe, context)?;
    let mut bytes = Vec::new();
    let result = (&mut reading).take(most + 1).read_to_end(&mut bytes);
    if let Err(e) = result {
        return Err(reading.fail(Error::new(Code::BackupFailed, format!("cannot read {what}")).because(e)));
    }
    if bytes.len() as u64 > most {
        return Err(reading.fail(Error::new(
            Code::Security,
            format!("{what} is longer than {most} bytes"),
        )));
    }
    reading.finish()?;
    String::from_utf8(bytes)
        .map_err(|e| Error::new(Code::Archive, format!("{what} is not UTF-8 text")).because(e))
}

/// Looks at a path without following a link at its end.
fn look(path: &PathBuf) -> Result<Option<FileInfo>> {
    let meta = match std::fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(e)
            if matches!(
                e.kind(),
                std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(None);
        }
        Err(e) => return Err(Error::io("look at", path, e)),
    };
    let kind = if meta.is_file() {
        FileKind::File
    } else if meta.is_dir() {
        FileKind::Directory
    } else if meta.is_symlink() {
        FileKind::Symlink
    } else {
        FileKind::Other
    };
    let mounted_on = mount_point(path)?;
    let is_empty = kind == FileKind::Directory
        && std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
    Ok(Some(FileInfo {
        kind,
        is_empty,
        size: if meta.is_file() { meta.len() } else { 0 },
        mount_point: mounted_on == *path,
        mounted_on: mounted_on.to_string_lossy().into_owned(),
    }))
}

/// The highest directory that is on the same mount as `path`.
fn mount_point(path: &Path) -> Result<PathBuf> {
    let mount_of = |path: &Path| {
        use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
        statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::MNT_ID)
            .map(|s| (s.stx_mnt_id, s.stx_dev_major, s.stx_dev_minor))
            .map_err(|e| Error::io("look at", path, e.into()))
    };
    let mount = mount_of(path)?;
    let mut top = path;
    while let Some(parent) = top.parent() {
        if mount_of(parent)? != mount {
            break;
        }
        top = parent;
    }
    Ok(top.to_owned())
}

impl wit::Host for Host {
    async fn text(&mut self, text: String) -> wasmtime::Result<Resource<ByteStream>> {
        self.keep(text.len())?;
        self.push_stream(ByteStream::plain(Arc::new(TextRecipe::new(text.into_bytes()))))
    }

    async fn file(&mut self, path: String) -> wasmtime::Result<Result<Resource<ByteStream>, Failure>> {
        match self.grants.read(&path) {
            Ok(path) => Ok(Ok(
                self.push_stream(ByteStream::plain(Arc::new(FileRecipe::new(path))))?
            )),
            Err(error) => answer(Err(error)),
        }
    }

    async fn directory(
        &mut self,
        path: String,
        options: TreeOptions,
    ) -> wasmtime::Result<Result<Resource<Tree>, Failure>> {
        let patterns = options.include.iter().chain(&options.exclude);
        // A compiled pattern is larger than its text.
        self.keep(patterns.map(|pattern| 256 + 16 * pattern.len()).sum())?;
        match self.tree_at(&path, None, options) {
            Ok(spec) => Ok(Ok(self.push_tree(Arc::new(spec))?)),
            Err(error) => answer(Err(error)),
        }
    }

    async fn tar(&mut self, tree: Resource<Tree>) -> wasmtime::Result<Resource<ByteStream>> {
        let Tree { spec, is_payload } = self.table.get(&tree)?.clone();
        let recipe = Arc::new(TarRecipe::new(TreeSpec::clone(&spec)));
        self.push_stream(ByteStream {
            recipe,
            filters: if is_payload {
                self.scope.filters.clone()
            } else {
                Filters::default()
            },
            is_payload,
        })
    }

    async fn unpack(
        &mut self,
        content: Content,
        target: String,
        options: GuestOptions,
    ) -> wasmtime::Result<Result<UnpackReport, Failure>> {
        match self.take_content(content)? {
            Ok(recipe) => answer(self.unpack_into(recipe, &target, options).await),
            Err(error) => answer(Err(error)),
        }
    }

    async fn stat(&mut self, path: String) -> wasmtime::Result<Result<Option<FileInfo>, Failure>> {
        match self.grants.read(&path) {
            Ok(path) => answer(self.blocking(move || look(&path)).await),
            Err(error) => answer(Err(error)),
        }
    }
}

impl HostByteStream for Host {
    async fn read_text(
        &mut self,
        this: Resource<ByteStream>,
        max_bytes: u32,
    ) -> wasmtime::Result<Result<String, Failure>> {
        let stream = self.table.get(&this)?.clone();
        let context = self.scope.context.clone();
        answer(
            self.blocking(move || read_text(readable(stream)?, max_bytes, &context))
                .await,
        )
    }

    async fn drop(&mut self, this: Resource<ByteStream>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

impl HostTree for Host {
    async fn drop(&mut self, this: Resource<Tree>) -> wasmtime::Result<()> {
        self.table.delete(this)?;
        Ok(())
    }
}
