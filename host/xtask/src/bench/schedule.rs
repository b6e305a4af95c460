//! `bench schedule`: what it takes to start with many jobs, and to look which are due.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::bench::measure::Cost;
use crate::bench::report::{Claim, Report, Series};
use crate::shell;

/// A few thousand hosts on one database.
const JOBS: u32 = 10_000;

/// The most that each part may take, in milliseconds. A look comes each second; the start is waited for.
const LIMITS_MS: [(&str, f64); 3] = [("start", 2_000.0), ("idle", 5.0), ("due", 100.0)];

pub(super) fn run(runs: u32) -> Result<Report> {
    let mut cargo = shell::cargo([
        "run",
        "--release",
        "--package",
        "backstay-engine",
        "--example",
        "schedule",
        "--",
    ]);
    cargo.args([JOBS.to_string(), runs.to_string()]);
    eprintln!("$ {}", shell::shown(&cargo));
    let output = shell::output(cargo.stderr(std::process::Stdio::inherit()))?;
    if !output.status.success() {
        bail!("the scheduler could not be measured");
    }
    let said = String::from_utf8_lossy(&output.stdout);
    let (mut series, mut claims) = (Vec::new(), Vec::new());
    for (name, limit) in LIMITS_MS {
        let what = match name {
            "start" => format!("a start with {JOBS} jobs"),
            "idle" => format!("a look at {JOBS} jobs of which none is due"),
            _ => "writing down 100 due times".to_owned(),
        };
        let mut costs = Series::new(format!("backstay: {what}"), None);
        let lines = said.lines().filter_map(|line| line.strip_prefix(name));
        for nanoseconds in lines {
            let nanoseconds = nanoseconds
                .trim()
                .parse()
                .with_context(|| format!("`{nanoseconds}` is no number of nanoseconds"))?;
            let wall = Duration::from_nanos(nanoseconds);
            costs.add(Cost {
                wall,
                cpu: wall,
                peak_bytes: 0,
            });
        }
        claims.push(Claim::below(what, costs.wall() * 1e3, limit, "ms"));
        series.push(costs);
    }
    Ok(Report {
        title: format!("schedule: {runs} times"),
        claims,
        series,
        notes: vec![
            "half of the jobs each hour, half each day, spread over minutes; a real database".to_owned(),
        ],
    })
}
