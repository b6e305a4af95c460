//! What is known about jobs and runs as numbers, in the text format of Prometheus.
//!
//! [`render`] reads all of it from the database, so that it is the same whichever process asks, and survives restarts.
//! [`Reporter`] takes it to where the settings say: a file for node_exporter, a Pushgateway.

mod report;
mod text;

use std::collections::BTreeMap;

use backstay_model::Result;
use backstay_model::job::Job;
use backstay_model::run::{RunKind, RunStatus};
use backstay_store::{BackupTotal, DURATION_LIMITS, DurationTotal, RunTotal};
use jiff::Timestamp;
use uuid::Uuid;

use crate::Engine;
pub use report::Reporter;
use text::{Metrics, Type};

/// All metrics, as text for Prometheus (version 0.0.4).
///
/// # Errors
/// The database can't be read.
pub async fn render(engine: &Engine) -> Result<String> {
    Ok(gather(engine).await?.text())
}

/// How a run can end, as labels.
const ENDS: [RunStatus; 6] = [
    RunStatus::Succeeded,
    RunStatus::Warning,
    RunStatus::Failed,
    RunStatus::Cancelled,
    RunStatus::Interrupted,
    RunStatus::Skipped,
];

async fn gather(engine: &Engine) -> Result<Metrics> {
    let store = &engine.store;
    let mut metrics = Metrics::new(&engine.device);
    let unfinished = store.unfinished_runs().await?;
    let waiting = unfinished
        .iter()
        .filter(|run| run.status == RunStatus::Queued)
        .count();
    let mut host = |name, help, value| metrics.add(name, Type::Gauge, help, &[], value);
    host(
        "backstay_queue_runs",
        "Runs that wait for their turn.",
        number(waiting),
    );
    host(
        "backstay_running_runs",
        "Runs under way.",
        number(unfinished.len() - waiting),
    );
    let to_undo = store.runs_with_entries().await?.len();
    host(
        "backstay_undo_pending_runs",
        "Runs that something is left of to be undone.",
        number(to_undo),
    );
    metrics.add(
        "backstay_build_info",
        Type::Gauge,
        "The version that runs; always 1.",
        &[("version", engine.version)],
        1.0,
    );
    for (channel, state) in store.channel_states().await? {
        if channel.starts_with("ping/") {
            continue;
        }
        let labels = [("channel", channel.as_str())];
        let mut of = |name, help, value| metrics.add(name, Type::Gauge, help, &labels, value);
        of(
            "backstay_notifications_waiting",
            "Messages on their way.",
            large(state.waiting),
        );
        of(
            "backstay_notifications_given_up",
            "Messages of the last 30 days that could not be sent.",
            large(state.given_up),
        );
    }
    let facts = Facts {
        now: engine.clock.now(),
        runs: by_job(store.run_totals().await?, |total| total.job_id),
        durations: by_job(store.duration_totals().await?, |total| total.job_id),
        backups: by_job(store.backup_totals().await?, |total| total.job_id),
        in_trouble: store.jobs_in_trouble().await?,
        began: unfinished
            .iter()
            .filter(|run| run.status != RunStatus::Queued)
            .map(|run| run.job_id)
            .collect(),
    };
    for (name, job) in store.each_job().await? {
        match job {
            Ok(job) => facts.add_job(&job, &mut metrics),
            Err(error) => {
                tracing::debug!("job {name} has no metrics: {}", error.report());
                metrics.add("backup_readable", Type::Gauge, READABLE, &[("job", &name)], 0.0);
            }
        }
    }
    Ok(metrics)
}

const READABLE: &str = "Whether the job can be read from the database.";

/// What there is about all jobs.
struct Facts {
    now: Timestamp,
    runs: BTreeMap<Uuid, Vec<RunTotal>>,
    durations: BTreeMap<Uuid, Vec<DurationTotal>>,
    backups: BTreeMap<Uuid, Vec<BackupTotal>>,
    in_trouble: Vec<Uuid>,
    began: Vec<Uuid>,
}

fn by_job<T>(all: Vec<T>, job: impl Fn(&T) -> Uuid) -> BTreeMap<Uuid, Vec<T>> {
    let mut of: BTreeMap<Uuid, Vec<T>> = BTreeMap::new();
    for one in all {
        of.entry(job(&one)).or_default().push(one);
    }
    of
}

