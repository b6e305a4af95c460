//! Sends the requests of one upload, and repeats those for its parts.
//!
//! OpenDAL sends parts in the background and looks at how they ended only when it is given more. Until then a part that
//! failed keeps its memory, and whoever waits for that memory would wait for ever. So a part that may pass next time is
//! repeated here, and what fails for good is reported here at once.

use std::sync::{Arc, Mutex, PoisonError};

use backon::{BackoffBuilder, ExponentialBuilder};
use futures::stream;
use http::StatusCode;
use http::request;
use opendal::raw::ServiceOperation;
use opendal::{Buffer, Error, ErrorKind, Execute, HttpBody, HttpTransport, Result};
use serde::Deserialize;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

use super::connect::Transport;
use super::{Access, sign};

/// What OpenDAL asks for by itself when a part is to go; what it asks for while we wait for the answer is repeated by
/// its own layer.
const IN_BACKGROUND: [&str; 4] = ["UploadPart", "PutBlock", "GetUploadPartUrl", "AuthorizeAccount"];

/// The transport of one upload.
pub(super) struct Repeating {
    inner: Transport,
    access: Access,
    delays: ExponentialBuilder,
    /// Where the first failure for good goes.
    failures: mpsc::Sender<Error>,
    /// B2: how to ask for the address of a part. The address of one that failed is not to be used again.
    address: Mutex<Option<request::Parts>>,
    upload: UploadId,
}

/// The id of an upload on S3, once a part of it was on its way.
pub(super) type UploadId = Arc<Mutex<Option<String>>>;

/// An answer of B2.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Address {
    upload_url: String,
    authorization_token: String,
}

/// What a store says: in XML, and B2 in JSON.
#[derive(Deserialize)]
struct Refusal {
    #[serde(rename = "Code", alias = "code")]
    code: String,
    #[serde(rename = "Message", alias = "message", default)]
    message: String,
}

/// Why an attempt didn't succeed.
struct Failed {
    error: Error,
    may_pass: bool,
}

impl Repeating {
    /// Repeats after these delays; the failures come out at the other end.
    pub(super) fn new(
        inner: Transport,
        access: Access,
        delays: ExponentialBuilder,
    ) -> (Self, mpsc::Receiver<Error>) {
        let (failures, receiver) = mpsc::channel(1);
        let transport = Repeating {
            inner,
            access,
            delays,
            failures,
            address: Mutex::default(),
            upload: UploadId::default(),
        };
        (transport, receiver)
    }

    /// Where the id of the upload is to be found.
    pub(super) fn upload(&self) -> UploadId {
        Arc::clone(&self.upload)
    }

    fn note_upload(&self, uri: &http::Uri) {
        let id = reqwest::Url::parse(&uri.to_string()).ok().and_then(|url| {
            let mut query = url.query_pairs();
            query
                .find(|(name, _)| name == "uploadId")
                .map(|(_, id)| id.into_owned())
        });
        if id.is_some() {
            *self.upload.lock().unwrap_or_else(PoisonError::into_inner) = id;
        }
    }

    async fn attempt(
        &self,
        request: http::Request<Buffer>,
    ) -> std::result::Result<http::Response<HttpBody>, Failed> {
        let failed = |error: Error| Failed {
            may_pass: error.is_temporary(),
            error,
        };
        let is_b2 = self.address().is_some();
        let response = self.inner.fetch(request).await.map_err(failed)?;
        let (head, mut body) = response.into_parts();
        // The answers to parts are small. One that breaks off is a failure of the attempt.
        let said = body.to_buffer().await.map_err(failed)?;
        if !head.status.is_success() {
            return Err(refusal(head.status, &said.to_vec(), is_b2));
        }
        let size = said.len() as u64;
        let body = HttpBody::new(Box::pin(stream::iter([Ok(said)])), Some(size));
        Ok(http::Response::from_parts(head, body))
    }

