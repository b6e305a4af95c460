//! What pruning a job would do: its backups by destination, each with a verdict.

use std::collections::BTreeMap;

use backstay_model::job::Job;
use backstay_model::manifest::{MANIFEST_NAME, Manifest};
use backstay_model::retention::{Candidate, Reason, Terms, Verdict, decide};
use backstay_model::run::{Run, RunKind, RunStatus, Warning};
use backstay_model::{Code, Error, Result};
use backstay_store::{Backup, BackupFilter, RunFilter};
use jiff::tz::TimeZone;
use uuid::Uuid;

use crate::Engine;
use crate::lock::JobLock;
use crate::recover::lock_of;

/// What pruning a job would do, or did.
#[derive(Debug, Default)]
pub struct Plan {
    /// Its destinations, those that the job names first.
    pub places: Vec<Place>,
    /// Why nothing may be deleted at all, in a sentence.
    pub held: Option<String>,
    pub(super) hold: Option<Halt>,
}

/// The backups of a job at one destination.
#[derive(Debug)]
pub struct Place {
    /// Which of the job's destinations it is, or was.
    pub destination_index: usize,
    /// Id of the plugin.
    pub plugin: String,
    /// Where it is, for people.
    pub location: String,
    /// Newest first.
    pub backups: Vec<Planned>,
    /// Positions of those to delete, in this order.
    pub(super) deletions: Vec<usize>,
}

/// A backup, and what becomes of it.
#[derive(Debug)]
pub struct Planned {
    /// The backup.
    pub backup: Backup,
    /// Whether it stays, and why.
    pub verdict: Verdict,
    /// Whether it was deleted.
    pub deleted: bool,
}

/// Which run the present state of the destinations comes from.
#[derive(Debug, Clone)]
pub(super) enum Reached {
    /// The last one that counts: only destinations that it left something at are pruned.
    By(Uuid),
    /// Nobody knows, or it isn't to matter.
    Unknown,
    /// It failed, in these words.
    Failed(String),
}

/// Why nothing may be deleted.
#[derive(Debug, Clone)]
pub(super) enum Halt {
    Frozen(String),
    AfterFailure(String),
    InUse(String),
}

impl Halt {
    pub(super) fn warning(self) -> Warning {
        let code = match self {
            Halt::Frozen(_) => "retention-frozen",
            Halt::AfterFailure(_) => "after-failure",
            Halt::InUse(_) => "in-use",
        };
        Warning {
            code: code.to_owned(),
            message: self.into_error().report(),
            path: None,
        }
    }

    pub(super) fn into_error(self) -> Error {
        match self {
            Halt::Frozen(why) => Error::new(
                Code::Skipped,
                format!("nothing is deleted, because retention is frozen: {why}"),
            )
            .hint("if the shrink is right: `backstay run JOB --accept-shrink`"),
            Halt::AfterFailure(why) => Error::new(
                Code::Skipped,
                format!("nothing is deleted, because the last run failed: {why}"),
            )
            .hint("find out why and run it again; to delete all the same, for example because the disk is full: `backstay prune JOB --after-failure`"),
            Halt::InUse(message) => {
                Error::new(Code::Skipped, message).hint("`backstay runs` shows it; prune when it has ended")
            }
        }
    }
}

impl Plan {
    pub(super) fn deleted_backups(&self) -> u64 {
        self.deleted().count() as u64
    }

    pub(super) fn freed_bytes(&self) -> u64 {
        self.deleted().map(|p| p.bytes()).sum()
    }

    fn deleted(&self) -> impl Iterator<Item = &Planned> {
        self.places.iter().flat_map(|p| &p.backups).filter(|p| p.deleted)
    }
}

impl Place {
    /// The newest that stays, unless it is known to be damaged: if it isn't there, this is another disk.
    pub(super) fn anchor(&self) -> Option<&Backup> {
        self.backups
            .iter()
            .find(|p| p.verdict.keep && p.backup.verified_ok != Some(false))
            .map(|p| &p.backup)
    }
}

impl Planned {
    /// What it takes at its destination, its index included.
    pub fn bytes(&self) -> u64 {
        let manifest = &self.backup.manifest;
        let indexes = manifest.artifacts.iter().filter_map(|a| a.index.as_ref());
        manifest.stored_bytes() + indexes.map(|i| i.stored.bytes).sum::<u64>()
    }
}

impl Engine {
    /// What the last run of a job that says anything left where.
    pub(super) async fn reached(&self, job: &Job, after_failure: bool) -> Result<Reached> {
        let Some(run) = self.last_backup_run(job).await? else {
            return Ok(Reached::Unknown);
        };
        let is_good = match run.status {
            RunStatus::Succeeded | RunStatus::Warning => true,
            // What came after the commit is no reason to keep everything for ever.
            RunStatus::Interrupted => self.store.is_committed(run.id).await?,
            _ => false,
        };
        Ok(if is_good {
            Reached::By(run.id)
        } else if after_failure {
            Reached::Unknown
        } else {
            Reached::Failed(
                run.error
                    .map_or_else(|| "it did not end".to_owned(), |e| e.message),
            )
        })
    }

    /// The last run that made backups or failed to. One that was skipped or cancelled says nothing about the source.
    async fn last_backup_run(&self, job: &Job) -> Result<Option<Run>> {
        let mut filter = RunFilter {
            job: Some(job.id),
            ..RunFilter::default()
        };
        loop {
            let page = self.store.runs(filter.clone()).await?;
            let Some(last) = page.last() else { return Ok(None) };
            filter.before = Some(last.id);
            let says_something = |run: &Run| {
                run.kind == RunKind::Backup
                    && !matches!(run.status, RunStatus::Skipped | RunStatus::Cancelled)
            };
            if let Some(run) = page.into_iter().find(says_something) {
                return Ok(Some(run));
            }
        }
    }

