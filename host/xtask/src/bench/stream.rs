//! `bench stream`: a tree as tar to a local directory, beside what people type instead.
//!
//! The shell's pipes leave their bytes in the cache of the system; Backstay's are on the disk before its run ends.
//! That is part of the comparison.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::bench::host::Host;
use crate::bench::measure::{Cost, pipe, settle};
use crate::bench::report::{Claim, Report, Series, version};
use crate::bench::{Bench, data, say};
use crate::shell;

/// Options of `bench stream`.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Bytes of large files, such as 500M or 20G
    #[arg(long, default_value = "2G", value_parser = super::parse_bytes)]
    size: u64,
    /// How many small files; 0 leaves that part out
    #[arg(long, default_value_t = 100_000)]
    files: u64,
    /// The rclone to compare with: not a script around it, whose start would count
    #[arg(long, default_value = "rclone", value_name = "PROGRAM")]
    rclone: String,
}

/// The most memory that the host may take, in MiB, whatever it moves.
const MOST_MEMORY_MIB: f64 = 100.0;

pub(super) fn run(bench: &Bench, arguments: &Arguments, runs: u32) -> Result<Report> {
    for tool in ["tar", "tee", "sha256sum", "zstd", "restic", &arguments.rclone] {
        if !shell::is_installed(tool) && !Path::new(tool).is_file() {
            bail!("there is no `{tool}` on the PATH to compare with: `cargo xtask setup` installs it");
        }
    }
    let mut report = Report {
        title: format!(
            "stream: {} MB in large files, {} small files, {runs} runs of each side in turn",
            arguments.size / 1_000_000,
            arguments.files
        ),
        notes: vec![format!(
            "{}; {}; {}; {}",
            version(&arguments.rclone, "version"),
            version("restic", "version"),
            version("tar", "--version"),
            version("zstd", "--version")
        )],
        ..Report::default()
    };
    let host = Host::new(bench, &bench.path("host"))?;
    if arguments.size > 0 {
        large(bench, arguments, runs, &host, &mut report)?;
    }
    if arguments.files > 0 {
        small(bench, arguments.files, runs, &host, &mut report)?;
    }
    let ours = report.series.iter().filter(|s| s.is_ours());
    let peak = ours.map(Series::peak_bytes).max().unwrap_or(0);
    report.claims.push(Claim::below(
        "peak memory of the host",
        peak as f64 / f64::from(1 << 20),
        MOST_MEMORY_MIB,
        "MiB",
    ));
    Ok(report)
}

fn large(bench: &Bench, arguments: &Arguments, runs: u32, host: &Host, report: &mut Report) -> Result<()> {
    let source = bench.path("large");
    say("making the large files");
    data::large_files(&source, arguments.size)?;
    host.apply("large", &source, false)?;
    host.apply("large-zstd", &source, true)?;

    let out = Out(bench.path("out"));
    let bytes = Some(arguments.size);
    let rcat = || {
        let mut rclone = shell::program(&arguments.rclone);
        // No configuration: the one of whoever measures would count.
        rclone.args(["--config", "", "rcat"]).arg(out.file("rcat"));
        pipe(vec![tar(&source), rclone], None)
    };
    let sums = || {
        let mut tee = shell::program("tee");
        tee.arg(out.file("teed"));
        pipe(
            vec![tar(&source), tee, shell::program("sha256sum")],
            Some(&out.file("sum")),
        )
    };
    let zstd = || {
        let mut zstd = shell::program("zstd");
        zstd.args(["-q", "-T0", "-3"]);
        pipe(vec![tar(&source), zstd], Some(&out.file("zst")))
    };
    let sides: Vec<Side> = vec![
        ("backstay, tar", Box::new(|| host.run("large"))),
        ("tar | rclone rcat", Box::new(rcat)),
        ("tar | tee FILE | sha256sum", Box::new(sums)),
        ("backstay, tar and zstd", Box::new(|| host.run("large-zstd"))),
        ("tar | zstd -T0 -3 > FILE", Box::new(zstd)),
    ];
    let series = in_turn(bench, &source, host, &out, sides, bytes, runs)?;
    let [plain, rcat, sums, zstd, shell_zstd] = &series[..] else {
        bail!("a side has no figures");
    };
    report.claims.extend([
        Claim::faster(plain, rcat, 2.0),
        Claim::faster(plain, sums, 1.0),
        Claim::faster(zstd, shell_zstd, 1.0),
    ]);
    report.series.extend(series);
    std::fs::remove_dir_all(&source).context("can't remove the large files")
}

