//! `check`: what is quick enough to run before every commit.

use anyhow::Result;

use crate::shell;

/// Crates whose unit tests touch nothing outside the process.
const PURE: [&str; 2] = ["backstay-model", "backstay-sdk"];

pub(crate) fn run() -> Result<()> {
    shell::run(&mut shell::cargo(FORMAT))?;
    shell::run(&mut shell::cargo(LINTS))?;
    shell::run(&mut shell::cargo(
        ["test", "--quiet", "--lib"]
            .into_iter()
            .chain(PURE.iter().flat_map(|p| ["-p", p])),
    ))?;
    shell::run(&mut shell::cargo(["test", "--quiet", "-p", "xtask"]))
}

/// The format as `rustfmt.toml` says.
pub(crate) const FORMAT: [&str; 3] = ["fmt", "--all", "--check"];

/// All lints, each an error.
pub(crate) const LINTS: [&str; 6] = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
