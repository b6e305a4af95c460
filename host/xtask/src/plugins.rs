//! `plugins`: builds the first-party plugins to components, to look at or to install by hand. The host's own build
//! doesn't need it.

use anyhow::Result;

use crate::{shell, workspace};

pub(crate) fn run() -> Result<()> {
    let packages = workspace::packages_below("plugins")?;
    let directory = workspace::target_dir()?.join("plugins");
    let mut build = shell::cargo([
        "build",
        "--profile",
        "plugin",
        "--target",
        "wasm32-wasip2",
        "--target-dir",
    ]);
    build.arg(&directory);
    for package in &packages {
        build.args(["--package", package]);
    }
    shell::run(&mut build)?;
    for package in &packages {
        let name = format!("{}.wasm", package.replace('-', "_"));
        let file = directory.join("wasm32-wasip2/plugin").join(name);
        println!("{:>8} bytes  {}", file.metadata()?.len(), file.display());
    }
    Ok(())
}
