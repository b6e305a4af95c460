//! Keeps what happens in a run: for the database, and for whoever watches.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use backstay_model::Result;
use backstay_model::clock::Clock;
use backstay_model::event::Level;
use backstay_model::run::{Progress, RunStatus};
use backstay_plugin::Listener;
use backstay_store::{NewEvent, Store};
use uuid::Uuid;

/// Watches a run.
pub trait Observer: Debug + Send + Sync {
    /// Something happened.
    fn event(&self, event: &NewEvent);

    /// How far it is, a few times a second.
    fn progress(&self, run: Uuid, progress: &Progress);
}

/// Watches nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {
    fn event(&self, _: &NewEvent) {}

    fn progress(&self, _: Uuid, _: &Progress) {}
}

/// Keeps what happens in one run.
#[derive(Debug, Clone)]
pub struct Recorder(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    clock: Arc<dyn Clock>,
    run_id: Uuid,
    observer: Arc<dyn Observer>,
    unsaved: Mutex<Vec<NewEvent>>,
    stage: Mutex<Stage>,
}

#[derive(Debug, Default, Clone)]
struct Stage {
    name: String,
    done: u64,
    total: Option<u64>,
}

impl Recorder {
    /// A recorder for a run.
    pub fn new(store: Store, clock: Arc<dyn Clock>, run_id: Uuid, observer: Arc<dyn Observer>) -> Self {
        Recorder(Arc::new(Inner {
            store,
            clock,
            run_id,
            observer,
            unsaved: Mutex::default(),
            stage: Mutex::default(),
        }))
    }

    /// Something happened; it is saved with the next change of status, or by [`Recorder::flush`].
    pub fn say(&self, level: Level, origin: &str, message: impl Into<String>) {
        let event = self.new_event(level, origin, message.into(), None);
        self.0.observer.event(&event);
        lock(&self.0.unsaved).push(event);
    }

    /// The run has a new status that isn't its last.
    ///
    /// # Errors
    /// It can't be saved.
    pub async fn status(&self, status: RunStatus) -> Result<()> {
        let events = self.take_with(Some(status), Level::Info, status.name().to_owned());
        *lock(&self.0.stage) = Stage {
            name: status.name().to_owned(),
            ..Stage::default()
        };
        self.0.store.set_run_status(self.0.run_id, status, &events).await
    }

    /// All that isn't saved yet, and the last word.
    pub fn last_events(&self, status: RunStatus, message: String) -> Vec<NewEvent> {
        let level = match status {
            RunStatus::Succeeded | RunStatus::Skipped => Level::Info,
            RunStatus::Warning => Level::Warn,
            _ => Level::Error,
        };
        self.take_with(Some(status), level, message)
    }

    /// Saves what isn't saved yet.
    ///
    /// # Errors
    /// It can't be saved.
    pub async fn flush(&self) -> Result<()> {
        let events = std::mem::take(&mut *lock(&self.0.unsaved));
        self.0.store.append_events(&events).await
    }

    /// Whether somebody asked for the end of the run.
    ///
    /// # Errors
    /// The database can't be read.
    pub(crate) async fn is_cancel_asked(&self) -> Result<bool> {
        self.0.store.is_cancel_asked(self.0.run_id).await
    }

    /// The name of the stage, and how far it is if a plugin said so.
    pub fn stage(&self) -> (String, u64, Option<u64>) {
        let stage = lock(&self.0.stage).clone();
        (stage.name, stage.done, stage.total)
    }

    /// Shows progress to whoever watches.
    pub fn show(&self, progress: &Progress) {
        self.0.observer.progress(self.0.run_id, progress);
    }

    /// What a plugin says goes here under its name.
    pub fn listener(&self, plugin: &str) -> Arc<dyn Listener> {
        self.listener_as(&format!("plugin:{plugin}"))
    }

    /// What somebody says goes here under this name.
    pub(crate) fn listener_as(&self, origin: &str) -> Arc<dyn Listener> {
        Arc::new(Voice {
            recorder: self.clone(),
            origin: origin.to_owned(),
        })
    }

    fn take_with(&self, status: Option<RunStatus>, level: Level, message: String) -> Vec<NewEvent> {
        let event = self.new_event(level, "host", message, status);
        self.0.observer.event(&event);
        let mut events = std::mem::take(&mut *lock(&self.0.unsaved));
        events.push(event);
        events
    }

    fn new_event(&self, level: Level, origin: &str, message: String, status: Option<RunStatus>) -> NewEvent {
        NewEvent {
            at: self.0.clock.now(),
            run_id: self.0.run_id,
            level,
            origin: origin.to_owned(),
            message,
            status,
        }
    }
}

#[derive(Debug)]
struct Voice {
    recorder: Recorder,
    origin: String,
}

impl Listener for Voice {
    fn log(&self, level: Level, message: String) {
        self.recorder.say(level, &self.origin, message);
    }

    fn progress(&self, stage: String, done: u64, total: Option<u64>) {
        *lock(&self.recorder.0.stage) = Stage {
            name: stage,
            done,
            total,
        };
    }
}

/// What a plugin says outside of a run, where nobody listens.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Unheard;

impl Listener for Unheard {
    fn log(&self, _: Level, message: String) {
        tracing::debug!("{message}");
    }

    fn progress(&self, _: String, _: u64, _: Option<u64>) {}
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
