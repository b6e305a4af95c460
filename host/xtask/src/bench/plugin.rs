//! `bench plugin`: what it costs to load, instantiate and call a plugin, as differences between commands.

use anyhow::Result;

use crate::bench::host::Host;
use crate::bench::report::{Report, Series};
use crate::bench::{Bench, data};

/// The command and its arguments, and whether the compiled plugins are there when it starts.
const SIDES: [(&str, [&str; 3], bool); 4] = [
    ("the host alone: `job list`", ["job", "list", "--json"], true),
    (
        "load, instantiate, describe: `plugin info path`",
        ["plugin", "info", "path"],
        true,
    ),
    (
        "two plugins validate: `job validate`",
        ["job", "validate", "-f"],
        true,
    ),
    // The last one, because it leaves only one plugin compiled.
    ("describe, and compile before", ["plugin", "info", "path"], false),
];

pub(super) fn run(bench: &Bench, runs: u32) -> Result<Report> {
    let source = bench.path("source");
    data::one_byte(&source)?;
    let host = Host::new(bench, &bench.path("host"))?;
    host.apply("byte", &source, false)?;
    let file = host.job_file("byte").display().to_string();

    let mut series: Vec<Series> = SIDES.iter().map(|(name, ..)| Series::new(*name, None)).collect();
    for ((_, args, is_cached), series) in SIDES.iter().zip(&mut series) {
        for _ in 0..runs {
            if !is_cached {
                host.clear_cache()?;
            }
            let [command, verb, last] = *args;
            series.add(match last {
                "-f" => host.cost([command, verb, last, &file])?,
                _ => host.cost([command, verb, last])?,
            });
        }
    }
    let millis = |a: usize, b: usize| (series[a].wall() - series[b].wall()) * 1e3;
    let notes = vec![
        format!(
            "load from the cache, instantiate and describe one plugin: {:.2} ms",
            millis(1, 0)
        ),
        format!("compile one plugin: {:.1} ms", millis(3, 1)),
        format!(
            "load, instantiate and validate with two plugins: {:.2} ms",
            millis(2, 0)
        ),
    ];
    Ok(Report {
        title: format!("plugin: {runs} times each"),
        series,
        claims: Vec::new(),
        notes,
    })
}
