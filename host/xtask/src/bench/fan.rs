//! `bench fan`: a tree as tar to two local directories from one reading, beside what people type instead.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::bench::host::Host;
use crate::bench::measure::pipe;
use crate::bench::report::{Claim, Report, Series};
use crate::bench::stream::{Out, Side, in_turn, tar};
use crate::bench::{Bench, data, say};
use crate::shell;

/// Options of `bench fan`.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Bytes of large files, such as 500M or 20G
    #[arg(long, default_value = "2G", value_parser = super::parse_bytes)]
    size: u64,
}

/// The most memory that the host may take with two destinations, in MiB, whatever it moves.
const MOST_MEMORY_MIB: f64 = 150.0;

/// The directories.
const PLACES: [&str; 2] = ["a", "b"];

pub(super) fn run(bench: &Bench, arguments: &Arguments, runs: u32) -> Result<Report> {
    let host = Host::new(bench, &bench.path("host"))?;
    let source = bench.path("large");
    say("making the large files");
    data::large_files(&source, arguments.size)?;
    let config = json!({ "plugin": "path", "config": { "path": source, "stream": true } });
    host.apply_source("one", &config, &json!({}))?;
    let zstd = json!({ "compression": { "algorithm": "zstd", "level": 3, "threads": 0 } });
    host.make(&PLACES)?;
    host.apply_at("two", &config, &json!({}), &PLACES)?;
    host.apply_at("two-zstd", &config, &zstd, &PLACES)?;

    let out = Out(bench.path("out"));
    let file = |name: &str| -> PathBuf { out.file(name) };
    let tee = || {
        let mut tee = shell::program("tee");
        tee.arg(file("a"));
        pipe(vec![tar(&source), tee], Some(&file("b")))
    };
    let tee_zstd = || {
        let mut zstd = shell::program("zstd");
        zstd.args(["-q", "-T0", "-3"]);
        let mut tee = shell::program("tee");
        tee.arg(file("a"));
        pipe(vec![tar(&source), zstd, tee], Some(&file("b")))
    };
    let two = |job: &str| {
        host.make(&PLACES)?;
        host.run(job)
    };
    let sides: Vec<Side> = vec![
        ("backstay, one destination", Box::new(|| host.run("one"))),
        ("backstay, two destinations", Box::new(|| two("two"))),
        ("tar | tee A > B", Box::new(tee)),
        ("backstay, two destinations, zstd", Box::new(|| two("two-zstd"))),
        ("tar | zstd -T0 -3 | tee A > B", Box::new(tee_zstd)),
    ];
    let series = in_turn(bench, &source, &host, &out, sides, Some(arguments.size), runs)?;
    std::fs::remove_dir_all(&source).context("can't remove the large files")?;
    let [one, plain, tee, zstd, tee_zstd] = &series[..] else {
        bail!("a side has no figures");
    };
    let ours = series.iter().filter(|s| s.is_ours());
    let peak = ours.map(Series::peak_bytes).max().unwrap_or(0);
    Ok(Report {
        title: format!(
            "fan: {} MB in large files to two places, {runs} runs of each side in turn",
            arguments.size / 1_000_000
        ),
        claims: vec![
            Claim::faster(plain, tee, 1.0),
            Claim::faster(zstd, tee_zstd, 1.0),
            // Written one after the other, the second would take as long as the first.
            Claim::below(
                "two destinations against one",
                plain.wall() / one.wall(),
                2.0,
                "x",
            ),
            Claim::below(
                "peak memory of the host",
                peak as f64 / f64::from(1 << 20),
                MOST_MEMORY_MIB,
                "MiB",
            ),
        ],
        series,
        notes: Vec::new(),
    })
}
