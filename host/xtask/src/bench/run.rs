//! `bench run`: what the host itself costs, by a run that has one byte to move.
//!
//! Once on the disk, where a run waits for the disk each time that something must survive a power loss, and once in
//! memory, where what is left is the host's own time. All count from the start of the program to its end. The same run
//! with a confined script as its source tells what a script costs beyond its own work.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::bench::host::Host;
use crate::bench::report::{Claim, Report, Series};
use crate::bench::{Bench, data};

/// Where files need no disk.
const MEMORY: &str = "/dev/shm";

/// Milliseconds that a run may take of the host's own time.
const MOST_MILLISECONDS: f64 = 50.0;

/// Milliseconds that a confined script may add to a run.
const MOST_FOR_A_SCRIPT: f64 = 20.0;

/// Writes one byte.
const SCRIPT: &str = "#!/bin/sh\nprintf 1 > \"$BACKSTAY_OUTPUT_DIR/byte\"\n";

pub(super) fn run(bench: &Bench, runs: u32) -> Result<Report> {
    if !Path::new(MEMORY).is_dir() {
        bail!("there is no file system in memory at {MEMORY}, which tells the host's time from the disk's");
    }
    let memory = Path::new(MEMORY).join(format!("backstay-bench-{}", std::process::id()));
    let measured = measure(bench, &memory, runs);
    std::fs::remove_dir_all(&memory).with_context(|| format!("can't remove {}", memory.display()))?;
    let series = measured?;
    let [_, in_memory, script, _] = &series[..] else {
        bail!("a side has no figures");
    };
    Ok(Report {
        title: format!("run: a job with one byte to move, {runs} times"),
        claims: vec![
            Claim::below(
                "the host's own time of a run",
                in_memory.wall() * 1e3,
                MOST_MILLISECONDS,
                "ms",
            ),
            Claim::below(
                "what a confined script adds",
                (script.wall() - in_memory.wall()) * 1e3,
                MOST_FOR_A_SCRIPT,
                "ms",
            ),
        ],
        series,
        notes: Vec::new(),
    })
}

fn measure(bench: &Bench, memory: &Path, runs: u32) -> Result<Vec<Series>> {
    let (on_disk, in_memory) = (
        host(bench, &bench.path("host"))?,
        host(bench, &memory.join("host"))?,
    );
    let script = memory.join("byte.sh");
    std::fs::write(&script, SCRIPT).with_context(|| format!("can't write {}", script.display()))?;
    let source = json!({ "plugin": "script", "config": { "scriptPath": script } });
    in_memory.apply_source("script", &source, &json!({}))?;
    let mut sides = [
        (&on_disk, "byte", Series::new("a run, on the disk", None)),
        (&in_memory, "byte", Series::new("a run, in memory", None)),
        (
            &in_memory,
            "script",
            Series::new("a run of a confined script, in memory", None),
        ),
    ];
    for (host, job, _) in &sides {
        // The first one compiles the plugins.
        host.run(job)?;
    }
    let mut version = Series::new("backstay --version, for comparison", None);
    for _ in 0..runs {
        for (host, job, series) in &mut sides {
            series.add(host.run(job)?);
        }
        version.add(on_disk.cost(["--version"])?);
    }
    Ok(sides
        .into_iter()
        .map(|(.., series)| series)
        .chain([version])
        .collect())
}

/// A host with a job that has one byte to move.
fn host(bench: &Bench, directory: &Path) -> Result<Host> {
    let host = Host::new(bench, directory)?;
    let source = directory.join("source");
    data::one_byte(&source)?;
    host.apply("byte", &source, false)?;
    Ok(host)
}
