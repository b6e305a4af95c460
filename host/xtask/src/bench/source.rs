//! `bench source`: what sources cost beside the bare tools that they run.
//!
//! Both sides end with the same bytes in a file. Backstay's are hashed, listed and on the disk by then; the shell's
//! lie in the cache of the system.

use std::path::Path;

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
        let [ours, theirs] = series;
        let what = format!("time of the source {name} as a multiple of its tool's");
        let value = ours.wall() / theirs.wall();
        report.claims.push(Claim::below(what, value, MOST, "x"));
        report.series.extend([ours, theirs]);
    }
    Ok(report)
}

/// A drive on which nothing changed since the last commit: `git add`, then `tar`.
fn flash(bench: &Bench, host: &Host, bytes: u64, runs: u32) -> Result<[Series; 2]> {
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
    let theirs = |out: &Path| {
        let added = pipe(vec![add()], None)?;
        let mut tar = shell::program("tar");
        tar.arg("--create").arg("--directory").arg(&drive).arg(".");
        Ok(added.then(pipe(vec![tar], Some(&out.join("drive.tar")))?))
    };
    let series = in_turn(bench, host, "flash", "git add; tar > FILE", bytes, runs, &theirs)?;
    std::fs::remove_dir_all(&drive).context("can't remove the drive")?;
    Ok(series)
}

/// A database with one table of random text.
fn database(bench: &Bench, host: &Host, bytes: u64, runs: u32) -> Result<[Series; 2]> {
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
    let dump = |out: &Path| {
        let mut dump = shell::program("pg_dump");
        dump.arg(format!("--host={}", socket.display()));
        dump.args(["--port", &port.to_string(), "--username=postgres"]);
        dump.args(["--format=custom", "--compress=0", "app"]);
        pipe(vec![dump], Some(&out.join("app.dump")))
    };
    in_turn(bench, host, "database", "pg_dump > FILE", bytes, runs, &dump)
}

fn in_turn(
    bench: &Bench,
    host: &Host,
    job: &str,
    tool: &str,
    bytes: u64,
    runs: u32,
    theirs: &dyn Fn(&Path) -> Result<Cost>,
) -> Result<[Series; 2]> {
    let mut ours = Series::new(format!("backstay, {job}"), Some(bytes));
    let mut bare = Series::new(tool, Some(bytes));
    let out = bench.path("out");
    for run in 0..runs {
        for turn in 0..2 {
            std::fs::create_dir_all(&out)?;
            settle(&bench.directory)?;
            if (run + turn) % 2 == 0 {
                ours.add(host.run(job)?);
                ours.stored(host.stored_bytes()?);
                host.clear()?;
            } else {
                bare.add(theirs(&out)?);
                bare.stored(data::size(&out)?);
            }
            std::fs::remove_dir_all(&out)?;
        }
    }
    Ok([ours, bare])
}
