//! Posts to an HTTP server.

use std::time::Duration;

use backstay_model::error::show_bytes;
use backstay_model::{Code, Error, Result};
use reqwest::redirect::Policy;

use crate::TIMEOUT;

/// Of an answer that says no, so many bytes are read.
const SHOWN_BYTES: usize = 300;

/// A request to be sent.
pub(crate) struct Request {
    pub(crate) url: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// Sends requests. Clones share their connections.
#[derive(Debug, Clone)]
pub struct Http(reqwest::Client);

impl Http {
    /// A client that verifies certificates against what the system trusts, follows no redirect and doesn't wait for long.
    ///
    /// # Errors
    /// The system's certificates can't be read.
    pub fn new() -> Result<Self> {
        // If somebody else has chosen one already, that is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        reqwest::Client::builder()
            .redirect(Policy::none())
            .referer(false)
            .connect_timeout(Duration::from_secs(10))
            .timeout(TIMEOUT)
            .user_agent(concat!("backstay/", env!("CARGO_PKG_VERSION")))
            .build()
            .map(Http)
            .map_err(|e| Error::new(Code::Environment, "there can be no HTTP client").because(e))
    }

    /// Posts a text and waits until it was taken.
    ///
    /// # Errors
    /// It wasn't, and why. The URL isn't in it.
    pub async fn post_text(&self, url: &str, text: &str) -> Result<()> {
        let headers = vec![("Content-Type".to_owned(), "text/plain; charset=utf-8".to_owned())];
        self.post(Request {
            url: url.to_owned(),
            headers,
            body: text.as_bytes().to_vec(),
        })
        .await
    }

    /// Puts a text in the place of what is at a URL.
    ///
    /// # Errors
    /// As for [`Http::post_text`].
    pub async fn put_text(&self, url: &str, text: &str) -> Result<()> {
        let request = self
            .0
            .put(url)
            .header("Content-Type", "text/plain; version=0.0.4");
        take(request.body(text.to_owned())).await
    }

    /// Deletes what is at a URL.
    ///
    /// # Errors
    /// As for [`Http::post_text`].
    pub async fn delete(&self, url: &str) -> Result<()> {
        take(self.0.delete(url)).await
    }

    pub(crate) async fn post(&self, request: Request) -> Result<()> {
        let mut builder = self.0.post(request.url).body(request.body);
        for (name, value) in request.headers {
            builder = builder.header(name, value);
        }
        take(builder).await
    }
}

async fn take(request: reqwest::RequestBuilder) -> Result<()> {
    // The URL may be what lets everybody in.
    let failed = |error: reqwest::Error| {
        let message = if error.is_timeout() {
            format!("the server did not answer within {} s", TIMEOUT.as_secs())
        } else if error.is_builder() {
            "the URL can't be used".to_owned()
        } else {
            "the server can't be reached".to_owned()
        };
        Error::new(Code::Network, message).because(error.without_url())
    };
    let mut answer = request.send().await.map_err(failed)?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    if status.is_redirection() {
        return Err(Error::new(
            Code::Network,
            format!("the server answered {status}: it sends elsewhere, and that is not followed"),
        )
        .hint("name the URL that it sends to"));
    }
    let mut said = Vec::new();
    while said.len() < SHOWN_BYTES {
        match answer.chunk().await {
            Ok(Some(chunk)) => said.extend_from_slice(&chunk[..chunk.len().min(SHOWN_BYTES - said.len())]),
            // What it answered is known already.
            Ok(None) | Err(_) => break,
        }
    }
    let said = show_bytes(&said);
    let said = said.trim();
    let said = if said.is_empty() {
        String::new()
    } else {
        format!(": {said}")
    };
    Err(Error::new(
        Code::Network,
        format!("the server answered {status}{said}"),
    ))
}
