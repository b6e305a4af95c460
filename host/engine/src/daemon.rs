//! The host as a service: notices what is due, keeps it in the queue, and carries out what waits there.
//!
//! [`Daemon::run`] is one loop. In each turn it looks whether jobs or the queue have changed (also by other processes),
//! asks the [scheduler](crate::scheduler) what is due and writes that down, and starts as many waiting runs as the
//! limits allow. What is written down survives everything; the rest is made anew from it, so a turn that fails is
//! simply repeated.
//!
//! An interface for people or programs is put on top of it: `enqueue`, `cancel`, `queue`, and `changed` to wait on.

mod mend;
mod start;
mod stop;
mod streams;
mod trouble;
mod turn;

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use backstay_model::event::Level;
use backstay_model::job::Job;
use backstay_model::run::{Run, RunKind, RunReason, RunStatus};
use backstay_model::{Code, Error, Result};
use backstay_store::{NewEvent, Outcome, RequestKey};
use backstay_stream::codec::Identities;
use backstay_stream::context::Cancel;
use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};
use tokio::sync::{Notify, watch};
use uuid::Uuid;

use crate::lock::JobLock;
use crate::recover::Recovered;
use crate::{Engine, Observer};
pub use stop::Stop;
use streams::Streams;

/// Name of the file in the data directory that a daemon has locked while it runs. It holds its process id.
pub const LOCK_FILE: &str = "daemon.lock";

/// What may be changed while it runs.
#[derive(Debug, Clone)]
pub struct Policy {
    /// So many runs at once, at least 1.
    pub max_runs: usize,
    /// So many runs at once that store to the same destination, at least 1.
    pub max_runs_per_destination: usize,
    /// How long runs may go on after a request to stop, before they are cancelled.
    pub shutdown_timeout: Duration,
    /// Keys for checking encrypted backups after a run.
    pub identities: Identities,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            max_runs: 4,
            max_runs_per_destination: 2,
            shutdown_timeout: Duration::from_secs(60),
            identities: Identities::default(),
        }
    }
}

/// The host as a service, one for each data directory.
#[derive(Debug)]
pub struct Daemon {
    engine: Arc<Engine>,
    observer: Arc<dyn Observer>,
    policy: Mutex<Policy>,
    running: Mutex<HashMap<Uuid, Running>>,
    began_at: Timestamp,
    wake: Notify,
    changed: watch::Sender<u64>,
    turns: AtomicU64,
    streams: tokio::sync::Mutex<Streams>,
    /// What keeps it from its work for now.
    trouble: Mutex<Option<String>>,
    #[expect(dead_code, reason = "closing it lets go")]
    lock: File,
}

/// A run under way.
#[derive(Debug)]
struct Running {
    job_id: Uuid,
    destinations: Vec<String>,
    cancel: Cancel,
    task: tokio::task::Id,
}

/// What waits and what runs, as it is shown.
#[derive(Debug, Clone)]
pub struct Queue {
    /// Runs under way in this process.
    pub running: Vec<Uuid>,
    /// Runs that wait for their turn, the first one first.
    pub waiting: Vec<Run>,
}

impl Daemon {
    /// Becomes the daemon of the engine's data directory. Nothing runs before [`Daemon::run`].
    ///
    /// # Errors
    /// [`Code::Environment`] if there is one already; or the lock can't be taken.
    pub fn open(engine: Arc<Engine>, policy: Policy, observer: Arc<dyn Observer>) -> Result<Self> {
        let lock = lock_directory(engine.data_dir())?;
        Ok(Daemon {
            began_at: engine.clock.now(),
            engine,
            observer,
            policy: Mutex::new(policy),
            running: Mutex::default(),
            wake: Notify::new(),
            changed: watch::Sender::new(0),
            turns: AtomicU64::new(0),
            streams: tokio::sync::Mutex::default(),
            trouble: Mutex::default(),
            lock,
        })
    }

