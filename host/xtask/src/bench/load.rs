//! `bench load`: whether people who look get their answers, and backups their speed, when many ask and listen at once.
//!
//! First a backup runs again and again in an idle service, then once more while clients listen to events and others send
//! requests at a fixed rate. A request counts from when it was due, so that one that has to wait for the one before it counts
//! as slow too. The clients are threads of this program, on the same machine.

mod client;
mod service;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use crate::bench::host::Host;
use crate::bench::measure::settle;
use crate::bench::report::{Claim, Report, Series};
use crate::bench::{Bench, data, parse_bytes, say};
use client::{Heard, Requests};
use service::Service;

/// Milliseconds that 99 of 100 requests may take at most.
const MOST_MILLISECONDS: f64 = 50.0;

/// By how much backups may be slower, in percent.
const MOST_PERCENT: f64 = 10.0;

/// Memory of the idle service with all plugins loaded, in MiB.
const MOST_IDLE: f64 = 60.0;

/// How long the load lasts before the first run under it is counted.
const RAMP: Duration = Duration::from_secs(2);

/// The job.
const JOB: &str = "large";

/// Options of `load`.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// How long the load lasts
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u64).range(5..))]
    seconds: u64,
    /// Requests in each second
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1000))]
    requests: u32,
    /// Clients that listen to events
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=512))]
    listeners: u32,
    /// Bytes that each backup reads
    #[arg(long, value_name = "BYTES", default_value = "2G", value_parser = parse_bytes)]
    size: u64,
}

pub(super) fn run(bench: &Bench, arguments: &Arguments, runs: u32) -> Result<Report> {
    let directory = bench.path("load");
    let source = directory.join("source");
    say(&format!("making {} MB to back up", arguments.size / 1_000_000));
    data::large_files(&source, arguments.size)?;
    data::warm(&source)?;
    let host = Host::new(bench, &directory)?;
    host.apply(JOB, &source, false)?;
    // The first one has every plugin compiled, which the next one finds.
    Service::start(&host)?.load_plugins()?;
    let service = Service::start(&host)?;
    let plugins = service.load_plugins()?;
    std::thread::sleep(Duration::from_secs(3));
    let (idle, own) = (service.memory("VmRSS")?, service.memory("RssAnon")?);

    say("backups in an idle service");
    let mut alone = Series::new("a backup in an idle service", Some(arguments.size));
    // Not counted: the first run of a job does more than the later ones.
    backup(&host, &directory)?;
    for _ in 0..runs {
        alone.add(backup(&host, &directory)?);
    }
    say(&format!(
        "{} requests/s and {} listeners for {} s",
        arguments.requests, arguments.listeners, arguments.seconds
    ));
    let mut loaded = Series::new("the same with the load", Some(arguments.size));
    let before = own_processor_seconds()?;
    let (requests, listened) = under_load(&service, arguments, |until| {
        while Instant::now() < until {
            loaded.add(backup(&host, &directory)?);
        }
        Ok(())
    })?;
    let clients = own_processor_seconds()? - before;
    let peak = service.memory("VmHWM")?;
    service.stop()?;
    let slower = (loaded.wall() / alone.wall() - 1.0) * 100.0;
    let claims = vec![
        Claim::below(
            "99 of 100 requests",
            requests.millis(0.99),
            MOST_MILLISECONDS,
            "ms",
        ),
        Claim::below("requests that failed", number(requests.failed), 1.0, ""),
        Claim::below("listeners that were refused", number(listened.refused), 1.0, ""),
        Claim::below(
            "listeners that lost an event or heard one twice",
            number(listened.wrong),
            1.0,
            "",
        ),
        Claim::below("backups are slower by", slower, MOST_PERCENT, "%"),
        Claim::below("memory of the idle service", mebibytes(idle), MOST_IDLE, "MiB"),
    ];
    let mut notes = vec![
        format!(
            "requests: {} answered, half within {:.1} ms, 99 of 100 within {:.1} ms, the slowest in {:.1} ms",
            requests.micros.len(),
            requests.millis(0.5),
            requests.millis(0.99),
            requests.millis(1.0)
        ),
        format!(
            "each of {} listeners heard {} events and {:.0} times how far a run was",
            arguments.listeners, listened.events, listened.progress
        ),
        format!(
            "memory of the service: {:.1} MiB idle with {plugins} plugins loaded, of which {:.1} MiB are not pages of files, {:.1} MiB at most under load",
            mebibytes(idle),
            mebibytes(own),
            mebibytes(peak)
        ),
        format!("the clients took {clients:.1} s of processor time from the same machine"),
    ];
    notes.extend(
        requests
            .first_failure
            .map(|why| format!("the first failed request: {why}")),
    );
    Ok(Report {
        title: format!(
            "load: {} requests/s and {} listeners for {} s, beside backups of {} MB",
            arguments.requests,
            arguments.listeners,
            arguments.seconds,
            arguments.size / 1_000_000
        ),
        claims,
        series: vec![alone, loaded],
        notes,
    })
}

