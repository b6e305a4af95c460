//! `bench source`: what sources cost beside the bare tools that they run.
//!
//! All sides end with the same bytes in a file. Backstay's are hashed, listed and on the disk by then. What of that is the
//! source's own shows beside the same tool by a plugin that only runs it: both go the same way from there. What all of it
//! costs shows beside the tool in a shell, whose bytes lie in the cache of the system and nothing is known of them; then
//! with `sync`, so that a power loss spares the file, and with a checksum, so that damage is found.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use backstay_testkit::postgres::Postgres;
use serde_json::{Value, json};

use crate::bench::host::Host;
use crate::bench::measure::{Cost, pipe, settle};
use crate::bench::report::{Claim, Report, Series};
use crate::bench::{Bench, data, say};
use crate::shell;

/// Options of `bench source`.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Bytes to back up, such as 200M or 1G
    #[arg(long, default_value = "1G", value_parser = super::parse_bytes)]
    size: u64,
}

/// A source may take this many times what its tool takes.
const MOST: f64 = 1.05;

/// What is done with what a tool writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// It lies in the cache of the system.
    Cached,
    /// It is on the disk.
    Synced,
    /// It lies in the cache, and its checksum is known.
    Summed,
}

impl Ending {
    const ALL: [Ending; 3] = [Ending::Cached, Ending::Synced, Ending::Summed];

    /// A shell's words for a tool that ends so.
    fn words(self, tool: &str) -> String {
        match self {
            Ending::Cached => format!("{tool} > FILE"),
            Ending::Synced => format!("{tool} > FILE; sync FILE"),
            Ending::Summed => format!("{tool} | tee FILE | sha256sum"),
        }
    }

    /// What a claim says of it.
    fn remark(self) -> &'static str {
        match self {
            Ending::Cached => "",
            Ending::Synced => " with `sync`",
            Ending::Summed => " with a checksum",
        }
    }
}

pub(super) fn run(bench: &Bench, arguments: &Arguments, runs: u32) -> Result<Report> {
    for tool in ["git", "tar"] {
        if !shell::is_installed(tool) {
            bail!("there is no `{tool}` on the PATH to compare with: `cargo xtask setup` installs it");
        }
    }
    let mut report = Report {
        title: format!(
            "source: {} MB each, {runs} runs of each side in turn",
            arguments.size / 1_000_000
        ),
        ..Report::default()
    };
    let host = Host::new(bench, &bench.path("host"))?;
    host.install("lab-source")?;
    for (name, series) in [
        ("flash", flash(bench, &host, arguments.size, runs)?),
        ("database", database(bench, &host, arguments.size, runs)?),
    ] {
        let Sides { ours, bare, shells } = series;
        report.claims.push(Claim::below(
            format!("time of the source {name} as a multiple of its tool's by a plugin that only runs it"),
            ours.wall() / bare.wall(),
            MOST,
            "x",
        ));
        for (ending, theirs) in Ending::ALL.into_iter().zip(&shells) {
            let what = format!(
                "time of the source {name} as a multiple of its tool's{}",
                ending.remark()
            );
            let value = ours.wall() / theirs.wall();
            report.claims.push(Claim::below(what, value, MOST, "x"));
        }
        report.series.extend([ours, bare]);
        report.series.extend(shells);
    }
    Ok(report)
}

/// A drive on which nothing changed since the last commit: `git add`, then `tar`.
fn flash(bench: &Bench, host: &Host, bytes: u64, runs: u32) -> Result<Sides> {
    say("making a drive");
    let drive = bench.path("drive");
    data::large_files(&drive, bytes)?;
    let [git, other] = ["git-data", "other-git-data"].map(|name| bench.path(name));
    for directory in [&git, &other] {
        std::fs::create_dir_all(directory)?;
    }
    let git_dir = other.join(".git");
    host.apply_source(
        "flash",
        &json!({
            "plugin": "flash",
            "config": { "path": drive, "gitPath": git.join(".git"), "includeGitHistory": false, "largeFileBytes": 0 },
        }),
        &json!({}),
    )?;
    // The first one makes the repository.
    host.run("flash")?;
    shell::run(
        shell::program("git")
            .args(["init", "--quiet"])
            .env("GIT_DIR", &git_dir),
    )?;
    let add = || {
        let mut git = shell::program("git");
        git.env("GIT_DIR", &git_dir).env("GIT_WORK_TREE", &drive);
        git.args(["add", "--all"]).current_dir(&drive);
        git
    };
    pipe(vec![add()], None)?;
    host.clear()?;
    let tar = || {
        let mut tar = shell::program("tar");
        tar.arg("--create").arg("--directory").arg(&drive).arg(".");
        tar
    };
    let theirs = |out: &Path, ending| {
        let added = pipe(vec![add()], None)?;
        Ok(added.then(into_file(tar(), &out.join("drive.tar"), ending)?))
    };
    let mut add_there = add();
    add_there.arg("--").arg(&drive);
    let script = format!("{} && {}", shell::shown(&add_there), shell::shown(&tar()));
    host.apply_source("flash-bare", &bare(&script), &json!({}))?;
    let series = in_turn(
        bench,
        &drive,
        host,
        ("flash", "git add; tar"),
        bytes,
        runs,
        &theirs,
    )?;
    std::fs::remove_dir_all(&drive).context("can't remove the drive")?;
    Ok(series)
}

