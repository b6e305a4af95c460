//! Which jobs are due: a heap of the instants at which to look at each again, so that a look costs nothing for the
//! others.
//!
//! It keeps no time and no database: both are handed in. What it says is to be kept (see [`Due`]) before the next
//! look; if that fails, it is made anew from what was kept last.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use backstay_model::job::Job;
use backstay_model::run::{Run, RunReason};
use backstay_model::schedule::{Decision, Timetable};
use backstay_model::{Error, Result};
use backstay_store::Considered;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

/// What is kept as the schedule of a job that has none for now.
const NONE: &str = "";

/// The due times of all jobs.
#[derive(Debug, Default)]
pub struct Scheduler {
    entries: HashMap<Uuid, Entry>,
    wakes: BinaryHeap<Reverse<(Timestamp, Uuid)>>,
}

#[derive(Debug)]
struct Entry {
    name: String,
    schedule: String,
    timetable: Timetable,
    considered: Timestamp,
}

/// Something to be done about a due time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// Whose.
    pub job_id: Uuid,
    /// The job's name.
    pub job_name: String,
    /// The due time.
    pub at: Timestamp,
    /// The oldest due time that was missed before it, or that it is itself.
    pub missed_since: Option<Timestamp>,
    /// Why it runs; nothing if it doesn't.
    pub reason: Option<RunReason>,
    /// What is to be kept with it.
    pub considered: Considered,
}

/// What was made of a list of jobs.
#[derive(Debug)]
pub struct Loaded {
    /// Their due times.
    pub scheduler: Scheduler,
    /// Schedules that are seen for the first time.
    pub new: Vec<(Uuid, Considered)>,
    /// Jobs that can't be scheduled on this machine.
    pub failed: Vec<Unschedulable>,
}

/// A job that can't be scheduled.
#[derive(Debug)]
pub struct Unschedulable {
    /// Its name.
    pub job_name: String,
    /// Why not.
    pub error: Error,
}

impl Scheduler {
    /// The due times of `jobs`. What was never considered, or under another schedule, counts from when the job was last
    /// changed; that is among what is `new`, to be kept. What was considered up to later than `now`, because the clock has
    /// been put back, counts from `now` on. A job that has no due times any more, because it was disabled or lost its
    /// schedule, is among what is `new` once: whatever schedule it gets again counts from then.
    ///
    /// # Errors
    /// A schedule can't be written down. A job whose schedule can't be followed is in `failed` instead.
    pub fn load<'a>(
        jobs: impl IntoIterator<Item = &'a Job>,
        considered: &HashMap<Uuid, Considered>,
        now: Timestamp,
    ) -> Result<Loaded> {
        let mut scheduler = Scheduler::default();
        let (mut new, mut failed) = (Vec::new(), Vec::new());
        for job in jobs {
            match job.timetable() {
                Ok(None) => {
                    let is_kept = considered.get(&job.id).is_some_and(|kept| kept.schedule != NONE);
                    if is_kept {
                        let considered = Considered {
                            schedule: NONE.to_owned(),
                            at: now,
                        };
                        new.push((job.id, considered));
                    }
                }
                Ok(Some(timetable)) => {
                    let schedule = serde_json::to_string(&job.spec.schedule)
                        .map_err(|e| Error::internal("cannot write a schedule as JSON").because(e))?;
                    let kept = considered.get(&job.id).filter(|kept| kept.schedule == schedule);
                    let at = kept.map_or(job.updated_at, |kept| kept.at);
                    if kept.is_none() {
                        let considered = Considered {
                            schedule: schedule.clone(),
                            at,
                        };
                        new.push((job.id, considered));
                    }
                    let entry = Entry {
                        name: job.spec.name.clone(),
                        considered: at.min(now),
                        schedule,
                        timetable,
                    };
                    scheduler.entries.insert(job.id, entry);
                    scheduler.wakes.push(Reverse((now, job.id)));
                }
                Err(error) => failed.push(Unschedulable {
                    job_name: job.spec.name.clone(),
                    error,
                }),
            }
        }
        Ok(Loaded {
            scheduler,
            new,
            failed,
        })
    }

    /// Whether a run that waits in the queue may start as far as its schedule is concerned, see [`Timetable::may_start`].
    pub fn may_start(&self, run: &Run, now: Timestamp) -> bool {
        match (self.entries.get(&run.job_id), run.due_at) {
            (Some(entry), Some(due)) => entry.timetable.may_start(due, now),
            _ => true,
        }
    }

    /// When to look next, if nothing changes.
    pub fn next_look(&self) -> Option<Timestamp> {
        self.wakes.peek().map(|Reverse((at, _))| *at)
    }

    /// What is to be done at `now`, each job at most once.
    pub fn look(&mut self, now: Timestamp) -> Vec<Due> {
        let mut due = Vec::new();
        while let Some(Reverse((at, job_id))) = self.wakes.peek().copied()
            && at <= now
        {
            self.wakes.pop();
            let Some(entry) = self.entries.get_mut(&job_id) else {
                continue;
            };
            let done = entry.look(job_id, now);
            if let Some(done) = done {
                entry.considered = done.considered.at;
                due.push(done);
            }
            let again = match entry.timetable.decide(entry.considered, now) {
                Decision::Wait(at) => at,
                // All that has passed was dealt with above; what comes at once has its turn in the next look.
                Decision::Run { .. } | Decision::Skip { .. } => {
                    now.checked_add(SignedDuration::from_secs(1)).ok()
                }
            };
            self.wakes.extend(again.map(|at| Reverse((at, job_id))));
        }
        due
    }
}