    /// Puts a run of a job into the queue, unless one of the job waits there or is under way: then that is the one. A
    /// request with a key that comes again gets what came of it the first time.
    ///
    /// # Errors
    /// [`Code::Configuration`] if the job was removed; or the database can't be written.
    pub async fn enqueue(
        &self,
        job: &Job,
        reason: RunReason,
        key: Option<&RequestKey>,
    ) -> Result<Outcome<Uuid>> {
        self.end_dead(job).await?;
        let run = Run {
            reason,
            ..self.engine.new_run(job, RunKind::Backup)
        };
        let event = queued_event(&run, "waits for its turn".to_owned());
        let outcome = self.engine.store.enqueue_run(&run, &event, key).await?;
        if matches!(outcome, Outcome::Done(_)) {
            self.observer.event(&event);
            self.wake.notify_one();
        }
        Ok(outcome)
    }

    /// Ends runs of a job whose process is gone, as after a crash: they are not under way.
    async fn end_dead(&self, job: &Job) -> Result<()> {
        let mut dead = self.engine.store.unfinished_runs().await?;
        dead.retain(|run| {
            run.job_id == job.id && run.kind == RunKind::Backup && run.status != RunStatus::Queued
        });
        if dead.is_empty() {
            return Ok(());
        }
        // Who runs the job holds this for as long as it does.
        let Some(_lock) = JobLock::take(&self.engine.locks(), job.id)? else {
            return Ok(());
        };
        let mut recovered = Recovered::default();
        for run in dead {
            let recovering = self.engine.recover_run(run, &self.observer, &mut recovered);
            Box::pin(recovering).await?;
        }
        for warning in &recovered.warnings {
            tracing::warn!("{}", warning.message);
        }
        Ok(())
    }

    /// Ends a run, see [`Engine::cancel`].
    ///
    /// # Errors
    /// As [`Engine::cancel`].
    pub async fn cancel(&self, run: Uuid) -> Result<bool> {
        let ended = self.engine.cancel(run).await?;
        if let Some(running) = lock(&self.running).get(&run) {
            running
                .cancel
                .cancel(&Error::new(Code::Cancelled, "somebody cancelled it"));
        }
        self.tell();
        Ok(ended)
    }

    /// What waits and what runs.
    ///
    /// # Errors
    /// The database can't be read.
    pub async fn queue(&self) -> Result<Queue> {
        let waiting = self.engine.store.waiting_runs().await?;
        Ok(Queue {
            running: lock(&self.running).keys().copied().collect(),
            waiting,
        })
    }

    /// Grows with each change of what waits or runs here.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Grows at least once a second while it runs, so that somebody may watch whether it still does.
    pub fn turns(&self) -> u64 {
        self.turns.load(Ordering::Relaxed)
    }

    /// Goes on by another policy. Runs under way go on even if there are too many of them now.
    pub fn set_policy(&self, policy: Policy) {
        *lock(&self.policy) = policy;
        self.wake.notify_one();
    }

    fn policy(&self) -> Policy {
        lock(&self.policy).clone()
    }

    fn tell(&self) {
        self.changed.send_modify(|count| *count += 1);
    }
}

fn queued_event(run: &Run, message: String) -> NewEvent {
    NewEvent {
        at: run.started_at,
        run_id: run.id,
        level: if run.status == RunStatus::Queued {
            Level::Info
        } else {
            Level::Warn
        },
        origin: "host".to_owned(),
        message,
        status: Some(run.status),
    }
}

/// Locks the data directory for one daemon. The kernel lets go of it when the process ends, however it ends.
fn lock_directory(directory: &Path) -> Result<File> {
    let path = directory.join(LOCK_FILE);
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(&path)
        .map_err(|e| Error::io("open the lock", &path, e))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut id = String::new();
            let who = match file.read_to_string(&mut id) {
                Ok(_) if !id.trim().is_empty() => format!(" (process {})", id.trim()),
                _ => String::new(),
            };
            return Err(Error::new(
                Code::Environment,
                format!(
                    "a daemon{who} runs on the data directory {} already",
                    directory.display()
                ),
            )
            .hint("stop it first, or choose another directory with --data-dir"));
        }
        Err(e) => return Err(Error::io("lock", &path, e.into())),
    }
    let mut write_id = || {
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())
    };
    write_id().map_err(|e| Error::io("write to the lock", &path, e))?;
    Ok(file)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