/// A database with one table of random text.
fn database(bench: &Bench, host: &Host, bytes: u64, runs: u32) -> Result<Sides> {
    say("making a database");
    let server = Postgres::start();
    server.sql("postgres", "CREATE DATABASE app");
    server.sql(
        "app",
        &format!(
            "CREATE TABLE rows AS SELECT i, repeat(md5(i::text), 31) AS text FROM generate_series(1, {}) AS i",
            bytes / 1_000
        ),
    );
    server.sql("app", "VACUUM ANALYZE");
    let (socket, port) = (server.socket_dir(), server.port());
    let config = json!({
        "engine": "postgres", "host": socket, "port": port, "username": "postgres", "include": ["app"], "globals": false,
    });
    host.apply_source(
        "database",
        &json!({ "plugin": "database", "config": config }),
        &json!({}),
    )?;
    let tool = || {
        let mut dump = shell::program("pg_dump");
        dump.arg(format!("--host={}", socket.display()));
        dump.args(["--port", &port.to_string(), "--username=postgres"]);
        dump.args(["--format=custom", "--compress=0", "app"]);
        dump
    };
    let dump = |out: &Path, ending| into_file(tool(), &out.join("app.dump"), ending);
    host.apply_source("database-bare", &bare(&shell::shown(&tool())), &json!({}))?;
    let data = socket.join("data");
    in_turn(bench, &data, host, ("database", "pg_dump"), bytes, runs, &dump)
}

/// A source that only runs a script and gives what that prints.
fn bare(script: &str) -> Value {
    json!({ "plugin": "lab-source", "config": { "do": "command", "script": script } })
}

/// Runs a tool into a file.
fn into_file(tool: Command, file: &Path, ending: Ending) -> Result<Cost> {
    match ending {
        Ending::Cached => pipe(vec![tool], Some(file)),
        Ending::Synced => {
            let written = pipe(vec![tool], Some(file))?;
            let mut sync = shell::program("sync");
            sync.arg(file);
            Ok(written.then(pipe(vec![sync], None)?))
        }
        Ending::Summed => {
            let mut tee = shell::program("tee");
            tee.arg(file);
            pipe(vec![tool, tee, shell::program("sha256sum")], None)
        }
    }
}

/// What each side costs.
struct Sides {
    /// The source.
    ours: Series,
    /// The tool by a plugin that only runs it.
    bare: Series,
    /// The tool in a shell, with each ending.
    shells: Vec<Series>,
}

/// Backstay, and the tool in each way, each first in its turn.
fn in_turn(
    bench: &Bench,
    source: &Path,
    host: &Host,
    (job, tool): (&str, &str),
    bytes: u64,
    runs: u32,
    theirs: &dyn Fn(&Path, Ending) -> Result<Cost>,
) -> Result<Sides> {
    let mut ours = Series::new(format!("backstay, {job}"), Some(bytes));
    let mut bare = Series::new(format!("backstay, {tool}"), Some(bytes));
    let bare_job = format!("{job}-bare");
    let mut shells = Ending::ALL.map(|ending| Series::new(ending.words(tool), Some(bytes)));
    let sides = Ending::ALL.len() + 2;
    let out = bench.path("out");
    for run in 0..runs as usize {
        for turn in 0..sides {
            let side = (run + turn) % sides;
            std::fs::create_dir_all(&out)?;
            settle(&bench.directory)?;
            data::warm(source)?;
            match Ending::ALL.get(side) {
                Some(ending) => {
                    shells[side].add(theirs(&out, *ending)?);
                    shells[side].stored(data::size(&out)?);
                }
                None => {
                    let is_ours = side == Ending::ALL.len();
                    let (series, job) = if is_ours {
                        (&mut ours, job)
                    } else {
                        (&mut bare, &*bare_job)
                    };
                    series.add(host.run(job)?);
                    series.stored(host.stored_bytes()?);
                    host.clear()?;
                }
            }
            std::fs::remove_dir_all(&out)?;
        }
    }
    Ok(Sides {
        ours,
        bare,
        shells: shells.into(),
    })
}