/// One backup through the service, on an empty and quiet disk.
fn backup(host: &Host, directory: &std::path::Path) -> Result<crate::bench::measure::Cost> {
    host.clear()?;
    settle(directory)?;
    host.run(JOB)
}

/// What all listeners together heard.
struct Listened {
    refused: usize,
    wrong: usize,
    events: usize,
    /// Of each, on average.
    progress: f64,
}

/// Puts the load on while `work` is done, which is told when to end.
fn under_load(
    service: &Service,
    arguments: &Arguments,
    work: impl FnOnce(Instant) -> Result<()>,
) -> Result<(Requests, Listened)> {
    let until = Instant::now() + Duration::from_secs(arguments.seconds);
    let is_over = Arc::new(AtomicBool::new(false));
    let known = service.run_ids()?;
    let (connected, all_connected) = std::sync::mpsc::channel();
    let (target, over, count) = (service.target(), Arc::clone(&is_over), arguments.listeners);
    let listening = std::thread::spawn(move || client::listen(&target, count, &over, connected));
    let refused = all_connected
        .recv()
        .context("the listeners ended before they began")?;
    let (target, over, rate) = (service.target(), Arc::clone(&is_over), arguments.requests);
    let asking = std::thread::spawn(move || client::ask(&target, rate, &over));
    std::thread::sleep(RAMP);
    let worked = work(until);
    // Who listens hears of the end of a run a moment later.
    std::thread::sleep(Duration::from_secs(2));
    is_over.store(true, Ordering::Relaxed);
    let ended = |_| anyhow!("a thread panicked");
    let heard: Vec<Heard> = listening.join().map_err(ended)??;
    let requests = asking.join().map_err(ended)??;
    worked?;
    let mut expected = Vec::new();
    for run in service.run_ids()?.iter().filter(|run| !known.contains(run)) {
        expected.extend(service.event_ids(run)?);
    }
    expected.sort_unstable();
    if expected.is_empty() {
        bail!("there was nothing to hear");
    }
    let progress: usize = heard.iter().map(|heard| heard.progress).sum();
    let listened = Listened {
        refused,
        wrong: heard.iter().filter(|heard| heard.ids != expected).count(),
        events: expected.len(),
        progress: number(progress) / number(heard.len().max(1)),
    };
    Ok((requests, listened))
}

/// Processor time of this process until now.
fn own_processor_seconds() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").context("can't read /proc/self/stat")?;
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: f64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|ticks| ticks.parse::<f64>().ok())
        .sum();
    // Of Linux's interface, whatever the kernel's own clock does.
    Ok(ticks / 100.0)
}

#[expect(clippy::cast_precision_loss, reason = "a figure to be read")]
fn number(count: usize) -> f64 {
    count as f64
}

#[expect(clippy::cast_precision_loss, reason = "a figure to be read")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
