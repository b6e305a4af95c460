//! Writes down who changes what: before it is done, and again when it is known what came of it.

use std::fmt::Display;

use backstay_model::Error;

use crate::Engine;

impl Engine {
    /// Makes a change after it was written down who makes it. What can't be written down isn't done.
    ///
    /// # Errors
    /// Those of the change; or the database can't be written, and the change was not made.
    pub async fn audited<T, E: Display + From<Error>>(
        &self,
        actor: &str,
        action: &str,
        subject: &str,
        change: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let id = self.store.begin_audit(actor, action, subject).await?;
        let result = change.await;
        let outcome = match &result {
            Ok(_) => "done".to_owned(),
            Err(error) => error.to_string(),
        };
        // The change is made, or not, whether this can be written down or not.
        if let Err(error) = self.store.end_audit(id, &outcome).await {
            tracing::warn!(
                "what came of {action} by {actor} is not known: {}",
                error.report()
            );
        }
        result
    }
}