fn small(bench: &Bench, files: u64, runs: u32, host: &Host, report: &mut Report) -> Result<()> {
    let source = bench.path("small");
    say("making the small files");
    let bytes = data::small_files(&source, files)?;
    host.apply("small", &source, false)?;
    host.apply("small-zstd", &source, true)?;

    let out = Out(bench.path("out"));
    let restic = |command: &str| {
        let mut restic = shell::program("restic");
        restic.env("RESTIC_PASSWORD", "bench");
        restic.arg("--repo").arg(out.file("repository"));
        restic.arg("--cache-dir").arg(out.file("cache"));
        restic.args(["--quiet", command]);
        restic
    };
    let first = || {
        pipe(vec![restic("init")], None)?;
        let mut backup = restic("backup");
        backup.arg(&source);
        pipe(vec![backup], None)
    };
    let sides: Vec<Side> = vec![
        ("backstay, small files", Box::new(|| host.run("small"))),
        (
            "backstay, small files and zstd",
            Box::new(|| host.run("small-zstd")),
        ),
        ("restic backup, the first", Box::new(first)),
    ];
    let series = in_turn(bench, &source, host, &out, sides, Some(bytes), runs)?;
    let [plain, zstd, restic] = &series[..] else {
        bail!("a side has no figures");
    };
    report.claims.extend([
        Claim::faster(plain, restic, 1.0),
        Claim::faster(zstd, restic, 1.0),
    ]);
    report.series.extend(series);
    Ok(())
}

/// A name, and what is done and measured under it.
pub(super) type Side<'a> = (&'a str, Box<dyn Fn() -> Result<Cost> + 'a>);

/// Runs all sides once, then all again, each time from a source that was just read, to an empty and quiet destination, and
/// with the first one last: a machine that gets slower or faster does so for all of them.
pub(super) fn in_turn(
    bench: &Bench,
    source: &Path,
    host: &Host,
    out: &Out,
    sides: Vec<Side>,
    bytes: Option<u64>,
    runs: u32,
) -> Result<Vec<Series>> {
    let mut series: Vec<Series> = sides.iter().map(|(name, _)| Series::new(*name, bytes)).collect();
    for run in 0..runs as usize {
        for turn in 0..sides.len() {
            let at = (run + turn) % sides.len();
            let (name, side) = &sides[at];
            out.make()?;
            settle(&bench.directory)?;
            data::warm(source)?;
            let cost = side().with_context(|| format!("`{name}`"))?;
            say(&format!(
                "{:>3} {name}: {:.2} s",
                run + 1,
                cost.wall.as_secs_f64()
            ));
            series[at].add(cost);
            series[at].stored(data::size(&out.0)? + host.stored_bytes()?);
            out.clear()?;
            host.clear()?;
        }
    }
    Ok(series)
}

/// Where the other side writes to.
pub(super) struct Out(pub(super) PathBuf);

impl Out {
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn make(&self) -> Result<()> {
        std::fs::create_dir_all(&self.0).with_context(|| format!("can't make {}", self.0.display()))
    }

    fn clear(&self) -> Result<()> {
        std::fs::remove_dir_all(&self.0).with_context(|| format!("can't remove {}", self.0.display()))
    }
}

pub(super) fn tar(source: &Path) -> Command {
    let mut tar = shell::program("tar");
    tar.arg("--create").arg("--directory").arg(source).arg(".");
    tar
}