fn of(map: &BTreeMap<Uuid, Vec<RunTotal>>, job: Uuid) -> &[RunTotal] {
    map.get(&job).map_or(&[], Vec::as_slice)
}

/// The runs that made the newest backup.
fn success(totals: &[RunTotal]) -> Option<&RunTotal> {
    let good = |total: &&RunTotal| {
        total.kind == RunKind::Backup && matches!(total.status, RunStatus::Succeeded | RunStatus::Warning)
    };
    totals.iter().filter(good).max_by_key(|total| total.last_at)
}

impl Facts {
    fn add_job(&self, job: &Job, metrics: &mut Metrics) {
        let name = job.spec.name.as_str();
        let labels = [("job", name)];
        {
            let mut gauge = |name, help, value| metrics.add(name, Type::Gauge, help, &labels, value);
            gauge("backup_readable", READABLE, 1.0);
            gauge(
                "backup_enabled",
                "Whether the job's schedule starts it.",
                flag(job.spec.enabled && job.spec.schedule.is_some()),
            );
            gauge(
                "backup_trouble",
                "Whether the last thing that happened was a failure or a missed start, or the job can't be started at all.",
                flag(self.in_trouble.contains(&job.id)),
            );
            gauge(
                "backup_running",
                "Whether a run of the job is under way.",
                flag(self.began.contains(&job.id)),
            );
            gauge(
                "backup_retention_frozen",
                "Whether nothing is deleted until somebody says go on.",
                flag(job.retention_frozen.is_some()),
            );
            if let Ok(Some(timetable)) = job.timetable()
                && let Some(next) = timetable.next_after(self.now)
            {
                gauge(
                    "backup_next_run_timestamp",
                    "When the job is due next, in Unix time.",
                    seconds(next),
                );
                if let Some(after) = timetable.next_after(next) {
                    gauge(
                        "backup_interval_seconds",
                        "From its next start to the one after.",
                        seconds(after) - seconds(next),
                    );
                }
                if let Some(due) = timetable.next_after(self.settled_at(job)) {
                    gauge(
                        "backup_overdue_seconds",
                        "Since the first start that was due after the newest backup; 0 if none was.",
                        (seconds(self.now) - seconds(due)).max(0.0),
                    );
                }
            }
        }
        self.add_runs(job, metrics);
        self.add_durations(job, metrics);
        self.add_backups(job, metrics);
    }

    /// From when on starts of a job are looked at whether they led to a backup: the newest one, or a later change of the job,
    /// because what was due by another schedule, or while the job was disabled, isn't made up for.
    fn settled_at(&self, job: &Job) -> Timestamp {
        let made = success(of(&self.runs, job.id)).map_or(job.created_at, |total| total.last_at);
        made.max(job.updated_at)
    }

    fn add_runs(&self, job: &Job, metrics: &mut Metrics) {
        let name = job.spec.name.as_str();
        let totals = of(&self.runs, job.id);
        let backups = || totals.iter().filter(|total| total.kind == RunKind::Backup);
        let last = backups().max_by_key(|total| total.last_at);
        let success = success(totals);
        let labels = [("job", name)];
        let mut gauge = |name, help, value| metrics.add(name, Type::Gauge, help, &labels, value);
        if let Some(success) = success {
            let stats = &success.last_stats;
            gauge(
                "backup_last_success_timestamp",
                "When a backup was last made, in Unix time.",
                seconds(success.last_at),
            );
            gauge(
                "backup_last_duration_seconds",
                "How long the last backup took.",
                large(stats.duration_ms) / 1000.0,
            );
            gauge(
                "backup_files_total",
                "Files, directories, links and devices in the last backup.",
                large(stats.entries),
            );
            gauge(
                "backup_bytes_added",
                "What the last backup wrote to its critical destination.",
                large(stats.stored_bytes),
            );
            gauge(
                "backup_source_bytes",
                "Content of the source at the last backup.",
                large(stats.source_bytes),
            );
        }
        if let Some(last) = last {
            gauge(
                "backup_last_run_timestamp",
                "When the last run that makes backups ended, in Unix time.",
                seconds(last.last_at),
            );
        }
        for status in ENDS {
            let labels = [("job", name), ("status", status.name())];
            let runs = backups()
                .find(|total| total.status == status)
                .map_or(0, |total| total.runs);
            metrics.add(
                "backup_runs_total",
                Type::Counter,
                "Runs that make backups, by how they ended.",
                &labels,
                large(runs),
            );
            if let Some(last) = last {
                metrics.add(
                    "backup_last_run_status",
                    Type::Gauge,
                    "How the last run that makes backups ended: 1 for that status, 0 for the others.",
                    &labels,
                    flag(last.status == status),
                );
            }
        }
        for total in totals {
            let kind = match total.kind {
                RunKind::Verify => "verify",
                RunKind::Drill => "drill",
                RunKind::Prune => "prune",
                RunKind::Restore => "restore",
                RunKind::Backup => continue,
            };
            let labels = [("job", name), ("kind", kind), ("status", total.status.name())];
            metrics.add(
                "backup_checks_total",
                Type::Counter,
                "Verifications, drills, prunes and restores, by how they ended.",
                &labels,
                large(total.runs),
            );
            metrics.add(
                "backup_last_check_timestamp",
                Type::Gauge,
                "When the last of these that ended so did, in Unix time.",
                &labels,
                seconds(total.last_at),
            );
        }
    }

