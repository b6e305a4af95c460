//! How far runs of this process are: the latest word on each, whoever listens. What is stored is not here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use backstay_engine::Observer;
use backstay_model::run::Progress;
use backstay_store::NewEvent;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::watch;
use uuid::Uuid;

/// How far a run is.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunProgress {
    /// Which run.
    pub run_id: Uuid,
    /// How far it is.
    #[serde(flatten)]
    pub progress: Progress,
}

/// Listens to runs for another, and keeps how far each is.
#[derive(Debug)]
pub struct Live {
    next: Arc<dyn Observer>,
    /// With the number of the change that it came with.
    latest: Mutex<HashMap<Uuid, (u64, Progress)>>,
    changed: watch::Sender<u64>,
}

impl Live {
    /// Hands on all to `next`.
    pub fn new(next: Arc<dyn Observer>) -> Self {
        Live {
            next,
            latest: Mutex::default(),
            changed: watch::Sender::new(0),
        }
    }

    /// How far a run is, if it is under way in this process.
    pub(crate) fn of(&self, run: Uuid) -> Option<Progress> {
        self.lock().get(&run).map(|(_, progress)| progress.clone())
    }

    /// What is new since a change, and the number of the newest.
    pub(crate) fn since(&self, seen: u64) -> (Vec<RunProgress>, u64) {
        let latest = self.lock();
        let newest = *self.changed.borrow();
        let new = latest.iter().filter(|(_, (at, _))| *at > seen);
        let new = new.map(|(run_id, (_, progress))| RunProgress {
            run_id: *run_id,
            progress: progress.clone(),
        });
        (new.collect(), newest)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, (u64, Progress)>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Live {
    fn event(&self, event: &NewEvent) {
        if event.status.is_some_and(|status| status.is_final()) {
            self.lock().remove(&event.run_id);
        }
        self.next.event(event);
    }

    fn progress(&self, run: Uuid, progress: &Progress) {
        let mut latest = self.lock();
        let number = *self.changed.borrow() + 1;
        latest.insert(run, (number, progress.clone()));
        self.changed.send_replace(number);
        drop(latest);
        self.next.progress(run, progress);
    }
}
