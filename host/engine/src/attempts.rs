//! Tries something as often as the job allows, if what went wrong may pass, and from its start each time.

use std::sync::Arc;
use std::time::Duration;

use backstay_model::event::Level;
use backstay_model::job::Retries;
use backstay_model::journal::{Entry, Owner};
use backstay_model::{Error, Result};
use backstay_plugin::RunScope;
use backstay_stream::context::Cancel;

use crate::Engine;
use crate::recorder::Recorder;
use crate::undo::Committed;

/// The tries of one thing in a run.
pub(crate) struct Attempts<'a> {
    run: &'a RunScope,
    retries: &'a Retries,
    cancel: &'a Cancel,
    recorder: &'a Recorder,
    /// Whose journal entries belong to the tries: those of a source, or of destinations. Others may be at work meanwhile.
    whose: Vec<Option<usize>>,
    number: u32,
    /// The last journal entry that isn't of this try.
    last_entry: i64,
}

impl<'a> Attempts<'a> {
    /// Tries of what acts for `run`: its source, or its destination.
    pub(crate) fn new(
        run: &'a RunScope,
        retries: &'a Retries,
        cancel: &'a Cancel,
        recorder: &'a Recorder,
    ) -> Self {
        Attempts {
            run,
            retries,
            cancel,
            recorder,
            whose: vec![run.destination],
            number: 0,
            last_entry: 0,
        }
    }

    /// Says that the tries are of these destinations, which act at once.
    pub(crate) fn limit_to(&mut self, destinations: &[usize]) {
        self.whose = destinations.iter().copied().map(Some).collect();
    }

    /// The last journal entry that isn't of this try.
    pub(crate) fn since(&self) -> i64 {
        self.last_entry
    }

    /// Begins a try.
    ///
    /// # Errors
    /// Somebody cancelled, or the journal can't be read.
    pub(crate) async fn begin(&mut self, engine: &Engine) -> Result<()> {
        self.cancel.check()?;
        let entries = engine.store.entries(self.run.run_id).await?;
        self.last_entry = entries.first().map_or(0, |e| e.id);
        self.number += 1;
        Ok(())
    }

    /// Ends a try that failed: undoes what it did, and waits for the next.
    ///
    /// # Errors
    /// There is no next: the failure itself, or why somebody cancelled.
    pub(crate) async fn failed(&self, engine: &Engine, error: Error) -> Result<()> {
        self.cancel.check()?;
        if !error.is_retryable() || self.number >= self.retries.attempts {
            return Err(error);
        }
        let delay = delay(self.retries, self.number);
        let what = format!(
            "attempt {} failed, the next is in {} ms: {}",
            self.number,
            delay.as_millis(),
            error.report()
        );
        self.recorder.say(Level::Warn, "host", what);
        self.undo(engine).await?;
        wait(delay, self.cancel).await
    }

    /// Undoes what this try did.
    ///
    /// # Errors
    /// The journal can't be read.
    pub(crate) async fn undo(&self, engine: &Engine) -> Result<()> {
        engine
            .undo_since(self.run, self.last_entry, &self.whose, self.recorder)
            .await
    }
}

impl Engine {
    /// Undoes what a try did: all of its journal entries, and nobody else's.
    pub(crate) async fn undo_since(
        &self,
        run: &RunScope,
        last_entry: i64,
        whose: &[Option<usize>],
        recorder: &Recorder,
    ) -> Result<()> {
        let is_theirs = |entry: &Entry| match &entry.owner {
            Owner::Host => whose.contains(&None),
            Owner::Plugin { destination, .. } => whose.contains(destination),
        };
        let mut entries = self.store.entries(run.run_id).await?;
        entries.retain(|entry| entry.id > last_entry && is_theirs(entry));
        // What can't be undone stays, and is said when the run ends.
        self.settle_entries(run, entries, &Committed::default(), recorder)
            .await
            .map(drop)
    }
}

/// Waits, but not past a cancellation.
async fn wait(delay: Duration, cancel: &Cancel) -> Result<()> {
    let asked = Arc::new(tokio::sync::Notify::new());
    let _hook = cancel.on_cancel({
        let asked = Arc::clone(&asked);
        move || asked.notify_one()
    });
    tokio::select! {
        () = tokio::time::sleep(delay) => cancel.check(),
        () = asked.notified() => Err(cancel.reason()),
    }
}

/// Twice as long each time, up to the longest, with up to a quarter off so that many hosts don't knock at once.
fn delay(retries: &Retries, attempt: u32) -> Duration {
    let first = retries.first_delay.duration();
    let long = first
        .saturating_mul(1 << (attempt - 1).min(16))
        .min(retries.max_delay.duration());
    let quarter = u32::try_from(long.as_millis() / 4).unwrap_or(u32::MAX).max(1);
    let random = uuid::Uuid::new_v4().as_u128() % u128::from(quarter);
    long - Duration::from_millis(u64::try_from(random).unwrap_or(0)).min(long)
}
