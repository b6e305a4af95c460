//! Compiled components on disk, so that a plugin is compiled once and loaded in microseconds.
//!
//! A file here is machine code that the host will run, so it is only taken from a directory that
//! nobody else can write to.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use backstay_model::{Code, Error, Result};
use wasmtime::Engine;
use wasmtime::component::Component;

/// What is being written. One name for all, so that a crash leaves one file at most, which the next one to write takes.
const TEMPORARY: &str = "unfinished";

/// Loads a component, compiling it the first time.
///
/// # Errors
/// It doesn't compile, or the cache can't be written.
pub(crate) fn load(engine: &Engine, wasm: &[u8], digest: &str, directory: &Path) -> Result<Component> {
    prepare(directory)?;
    let file = directory.join(format!("{digest}-{:016x}.cwasm", compatibility(engine)));
    if file.exists() {
        match deserialize(engine, &file) {
            Ok(component) => return Ok(component),
            // Half a file, or from another version: made anew below.
            Err(e) => tracing::debug!("{} can't be used ({e}) and is made anew", file.display()),
        }
    }
    let failed = |e: wasmtime::Error| {
        Error::new(Code::Configuration, "the plugin does not compile")
            .because(crate::guest_error::printable(&format!("{e:#}")))
    };
    let component = Component::new(engine, wasm).map_err(failed)?;
    let code = component.serialize().map_err(failed)?;
    write(&file, &code)?;
    Ok(component)
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
fn deserialize(engine: &Engine, file: &PathBuf) -> wasmtime::Result<Component> {
    // SAFETY: the file was written by this program into a directory that only this user can write to, under
    // a name that holds the digest of its source and of everything that its format depends on.
    unsafe { Component::deserialize_file(engine, file) }
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
