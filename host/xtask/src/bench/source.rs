//! `bench source`: what sources cost beside the bare tools that they run.
//!
//! All sides end with the same bytes in a file. Backstay's are hashed, listed and on the disk by then; the shell's lie
//! in the cache of the system, with a checksum or, for the bare tool, without one.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use backstay_testkit::postgres::Postgres;
use serde_json::json;

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
    for (name, series) in [
        ("flash", flash(bench, &host, arguments.size, runs)?),
        ("database", database(bench, &host, arguments.size, runs)?),
    ] {
        let [ours, bare, summed] = series;
        for (theirs, with) in [(&bare, ""), (&summed, " with a checksum")] {
            let what = format!("time of the source {name} as a multiple of its tool's{with}");
            let value = ours.wall() / theirs.wall();
            report.claims.push(Claim::below(what, value, MOST, "x"));
        }
        report.series.extend([ours, bare, summed]);
    }
    Ok(report)
}

/// A drive on which nothing changed since the last commit: `git add`, then `tar`.
fn flash(bench: &Bench, host: &Host, bytes: u64, runs: u32) -> Result<[Series; 3]> {
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
    data::warm(&drive)?;
    let theirs = |out: &Path, is_summed| {
        let added = pipe(vec![add()], None)?;
        let mut tar = shell::program("tar");
        tar.arg("--create").arg("--directory").arg(&drive).arg(".");
        Ok(added.then(into_file(tar, &out.join("drive.tar"), is_summed)?))
    };
    let series = in_turn(bench, host, "flash", "git add; tar", bytes, runs, &theirs)?;
    std::fs::remove_dir_all(&drive).context("can't remove the drive")?;
    Ok(series)
}

/// A database with one table of random text.
fn database(bench: &Bench, host: &Host, bytes: u64, runs: u32) -> Result<[Series; 3]> {
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
    let dump = |out: &Path, is_summed| {
        let mut dump = shell::program("pg_dump");
        dump.arg(format!("--host={}", socket.display()));
        dump.args(["--port", &port.to_string(), "--username=postgres"]);
        dump.args(["--format=custom", "--compress=0", "app"]);
        into_file(dump, &out.join("app.dump"), is_summed)
    };
    in_turn(bench, host, "database", "pg_dump", bytes, runs, &dump)
}

/// Runs a tool into a file; with a checksum of what went there, if asked.
fn into_file(tool: Command, file: &Path, is_summed: bool) -> Result<Cost> {
    if !is_summed {
        return pipe(vec![tool], Some(file));
    }
    let mut tee = shell::program("tee");
    tee.arg(file);
    pipe(vec![tool, tee, shell::program("sha256sum")], None)
}

/// Backstay, the bare tool, and the tool with a checksum, each first in its turn.
fn in_turn(
    bench: &Bench,
    host: &Host,
    job: &str,
    tool: &str,
    bytes: u64,
    runs: u32,
    theirs: &dyn Fn(&Path, bool) -> Result<Cost>,
) -> Result<[Series; 3]> {
    let names = [
        format!("backstay, {job}"),
        format!("{tool} > FILE"),
        format!("{tool} | tee FILE | sha256sum"),
    ];
    let mut series = names.map(|name| Series::new(name, Some(bytes)));
    let out = bench.path("out");
    for run in 0..runs as usize {
        for turn in 0..series.len() {
            let side = (run + turn) % series.len();
            std::fs::create_dir_all(&out)?;
            settle(&bench.directory)?;
            if side == 0 {
                series[side].add(host.run(job)?);
                series[side].stored(host.stored_bytes()?);
                host.clear()?;
            } else {
                series[side].add(theirs(&out, side == 2)?);
                series[side].stored(data::size(&out)?);
            }
            std::fs::remove_dir_all(&out)?;
        }
    }
    Ok(series)
}
