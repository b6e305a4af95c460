//! Which tokens hold, for those who listen for long: asked once for all of them, again and again.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use backstay_model::Result;
use backstay_store::Store;
use tokio::sync::Mutex;
use uuid::Uuid;

/// How old an answer may be.
const AGE: Duration = Duration::from_secs(2);

/// The tokens that there were, and when that was asked.
#[derive(Debug, Default)]
pub struct Tokens(Mutex<Option<(Instant, HashSet<Uuid>)>>);

impl Tokens {
    /// Whether a token is still there; it may have expired.
    ///
    /// # Errors
    /// The database can't be read.
    pub async fn holds(&self, store: &Store, id: Uuid) -> Result<bool> {
        let mut known = self.0.lock().await;
        let fresh = known
            .as_ref()
            .filter(|(at, ids)| at.elapsed() < AGE && ids.contains(&id));
        // One that is not among them may be newer than they are.
        if fresh.is_none() {
            let tokens = store.tokens().await?;
            let ids = tokens.into_iter().map(|token| token.id).collect();
            *known = Some((Instant::now(), ids));
        }
        Ok(known.as_ref().is_some_and(|(_, ids)| ids.contains(&id)))
    }
}
