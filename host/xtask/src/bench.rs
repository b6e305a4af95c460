//! `bench`: how fast the release binary is beside the tools that people use today.
//!
//! Both sides do the same work in turn, several times, from a warm cache, in one directory below the target
//! directory. What counts is the median. A claim that doesn't hold makes the command fail; no test of the suite is
//! timed.

mod catalog;
mod codecs;
mod data;
mod example;
mod fan;
mod host;
mod load;
mod measure;
mod object;
mod plugin;
mod report;
mod retention;
mod run;
mod schedule;
mod source;
mod stream;
mod throttle;
mod trees;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::bench::report::Report;
use crate::{shell, workspace};

/// Options of `bench`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
    /// How often each side runs [default: 5, for short ones more]
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    runs: Option<u32>,
    /// Print the figures as JSON
    #[arg(long, global = true)]
    json: bool,
    /// Leave the data and the backups there
    #[arg(long, global = true)]
    keep: bool,
}

#[derive(clap::Subcommand)]
enum What {
    /// The byte path, beside `rclone rcat`, `tee | sha256sum`, `zstd` and `restic`
    Stream(stream::Arguments),
    /// Two destinations from one reading, beside `tee`
    Fan(fan::Arguments),
    /// An S3 server on this machine, beside `rclone rcat` and `aws s3 cp`
    Object(object::Arguments),
    /// What sources cost beside `git` and `tar`, and `pg_dump`
    Source(source::Arguments),
    /// Trees by the destination `restic`, beside `restic backup`
    Restic(trees::Arguments),
    /// Trees by the destination `rsync`, beside `rsync -a --link-dest`
    Rsync(trees::Arguments),
    /// What a run costs that has next to nothing to move
    Run,
    /// How long it takes to rebuild a catalogue of 10,000 backups
    Catalog,
    /// Every mode of every compression
    Codecs(codecs::Arguments),
    /// What it costs to load, instantiate and call a plugin
    Plugin,
    /// What it takes to decide which of 100,000 backups stay
    Retention,
    /// What it takes to start with 10,000 jobs, and to look which are due
    Schedule,
    /// Whether limits are kept to, over ten seconds each
    Throttle,
    /// The service with many who ask and listen while a backup runs
    Load(load::Arguments),
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let report = match &arguments.what {
        // It needs nothing of the host but its rules.
        What::Retention => retention::run(arguments.runs.unwrap_or(20)),
        What::Schedule => schedule::run(arguments.runs.unwrap_or(10)),
        what => with_host(what, arguments),
    }?;
    if arguments.json {
        println!("{:#}", report.to_json());
    } else {
        print!("{}", report.to_text());
    }
    match report.broken() {
        0 => Ok(()),
        n => bail!("{n} of {} claims don't hold", report.claims.len()),
    }
}

fn with_host(what: &What, arguments: &Arguments) -> Result<Report> {
    let bench = Bench::prepare()?;
    let report = match what {
        What::Stream(options) => stream::run(&bench, options, arguments.runs.unwrap_or(5)),
        What::Fan(options) => fan::run(&bench, options, arguments.runs.unwrap_or(5)),
        What::Object(options) => object::run(&bench, options, arguments.runs.unwrap_or(3)),
        What::Source(options) => source::run(&bench, options, arguments.runs.unwrap_or(5)),
        What::Restic(options) => trees::restic(&bench, options, arguments.runs.unwrap_or(5)),
        What::Rsync(options) => trees::rsync(&bench, options, arguments.runs.unwrap_or(5)),
        What::Run => run::run(&bench, arguments.runs.unwrap_or(30)),
        What::Catalog => catalog::run(&bench, arguments.runs.unwrap_or(3)),
        What::Codecs(options) => codecs::run(&bench, options, arguments.runs.unwrap_or(1)),
        What::Throttle => throttle::run(&bench, arguments.runs.unwrap_or(3)),
        What::Load(options) => load::run(&bench, options, arguments.runs.unwrap_or(5)),
        What::Plugin => plugin::run(&bench, arguments.runs.unwrap_or(20)),
        What::Retention => retention::run(arguments.runs.unwrap_or(20)),
        What::Schedule => schedule::run(arguments.runs.unwrap_or(10)),
    };
    if !arguments.keep {
        bench.remove()?;
    }
    report
}

/// Where it happens, and what is measured.
struct Bench {
    directory: PathBuf,
    backstay: PathBuf,
}

impl Bench {
    /// Builds the release binary and makes an empty directory.
    fn prepare() -> Result<Self> {
        let mut build = shell::cargo(["build", "--release", "--package", "backstay-cli"]);
        // Standard output is for the figures.
        eprintln!("$ {}", shell::shown(&build));
        let status = build.stdout(std::io::stderr()).status();
        if !status.context("can't start cargo")?.success() {
            bail!("the release binary can't be built");
        }
        let target = workspace::target_dir()?;
        let bench = Bench {
            directory: target.join("bench"),
            backstay: target.join("release/backstay"),
        };
        bench.remove()?;
        std::fs::create_dir_all(&bench.directory)
            .with_context(|| format!("can't make {}", bench.directory.display()))?;
        Ok(bench)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn remove(&self) -> Result<()> {
        match std::fs::remove_dir_all(&self.directory) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(e).with_context(|| format!("can't remove {}", self.directory.display()))
            }
            _ => Ok(()),
        }
    }
}

/// Says what is being done, where it doesn't mix with the figures.
fn say(what: &str) {
    eprintln!("{what}");
}

/// A number with an optional K, M, G or T of the metric kind.
fn parse_bytes(text: &str) -> Result<u64, String> {
    let (digits, factor) = match text.char_indices().last() {
        Some((at, 'K' | 'k')) => (&text[..at], 1_000),
        Some((at, 'M')) => (&text[..at], 1_000_000),
        Some((at, 'G')) => (&text[..at], 1_000_000_000),
        Some((at, 'T')) => (&text[..at], 1_000_000_000_000),
        _ => (text, 1),
    };
    let number: u64 = digits
        .parse()
        .map_err(|_| format!("`{text}` is no number of bytes, such as 2G"))?;
    number
        .checked_mul(factor)
        .ok_or_else(|| format!("{text} is too much"))
}

#[cfg(test)]
mod tests {
    use super::parse_bytes;

    #[test]
    fn sizes_are_metric() {
        assert_eq!(parse_bytes("2G"), Ok(2_000_000_000));
        assert_eq!(parse_bytes("17"), Ok(17));
        assert!(parse_bytes("G").is_err());
        assert!(parse_bytes("99999999999T").is_err());
    }
}
