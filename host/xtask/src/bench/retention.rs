//! `bench retention`: what it takes to decide which of many backups stay.

use anyhow::Result;

use crate::bench::example;
use crate::bench::report::{Claim, Report, Series};

/// An hourly job of more than eleven years.
const BACKUPS: u64 = 100_000;

/// The most that a decision may take, in milliseconds: nobody waits for it.
const LIMIT_MS: f64 = 100.0;

pub(super) fn run(runs: u32) -> Result<Report> {
    let mut series = Series::new(format!("backstay: decide over {BACKUPS} backups"), None);
    for (_, cost) in example::measure(
        "backstay-model",
        "retention",
        &[BACKUPS.to_string(), runs.to_string()],
    )? {
        series.add(cost);
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
