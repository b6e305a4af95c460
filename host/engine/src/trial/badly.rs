//! What a destination must do when something goes wrong: nothing stays, and the reason is told.

use std::sync::Arc;
use std::time::Duration;

use backstay_model::plugin::ContentKind;
use backstay_model::{Code, Error, Result};
use backstay_plugin::Content;
use backstay_stream::{Cancel, Context};
use tokio::sync::Notify;

use super::recipe::{End, FAILURE, Noise};
use super::{Seen, Trial, wrong};
use crate::recorder::Silent;

/// So much that a part of it has left this machine's memory before the end is known: 16 MiB wait in the pump, and an
/// upload in parts begins with the second one.
const SENT_BYTES: usize = 34 << 20;

/// How long what is on its way may need to arrive.
const ARRIVAL: Duration = Duration::from_millis(200);

/// How long a plugin may take to end when it is told to.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why a run was cancelled.
const CANCELLED: &str = "cancelled, as the test wished";

impl Trial<'_> {
    pub(super) async fn failed_source(&self) -> Seen {
        if !self.takes(ContentKind::Stream) {
            return Ok(Some("it takes no streams".to_owned()));
        }
        let (attempt, noise) = (self.begin().await?, noise(End::Failure));
        let stored = self
            .store(&attempt, "failed/data", noise, Context::default())
            .await;
        self.end(attempt, false).await?;
        self.expect_failure(stored, Code::BackupFailed, FAILURE)?;
        self.expect_listed(&self.before).await?;
        Ok(None)
    }

    pub(super) async fn cancelled(&self) -> Seen {
        if !self.takes(ContentKind::Stream) {
            return Ok(Some("it takes no streams".to_owned()));
        }
        let (sent, cancel) = (Arc::new(Notify::new()), Cancel::default());
        let (attempt, noise) = (self.begin().await?, noise(End::Never(Arc::clone(&sent))));
        let context = Context {
            cancel: cancel.clone(),
            ..Context::default()
        };
        let storing = self.store(&attempt, "cancelled/data", noise, context);
        let stopping = async {
            // It may refuse to take that much.
            let _ = tokio::time::timeout(PATIENCE, sent.notified()).await;
            cancel.cancel(&Error::new(Code::Cancelled, CANCELLED));
            tokio::time::sleep(PATIENCE).await;
        };
        let stored = tokio::select! {
            stored = storing => stored,
            () = stopping => return Err(wrong(format!("it didn't end within {} s", PATIENCE.as_secs()))),
        };
        self.end(attempt, false).await?;
        // Why is known to the host, which has cancelled it.
        if stored.is_ok() {
            return Err(wrong("it was stored, and should have been cancelled"));
        }
        self.expect_listed(&self.before).await?;
        Ok(None)
    }

    pub(super) async fn killed(&self, kill: &impl AsyncFn() -> Result<()>) -> Seen {
        if !self.takes(ContentKind::Stream) {
            return Ok(Some("it takes no streams".to_owned()));
        }
        kill().await?;
        let recovered = self.engine.recover(Arc::new(Silent)).await?;
        if let Some(warning) = recovered.warnings.first() {
            return Err(wrong(&warning.message));
        }
        if recovered.interrupted.is_empty() {
            return Err(Error::internal("no run was interrupted"));
        }
        self.expect_listed(&self.before).await?;
        Ok(None)
    }

    /// Stores something that never ends, and calls `sent` when a part of it must be at the place.
    ///
    /// # Errors
    /// It was not killed.
    pub async fn store_until_killed(&self, sent: impl FnOnce() -> Result<()>) -> Result<()> {
        let told = Arc::new(Notify::new());
        let (attempt, noise) = (self.begin().await?, noise(End::Never(Arc::clone(&told))));
        let storing = self.store(&attempt, "killed/data", noise, self.context.clone());
        let telling = async {
            told.notified().await;
            tokio::time::sleep(ARRIVAL).await;
            if let Err(error) = sent() {
                return error;
            }
            std::future::pending().await
        };
        let ended = tokio::select! {
            stored = storing => stored.map_or_else(|error| error, |_| wrong("it stored what never ended")),
            error = telling => error,
        };
        self.end(attempt, false).await?;
        Err(ended)
    }
}

fn noise(end: End) -> Content {
    Content::Stream(Arc::new(Noise {
        bytes: SENT_BYTES,
        end,
    }))
}