    fn add_durations(&self, job: &Job, metrics: &mut Metrics) {
        const NAME: &str = "backup_duration_seconds";
        const HELP: &str = "How long backups took.";
        let name = job.spec.name.as_str();
        let Some(durations) = self.durations.get(&job.id) else {
            return;
        };
        let mut all = 0;
        let mut bucket = |limit: Option<u64>| {
            let here = durations.iter().filter(|total| total.at_most == limit);
            all += here.map(|total| total.runs).sum::<u64>();
            let le = limit.map_or("+Inf".to_owned(), |limit| limit.to_string());
            metrics.add_part(
                NAME,
                "_bucket",
                Type::Histogram,
                HELP,
                &[("job", name), ("le", &le)],
                large(all),
            );
        };
        for limit in DURATION_LIMITS {
            bucket(Some(limit));
        }
        bucket(None);
        let good = of(&self.runs, job.id).iter().filter(|total| {
            total.kind == RunKind::Backup && matches!(total.status, RunStatus::Succeeded | RunStatus::Warning)
        });
        let sum: u64 = good.map(|total| total.duration_ms).sum();
        let labels = [("job", name)];
        metrics.add_part(NAME, "_sum", Type::Histogram, HELP, &labels, large(sum) / 1000.0);
        metrics.add_part(NAME, "_count", Type::Histogram, HELP, &labels, large(all));
    }

    fn add_backups(&self, job: &Job, metrics: &mut Metrics) {
        let labels = [("job", job.spec.name.as_str())];
        let total = self.backups.get(&job.id).and_then(|totals| totals.first());
        let count = |count: fn(&BackupTotal) -> u64| large(total.map_or(0, count));
        let mut gauge = |name, help, value| metrics.add(name, Type::Gauge, help, &labels, value);
        gauge(
            "backup_backups",
            "Backups at the critical destination.",
            count(|t| t.backups),
        );
        gauge(
            "backup_damaged_backups",
            "Of these, found damaged.",
            count(|t| t.damaged),
        );
        gauge(
            "backup_unverified_backups",
            "Of these, never checked.",
            count(|t| t.unverified),
        );
        if let Some(total) = total {
            gauge(
                "backup_oldest_backup_timestamp",
                "When the oldest of these was made, in Unix time.",
                seconds(total.oldest_at),
            );
            gauge(
                "backup_newest_backup_timestamp",
                "When the newest of these was made, in Unix time.",
                seconds(total.newest_at),
            );
            if let Some(at) = total.verified_at {
                gauge(
                    "backup_last_verified_timestamp",
                    "When one of these was last checked, in Unix time.",
                    seconds(at),
                );
            }
        }
    }
}

fn flag(is_so: bool) -> f64 {
    if is_so { 1.0 } else { 0.0 }
}

#[expect(clippy::cast_precision_loss, reason = "a sample of Prometheus is a double")]
fn large(number: u64) -> f64 {
    number as f64
}

fn number(number: usize) -> f64 {
    large(number as u64)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "milliseconds of Unix time fit for 285,000 years"
)]
fn seconds(at: Timestamp) -> f64 {
    at.as_millisecond() as f64 / 1000.0
}
