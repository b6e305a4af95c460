//! `bench throttle`: whether a run takes as long as its limit says, to five percent over ten seconds.

use std::time::Duration;

use anyhow::{Result, anyhow};
use serde_json::json;

use crate::bench::host::Host;
use crate::bench::measure::Cost;
use crate::bench::report::{Claim, Report, Series};
use crate::bench::{Bench, data};

/// Bytes of each job.
const BYTES: u64 = 100_000_000;

/// What each measurement should take.
const SECONDS: f64 = 10.0;

/// By how much it may be off, in percent.
const MOST_PERCENT: f64 = 5.0;

pub(super) fn run(bench: &Bench, runs: u32) -> Result<Report> {
    let directory = bench.path("throttle");
    let source = directory.join("source");
    data::large_files(&source, BYTES)?;
    // Files have headers, so what is stored is measured and not supposed.
    let host = Host::new(bench, &directory)?;
    let job = |name: &str, rate: Option<&str>, stream: bool| {
        let source = json!({ "plugin": "path", "config": { "path": source, "stream": stream } });
        let filters = rate.map_or(
            json!({}),
            |rate| json!({ "throttle": { "bytesPerSecond": rate } }),
        );
        host.apply_source(name, &source, &filters)
    };
    job("free", None, true)?;
    job("stream", Some("10M"), true)?;
    job("tree", Some("10M"), false)?;
    job("first", None, true)?;
    job("second", None, true)?;
    job("changed", Some("5M"), true)?;
    let names = [
        "no limit, for comparison",
        "a stream under 10 MB/s",
        "a tree under 10 MB/s",
        "two at once under the host's 20 MB/s",
        "from 5 to 15 MB/s after 5 s",
    ];
    let mut series = names.map(|name| Series::new(name, Some(BYTES)));
    for _ in 0..runs {
        host.clear()?;
        series[0].add(host.run("free")?);
        series[1].add(host.run("stream")?);
        series[2].add(host.run("tree")?);
        host.cost(["throttle", "20M"])?;
        series[3].add(both(&host, || host.run("second"), "first")?);
        host.cost(["throttle", "off"])?;
        host.cost(["throttle", "changed", "5M"])?;
        series[4].add(both(
            &host,
            || {
                std::thread::sleep(Duration::from_secs(5));
                host.cost(["throttle", "changed", "15M"])
            },
            "changed",
        )?);
    }
    let startup = series[0].wall();
    let claims = series[1..]
        .iter()
        .zip(&names[1..])
        .map(|(series, name)| {
            let off = (series.wall() - startup.min(0.2) - SECONDS).abs() / SECONDS * 100.0;
            Claim::below(format!("{name}: off by"), off, MOST_PERCENT, "%")
        })
        .collect();
    Ok(Report {
        title: format!("throttle: {} MB in {SECONDS} s, {runs} times", BYTES / 1_000_000),
        claims,
        series: series.into(),
        notes: vec!["what a run costs by itself is taken off, 0.2 s at most".to_owned()],
    })
}

/// Runs a job while something else happens, and says when both have ended.
fn both(host: &Host, other: impl Fn() -> Result<Cost> + Sync, job: &str) -> Result<Cost> {
    std::thread::scope(|scope| {
        let other = scope.spawn(&other);
        let cost = host.run(job)?;
        let other = other.join().map_err(|_| anyhow!("a thread panicked"))??;
        Ok(if other.wall > cost.wall { other } else { cost })
    })
}
