//! Stores a stream of unknown length in one request, for stores that take an object only so (WebDAV): the body is
//! streamed to a temporary name, and the server renames it when all is there.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backstay_model::{Error, Result};
use backstay_stream::{Cancel, Completed};
use bytes::Bytes;
use futures::stream;
use opendal::{Buffer, ErrorKind, HttpBody, HttpTransport};
use opendal_http_transport_reqwest::ReqwestTransport;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::{Shared, connect};
use crate::Key;

/// How many blocks wait for the network; each is as large as the pump gives it, at most 1 MiB.
const WAITING: usize = 8;

/// How long what was begun may take to end.
const ABORT: Duration = Duration::from_secs(10);

/// The far end of a stream.
pub(super) struct Sink {
    shared: Arc<Shared>,
    key: Key,
    cancel: Cancel,
    body: Option<mpsc::Sender<io::Result<Bytes>>>,
    request: Option<JoinHandle<opendal::Result<()>>>,
}

/// Sends the one request with a body as a stream, which can't be sent twice.
struct Streaming {
    client: reqwest::Client,
    body: Mutex<Option<mpsc::Receiver<io::Result<Bytes>>>>,
}

impl Sink {
    pub(super) fn start(shared: Arc<Shared>, key: Key, cancel: Cancel) -> Result<Self> {
        let (body, receiver) = mpsc::channel(WAITING);
        let path = key.partial();
        let transport = connect::client().map(|client| Streaming {
            client,
            body: Mutex::new(Some(receiver)),
        });
        let operator = transport
            .and_then(|transport| connect::once(&shared.access, transport))
            .map_err(|e| shared.failed("write", key.as_str(), &e))?;
        let request = shared
            .handle
            .spawn(async move { operator.write(&path, Buffer::new()).await.map(drop) });
        Ok(Sink {
            shared,
            key,
            cancel,
            body: Some(body),
            request: Some(request),
        })
    }

    /// Waits for the answer to the request.
    fn answer(&mut self, cancel: &Cancel, patience: Option<Duration>) -> Result<()> {
        let Some(request) = self.request.take() else {
            return Ok(());
        };
        let aborter = request.abort_handle();
        let answer = self
            .shared
            .wait(cancel, patience, "write", self.key.as_str(), async {
                request
                    .await
                    .unwrap_or_else(|_| Err(opendal::Error::new(ErrorKind::Unexpected, "it was interrupted")))
            });
        aborter.abort();
        answer
    }

    /// Ends an object of so many bytes that is no artifact of its own.
    pub(super) fn complete(mut self, bytes: u64) -> Result<()> {
        self.finish(bytes)
            .map_err(|error| backstay_stream::Sink::abort(self, error))
    }

    fn finish(&mut self, bytes: u64) -> Result<()> {
        // The end of the body.
        self.body = None;
        let cancel = self.cancel.clone();
        self.answer(&cancel, None)?;
        let (shared, partial) = (Arc::clone(&self.shared), self.key.partial());
        shared.expect(&partial, bytes, &cancel)?;
        let path = self.key.as_str();
        let renaming = shared.operator.rename(&partial, path);
        let renamed = shared.wait(&cancel, None, "complete", path, renaming);
        shared.expect_after(renamed, path, bytes, &cancel)
    }
}

impl backstay_stream::Sink for Sink {
    type Stored = ();

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let Some(body) = self.body.clone() else {
            return Err(Error::internal("a stream was written to after its end"));
        };
        let bytes = Bytes::copy_from_slice(bytes);
        let shared = Arc::clone(&self.shared);
        let cancel = self.cancel.clone();
        let taken = shared.wait(&cancel, None, "write", self.key.as_str(), async {
            Ok(body.send(Ok(bytes)).await.is_ok())
        })?;
        if taken {
            return Ok(());
        }
        // Nobody reads the body any more: the request ended before its time, and says why.
        self.answer(&cancel, None)?;
        let early = opendal::Error::new(
            ErrorKind::Unexpected,
            "the server answered before it had all of it",
        );
        Err(self.shared.failed("write", self.key.as_str(), &early))
    }

    fn commit(mut self, proof: &Completed) -> Result<()> {
        match self.finish(proof.transfer().stored.bytes) {
            Ok(()) => Ok(()),
            Err(error) => Err(self.abort(error)),
        }
    }

    fn abort(mut self, cause: Error) -> Error {
        if let Some(body) = self.body.take() {
            // An error in the body breaks the connection; an end would make it a complete request. If it doesn't
            // get through, dropping the request below does the same.
            let _ = body.try_send(Err(io::Error::other("given up")));
            if let Some(request) = &self.request {
                request.abort();
            }
            drop(body);
        }
        let _ = self.answer(&Cancel::default(), Some(ABORT));
        match self.shared.remove(&self.key.partial()) {
            Ok(()) => cause,
            Err(e) => cause.hint(format!(
                "what was uploaded so far could not be removed either: {}",
                e.report()
            )),
        }
    }
}

impl HttpTransport for Streaming {
    async fn fetch(&self, request: http::Request<Buffer>) -> opendal::Result<http::Response<HttpBody>> {
        let is_dav = connect::is_dav(&request);
        if request.method() != http::Method::PUT {
            let response = ReqwestTransport::new(self.client.clone()).fetch(request).await?;
            connect::refuse(is_dav, response.status())?;
            return Ok(response);
        }
        let failed = |e: reqwest::Error| {
            opendal::Error::new(ErrorKind::Unexpected, "send http request")
                .with_temporary(!e.is_builder())
                .set_source(e)
        };
        let body = self.body.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(receiver) = body else {
            return Err(opendal::Error::new(
                ErrorKind::Unexpected,
                "a stream can't be sent twice",
            ));
        };
        let blocks = stream::unfold(receiver, |mut receiver| async {
            receiver.recv().await.map(|block| (block, receiver))
        });
        let (mut parts, _) = request.into_parts();
        // It was that of the empty body which stands for the stream.
        parts.headers.remove(http::header::CONTENT_LENGTH);
        let response = self
            .client
            .request(parts.method, parts.uri.to_string())
            .headers(parts.headers)
            .body(reqwest::Body::wrap_stream(blocks))
            .send()
            .await
            .map_err(failed)?;
        let status = response.status();
        connect::refuse(true, status)?;
        let said = response.bytes().await.map_err(failed)?;
        let size = said.len() as u64;
        let body = HttpBody::new(Box::pin(stream::iter([Ok(Buffer::from(said))])), Some(size));
        let mut answer = http::Response::new(body);
        *answer.status_mut() = status;
        Ok(answer)
    }
}
