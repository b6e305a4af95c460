//! `bench retention`: what it takes to decide which of many backups stay.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::bench::measure::Cost;
use crate::bench::report::{Claim, Report, Series};
use crate::shell;

/// An hourly job of more than eleven years.
const BACKUPS: u64 = 100_000;

/// The most that a decision may take, in milliseconds: nobody waits for it.
const LIMIT_MS: f64 = 100.0;

pub(super) fn run(runs: u32) -> Result<Report> {
    let mut cargo = shell::cargo([
        "run",
        "--release",
        "--package",
        "backstay-model",
        "--example",
        "retention",
        "--",
    ]);
    cargo.args([BACKUPS.to_string(), runs.to_string()]);
    eprintln!("$ {}", shell::shown(&cargo));
    let output = shell::output(cargo.stderr(std::process::Stdio::inherit()))?;
    if !output.status.success() {
        bail!("the decision could not be measured");
    }
    let mut series = Series::new(format!("backstay: decide over {BACKUPS} backups"), None);
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let nanoseconds = line
            .parse()
            .with_context(|| format!("`{line}` is no number of nanoseconds"))?;
        let wall = Duration::from_nanos(nanoseconds);
        series.add(Cost {
            wall,
            // One thread, which waits for nothing.
            cpu: wall,
            peak_bytes: 0,
        });
    }
    Ok(Report {
        title: format!("retention: {runs} times"),
        claims: vec![Claim::below(
            format!("a decision over {BACKUPS} backups"),
            series.wall() * 1e3,
            LIMIT_MS,
            "ms",
        )],
        series: vec![series],
        notes: vec!["a backup each hour in chains of 24, all rules, verification asked for".to_owned()],
    })
}
