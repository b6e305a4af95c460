//! What pruning a job would do: its backups by destination, each with a verdict.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use backstay_model::job::{DestinationSpec, Job, VerifyLevel};
use backstay_model::manifest::{MANIFEST_NAME, Manifest};
use backstay_model::retention::{Candidate, Reason, Terms, Verdict, decide};
use backstay_model::run::{Run, RunKind, RunStatus, Warning};
use backstay_model::{Code, Error, Result};
use backstay_store::{Backup, RunFilter};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use uuid::Uuid;

use crate::Engine;
use crate::drill::deepest;
use crate::lock::JobLock;
use crate::recover::lock_of;

/// Backups that are read at once: each has its whole manifest.
const PAGE: u32 = 500;

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
    /// Its id.
    pub id: Uuid,
    /// When its source was opened.
    pub created_at: Timestamp,
    /// The backup that it builds on.
    pub depends_on: Option<Uuid>,
    /// What it takes at its destination, its indexes included.
    pub stored_bytes: u64,
    /// Whether it stays, and why.
    pub verdict: Verdict,
    /// Whether it was deleted.
    pub deleted: bool,
    is_damaged: bool,
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
        self.deleted().map(|p| p.stored_bytes).sum()
    }

    fn deleted(&self) -> impl Iterator<Item = &Planned> {
        self.places.iter().flat_map(|p| &p.backups).filter(|p| p.deleted)
    }
}

impl Place {
    /// The newest that stays, unless it is known to be damaged: if it isn't there, this is another disk.
    pub(super) fn anchor(&self) -> Option<Uuid> {
        let mut left = self.backups.iter().filter(|p| p.verdict.keep && !p.is_damaged);
        left.next().map(|p| p.id)
    }
}

/// What of a backup the plan goes by: a long history of whole manifests would fill the memory.
struct Head {
    candidate: Candidate,
    run_id: Uuid,
    destination_index: usize,
    stored_bytes: u64,
}

impl Head {
    /// What passed a check that is not as deep as the job asks for, or as can be had, is not verified.
    fn of(backup: &Backup, asked: VerifyLevel) -> Self {
        let manifest = &backup.manifest;
        let wanted = asked.min(deepest(manifest, None));
        let is_deep = backup.verified_level.is_some_and(|level| level >= wanted);
        let indexes = manifest.artifacts.iter().filter_map(|a| a.index.as_ref());
        Head {
            candidate: Candidate {
                id: manifest.id,
                instance_id: manifest.instance_id,
                job_id: manifest.job.id,
                created_at: backup.created_at,
                base: manifest.depends_on,
                verified: backup.verified_ok.filter(|ok| !ok || is_deep),
            },
            run_id: backup.run_id,
            destination_index: backup.destination_index,
            stored_bytes: manifest.stored_bytes() + indexes.map(|i| i.stored.bytes).sum::<u64>(),
        }
    }

    fn planned(self, verdict: Verdict) -> Planned {
        Planned {
            id: self.candidate.id,
            created_at: self.candidate.created_at,
            depends_on: self.candidate.base,
            stored_bytes: self.stored_bytes,
            is_damaged: self.candidate.verified == Some(false),
            verdict,
            deleted: false,
        }
    }
}

/// A plugin, a place in its words, and which of the job's destinations that is.
type Key = (String, String, Option<usize>);

/// The backups of a job at one place, newest first.
struct Group {
    plugin: String,
    location: String,
    heads: Vec<Head>,
    /// Which of the job's destinations it is, if the job still names it.
    index: Option<usize>,
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

