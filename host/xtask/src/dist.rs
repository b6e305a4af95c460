//! `dist`: the release binary, with the plugins and the migrations inside.

use anyhow::{Context, Result};

use crate::{shell, workspace};

pub(crate) fn run() -> Result<()> {
    shell::run(&mut shell::cargo([
        "build",
        "--release",
        "--package",
        "backstay-cli",
    ]))?;
    let target = workspace::target_dir()?;
    let directory = target.join("dist");
    let binary = directory.join("backstay");
    std::fs::create_dir_all(&directory).with_context(|| format!("can't make {}", directory.display()))?;
    let bytes = std::fs::copy(target.join("release/backstay"), &binary)
        .with_context(|| format!("can't copy the binary to {}", binary.display()))?;
    println!("{} ({bytes} bytes)", binary.display());
    Ok(())
}
