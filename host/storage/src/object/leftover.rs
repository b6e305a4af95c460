//! Gives up multipart uploads that a crash left behind. They cost money and are seen in no listing of objects.
//!
//! OpenDAL has no operation for it. Azure forgets unfinished blocks after a
//! week by itself; for Google Cloud Storage and B2 the bucket's own rules must do it.

use std::time::Duration;

use backstay_model::Result;
use backstay_model::remote::RemoteKind;
use backstay_stream::Cancel;
use http::Method;
use opendal::ErrorKind;
use serde::Deserialize;

use super::Shared;
use crate::Key;

/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    #[serde(default, rename = "Upload")]
    uploads: Vec<Upload>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Upload {
    key: String,
    upload_id: String,
}

impl Shared {
    /// Gives up all multipart uploads of a key, or of what is below it.
    ///
    /// # Errors
    /// The store can't be asked, or refuses.
    pub(super) fn abort_uploads(&self, key: &Key) -> Result<()> {
        if self.access.remote.kind != RemoteKind::S3 {
            return Ok(());
        }
        self.wait(
            &Cancel::default(),
            Some(PATIENCE),
            "give up what was uploaded of",
            key.as_str(),
            self.abort_all(key),
        )
    }

    /// Gives up one multipart upload of a key.
    ///
    /// # Errors
    /// The store can't be asked, or refuses.
    pub(super) fn abort_upload(&self, key: &Key, upload: &str) -> Result<()> {
        if self.access.remote.kind != RemoteKind::S3 {
            return Ok(());
        }
        let doing = "give up what was uploaded of";
        self.wait(&Cancel::default(), Some(PATIENCE), doing, key.as_str(), async {
            let query = [("uploadId", upload)];
            self.request(Method::DELETE, &self.full(key), &query, None)
                .await
                .map(drop)
        })
    }

    async fn abort_all(&self, key: &Key) -> opendal::Result<()> {
        let full = self.full(key);
        // A page of a thousand uploads that begin like this key is more than there ever is.
        let query = [("prefix", full.as_str()), ("uploads", "")];
        let text = self.request(Method::GET, "", &query, None).await?;
        // Some stores answer with nothing if they know no such thing.
        let Some(text) = text.filter(|text| !text.trim().is_empty()) else {
            return Ok(());
        };
        let listed: Listed = quick_xml::de::from_str(&text).map_err(|e| {
            opendal::Error::new(ErrorKind::Unexpected, "the list of uploads can't be read").set_source(e)
        })?;
        for Upload { key, upload_id } in &listed.uploads {
            let rest = key.strip_prefix(&full);
            if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
                let query = [("uploadId", upload_id.as_str())];
                self.request(Method::DELETE, key, &query, None).await?;
            }
        }
        Ok(())
    }
}
