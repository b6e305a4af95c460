//! `bench schedule`: what it takes to start with many jobs, and to look which are due.

use anyhow::Result;

use crate::bench::example;
use crate::bench::report::{Claim, Report, Series};

/// A few thousand hosts on one database.
const JOBS: u32 = 10_000;

/// The most that each part may take, in milliseconds. A look comes each second; the start is waited for.
const LIMITS_MS: [(&str, f64); 3] = [("start", 2_000.0), ("idle", 5.0), ("due", 100.0)];

pub(super) fn run(runs: u32) -> Result<Report> {
    let measured = example::measure(
        "backstay-engine",
        "schedule",
        &[JOBS.to_string(), runs.to_string()],
    )?;
    let (mut series, mut claims) = (Vec::new(), Vec::new());
    for (name, limit) in LIMITS_MS {
        let what = match name {
            "start" => format!("a start with {JOBS} jobs"),
            "idle" => format!("a look at {JOBS} jobs of which none is due"),
            _ => "writing down 100 due times".to_owned(),
        };
        let mut costs = Series::new(format!("backstay: {what}"), None);
        for (_, cost) in measured.iter().filter(|(measured, _)| measured == name) {
            costs.add(*cost);
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
