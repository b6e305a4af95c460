//! Gives up multipart uploads that a crash left behind. They cost money and are seen in no listing of objects.
//!
//! OpenDAL has no operation for it, so the two requests of S3 are made here. Azure forgets unfinished blocks after a
//! week by itself; for Google Cloud Storage and B2 the bucket's own rules must do it.

use std::time::Duration;

use backstay_model::Result;
use backstay_model::remote::RemoteKind;
use backstay_stream::Cancel;
use http::Method;
use opendal::ErrorKind;
use serde::Deserialize;

use super::{Shared, connect, sign};
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
    /// Gives up all multipart uploads of a key.
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
            self.request(Method::DELETE, &self.full(key), &query)
                .await
                .map(drop)
        })
    }

    /// The key in the bucket.
    fn full(&self, key: &Key) -> String {
        let root = self.operator.info().root().trim_matches('/').to_owned();
        if root.is_empty() {
            key.as_str().to_owned()
        } else {
            format!("{root}/{key}")
        }
    }

    async fn abort_all(&self, key: &Key) -> opendal::Result<()> {
        let full = self.full(key);
        // A page of a thousand uploads that begin like this key is more than there ever is.
        let query = [("prefix", full.as_str()), ("uploads", "")];
        let text = self.request(Method::GET, "", &query).await?;
        // Some stores answer with nothing if they know no such thing.
        if text.trim().is_empty() {
            return Ok(());
        }
        let listed: Listed = quick_xml::de::from_str(&text).map_err(|e| {
            opendal::Error::new(ErrorKind::Unexpected, "the list of uploads can't be read").set_source(e)
        })?;
        for upload in listed.uploads.iter().filter(|upload| upload.key == full) {
            let query = [("uploadId", upload.upload_id.as_str())];
            self.request(Method::DELETE, &full, &query).await?;
        }
        Ok(())
    }

    /// One signed request to the bucket.
    async fn request(&self, method: Method, path: &str, query: &[(&str, &str)]) -> opendal::Result<String> {
        let failed = |e: reqwest::Error| {
            opendal::Error::new(ErrorKind::Unexpected, "send http request").set_source(e.without_url())
        };
        let wrong = |what: &str| opendal::Error::new(ErrorKind::Unexpected, what.to_owned());
        let remote = &self.access.remote;
        let region = remote.region.as_deref().unwrap_or("us-east-1");
        let bucket = remote.bucket.as_deref().unwrap_or_default();
        let standard = format!("https://s3.{region}.amazonaws.com");
        let endpoint = remote
            .endpoint
            .as_deref()
            .unwrap_or(&standard)
            .trim_end_matches('/');
        let base = match endpoint.split_once("://") {
            Some((scheme, host)) if remote.virtual_host_style => format!("{scheme}://{bucket}.{host}"),
            _ => format!("{endpoint}/{bucket}"),
        };
        let query: Vec<String> = query
            .iter()
            .map(|(name, value)| format!("{name}={}", percent(value, false)))
            .collect();
        let url = format!("{base}/{}?{}", percent(path, true), query.join("&"));
        let (mut parts, ()) = http::Request::builder()
            .method(method)
            .uri(&url)
            .header("x-amz-content-sha256", "UNSIGNED-PAYLOAD")
            .body(())
            .map_err(|_| wrong("the endpoint is no URL"))?
            .into_parts();
        sign::sign(&self.access, &mut parts).await?;
        let response = connect::client()?
            .request(parts.method, parts.uri.to_string())
            .headers(parts.headers)
            .send()
            .await
            .map_err(failed)?;
        let status = response.status();
        let text = response.text().await.map_err(failed)?;
        match status.as_u16() {
            200..=299 => Ok(text),
            // Gone already, or a store that knows no uploads.
            404 | 405 | 501 => Ok(String::new()),
            401 | 403 => Err(opendal::Error::new(ErrorKind::PermissionDenied, text)),
            _ => Err(
                opendal::Error::new(ErrorKind::Unexpected, format!("HTTP {status} {text}")).set_temporary(),
            ),
        }
    }
}

/// Percent-encoding as signatures of AWS want it.
fn percent(text: &str, keeps_slashes: bool) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || (keeps_slashes && byte == b'/') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}
