//! Ends a run that somebody wants to end, whichever process carries it out.
//!
//! The wish is kept with the run in the database, so that it reaches a daemon as well as a `backstay run`. Whoever
//! carries out the run looks for it (`watch.rs`), and then ends it as for a signal: processes get SIGTERM and after ten
//! seconds SIGKILL, what it did is undone, and it is `cancelled`.

use backstay_model::run::{Run, RunError, RunStatus};
use backstay_model::{Code, Error, Result};
use backstay_store::NewEvent;
use uuid::Uuid;

use crate::Engine;

impl Engine {
    /// Ends a run that waits for its turn at once, and asks whoever carries out any other to end it. True if it has
    /// ended when this returns.
    ///
    /// # Errors
    /// [`Code::Configuration`] if there is no such run, or it ended before.
    pub async fn cancel(&self, id: Uuid) -> Result<bool> {
        let run = self.store.run(id).await?;
        if run.status == RunStatus::Queued {
            let error = Error::new(
                Code::Cancelled,
                "somebody cancelled it while it waited for its turn",
            );
            if self.end_waiting(&run, RunStatus::Cancelled, &error).await? {
                return Ok(true);
            }
        }
        if self.store.ask_to_cancel(id).await? {
            return Ok(false);
        }
        let run = self.store.run(id).await?;
        Err(Error::new(
            Code::Configuration,
            format!("the run {id} has ended before, as {}", run.status.name()),
        ))
    }

    /// Takes a run out of the queue because it will be done in another way. False if it doesn't wait any more.
    ///
    /// # Errors
    /// There is no such run, or the database can't be written.
    pub async fn withdraw(&self, id: Uuid, why: &str) -> Result<bool> {
        let run = self.store.run(id).await?;
        let why = Error::new(Code::Skipped, why);
        Ok(run.status == RunStatus::Queued && self.end_waiting(&run, RunStatus::Skipped, &why).await?)
    }

    /// Ends a run that still waits for its turn. False if it doesn't wait any more.
    pub(crate) async fn end_waiting(&self, run: &Run, status: RunStatus, why: &Error) -> Result<bool> {
        let now = self.clock.now();
        let ended = Run {
            status,
            finished_at: Some(now),
            error: Some(RunError::from(why)),
            ..run.clone()
        };
        let event = NewEvent {
            at: now,
            run_id: run.id,
            level: backstay_model::event::Level::Warn,
            origin: "host".to_owned(),
            message: why.report(),
            status: Some(status),
        };
        self.store.end_waiting_run(&ended, &event).await
    }
}
