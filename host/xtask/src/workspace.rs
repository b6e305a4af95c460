//! What cargo knows about this workspace: its root, its target directory, its packages.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::shell;

/// The directory of the root `Cargo.toml`.
pub(crate) fn root() -> &'static Path {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.ancestors().nth(2).unwrap_or(manifest)
}

/// Where cargo builds to.
pub(crate) fn target_dir() -> Result<PathBuf> {
    let metadata = metadata()?;
    Ok(metadata["target_directory"]
        .as_str()
        .context("cargo metadata names no target directory")?
        .into())
}

/// The names of the packages whose folder is directly below `folder`, such as `plugins`.
pub(crate) fn packages_below(folder: &str) -> Result<Vec<String>> {
    let below = root().join(folder);
    let metadata = metadata()?;
    let packages = metadata["packages"]
        .as_array()
        .context("cargo metadata names no packages")?;
    let is_below = |package: &&Value| {
        let manifest = package["manifest_path"].as_str().map(Path::new);
        manifest.and_then(|path| path.ancestors().nth(2)) == Some(&below)
    };
    Ok(packages
        .iter()
        .filter(is_below)
        .filter_map(|p| p["name"].as_str())
        .map(String::from)
        .collect())
}

fn metadata() -> Result<Value> {
    let output = shell::output(&mut shell::cargo([
        "metadata",
        "--no-deps",
        "--format-version",
        "1",
    ]))?;
    if !output.status.success() {
        bail!(
            "cargo metadata failed: {}",
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
    }
    serde_json::from_slice(&output.stdout).context("can't read the answer of cargo metadata")
}
