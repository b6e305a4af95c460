//! Requests of S3 that OpenDAL has no operation for.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::Method;
use md5::{Digest as _, Md5};
use opendal::ErrorKind;

use super::{Shared, connect, sign};
use crate::Key;

impl Shared {
    /// The key in the bucket.
    pub(super) fn full(&self, key: &Key) -> String {
        let root = self.operator.info().root().trim_matches('/').to_owned();
        if root.is_empty() {
            key.as_str().to_owned()
        } else {
            format!("{root}/{key}")
        }
    }

    /// One signed request about the bucket, or about a key in it. Returns what the store says to it; nothing if it is gone
    /// already, or the store knows no such request.
    ///
    /// # Errors
    /// The store can't be asked, or refuses. Temporary if it may pass next time.
    pub(super) async fn request(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<String>,
    ) -> opendal::Result<Option<String>> {
        let failed = |e: reqwest::Error| {
            opendal::Error::new(ErrorKind::Unexpected, "send http request")
                .set_source(e.without_url())
                .set_temporary()
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
        let mut request = http::Request::builder()
            .method(method)
            .uri(&url)
            .header("x-amz-content-sha256", "UNSIGNED-PAYLOAD");
        if let Some(body) = &body {
            request = request.header("content-md5", BASE64_STANDARD.encode(Md5::digest(body)));
        }
        let (mut parts, ()) = request
            .body(())
            .map_err(|_| wrong("the endpoint is no URL"))?
            .into_parts();
        sign::sign(&self.access, &mut parts).await?;
        let mut request = connect::client()?
            .request(parts.method, parts.uri.to_string())
            .headers(parts.headers);
        if let Some(body) = body {
            request = request.body(body);
        }
        let response = request.send().await.map_err(failed)?;
        let status = response.status();
        let text = response.text().await.map_err(failed)?;
        match status.as_u16() {
            200..=299 => Ok(Some(text)),
            404 | 405 | 501 => Ok(None),
            401 | 403 => Err(opendal::Error::new(ErrorKind::PermissionDenied, text)),
            408 | 429 | 500.. => Err(wrong(&format!("HTTP {status} {text}")).set_temporary()),
            _ => Err(wrong(&format!("HTTP {status} {text}"))),
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
