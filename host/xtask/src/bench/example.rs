//! What the examples of the host's crates measure: decisions that no command of the program takes on their own.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::bench::measure::Cost;
use crate::{shell, workspace};

/// Runs an example of a package and reads what it prints: in each line a name, if it measures several things, and
/// nanoseconds.
pub(super) fn measure(package: &str, example: &str, args: &[String]) -> Result<Vec<(String, Cost)>> {
    // Together with the program, so that the dependencies are those of its own build.
    shell::run(&mut shell::cargo([
        "build",
        "--release",
        "--package",
        "backstay-cli",
        "--package",
        package,
        "--example",
        example,
    ]))?;
    let mut program = shell::program(workspace::target_dir()?.join("release/examples").join(example));
    let output = shell::output(program.args(args).stderr(std::process::Stdio::inherit()))?;
    if !output.status.success() {
        bail!("{} could not be measured", shell::shown(&program));
    }
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    lines.lines().map(read).collect()
}

fn read(line: &str) -> Result<(String, Cost)> {
    let (name, nanoseconds) = line.rsplit_once(' ').unwrap_or(("", line));
    let nanoseconds = nanoseconds
        .parse()
        .with_context(|| format!("`{line}` doesn't end with a number of nanoseconds"))?;
    let wall = Duration::from_nanos(nanoseconds);
    let cost = Cost {
        wall,
        cpu: wall,
        peak_bytes: 0,
    };
    Ok((name.to_owned(), cost))
}