    /// Decides over all backups of a job.
    pub(super) async fn plan(&self, job: &Job, reached: Reached) -> Result<Plan> {
        let filter = BackupFilter {
            job: Some(job.id),
            job_name: None,
            limit: u32::MAX,
        };
        let hold = match (&job.retention_frozen, &reached) {
            (Some(why), _) => Some((Halt::Frozen(why.clone()), Reason::Frozen)),
            (None, Reached::Failed(why)) => Some((Halt::AfterFailure(why.clone()), Reason::AfterFailure)),
            (None, _) => None,
        };
        let zone = zone_of(job)?;
        let mut places = Vec::new();
        for (index, group) in by_place(job, self.store.backups(filter).await?) {
            let hold = match (&hold, index, &reached) {
                (Some((_, reason)), _, _) => Some(*reason),
                (None, None, _) => Some(Reason::FormerDestination),
                (None, _, Reached::By(run)) if group.iter().all(|b| b.run_id != *run) => {
                    Some(Reason::NotReached)
                }
                (None, ..) => None,
            };
            let terms = Terms {
                instance_id: self.store.instance_id(),
                job_id: job.id,
                policy: job.spec.retention.as_ref(),
                verification: job.spec.verify.is_asked_for(),
                hold,
                zone: &zone,
                now: self.clock.now(),
            };
            let candidates: Vec<Candidate> = group.iter().map(candidate).collect();
            let decision = decide(&candidates, &terms);
            let Some(newest) = group.first() else { continue };
            places.push(Place {
                destination_index: index.unwrap_or(newest.destination_index),
                plugin: newest.manifest.destination.plugin.clone(),
                location: root(newest).unwrap_or(&newest.location).to_owned(),
                deletions: decision.deletions,
                backups: group
                    .into_iter()
                    .zip(decision.verdicts)
                    .map(|(backup, verdict)| Planned {
                        backup,
                        verdict,
                        deleted: false,
                    })
                    .collect(),
            });
        }
        let hold = hold.map(|(halt, _)| halt);
        Ok(Plan {
            places,
            held: hold.clone().map(|halt| halt.into_error().report()),
            hold,
        })
    }

    /// Why a plan may not be carried out now.
    pub(super) async fn halt(&self, job: &Job, plan: &Plan) -> Result<Option<Halt>> {
        if plan.hold.is_some() {
            return Ok(plan.hold.clone());
        }
        Ok(self.in_use(job.id, &job.spec.name).await?.map(Halt::InUse))
    }

    /// Which run reads backups of a job now, in a sentence. Whoever reads has begun its run and then looked whether its
    /// backup is still there; whoever deletes has said so in the catalogue and then asks this.
    pub(super) async fn in_use(&self, job_id: Uuid, job_name: &str) -> Result<Option<String>> {
        for run in self.store.unfinished_runs().await? {
            let reads = matches!(run.kind, RunKind::Restore | RunKind::Verify | RunKind::Drill);
            if reads && run.job_id == job_id && JobLock::take(&self.locks(), lock_of(&run))?.is_none() {
                return Ok(Some(format!(
                    "nothing is deleted now, because run {} reads backups of job {job_name}",
                    run.id
                )));
            }
        }
        Ok(None)
    }
}

/// The zone that the job's days begin in: that of its schedule, else the machine's.
fn zone_of(job: &Job) -> Result<TimeZone> {
    match job.spec.schedule.as_ref().and_then(|s| s.timezone.as_deref()) {
        None => Ok(TimeZone::system()),
        Some(name) => TimeZone::get(name).map_err(|e| {
            Error::new(
                Code::Configuration,
                format!("there is no time zone `{name}` on this machine"),
            )
            .because(e)
            .hint("install the time zone data, or correct `schedule.timezone`")
        }),
    }
}

fn candidate(backup: &Backup) -> Candidate {
    let manifest = &backup.manifest;
    Candidate {
        id: manifest.id,
        instance_id: manifest.instance_id,
        job_id: manifest.job.id,
        created_at: backup.created_at,
        base: manifest.depends_on,
        verified: backup.verified_ok,
    }
}

/// The place that a backup's directory is in, if its location tells.
fn root(backup: &Backup) -> Option<&str> {
    let Manifest { id, job, .. } = &backup.manifest;
    let object = format!("/{}/{id}/{MANIFEST_NAME}", job.name);
    backup.location.strip_suffix(&object)
}

/// The backups of a job by where they are, with the index of that destination if the job still names it.
///
/// A destination is known by its plugin and its place, so that it stays the same when another of its settings changes,
/// or when destinations change places. It is one of the job's if any of its backups was made with what the job says now.
fn by_place(job: &Job, backups: Vec<Backup>) -> Vec<(Option<usize>, Vec<Backup>)> {
    let mut groups: BTreeMap<(String, String), Vec<Backup>> = BTreeMap::new();
    for backup in backups {
        let used = &backup.manifest.destination;
        let place = root(&backup).map_or_else(
            || serde_json::Value::Object(used.config.clone()).to_string(),
            str::to_owned,
        );
        groups
            .entry((used.plugin.clone(), place))
            .or_default()
            .push(backup);
    }
    let index_of = |group: &[Backup]| {
        job.spec.destinations.iter().position(|spec| {
            group.iter().any(|b| {
                let used = &b.manifest.destination;
                used.plugin == spec.plugin && used.config == spec.config
            })
        })
    };
    let mut places: Vec<(Option<usize>, Vec<Backup>)> = groups
        .into_values()
        .map(|group| (index_of(&group), group))
        .collect();
    places.sort_by_key(|(index, _)| index.unwrap_or(usize::MAX));
    places
}
