//! `bench codecs`: time, size and memory of every mode of every compression, on all processors.

use anyhow::Result;
use serde_json::json;

use crate::bench::host::Host;
use crate::bench::report::{Report, Series};
use crate::bench::{Bench, data};

/// Options of `bench codecs`.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Megabytes to compress
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..))]
    megabytes: u64,
}

const FORMATS: [&str; 5] = ["gzip", "zstd", "xz", "bzip2", "lz4"];
const MODES: [&str; 4] = ["fast", "standard", "maximum", "ultra"];

pub(super) fn run(bench: &Bench, options: &Arguments, runs: u32) -> Result<Report> {
    let bytes = options.megabytes * 1_000_000;
    let directory = bench.path("codecs");
    let source = directory.join("source");
    data::large_files(&source, bytes)?;
    data::warm(&source)?;
    let host = Host::new(bench, &directory)?;
    let source = json!({ "plugin": "path", "config": { "path": source } });
    let mut series = Vec::new();
    for format in FORMATS {
        for mode in MODES {
            let filters = json!({ "compression": { "algorithm": format, "mode": mode } });
            host.apply_source("job", &source, &filters)?;
            let mut side = Series::new(format!("{format} {mode}"), Some(bytes));
            for _ in 0..runs {
                host.clear()?;
                side.add(host.run("job")?);
                side.stored(host.stored_bytes()?);
            }
            series.push(side);
            if format == "lz4" {
                // All modes are the same.
                break;
            }
        }
    }
    Ok(Report {
        title: format!("codecs: {} MB, {runs} times", options.megabytes),
        series,
        ..Report::default()
    })
}
