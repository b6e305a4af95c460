//! Builds plugins for tests to WebAssembly components, once per process and only what has changed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::fail::OrFail;
use crate::tools;

const TARGET: &str = "wasm32-wasip2";

/// The component of the workspace's package `backstay-plugin-NAME`, built if need be.
///
/// It lies in a target directory of its own, so the build never waits for the `cargo test` that runs it.
///
/// # Panics
/// There is no such package, or it doesn't build: the message holds what the compiler said.
#[track_caller]
pub fn path(name: &str) -> PathBuf {
    static BUILT: OnceLock<Mutex<BTreeMap<String, PathBuf>>> = OnceLock::new();
    let mut built = BUILT
        .get_or_init(Mutex::default)
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    built.entry(name.into()).or_insert_with(|| build(name)).clone()
}

fn build(name: &str) -> PathBuf {
    tools::require(&["cargo"]);
    let package = format!("backstay-plugin-{name}");
    let target = target_dir();
    // Cargo locks the directory for the build, so test processes that ask at the same time take turns.
    let result = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args([
            "build",
            "--quiet",
            "--profile",
            "plugin",
            "--target",
            TARGET,
            "--package",
            &package,
            "--target-dir",
        ])
        .arg(&target)
        .current_dir(workspace())
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .output()
        .or_fail("run cargo");
    if !result.status.success() {
        panic!(
            "can't build {package} for {TARGET}:\n{}",
            String::from_utf8_lossy(&result.stderr)
        );
    }
    let component = target
        .join(TARGET)
        .join("plugin")
        .join(format!("{}.wasm", package.replace('-', "_")));
    if !component.is_file() {
        panic!(
            "{package} built, but left no {}: is its crate-type `cdylib`?",
            component.display()
        );
    }
    component
}

fn workspace() -> &'static Path {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.ancestors().nth(2).unwrap_or(manifest)
}

pub(crate) fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| workspace().join("target"), PathBuf::from)
        .join("guests")
}
