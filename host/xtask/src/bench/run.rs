//! `bench run`: what the host itself costs, by a run that has one byte to move.
//!
//! Once on the disk, where a run waits for the disk each time that something must survive a power loss, and once in
//! memory, where what is left is the host's own time. Both count from the start of the program to its end.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::bench::host::Host;
use crate::bench::report::{Claim, Report, Series};
use crate::bench::{Bench, data};

/// Where files need no disk.
const MEMORY: &str = "/dev/shm";

/// Milliseconds that a run may take of the host's own time.
const MOST_MILLISECONDS: f64 = 50.0;

pub(super) fn run(bench: &Bench, runs: u32) -> Result<Report> {
    if !Path::new(MEMORY).is_dir() {
        bail!("there is no file system in memory at {MEMORY}, which tells the host's time from the disk's");
    }
    let memory = Path::new(MEMORY).join(format!("backstay-bench-{}", std::process::id()));
    let measured = measure(bench, &memory, runs);
    std::fs::remove_dir_all(&memory).with_context(|| format!("can't remove {}", memory.display()))?;
    let series = measured?;
    let [_, in_memory, _] = &series[..] else {
        bail!("a side has no figures");
    };
    Ok(Report {
        title: format!("run: a job with one byte to move, {runs} times"),
        claims: vec![Claim::below(
            "the host's own time of a run",
            in_memory.wall() * 1e3,
            MOST_MILLISECONDS,
            "ms",
        )],
        series,
        notes: Vec::new(),
    })
}

fn measure(bench: &Bench, memory: &Path, runs: u32) -> Result<Vec<Series>> {
    let mut sides = Vec::new();
    for (name, directory) in [
        ("a run, on the disk", bench.path("host")),
        ("a run, in memory", memory.to_owned()),
    ] {
        let source = directory.join("source");
        data::one_byte(&source)?;
        let host = Host::new(bench, &directory)?;
        host.apply("byte", &source, false)?;
        // The first one compiles the plugins.
        host.run("byte")?;
        sides.push((host, Series::new(name, None)));
    }
    let mut version = Series::new("backstay --version, for comparison", None);
    for _ in 0..runs {
        for (host, series) in &mut sides {
            series.add(host.run("byte")?);
        }
        version.add(sides[0].0.cost(["--version"])?);
    }
    Ok(sides
        .into_iter()
        .map(|(_, series)| series)
        .chain([version])
        .collect())
}
