//! `bench restic`, `bench rsync`: trees as files, beside the program that copies them by itself.
//!
//! Of each side the first backup of a tree, into an empty place, and the next one, of the same tree. Both keep the same:
//! the host also hashes all files and looks at them again, which is what the ratio tells.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::bench::host::Host;
use crate::bench::measure::{Cost, pipe, settle};
use crate::bench::report::{Claim, Report, Series, version};
use crate::bench::{Bench, data, say};
use crate::shell;

/// Options of `bench restic` and `bench rsync`.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Bytes of large files, such as 500M or 20G
    #[arg(long, default_value = "2G", value_parser = super::parse_bytes)]
    size: u64,
    /// How many small files
    #[arg(long, default_value_t = 20_000)]
    files: u64,
}

/// How many times as long as the bare program a run may take.
const MOST: f64 = 1.03;

/// The password of the repositories.
const PASSWORD: &str = "bench";

/// A program that copies trees, by the host and by itself.
trait Program {
    const NAME: &'static str;

    /// How it says its version.
    const VERSION: &'static str;

    /// Makes an empty place, which isn't measured.
    fn make(place: &Path) -> Result<()>;

    /// The destination of a job.
    fn destination(place: &Path) -> Value;

    /// By hand, for the nth time.
    fn by_hand(source: &Path, place: &Path, nth: u32) -> Command;
}

struct Restic;

impl Restic {
    fn command(place: &Path) -> Command {
        let mut restic = shell::program("restic");
        restic.env("RESTIC_PASSWORD", PASSWORD);
        restic.args(["--quiet", "--no-cache", "--repo"]).arg(place);
        restic
    }
}

impl Program for Restic {
    const NAME: &'static str = "restic";
    const VERSION: &'static str = "version";

    fn make(place: &Path) -> Result<()> {
        let mut restic = Restic::command(place);
        restic.arg("init");
        pipe(vec![restic], None).map(drop)
    }

    fn destination(place: &Path) -> Value {
        json!({ "plugin": "restic", "config": { "repository": place, "passwordSecret": "bench", "init": true } })
    }

    fn by_hand(source: &Path, place: &Path, _: u32) -> Command {
        let mut restic = Restic::command(place);
        restic.args(["backup", "."]).current_dir(source);
        restic
    }
}

struct Rsync;

impl Program for Rsync {
    const NAME: &'static str = "rsync";
    const VERSION: &'static str = "--version";

    fn make(place: &Path) -> Result<()> {
        std::fs::create_dir_all(place).with_context(|| format!("can't make {}", place.display()))
    }

    fn destination(place: &Path) -> Value {
        json!({ "plugin": "rsync", "config": { "localDestination": place, "minFreeBytes": 0 } })
    }

    fn by_hand(source: &Path, place: &Path, nth: u32) -> Command {
        let mut rsync = shell::program("rsync");
        rsync.arg("-a");
        if let Some(before) = nth.checked_sub(1) {
            rsync.arg(format!(
                "--link-dest={}",
                place.join(before.to_string()).display()
            ));
        }
        rsync
            .arg(format!("{}/", source.display()))
            .arg(place.join(nth.to_string()));
        rsync
    }
}

pub(super) fn restic(bench: &Bench, arguments: &Arguments, runs: u32) -> Result<Report> {
    measure::<Restic>(bench, arguments, runs)
}

pub(super) fn rsync(bench: &Bench, arguments: &Arguments, runs: u32) -> Result<Report> {
    measure::<Rsync>(bench, arguments, runs)
}

fn measure<P: Program>(bench: &Bench, arguments: &Arguments, runs: u32) -> Result<Report> {
    if !shell::is_installed(P::NAME) {
        bail!(
            "there is no `{}` on the PATH: `cargo xtask setup` installs it",
            P::NAME
        );
    }
    let host = Host::new(bench, &bench.path("host"))?;
    host.secret("bench", PASSWORD)?;
    let source = bench.path("tree");
    say("making the files");
    data::large_files(&source.join("large"), arguments.size)?;
    let small = data::small_files(&source.join("small"), arguments.files)?;
    let bytes = Some(arguments.size + small);
    let (ours, theirs) = (bench.path("ours"), bench.path("theirs"));
    let job = json!({
        "source": { "plugin": "path", "config": { "path": source, "stream": false } },
        "destinations": [P::destination(&ours)],
    });
    host.define("tree", &job)?;
    let names = ["backstay", P::NAME].into_iter();
    let names = names.flat_map(|who| [format!("{who}, the first"), format!("{who}, the next")]);
    let mut series: Vec<Series> = names.map(|name| Series::new(name, bytes)).collect();
    for run in 0..runs {
        P::make(&ours)?;
        P::make(&theirs)?;
        host.forget_hashes()?;
        for nth in 0..2 {
            let by_host = || host.run("tree");
            let by_hand = || pipe(vec![P::by_hand(&source, &theirs, nth)], None);
            let sides: [(usize, &dyn Fn() -> Result<Cost>); 2] = [(0, &by_host), (2, &by_hand)];
            // A machine that gets slower or faster does so for both.
            let turn = (run as usize + nth as usize) % 2;
            for (at, side) in [sides[turn], sides[1 - turn]] {
                settle(&bench.directory)?;
                data::warm(&source)?;
                series[at + nth as usize].add(side()?);
            }
        }
        say(&format!("{:>3} of {runs}", run + 1));
        for place in [&ours, &theirs] {
            std::fs::remove_dir_all(place).with_context(|| format!("can't remove {}", place.display()))?;
        }
    }
    let [first, next, by_hand, next_by_hand] = &series[..] else {
        bail!("a side has no figures");
    };
    let ratio = |what: &str, ours: &Series, theirs: &Series| {
        let what = format!("{what}, by the time of {}", P::NAME);
        Claim::below(what, ours.wall() / theirs.wall(), MOST, "x")
    };
    Ok(Report {
        title: format!(
            "{}: {} MB in large files and {} small files, {runs} runs of each side in turn",
            P::NAME,
            arguments.size / 1_000_000,
            arguments.files
        ),
        claims: vec![
            ratio("the first backup", first, by_hand),
            ratio("the next backup", next, next_by_hand),
        ],
        notes: vec![version(P::NAME, P::VERSION)],
        series,
    })
}