    /// The last run that made backups or failed to. One that was skipped or cancelled, or still waits for its turn, says
    /// nothing about the source.
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
                    && !matches!(
                        run.status,
                        RunStatus::Queued | RunStatus::Skipped | RunStatus::Cancelled
                    )
            };
            if let Some(run) = page.into_iter().find(says_something) {
                return Ok(Some(run));
            }
        }
    }

    /// Decides over all backups of a job. With `after_gap` somebody looked at it: see [`Reason::Gap`].
    pub(super) async fn plan(&self, job: &Job, reached: Reached, after_gap: bool) -> Result<Plan> {
        let hold = match (&job.retention_frozen, &reached) {
            (Some(why), _) => Some((Halt::Frozen(why.clone()), Reason::Frozen)),
            (None, Reached::Failed(why)) => Some((Halt::AfterFailure(why.clone()), Reason::AfterFailure)),
            (None, _) => None,
        };
        let zone = zone_of(job)?;
        let mut places = Vec::new();
        for group in self.groups(job).await? {
            let Group {
                heads,
                index,
                plugin,
                location,
            } = group;
            let hold = match (&hold, index, &reached) {
                (Some((_, reason)), _, _) => Some(*reason),
                (None, None, _) => Some(Reason::FormerDestination),
                (None, _, Reached::By(run)) if heads.iter().all(|h| h.run_id != *run) => {
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
                after_gap,
                zone: &zone,
                now: self.clock.now(),
            };
            let candidates: Vec<Candidate> = heads.iter().map(|h| h.candidate.clone()).collect();
            let decision = decide(&candidates, &terms);
            let before = heads.first().map_or(0, |h| h.destination_index);
            let pairs = heads.into_iter().zip(decision.verdicts);
            let place = Place {
                destination_index: index.unwrap_or(before),
                plugin,
                location,
                backups: pairs.map(|(head, verdict)| head.planned(verdict)).collect(),
                deletions: decision.deletions,
            };
            places.push((index.unwrap_or(usize::MAX), place));
        }
        places.sort_by_key(|(index, _)| *index);
        let hold = hold.map(|(halt, _)| halt);
        Ok(Plan {
            places: places.into_iter().map(|(_, place)| place).collect(),
            held: hold.clone().map(|halt| halt.into_error().report()),
            hold,
        })
    }

    /// The backups of a job by where they are.
    ///
    /// What was made with what the job says of a destination now is that one's, and no two of them are ever taken
    /// for one. What was made with other settings, at the place of exactly one of them, is that one's too: so it stays
    /// the same when a setting that doesn't lead elsewhere changes, or when destinations change places.
    async fn groups(&self, job: &Job) -> Result<Vec<Group>> {
        let mut groups: BTreeMap<Key, Group> = BTreeMap::new();
        let mut before = None;
        loop {
            let page = self.store.backups_before(job.id, before, PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(with_former(groups));
            };
            before = Some(last.manifest.id);
            for backup in &page {
                let used = &backup.manifest.destination;
                let key = place(backup).map_or_else(
                    || serde_json::Value::Object(used.config.clone()).to_string(),
                    str::to_owned,
                );
                let named = |d: &DestinationSpec| d.plugin == used.plugin && d.config == used.config;
                let index = job.spec.destinations.iter().position(named);
                let group = groups
                    .entry((used.plugin.clone(), key, index))
                    .or_insert_with(|| Group {
                        plugin: used.plugin.clone(),
                        location: place(backup).unwrap_or(&backup.location).to_owned(),
                        heads: Vec::new(),
                        index,
                    });
                group.heads.push(Head::of(backup, job.spec.verify.level));
            }
        }
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

/// Adds what was made with settings that no destination has now to the only one at the same place, if there is one.
fn with_former(groups: BTreeMap<Key, Group>) -> Vec<Group> {
    let (mut named, former): (BTreeMap<_, _>, BTreeMap<_, _>) =
        groups.into_iter().partition(|(_, group)| group.index.is_some());
    let mut apart = Vec::new();
    for ((plugin, place, _), group) in former {
        let here = (plugin.clone(), place.clone(), Some(0))..=(plugin, place, Some(usize::MAX));
        let mut here = named.range_mut(here).map(|(_, group)| group);
        match (here.next(), here.next()) {
            (Some(only), None) => {
                only.heads.extend(group.heads);
                only.heads.sort_by_key(|head| Reverse(head.candidate.id));
            }
            _ => apart.push(group),
        }
    }
    named.into_values().chain(apart).collect()
}

/// The zone that the job's days begin in: that of its schedule, else the machine's.
fn zone_of(job: &Job) -> Result<TimeZone> {
    match &job.spec.schedule {
        None => Ok(TimeZone::system()),
        Some(schedule) => schedule.zone(),
    }
}

/// The place that a backup's directory is in, if its location tells.
fn place(backup: &Backup) -> Option<&str> {
    let Manifest { id, job, .. } = &backup.manifest;
    let object = format!("/{}/{id}/{MANIFEST_NAME}", job.name);
    backup.location.strip_suffix(&object)
}
