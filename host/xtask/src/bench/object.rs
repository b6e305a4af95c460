//! `bench object`: a tree as tar to an S3 server on this machine, beside what people type instead.
//!
//! The server takes the same processors as those who send. By default it also reads and hashes an object anew whenever
//! somebody asks how large it is: Backstay and `rclone` ask once whether all of it arrived, `aws` never. The second
//! server has that switched off, as stores have that know their objects' hashes; so the time of the upload shows.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use backstay_testkit::rclone::{Protocol, Server, USER};
use serde_json::json;

use crate::bench::host::Host;
use crate::bench::measure::pipe;
use crate::bench::report::{Claim, Report, Series, version};
use crate::bench::stream::{Out, Side, in_turn, tar};
use crate::bench::{Bench, data, say};
use crate::shell;

/// Options of `bench object`.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Bytes to back up, such as 500M or 4G
    #[arg(long, default_value = "4G", value_parser = super::parse_bytes)]
    size: u64,
}

/// The most memory that the host may take, in MiB, whatever it sends.
const MOST_MEMORY_MIB: f64 = 150.0;

/// The servers: how they are called, and what they are told.
const SERVERS: [(&str, &[&str]); 2] = [("a server that hashes", &[]), ("a server", &["--etag-hash="])];

const BUCKET: &str = "backups";
const SECRET: &str = "bench-secret-of-the-store";

pub(super) fn run(bench: &Bench, arguments: &Arguments, runs: u32) -> Result<Report> {
    for tool in ["rclone", "aws"] {
        if !shell::is_installed(tool) {
            bail!("there is no `{tool}` on the PATH to compare with");
        }
    }
    let source = bench.path("large");
    say("making the large files");
    data::large_files(&source, arguments.size)?;

    let mut report = Report {
        title: format!(
            "object: {} MB, {runs} runs of each side in turn",
            arguments.size / 1_000_000
        ),
        notes: vec![format!(
            "{}; {}; the server is `rclone serve s3`",
            version("rclone", "version"),
            version("aws", "--version")
        )],
        ..Report::default()
    };
    for (name, options) in SERVERS {
        let [ours, rcat, aws] = compare(bench, &source, arguments.size, runs, (name, options))?;
        report.claims.extend([
            Claim::faster(&ours, &rcat, 1.0),
            Claim::faster(&ours, &aws, 1.0),
            Claim::below(
                format!("peak memory of the host to {name}"),
                ours.peak_bytes() as f64 / f64::from(1 << 20),
                MOST_MEMORY_MIB,
                "MiB",
            ),
        ]);
        report.series.extend([ours, rcat, aws]);
    }
    Ok(report)
}

fn compare(
    bench: &Bench,
    source: &Path,
    bytes: u64,
    runs: u32,
    (name, options): (&str, &[&str]),
) -> Result<[Series; 3]> {
    let served = bench.path("served");
    let server = Server::start_with(Protocol::S3, &served, SECRET, options);
    let endpoint = format!("http://127.0.0.1:{}", server.port());
    let out = Out(served.join(BUCKET));
    let config = bench.path("rclone.conf");
    std::fs::write(&config, server.remote("store"))
        .with_context(|| format!("can't write {}", config.display()))?;

    let host = Host::new(bench, &bench.path("host"))?;
    host.add_s3("store", &endpoint, BUCKET, USER, SECRET)?;
    host.define(
        "object",
        &json!({
            "source": { "plugin": "path", "config": { "path": source } },
            "destinations": [{ "plugin": "object", "config": { "remote": "store" } }],
        }),
    )?;
    let rcat = || {
        let mut rclone = shell::program("rclone");
        rclone.arg("--config").arg(&config);
        rclone.args(["rcat", &format!("store:{BUCKET}/data.tar")]);
        pipe(vec![tar(source), rclone], None)
    };
    let cp = || {
        let mut aws = shell::program("aws");
        as_user(&mut aws);
        aws.args(["--endpoint-url", &endpoint, "s3", "cp", "--no-progress"]);
        // Else its parts are too small for more than 50 GB.
        aws.args(["--expected-size", &bytes.to_string()]);
        aws.args(["-", &format!("s3://{BUCKET}/data.tar")]);
        pipe(vec![tar(source), aws], None)
    };
    let names = ["backstay", "tar | rclone rcat", "tar | aws s3 cp -"].map(|side| format!("{side}, {name}"));
    let sides: Vec<Side> = vec![
        (&names[0], Box::new(|| host.run("object"))),
        (&names[1], Box::new(rcat)),
        (&names[2], Box::new(cp)),
    ];
    let series = in_turn(bench, source, &host, &out, sides, Some(bytes), runs)?;
    let series = <[Series; 3]>::try_from(series).ok();
    let host_directory = bench.path("host");
    std::fs::remove_dir_all(&host_directory)
        .with_context(|| format!("can't remove {}", host_directory.display()))?;
    series.context("a side has no figures")
}

fn as_user(command: &mut Command) {
    command.env("AWS_ACCESS_KEY_ID", USER);
    command.env("AWS_SECRET_ACCESS_KEY", SECRET);
    command.env("AWS_DEFAULT_REGION", "us-east-1");
}
