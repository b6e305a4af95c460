//! Ends the service: takes nothing new, waits for what runs, and cancels what takes too long.

use backstay_model::{Code, Error};
use tokio::sync::watch;
use tokio::time::Instant;

use super::mend::Mending;
use super::start::Tasks;
use super::{Daemon, lock};

/// Whether the service is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Stop {
    /// It goes on.
    #[default]
    No,
    /// It takes nothing new, and ends when all that runs has ended or was cancelled after the shutdown timeout.
    Wait,
    /// What runs is cancelled at once.
    Now,
}

impl Daemon {
    /// What waits stays in the queue for the next start. What runs left that failed is undone now, if there is time for it,
    /// else at the next start.
    pub(super) async fn wind_down(
        &self,
        mut tasks: Tasks,
        mut mending: Mending,
        mut stop: watch::Receiver<Stop>,
    ) {
        let deadline = Instant::now() + self.policy().shutdown_timeout;
        if !tasks.is_empty() {
            tracing::info!("waiting for {} runs to end", tasks.len());
        }
        let mut is_over = false;
        loop {
            mending.begin_if_due(&self.engine);
            if !is_over && (*stop.borrow_and_update() == Stop::Now || Instant::now() >= deadline) {
                is_over = true;
                let reason = Error::new(Code::Cancelled, "cancelled, because the host was shut down");
                for running in lock(&self.running).values() {
                    running.cancel.cancel(&reason);
                }
            }
            if tasks.is_empty() && (is_over || !mending.is_under_way()) {
                break;
            }
            tokio::select! {
                Some(ended) = tasks.join_next_with_id() => self.ended(ended, &mut mending),
                ended = mending.ended() => mending.take_note(ended),
                Ok(()) = stop.changed(), if !is_over => {}
                () = tokio::time::sleep_until(deadline), if !is_over => {}
            }
        }
    }
}