impl Entry {
    fn look(&self, job_id: Uuid, now: Timestamp) -> Option<Due> {
        let (at, missed_since, runs) = match self.timetable.decide(self.considered, now) {
            Decision::Wait(_) => return None,
            Decision::Run { due, missed_since } => (due, missed_since, true),
            Decision::Skip { due, missed_since } => (due, Some(missed_since), false),
        };
        let reason = match missed_since {
            Some(_) => RunReason::Missed,
            None => RunReason::Schedule,
        };
        Some(Due {
            job_id,
            job_name: self.name.clone(),
            at,
            missed_since,
            reason: runs.then_some(reason),
            considered: Considered {
                schedule: self.schedule.clone(),
                at,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// A job that was applied on New Year's Day.
    fn job(name: &str, schedule: serde_json::Value) -> Job {
        let made = at("2026-01-01T00:00:00Z");
        serde_json::from_value(json!({
            "id": Uuid::now_v7(), "name": name, "schedule": schedule, "createdAt": made, "updatedAt": made,
            "source": { "plugin": "path" }, "destinations": [{ "plugin": "local" }],
        }))
        .unwrap()
    }

    fn daily(name: &str, hour: u32) -> Job {
        job(
            name,
            json!({ "cron": format!("0 {hour} * * *"), "timezone": "UTC" }),
        )
    }

    fn names(due: &[Due]) -> Vec<&str> {
        let mut names: Vec<&str> = due.iter().map(|due| due.job_name.as_str()).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn each_look_finds_what_became_due_and_nothing_twice() {
        let jobs = [daily("one", 1), daily("two", 2), daily("other-two", 2)];
        let start = at("2026-01-01T00:00:00Z");
        let mut scheduler = Scheduler::load(&jobs, &HashMap::new(), start).unwrap().scheduler;
        assert_eq!(scheduler.look(start), []);
        assert_eq!(scheduler.next_look(), Some(at("2026-01-01T01:00:00Z")));
        assert_eq!(names(&scheduler.look(at("2026-01-01T01:00:00.5Z"))), ["one"]);
        assert_eq!(scheduler.look(at("2026-01-01T01:00:00.5Z")), []);
        assert_eq!(
            names(&scheduler.look(at("2026-01-01T02:00:00Z"))),
            ["other-two", "two"]
        );
        assert_eq!(scheduler.next_look(), Some(at("2026-01-02T01:00:00Z")));
    }

    #[test]
    fn made_anew_from_what_was_kept_it_goes_on_where_it_was() {
        let jobs = [daily("one", 1)];
        let now = at("2026-01-05T12:00:00Z");
        let mut scheduler = Scheduler::load(&jobs, &HashMap::new(), now).unwrap().scheduler;
        let due = scheduler.look(now).remove(0);
        assert_eq!(
            (due.at, due.missed_since, due.reason),
            (
                at("2026-01-05T01:00:00Z"),
                Some(at("2026-01-01T01:00:00Z")),
                Some(RunReason::Missed)
            )
        );
        let kept = HashMap::from([(due.job_id, due.considered)]);
        let loaded = Scheduler::load(&jobs, &kept, now).unwrap();
        assert!(loaded.new.is_empty());
        let mut again = loaded.scheduler;
        assert_eq!(again.look(now), []);
        assert_eq!(again.next_look(), Some(at("2026-01-06T01:00:00Z")));
    }

    #[test]
    fn when_the_clock_was_put_back_it_goes_on_from_there() {
        let jobs = [daily("one", 1)];
        let considered = Considered {
            schedule: serde_json::to_string(&jobs[0].spec.schedule).unwrap(),
            at: at("2099-01-05T01:00:00Z"),
        };
        let kept = HashMap::from([(jobs[0].id, considered)]);
        let now = at("2026-01-05T12:00:00Z");
        let mut scheduler = Scheduler::load(&jobs, &kept, now).unwrap().scheduler;
        assert_eq!(scheduler.look(now), []);
        assert_eq!(names(&scheduler.look(at("2026-01-06T01:00:00Z"))), ["one"]);
    }

    #[test]
    fn another_schedule_counts_from_when_the_job_was_changed() {
        let before = daily("one", 3);
        let considered = Considered {
            schedule: serde_json::to_string(&before.spec.schedule).unwrap(),
            at: at("2026-01-04T03:00:00Z"),
        };
        let kept = HashMap::from([(before.id, considered)]);
        let changed = Job {
            spec: daily("one", 1).spec,
            updated_at: at("2026-01-05T12:00:00Z"),
            ..before
        };
        let now = at("2026-01-05T12:00:01Z");
        let loaded = Scheduler::load(&[changed], &kept, now).unwrap();
        assert_eq!(loaded.new.len(), 1);
        let mut scheduler = loaded.scheduler;
        assert_eq!(scheduler.look(now), [], "01:00 of this day was not yet asked for");
        assert_eq!(scheduler.next_look(), Some(at("2026-01-06T01:00:00Z")));
    }

    #[test]
    fn a_job_that_is_enabled_again_makes_up_for_nothing() {
        let before = daily("one", 1);
        let considered = Considered {
            schedule: serde_json::to_string(&before.spec.schedule).unwrap(),
            at: at("2026-01-04T01:00:00Z"),
        };
        let mut kept = HashMap::from([(before.id, considered)]);
        let mut off = before.clone();
        off.spec.enabled = false;
        let by_hand = Job {
            spec: backstay_model::job::JobSpec {
                schedule: None,
                ..before.spec.clone()
            },
            ..before.clone()
        };
        let disabled_at = at("2026-01-04T12:00:00Z");
        for job in [off, by_hand] {
            let new = Scheduler::load(std::slice::from_ref(&job), &kept, disabled_at)
                .unwrap()
                .new;
            assert_eq!(new.len(), 1);
            kept.extend(new);
            let again = Scheduler::load(&[job], &kept, at("2026-01-05T12:00:00Z")).unwrap();
            assert!(again.new.is_empty(), "it is said once");
            let enabled = Job {
                updated_at: at("2026-01-10T12:00:00Z"),
                ..before.clone()
            };
            let now = at("2026-01-10T12:00:01Z");
            let loaded = Scheduler::load(&[enabled], &kept, now).unwrap();
            kept.extend(loaded.new);
            let mut scheduler = loaded.scheduler;
            assert_eq!(scheduler.look(now), []);
            assert_eq!(scheduler.next_look(), Some(at("2026-01-11T01:00:00Z")));
        }
    }

    #[test]
    fn a_job_that_cant_be_scheduled_doesnt_stop_the_others() {
        let strange = job("strange", json!({ "cron": "@daily", "timezone": "Mars/Olympus" }));
        let off = Job {
            spec: backstay_model::job::JobSpec {
                enabled: false,
                ..daily("off", 1).spec
            },
            ..daily("off", 1)
        };
        let jobs = [strange, off, daily("one", 1)];
        let start = at("2026-01-01T00:00:00Z");
        let mut loaded = Scheduler::load(&jobs, &HashMap::new(), start).unwrap();
        assert_eq!(loaded.failed.len(), 1);
        assert_eq!(loaded.failed[0].job_name, "strange");
        assert_eq!(names(&loaded.scheduler.look(at("2026-01-01T01:00:00Z"))), ["one"]);
    }
}
