//! `bench catalog`: how long it takes to rebuild the catalogue of a machine that is gone.
//!
//! One real backup is multiplied, and a host that knows nothing reads them all from the disk: each manifest is read,
//! proved and checked against its payload, and put into the database.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use uuid::Uuid;

use crate::bench::host::Host;
use crate::bench::report::{Claim, Report, Series};
use crate::bench::{Bench, data, say};

/// How many backups.
const BACKUPS: u32 = 10_000;

/// Seconds that a rebuild may take.
const MOST_SECONDS: f64 = 60.0;

/// Memory that it may take, in bytes.
const MOST_MEMORY: f64 = 256e6;

pub(super) fn run(bench: &Bench, runs: u32) -> Result<Report> {
    let source = bench.path("source");
    data::one_byte(&source)?;
    let old = Host::new(bench, &bench.path("old"))?;
    old.apply("byte", &source, false)?;
    old.run("byte")?;
    let place = bench.path("old/backups");
    say(&format!("making {BACKUPS} backups of one"));
    multiply(&only(&place.join("byte"))?, BACKUPS - 1)?;
    let config = serde_json::json!({ "path": place }).to_string();
    let rebuild = ["catalog", "rebuild", "--plugin", "local", "--config", &config];
    let mut first = Series::new("a rebuild on a machine that knows nothing", None);
    let mut again = Series::new("the same once more, when all is known", None);
    for run in 0..runs {
        let directory = bench.path(&format!("new-{run}"));
        let new = Host::new(bench, &directory)?;
        first.add(new.cost(rebuild)?);
        again.add(new.cost(rebuild)?);
        std::fs::remove_dir_all(&directory)?;
    }
    Ok(Report {
        title: format!("catalog: {BACKUPS} backups, {runs} times"),
        claims: vec![
            Claim::below("a rebuild", first.wall(), MOST_SECONDS, "s"),
            Claim::below(
                "its memory",
                first.peak_bytes() as f64 / 1e6,
                MOST_MEMORY / 1e6,
                "MB",
            ),
        ],
        series: vec![first, again],
        notes: Vec::new(),
    })
}

/// The directory of the only backup of a job.
fn only(job: &Path) -> Result<PathBuf> {
    let mut backups = std::fs::read_dir(job).with_context(|| format!("can't list {}", job.display()))?;
    match (backups.next(), backups.next()) {
        (Some(only), None) => Ok(only?.path()),
        _ => bail!("{} doesn't hold one backup", job.display()),
    }
}

/// Puts copies of a backup beside it, each with an id of its own and a link to the same payload.
fn multiply(backup: &Path, count: u32) -> Result<()> {
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let old = name(backup).context("a backup without a name")?;
    let job = backup.parent().context("a backup without a job")?;
    let text = std::fs::read_to_string(backup.join("manifest.json"))?;
    let value: serde_json::Value = serde_json::from_str(&text)?;
    let word = |value: &serde_json::Value| value.as_str().map(str::to_owned).context("no word in a manifest");
    let (run, checksum) = (word(&value["runId"])?, word(&value["checksum"])?);
    let payload = name(Path::new(&word(&value["artifacts"][0]["object"])?)).context("no payload")?;
    // The checksum is over the document without blanks, with an empty checksum.
    let blank = without_blanks(&text).replace(&checksum, "");
    for _ in 0..count {
        let (id, run_id) = (Uuid::now_v7().to_string(), Uuid::now_v7().to_string());
        let renamed = |text: &str| text.replace(&old, &id).replace(&run, &run_id);
        let sum = blake3::hash(renamed(&blank).as_bytes()).to_hex();
        let copy = job.join(&id);
        std::fs::create_dir(&copy)?;
        std::fs::hard_link(backup.join(&payload), copy.join(&payload))?;
        let manifest = renamed(&text).replace(&checksum, sum.as_str());
        std::fs::write(copy.join("manifest.json"), manifest)?;
    }
    Ok(())
}

/// A JSON document without the blanks between its words.
fn without_blanks(text: &str) -> String {
    let (mut in_word, mut escaped) = (false, false);
    let keep = |c: &char| {
        let is_kept = in_word || !c.is_ascii_whitespace();
        if *c == '"' && !escaped {
            in_word = !in_word;
        }
        escaped = *c == '\\' && !escaped;
        is_kept
    };
    text.chars().filter(keep).collect()
}