    fn address(&self) -> Option<request::Parts> {
        self.address
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Makes a part ready to be sent again: to another address if the store wants that after a failure, else with a
    /// signature of now.
    async fn prepare(
        &self,
        request: http::Request<Buffer>,
    ) -> std::result::Result<http::Request<Buffer>, Failed> {
        let failed = |error: Error| Failed {
            error,
            may_pass: false,
        };
        let (mut head, body) = request.into_parts();
        match self.address() {
            Some(asking) => {
                let asking = http::Request::from_parts(asking, Buffer::new());
                let said = self.attempt(asking).await?.into_body().to_buffer().await;
                let address = said.and_then(|said| address(&said.to_vec()));
                let (uri, token) = address.map_err(failed)?;
                head.uri = uri;
                head.headers.insert(http::header::AUTHORIZATION, token);
            }
            None => sign::sign(&self.access, &mut head).await.map_err(failed)?,
        }
        Ok(http::Request::from_parts(head, body))
    }

    async fn repeat(
        &self,
        request: http::Request<Buffer>,
        is_part: bool,
    ) -> Result<http::Response<HttpBody>> {
        let mut delays = self.delays.build();
        let mut outcome = self.attempt(request.clone()).await;
        loop {
            let Failed { error, may_pass } = match outcome {
                Ok(response) => return Ok(response),
                Err(failed) => failed,
            };
            if !may_pass {
                return Err(error);
            }
            let Some(delay) = delays.next() else {
                // The word of OpenDAL's own layer for what it gave up on.
                return Err(error.set_temporary().set_persistent());
            };
            tokio::time::sleep(delay).await;
            let again = request.clone();
            let again = if is_part {
                self.prepare(again).await
            } else {
                Ok(again)
            };
            outcome = match again {
                Ok(again) => self.attempt(again).await,
                Err(failed) => Err(failed),
            };
        }
    }
}

impl HttpTransport for Repeating {
    async fn fetch(&self, request: http::Request<Buffer>) -> Result<http::Response<HttpBody>> {
        let operation = request
            .extensions()
            .get::<ServiceOperation>()
            .map(|operation| operation.0);
        // What has no name is a request for a token.
        if operation.is_some_and(|operation| !IN_BACKGROUND.contains(&operation)) {
            return self.inner.fetch(request).await;
        }
        if operation == Some("GetUploadPartUrl") {
            let (head, body) = request.clone().into_parts();
            drop(body);
            *self.address.lock().unwrap_or_else(PoisonError::into_inner) = Some(head);
        }
        if operation == Some("UploadPart") {
            self.note_upload(request.uri());
        }
        let is_part = matches!(operation, Some("UploadPart" | "PutBlock"));
        let outcome = self.repeat(request, is_part).await;
        outcome.map_err(|error| {
            // If there is one already, that came first.
            let _ = self.failures.try_send(error);
            Error::new(ErrorKind::Unexpected, "the upload has failed")
        })
    }
}

/// Where a part is to go, and with which token, as B2 says it.
fn address(said: &[u8]) -> Result<(http::Uri, http::HeaderValue)> {
    let unusable = || {
        Error::new(
            ErrorKind::Unexpected,
            "the store named no usable address for a part",
        )
    };
    let address: Address = serde_json::from_slice(said).map_err(|e| unusable().set_source(e))?;
    let uri = address
        .upload_url
        .parse()
        .map_err(|e: http::uri::InvalidUri| unusable().set_source(e))?;
    let token = http::HeaderValue::try_from(address.authorization_token);
    Ok((uri, token.map_err(|e| unusable().set_source(e))?))
}

/// What an answer other than success means.
fn refusal(status: StatusCode, said: &[u8], is_b2: bool) -> Failed {
    let text = String::from_utf8_lossy(said);
    let refusal = serde_json::from_slice::<Refusal>(said)
        .ok()
        .or_else(|| quick_xml::de::from_str::<Refusal>(&text).ok());
    let code = refusal.as_ref().map(|refusal| refusal.code.as_str());
    let kind = match (status.as_u16(), code) {
        (_, Some("NoSuchBucket")) => ErrorKind::ConfigInvalid,
        (401 | 403, _) => ErrorKind::PermissionDenied,
        (404, _) => ErrorKind::NotFound,
        (429, _) | (_, Some("SlowDown")) => ErrorKind::RateLimited,
        _ => ErrorKind::Unexpected,
    };
    let message = match &refusal {
        Some(Refusal { code, message }) if message.is_empty() => code.clone(),
        Some(Refusal { code, message }) => format!("{code}: {message}"),
        None if text.trim().is_empty() => format!("HTTP {status}"),
        None => text.into_owned(),
    };
    let may_pass = matches!(status.as_u16(), 408 | 429 | 499 | 500 | 502 | 503 | 504)
        // An address of B2 is for some time only, and says so with 401.
        || (is_b2 && status == StatusCode::UNAUTHORIZED)
        || matches!(code, Some("RequestTimeout" | "OperationAborted"));
    Failed {
        error: Error::new(kind, message),
        may_pass,
    }
}

/// Runs what OpenDAL does in the background, and knows how much of it there is.
pub(super) struct Background {
    handle: Handle,
    running: watch::Sender<usize>,
}

impl Background {
    pub(super) fn new(handle: Handle) -> (Self, watch::Receiver<usize>) {
        let (running, receiver) = watch::channel(0);
        (Background { handle, running }, receiver)
    }
}

impl Execute for Background {
    fn execute(&self, work: opendal::raw::BoxedStaticFuture<()>) {
        let running = self.running.clone();
        running.send_modify(|running| *running += 1);
        self.handle.spawn(async move {
            work.await;
            running.send_modify(|running| *running -= 1);
        });
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpListener;
    use std::time::Duration;

    use backstay_model::remote::{Remote, RemoteKind};

    use super::*;

    /// Answers requests, one on each connection, and returns their first lines with their tokens.
    fn serve(listener: &TcpListener, answers: &[(u16, String)]) -> Vec<String> {
        let mut seen = Vec::new();
        for (status, body) in answers {
            let (stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(&stream);
            let (mut line, mut length) = (String::new(), 0);
            let mut said = String::new();
            while reader.read_line(&mut line).unwrap() > 2 {
                let lower = line.to_ascii_lowercase();
                if let Some(text) = lower.strip_prefix("content-length:") {
                    length = text.trim().parse().unwrap();
                }
                if said.is_empty() || lower.starts_with("authorization:") {
                    said.push_str(line.trim_end());
                    said.push(' ');
                }
                line.clear();
            }
            reader.read_exact(&mut vec![0; length]).unwrap();
            let size = body.len();
            write!(
                &stream,
                "HTTP/1.1 {status} So\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n{body}"
            )
            .unwrap();
            seen.push(said.trim_end().replace("authorization: ", ""));
        }
        seen
    }

    fn b2() -> Access {
        Access {
            remote: Remote {
                name: "main".to_owned(),
                kind: RemoteKind::B2,
                bucket: None,
                bucket_id: None,
                endpoint: None,
                region: None,
                account: None,
                root: None,
                virtual_host_style: false,
                identity_file: None,
                known_hosts_file: None,
            },
            secret: None,
            prefix: String::new(),
            storage_class: None,
            lock: None,
            retries: 0,
        }
    }

    #[test]
    fn a_part_for_b2_that_fails_is_sent_to_another_address_with_its_token() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let address =
            |name: &str| format!(r#"{{"uploadUrl":"{base}/{name}","authorizationToken":"{name}"}}"#);
        let answers = [
            (200, address("one")),
            (
                503,
                r#"{"status":503,"code":"service_unavailable","message":"no tomes available"}"#.into(),
            ),
            (200, address("two")),
            (200, "{}".into()),
        ];
        let server = std::thread::spawn(move || serve(&listener, &answers));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .unwrap();
        let delays = ExponentialBuilder::default().with_min_delay(Duration::from_millis(1));
        let inner = Transport::new().unwrap();
        let (transport, mut failures) = Repeating::new(inner, b2(), delays);
        let request = |method: &str, url: String, token: &str, operation| {
            http::Request::builder()
                .method(method)
                .uri(url)
                .header(http::header::AUTHORIZATION, token)
                .extension(ServiceOperation(operation))
        };
        let ask = request("GET", format!("{base}/ask"), "key", "GetUploadPartUrl");
        runtime
            .block_on(transport.fetch(ask.body(Buffer::new()).unwrap()))
            .unwrap();
        let part = request("POST", format!("{base}/one"), "one", "UploadPart");
        let sent = runtime.block_on(transport.fetch(part.body(Buffer::from("part")).unwrap()));
        assert_eq!(sent.unwrap().status(), 200);
        assert_eq!(
            server.join().unwrap(),
            [
                "GET /ask HTTP/1.1 key",
                "POST /one HTTP/1.1 one",
                "GET /ask HTTP/1.1 key",
                "POST /two HTTP/1.1 two"
            ]
        );
        assert!(failures.try_recv().is_err());
    }

    #[test]
    fn a_refusal_is_told_in_the_words_of_the_store() {
        let xml = "<?xml version=\"1.0\"?><Error><Code>SlowDown</Code><Message>less, please</Message><RequestId>1</RequestId></Error>";
        let slow = refusal(StatusCode::SERVICE_UNAVAILABLE, xml.as_bytes(), false);
        assert!(slow.may_pass);
        assert_eq!(
            (slow.error.kind(), slow.error.message()),
            (ErrorKind::RateLimited, "SlowDown: less, please")
        );
        let json = br#"{"status":401,"code":"expired_auth_token","message":"too old"}"#;
        for is_b2 in [true, false] {
            let expired = refusal(StatusCode::UNAUTHORIZED, json, is_b2);
            assert_eq!(
                (expired.may_pass, expired.error.message()),
                (is_b2, "expired_auth_token: too old")
            );
        }
        let bare = refusal(StatusCode::BAD_REQUEST, b"", false);
        assert_eq!(
            (bare.may_pass, bare.error.message()),
            (false, "HTTP 400 Bad Request")
        );
    }
}
