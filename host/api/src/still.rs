//! Which tokens and sessions are still there, for those who listen for long: asked once for all of them, again and again.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use backstay_model::Result;
use tokio::sync::Mutex;
use uuid::Uuid;

/// How old an answer may be.
const AGE: Duration = Duration::from_secs(2);

/// Those that there were, and when that was asked.
#[derive(Debug, Default)]
pub struct Still(Mutex<Option<(Instant, HashSet<Uuid>)>>);

impl Still {
    /// Whether one is still there, by an answer to `ask` for all that there are.
    ///
    /// # Errors
    /// Those of `ask`.
    pub async fn has(&self, id: Uuid, ask: impl Future<Output = Result<HashSet<Uuid>>>) -> Result<bool> {
        let mut known = self.0.lock().await;
        let fresh = known
            .as_ref()
            .filter(|(at, ids)| at.elapsed() < AGE && ids.contains(&id));
        // One that is not among them may be newer than they are.
        if fresh.is_none() {
            *known = Some((Instant::now(), ask.await?));
        }
        Ok(known.as_ref().is_some_and(|(_, ids)| ids.contains(&id)))
    }
}
