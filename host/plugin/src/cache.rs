//! Compiled plugins and scripts on disk, so that each is compiled once and loaded in microseconds.
//!
//! A file here is machine code that the host will run, so it is only taken from a directory that
//! nobody else can write to.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use backstay_model::{Code, Error, Result};
use wasmtime::component::Component;
use wasmtime::{Engine, Module};

/// What is being written. One name for all, so that a crash leaves one file at most, which the next one to write takes.
const TEMPORARY: &str = "unfinished";

/// How many compiled files a directory keeps, the newest: scripts change.
const KEPT: usize = 256;

/// What is compiled.
pub(crate) trait Compiled: Sized {
    fn compile(engine: &Engine, wasm: &[u8]) -> wasmtime::Result<Self>;

    fn code(&self) -> wasmtime::Result<Vec<u8>>;

    /// # Safety
    /// The file holds what [`Compiled::code`] gave.
    #[expect(unsafe_code, reason = "loading compiled code is unsafe by nature")]
    unsafe fn open(engine: &Engine, file: &Path) -> wasmtime::Result<Self>;
}

/// Loads what is compiled, compiling it the first time. What can't be kept is compiled again next time.
///
/// # Errors
/// The directory can't be made, or somebody else owns it; or it doesn't compile, as `failed` says it.
pub(crate) fn load<C: Compiled>(
    engine: &Engine,
    wasm: &[u8],
    digest: &str,
    directory: &Path,
    failed: impl Fn(wasmtime::Error) -> Error,
) -> Result<C> {
    prepare(directory)?;
    let file = directory.join(format!("{digest}-{:016x}.cwasm", compatibility(engine)));
    if file.exists() {
        match open(engine, &file) {
            Ok(compiled) => return Ok(compiled),
            // Half a file, or from another version: made anew below.
            Err(e) => tracing::debug!("{} can't be used ({e}) and is made anew", file.display()),
        }
    }
    let compiled = C::compile(engine, wasm).map_err(&failed)?;
    let code = compiled.code().map_err(&failed)?;
    if let Err(error) = write(&file, &code).and_then(|()| tidy(directory)) {
        tracing::warn!(
            "the directory of compiled code can't be written to: {}",
            error.report()
        );
    }
    Ok(compiled)
}

fn compatibility(engine: &Engine) -> u64 {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.finish()
}

fn prepare(directory: &Path) -> Result<()> {
    fs::create_dir_all(directory).map_err(|e| Error::io("create", directory, e))?;
    let failed = |e| Error::io("make private", directory, e);
    let meta = fs::symlink_metadata(directory).map_err(failed)?;
    if !meta.is_dir() || meta.uid() != rustix::process::geteuid().as_raw() {
        return Err(Error::new(
            Code::Permission,
            format!("{} does not belong to this user", directory.display()),
        )
        .hint("it holds compiled code: remove it, or use another data directory"));
    }
    if meta.permissions().mode() & 0o077 != 0 {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o700)).map_err(failed)?;
    }
    Ok(())
}

#[expect(unsafe_code, reason = "loading compiled code is unsafe by nature")]
fn open<C: Compiled>(engine: &Engine, file: &Path) -> wasmtime::Result<C> {
    // SAFETY: the file was written by this program into a directory that only this user can write to, under
    // a name that holds the digest of its source and of everything that its format depends on.
    unsafe { C::open(engine, file) }
}

#[expect(unsafe_code, reason = "loading compiled code is unsafe by nature")]
impl Compiled for Component {
    fn compile(engine: &Engine, wasm: &[u8]) -> wasmtime::Result<Self> {
        Component::new(engine, wasm)
    }

    fn code(&self) -> wasmtime::Result<Vec<u8>> {
        self.serialize()
    }

    unsafe fn open(engine: &Engine, file: &Path) -> wasmtime::Result<Self> {
        // SAFETY: the caller's promise.
        unsafe { Component::deserialize_file(engine, file) }
    }
}

#[expect(unsafe_code, reason = "loading compiled code is unsafe by nature")]
impl Compiled for Module {
    fn compile(engine: &Engine, wasm: &[u8]) -> wasmtime::Result<Self> {
        Module::new(engine, wasm)
    }

    fn code(&self) -> wasmtime::Result<Vec<u8>> {
        self.serialize()
    }

    unsafe fn open(engine: &Engine, file: &Path) -> wasmtime::Result<Self> {
        // SAFETY: the caller's promise.
        unsafe { Module::deserialize_file(engine, file) }
    }
}

/// Removes the oldest of what is more than [`KEPT`]. What is loaded stays so.
fn tidy(directory: &Path) -> Result<()> {
    let failed = |e| Error::io("tidy", directory, e);
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        // Somebody else may tidy, too.
        if let Ok(meta) = entry.metadata()
            && let Ok(modified) = meta.modified()
        {
            files.push((modified, entry.path()));
        }
    }
    files.sort();
    for (_, file) in files.iter().rev().skip(KEPT) {
        match fs::remove_file(file) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(failed(e)),
            _ => {}
        }
    }
    Ok(())
}

fn write(file: &Path, code: &[u8]) -> Result<()> {
    let failed = |e| Error::io("write", file, e);
    let directory = file.parent().unwrap_or(Path::new("."));
    // Who holds it is the only one to write here, so a temporary file that is there was left by a crash.
    let lock = fs::File::open(directory).map_err(failed)?;
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).map_err(|e| failed(e.into()))?;
    let temporary = directory.join(TEMPORARY);
    let mut out = fs::File::create(&temporary).map_err(failed)?;
    out.write_all(code).map_err(failed)?;
    // Half a file under the real name would be run.
    out.sync_all().map_err(failed)?;
    fs::rename(&temporary, file).map_err(failed)
}
