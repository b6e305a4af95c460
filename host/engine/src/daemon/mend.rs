//! Undoes what crashed runs left, beside the loop: after a run whose code failed, and again and again for what could not be
//! undone before. Only one such task runs at a time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use backstay_model::Result;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;

use crate::Engine;
use crate::recorder::Silent;
use crate::recover::Recovered;

/// How soon what could not be undone is tried again. Each time that nothing has changed it takes twice as long.
const PAUSE: Duration = Duration::from_secs(300);

/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// How soon it is tried again when the database can't be used.
const SOON: Duration = Duration::from_secs(5);

type Ended = std::result::Result<Result<Recovered>, JoinError>;

/// The task that undoes, if there is one, and when there will be the next. Dropped, it stops as in a crash.
#[derive(Debug)]
pub(super) struct Mending {
    task: JoinSet<Result<Recovered>>,
    next: Instant,
    pause: Duration,
    /// What was said about it last, so that it is said once.
    said: BTreeSet<String>,
}

impl Mending {
    /// The first is for later: there was one before the loop began.
    pub(super) fn new() -> Self {
        Mending {
            task: JoinSet::new(),
            next: Instant::now() + PAUSE,
            pause: PAUSE,
            said: BTreeSet::new(),
        }
    }

    /// There is something to be undone now. If a task is under way, which may have passed it by, another follows.
    pub(super) fn ask(&mut self) {
        self.next = Instant::now();
        self.pause = PAUSE;
    }

    /// Begins if it is time to and none is under way.
    pub(super) fn begin_if_due(&mut self, engine: &Arc<Engine>) {
        if self.is_under_way() || Instant::now() < self.next {
            return;
        }
        self.next = Instant::now() + self.pause;
        let engine = Arc::clone(engine);
        self.task
            .spawn(async move { Box::pin(engine.recover(Arc::new(Silent))).await });
    }

    pub(super) fn is_under_way(&self) -> bool {
        !self.task.is_empty()
    }

    /// Waits for the end of the task; for ever if there is none.
    pub(super) async fn ended(&mut self) -> Ended {
        match self.task.join_next().await {
            Some(ended) => ended,
            None => std::future::pending().await,
        }
    }

    /// Says what is new about what can't be undone.
    pub(super) fn take_note(&mut self, ended: Ended) {
        let mut now = BTreeSet::new();
        let is_blocked = !matches!(ended, Ok(Ok(_)));
        match ended {
            Ok(Ok(recovered)) => {
                for run in &recovered.interrupted {
                    tracing::warn!(
                        "run {} of job {} had been interrupted; what it left was undone",
                        run.id,
                        run.job_name
                    );
                }
                now.extend(recovered.warnings.into_iter().map(|warning| warning.message));
            }
            Ok(Err(error)) => {
                now.insert(format!(
                    "what runs left can't be undone for now: {}",
                    error.report()
                ));
            }
            Err(error) => {
                now.insert(format!("what runs left can't be undone for now: {error}"));
            }
        }
        self.pause = if now.is_empty() || now != self.said {
            PAUSE
        } else {
            LONGEST_PAUSE.min(self.pause * 2)
        };
        if is_blocked {
            self.next = Instant::now() + SOON;
        }
        for message in now.difference(&self.said) {
            tracing::warn!("{message}");
        }
        self.said = now;
    }
}
