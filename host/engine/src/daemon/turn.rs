//! One turn of the loop: notice changes, write down what is due, start what may start.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::Ordering;
use std::time::Duration;

use backstay_model::job::Job;
use backstay_model::run::{Run, RunError, RunKind, RunReason, RunStatus};
use backstay_model::{Code, Error, Result};
use backstay_store::{Changes, Dealt};
use jiff::Timestamp;
use tokio::sync::watch;
use uuid::Uuid;

use super::mend::Mending;
use super::start::Tasks;
use super::{Daemon, Stop, queued_event, trouble};
use crate::scheduler::{Due, Scheduler};

/// The longest pause between two turns: by then a change by another process, or of the clock, is noticed.
const PAUSE: Duration = Duration::from_secs(1);

/// What a turn knows from the one before. All of it can be made anew from the database.
#[derive(Debug, Default)]
pub(super) struct View {
    changes: Changes,
    pub(super) scheduler: Scheduler,
    pub(super) jobs: HashMap<Uuid, Job>,
    pub(super) waiting: Vec<Run>,
    /// What was said about jobs that can't run by themselves, so that it is said once.
    said: BTreeSet<String>,
    /// When it was last looked at; nothing while it must be made anew.
    looked_at: Option<Timestamp>,
}

impl Daemon {
    /// Does what is due until `stop` says otherwise, then ends as it says. A turn that fails is repeated until it works:
    /// nothing is lost meanwhile, because all that is due stays due.
    pub async fn run(&self, mut stop: watch::Receiver<Stop>) {
        let mut tasks = Tasks::new();
        let mut view = View::default();
        let mut mending = Mending::new();
        while *stop.borrow_and_update() == Stop::No {
            self.turns.fetch_add(1, Ordering::Relaxed);
            mending.begin_if_due(&self.engine);
            let (pause, trouble) = match self.turn(&mut view, &mut tasks, &mut mending).await {
                Ok(pause) => (pause, trouble::with_place(self.engine.data_dir())),
                Err(error) => {
                    view.looked_at = None;
                    let said = format!("the scheduler can't go on for now: {}", error.report());
                    (PAUSE, Some(said))
                }
            };
            self.note_trouble(trouble);
            tokio::select! {
                // Whoever could say stop is gone: so is the reason to go on.
                changed = stop.changed() => if changed.is_err() { break },
                Some(ended) = tasks.join_next_with_id(), if !tasks.is_empty() => self.ended(ended, &mut mending),
                ended = mending.ended() => mending.take_note(ended),
                () = self.wake.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        self.wind_down(tasks, mending, stop).await;
    }

    /// Returns how long to pause if nothing happens.
    async fn turn(&self, view: &mut View, tasks: &mut Tasks, mending: &mut Mending) -> Result<Duration> {
        let store = &self.engine.store;
        let now = self.engine.clock.now();
        let changes = store.changes().await?;
        // A clock that was put back: what was to come may now be far away.
        let is_stale = view.looked_at.is_none_or(|at| now < at);
        if is_stale || changes.jobs != view.changes.jobs {
            self.load(view, now).await?;
        }
        let mut is_queue_new = is_stale || changes.queue != view.changes.queue;
        let due = view.scheduler.look(now);
        if !due.is_empty() {
            // Until it is written down it isn't done.
            view.looked_at = None;
            if is_queue_new {
                view.waiting = store.waiting_runs().await?;
            }
            self.give_way(&due, view, now).await?;
            let dealt: Vec<Dealt> = due.into_iter().map(|due| self.dealt(due, view, now)).collect();
            let added = store.deal_with(&dealt).await?;
            for (run, event) in dealt.iter().filter_map(|dealt| dealt.run.as_ref()) {
                if added.contains(&run.id) {
                    self.observer.event(event);
                }
            }
            is_queue_new = true;
        }
        if is_queue_new {
            view.waiting = store.waiting_runs().await?;
            self.tell();
        }
        view.changes = changes;
        view.looked_at = Some(now);
        self.start_waiting(view, tasks, mending, now).await?;
        let until_next = view.scheduler.next_look().map_or(PAUSE, |at| {
            Duration::try_from(at.duration_since(self.engine.clock.now())).unwrap_or_default()
        });
        Ok(until_next.min(PAUSE))
    }

    async fn load(&self, view: &mut View, now: Timestamp) -> Result<()> {
        let store = &self.engine.store;
        let mut jobs = Vec::new();
        let mut wrong = BTreeMap::new();
        for (name, job) in store.each_job().await? {
            match job {
                Ok(job) => jobs.push(job),
                Err(error) => {
                    wrong.insert(name, error.report());
                }
            }
        }
        let mut doubts = BTreeSet::new();
        let mut considered = HashMap::new();
        for (id, kept) in store.considered().await? {
            match kept {
                Ok(kept) => {
                    considered.insert(id, kept);
                }
                // A start too many is better than one too few.
                Err(error) => {
                    let why = error.report();
                    doubts.insert(format!(
                        "the due times of the job {id} count from its last change on: {why}"
                    ));
                }
            }
        }
        let loaded = Scheduler::load(&jobs, &considered, now)?;
        let failed = loaded.failed.iter();
        wrong.extend(failed.map(|failed| (failed.job_name.clone(), failed.error.report())));
        let mut said = doubts;
        said.extend(
            wrong
                .iter()
                .map(|(name, why)| format!("job {name} can't run by itself: {why}")),
        );
        for message in said.difference(&view.said) {
            tracing::error!("{message}");
        }
        store.set_unable(&wrong).await?;
        view.said = said;
        let new: Vec<Dealt> = loaded.new.into_iter().map(Dealt::from).collect();
        store.deal_with(&new).await?;
        view.scheduler = loaded.scheduler;
        view.jobs = jobs.into_iter().map(|job| (job.id, job)).collect();
        Ok(())
    }

    /// Ends runs that wait for their window as skipped where the next start comes first, which they would be in the way of.
    async fn give_way(&self, due: &[Due], view: &mut View, now: Timestamp) -> Result<()> {
        for run in std::mem::take(&mut view.waiting) {
            let next = due
                .iter()
                .find(|due| due.job_id == run.job_id && due.reason.is_some());
            match (next, run.due_at) {
                (Some(next), Some(at)) if !view.scheduler.may_start(&run, now) => {
                    let error = Error::new(
                        Code::Skipped,
                        format!(
                            "it was due at {at} and missed, and the start of {} came before its window",
                            next.at
                        ),
                    )
                    .hint("raise `schedule.grace`, or allow more runs at once");
                    self.engine.end_waiting(&run, RunStatus::Skipped, &error).await?;
                }
                _ => view.waiting.push(run),
            }
        }
        Ok(())
    }

    /// What is written down about a due time: a run that waits for its turn, or one that was skipped and why.
    fn dealt(&self, due: Due, view: &View, now: Timestamp) -> Dealt {
        let skipped = match due.reason {
            None => Some(
                Error::new(Code::Skipped, format!("it was due at {} and missed", due.at))
                    .hint("`schedule.missed` of the job says to wait for the next"),
            ),
            Some(_) if view.waiting.iter().any(|run| run.job_id == due.job_id) => Some(
                Error::new(
                    Code::Skipped,
                    format!("it was due at {} while an earlier run still waited for its turn", due.at),
                )
                .hint("the job takes longer than the time between its starts, or too few runs are allowed at once"),
            ),
            Some(_) => None,
        };
        let run = Run {
            id: Uuid::now_v7(),
            job_id: due.job_id,
            job_name: due.job_name,
            kind: RunKind::Backup,
            status: if skipped.is_some() {
                RunStatus::Skipped
            } else {
                RunStatus::Queued
            },
            reason: due.reason.unwrap_or(RunReason::Missed),
            due_at: Some(due.at),
            started_at: now,
            finished_at: skipped.is_some().then_some(now),
            error: skipped.as_ref().map(RunError::from),
            warnings: Vec::new(),
            stats: backstay_model::run::Stats::default(),
        };
        let message = match (&skipped, due.missed_since) {
            (Some(error), _) => error.report(),
            (None, Some(since)) => format!("makes up for what was due since {since}"),
            (None, None) => format!("was due at {}", due.at),
        };
        let event = queued_event(&run, message);
        Dealt {
            job_id: due.job_id,
            considered: due.considered,
            run: Some((run, event)),
        }
    }
}
