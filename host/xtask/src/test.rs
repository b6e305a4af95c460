//! `test`: everything that has to pass. All steps run even if one fails, and a summary says how each ended.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::setup::Purpose;
use crate::{check, setup, shell};

/// How a step ended.
enum End {
    Passed,
    Failed,
    Skipped(&'static str),
}

/// One line of the summary.
struct Step {
    name: &'static str,
    end: End,
    took: Duration,
}

pub(crate) fn run() -> Result<()> {
    setup::for_purpose(Purpose::Test)?;
    let mut documentation = shell::cargo(["doc", "--workspace", "--no-deps", "--quiet"]);
    documentation.env("RUSTDOCFLAGS", "-D warnings");
    let steps = [
        step("format", || passes(&mut shell::cargo(check::FORMAT))),
        step("lints", || passes(&mut shell::cargo(check::LINTS))),
        step("licences", || {
            passes(&mut shell::cargo([
                "deny", "check", "bans", "licenses", "sources",
            ]))
        }),
        step("advisories", advisories),
        step("documentation", || passes(&mut documentation)),
        step("tests", || {
            passes(&mut shell::cargo(["test", "--workspace", "--no-fail-fast"]))
        }),
    ];
    println!("\n== summary");
    for Step { name, end, took } in &steps {
        let end = match end {
            End::Passed => "passed".into(),
            End::Failed => "FAILED".into(),
            End::Skipped(reason) => format!("SKIPPED: {reason}"),
        };
        println!("{name:>14}  {:>5} s  {end}", took.as_secs());
    }
    let failed: Vec<&str> = steps
        .iter()
        .filter(|s| matches!(s.end, End::Failed))
        .map(|s| s.name)
        .collect();
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

fn step(name: &'static str, action: impl FnOnce() -> Result<End>) -> Step {
    println!("\n== {name}");
    let start = Instant::now();
    let end = action().unwrap_or_else(|error| {
        println!("{error:#}");
        End::Failed
    });
    Step {
        name,
        end,
        took: start.elapsed(),
    }
}

fn passes(command: &mut Command) -> Result<End> {
    shell::run(command).map(|()| End::Passed)
}

/// Known weaknesses of dependencies. Their list comes from the network; only its absence is no failure.
fn advisories() -> Result<End> {
    let mut command = shell::cargo(["deny", "check", "advisories"]);
    println!("$ {}", shell::shown(&command));
    let output = shell::output(&mut command)?;
    let text = String::from_utf8_lossy(&output.stderr);
    println!("{}{text}", String::from_utf8_lossy(&output.stdout));
    match output.status.success() {
        true => Ok(End::Passed),
        false if text.contains("failed to fetch advisory database") => Ok(End::Skipped(
            "the advisory database can't be fetched; NOTHING was checked against it",
        )),
        false => Ok(End::Failed),
    }
}
