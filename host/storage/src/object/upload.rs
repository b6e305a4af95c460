//! Stores a stream of unknown length as a multipart upload: parts go up in parallel while the next one fills.
//!
//! Stores publish an object when the upload is completed, whole or not at all. What is on its way is bounded by
//! [`parts::MEMORY_MIB`]: memory for a part is had only when an earlier part has gone.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use backstay_model::{Code, Error, Result};
use backstay_stream::{Cancel, Completed};
use bytes::Bytes;
use opendal::{Buffer, Writer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

use super::connect::Signs;
use super::parts::Plan;
use super::{Shared, connect, parts};
use crate::Key;

/// How long the store may take to give up an upload; what it doesn't is given up when the run is undone.
const ABORT: Duration = Duration::from_secs(10);

/// How long the connections may take to let go of a part whose answer is there.
const SETTLE: Duration = Duration::from_secs(3);

/// The far end of a stream.
pub(super) struct Sink {
    shared: Arc<Shared>,
    key: Key,
    cancel: Cancel,
    writer: Writer,
    signs: Signs,
    plan: Plan,
    memory: Arc<Semaphore>,
    part: Option<Part>,
    number: usize,
}

/// Bytes of a part, and the memory that they take from the others.
struct Part {
    bytes: Vec<u8>,
    size: usize,
    _memory: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Sink {
    pub(super) fn start(shared: Arc<Shared>, key: Key, cancel: Cancel) -> Result<Self> {
        Self::start_with(shared, key, cancel, Plan::default())
    }

    fn start_with(shared: Arc<Shared>, key: Key, cancel: Cancel, plan: Plan) -> Result<Self> {
        let path = key.as_str().to_owned();
        let (operator, signs) = connect::upload(&shared.operator, &shared.access, &shared.handle)
            .map_err(|e| shared.failed("write", &path, &e))?;
        let opening = operator.writer_with(&path).concurrent(parts::PARALLEL);
        let writer = shared.wait(&cancel, None, "write", &path, async { opening.await })?;
        Ok(Sink {
            shared,
            key,
            cancel,
            writer,
            signs,
            plan,
            memory: Arc::new(Semaphore::new(parts::MEMORY_MIB)),
            part: None,
            number: 0,
        })
    }

    /// The part that is being filled; waits for memory if there is none.
    fn part(&mut self) -> Result<&mut Part> {
        if self.part.is_none() {
            if self.number == parts::MAX_PARTS {
                let message = format!("{} is larger than a store takes in one object", self.shown());
                return Err(Error::new(Code::Storage, message).hint("back it up in several jobs"));
            }
            let (size, weight) = self.plan.part(self.number);
            let memory = Arc::clone(&self.memory);
            let Signs {
                failures, running, ..
            } = &mut self.signs;
            let memory = self
                .shared
                .wait(&self.cancel, None, "write", self.key.as_str(), async {
                    tokio::select! {
                        biased;
                        Some(error) = failures.recv() => Err(error),
                        memory = memory.acquire_many_owned(weight) => memory.map_err(|_| unexpected("it is closed")),
                        () = idle(running) => Err(unexpected("the answer to a part makes no sense")),
                    }
                })?;
            self.part = Some(Part {
                bytes: Vec::with_capacity(size),
                size,
                _memory: memory,
            });
        }
        self.part
            .as_mut()
            .ok_or_else(|| Error::internal("a part that was made isn't there"))
    }

    /// Hands the part at hand to the store.
    fn send(&mut self) -> Result<()> {
        let Some(part) = self.part.take() else {
            return Ok(());
        };
        self.number += 1;
        let buffer = Buffer::from(Bytes::from_owner(part));
        let sending = unless(&mut self.signs.failures, self.writer.write(buffer));
        self.shared
            .wait(&self.cancel, None, "write", self.key.as_str(), sending)
    }

    fn shown(&self) -> String {
        self.shared.location(self.key.as_str())
    }

    /// Ends an object of so many bytes that is no artifact of its own.
    pub(super) fn complete(mut self, bytes: u64) -> Result<()> {
        self.finish(bytes)
            .map_err(|error| backstay_stream::Sink::abort(self, error))
    }

    fn finish(&mut self, bytes: u64) -> Result<()> {
        self.send()?;
        let (shared, path) = (Arc::clone(&self.shared), self.key.as_str());
        let closing = unless(&mut self.signs.failures, self.writer.close());
        let closed = shared
            .wait(&self.cancel, None, "complete", path, closing)
            .map(drop);
        shared.expect_after(closed, path, bytes, &self.cancel)?;
        shared.lock(&self.key, &self.cancel)
    }

    /// Gives up what was uploaded.
    fn give_up(&mut self) -> Result<()> {
        self.part = None;
        let shared = Arc::clone(&self.shared);
        let path = self.key.as_str();
        let aborting = self.writer.abort();
        if shared
            .wait(&Cancel::default(), Some(ABORT), "give up", path, aborting)
            .is_ok()
        {
            return Ok(());
        }
        // A writer that was interrupted can't do it. Only this upload: one of a later attempt may be under way.
        let upload = &self.signs.upload;
        let upload = upload.lock().unwrap_or_else(PoisonError::into_inner).clone();
        upload.map_or(Ok(()), |upload| shared.abort_upload(&self.key, &upload))
    }
}

impl backstay_stream::Sink for Sink {
    type Stored = ();

    fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let part = self.part()?;
            let (now, rest) = bytes.split_at(bytes.len().min(part.size - part.bytes.len()));
            part.bytes.extend_from_slice(now);
            bytes = rest;
            if part.bytes.len() == part.size {
                self.send()?;
            }
        }
        Ok(())
    }

    fn commit(mut self, proof: &Completed) -> Result<()> {
        match self.finish(proof.transfer().stored.bytes) {
            Ok(()) => Ok(()),
            Err(error) => Err(self.abort(error)),
        }
    }

    fn abort(mut self, cause: Error) -> Error {
        match self.give_up() {
            Ok(()) => cause,
            Err(e) => cause.hint(format!(
                "what was uploaded so far could not be given up either: {}",
                e.report()
            )),
        }
    }
}

/// Does something, unless what happens in the background fails first: that is the cause.
async fn unless<T>(
    failures: &mut mpsc::Receiver<opendal::Error>,
    work: impl Future<Output = opendal::Result<T>>,
) -> opendal::Result<T> {
    tokio::select! {
        biased;
        Some(error) = failures.recv() => Err(error),
        done = work => done,
    }
}

/// Ends when no part has been on its way for a while: nothing will give memory back any more.
async fn idle(running: &mut watch::Receiver<usize>) {
    if running.wait_for(|running| *running == 0).await.is_ok() {
        tokio::time::sleep(SETTLE).await;
    }
}

fn unexpected(message: &str) -> opendal::Error {
    opendal::Error::new(opendal::ErrorKind::Unexpected, message.to_owned())
}

impl Shared {
    /// Fails unless an object is there with so many bytes, after the last request for it. If that failed, its answer
    /// may have been lost, and the repeat of what was done already been refused: so the object itself is looked at, once.
    pub(super) fn expect_after(
        &self,
        last: Result<()>,
        path: &str,
        bytes: u64,
        cancel: &Cancel,
    ) -> Result<()> {
        let Err(error) = last else {
            return self.expect(path, bytes, cancel);
        };
        if cancel.is_cancelled() || self.size(&self.looks, path, cancel).ok().flatten() != Some(bytes) {
            return Err(error);
        }
        Ok(())
    }

    /// Fails unless an object is there with so many bytes, and takes it away.
    pub(super) fn expect(&self, path: &str, bytes: u64, cancel: &Cancel) -> Result<()> {
        let found = self.size(&self.operator, path, cancel)?;
        if found == Some(bytes) {
            return Ok(());
        }
        let shown = self.location(path);
        let message = match found {
            None => format!("{shown} was stored and is not there"),
            Some(found) => format!("{shown} has {found} bytes in the store, and {bytes} were sent"),
        };
        let error = Error::new(Code::Storage, message)
            .hint("something between here and the store changes what is sent: look at proxies and at the server's log")
            .retryable();
        match self.remove(path) {
            Ok(()) => Err(error),
            Err(e) => Err(error.hint(format!("it could not be removed either: {}", e.report()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use backstay_model::filters::Filters;
    use backstay_model::remote::{Remote, RemoteKind};
    use backstay_stream::recipe::TextRecipe;
    use backstay_stream::{Context, pump::pump};
    use backstay_testkit::process::wait_until;
    use backstay_testkit::proxy::{Fault, Proxy};
    use backstay_testkit::stores::{ACCOUNT, BUCKET, ObjectServer, Protocol, SECRET};

    use super::*;
    use crate::object::{Access, ObjectStore};

    /// Parts of 5 MiB, the least that S3 takes, of which two may be in memory, as of those beyond 113 GiB.
    const SMALL: Plan = Plan {
        unit: 5 << 12,
        skipped: 5500,
    };

    struct Lab {
        server: ObjectServer,
        proxy: Proxy,
        runtime: tokio::runtime::Runtime,
    }

    impl Lab {
        fn new(protocol: Protocol) -> Self {
            let server = ObjectServer::start(protocol);
            Lab {
                proxy: Proxy::start(server.port()),
                server,
                runtime: tokio::runtime::Builder::new_multi_thread()
                    .enable_all()
                    .build()
                    .unwrap(),
            }
        }

        fn store(&self) -> ObjectStore {
            let is_s3 = self.server.protocol() == Protocol::S3;
            let remote = Remote {
                name: "main".to_owned(),
                kind: if is_s3 { RemoteKind::S3 } else { RemoteKind::Webdav },
                bucket: is_s3.then(|| BUCKET.to_owned()),
                bucket_id: None,
                endpoint: Some(format!("http://127.0.0.1:{}", self.proxy.port())),
                region: None,
                account: Some(ACCOUNT.to_owned()),
                root: None,
                virtual_host_style: false,
                identity_file: None,
                known_hosts_file: None,
            };
            let access = Access {
                remote,
                secret: Some(SECRET.to_owned()),
                prefix: String::new(),
                storage_class: None,
                lock: None,
                retries: 1,
            };
            ObjectStore::open(access, self.runtime.handle().clone()).unwrap()
        }

        /// Stores five small parts. What hangs is cancelled.
        fn upload(&self) -> Result<Vec<u8>> {
            let context = Context::default();
            let key = Key::parse("one/data").unwrap();
            let cancel = context.cancel.clone();
            let (done, waiting) = std::sync::mpsc::channel::<()>();
            let watch = std::thread::spawn(move || {
                if waiting.recv_timeout(Duration::from_secs(60))
                    == Err(std::sync::mpsc::RecvTimeoutError::Timeout)
                {
                    cancel.cancel(&Error::new(Code::Cancelled, "the upload hangs"));
                }
            });
            let content: Vec<u8> = (0..6_000_000u32).flat_map(u32::to_le_bytes).collect();
            let recipe = Arc::new(TextRecipe::new(content.clone()));
            let store = self.store();
            let stored = if self.server.protocol() == Protocol::S3 {
                let sink = Sink::start_with(Arc::clone(&store.shared), key, context.cancel.clone(), SMALL)?;
                pump(recipe, &Filters::default(), sink, &context).map(drop)
            } else {
                store.put(&key, recipe, &Filters::default(), &context).map(drop)
            };
            drop(done);
            watch.join().unwrap();
            stored.map(|()| content)
        }

        #[track_caller]
        fn assert_stored(&self, uploaded: Result<Vec<u8>>) {
            let content = uploaded.map_err(|e| e.report()).unwrap();
            assert!(std::fs::read(self.server.files().join("one/data")).unwrap() == content);
            assert_eq!(self.server.objects(), ["one/data"]);
        }

        #[track_caller]
        fn assert_empty(&self) {
            assert_eq!(self.server.objects(), Vec::<String>::new());
            let unfinished = self.server.unfinished_uploads();
            assert!(!unfinished.contains("UploadId"), "{unfinished}");
        }
    }

    #[test]
    fn parts_may_fail_once_when_there_is_memory_for_two() {
        let lab = Lab::new(Protocol::S3);
        for part in 1..=3 {
            lab.proxy
                .fail("PUT", &format!("partNumber={part}&"), 0, 1, Fault::Answer(503));
        }
        lab.assert_stored(lab.upload());
        assert_eq!(lab.proxy.struck(), 3);
    }

    #[test]
    fn a_part_that_fails_for_good_ends_the_upload_with_its_cause() {
        for (fault, says) in [
            (Fault::Answer(503), "HTTP 503 Service Unavailable"),
            (Fault::Answer(400), "HTTP 400 Bad Request"),
            (Fault::ResetRequest(1000), "reset"),
            // It has nothing of what the answer to a part has.
            (Fault::Answer(200), "makes no sense"),
        ] {
            let lab = Lab::new(Protocol::S3);
            lab.proxy.fail("PUT", "partNumber=1&", 0, usize::MAX, fault);
            let error = lab.upload().unwrap_err();
            assert!(error.report().contains(says), "{fault:?}: {}", error.report());
            lab.assert_empty();
        }
    }

    #[test]
    fn giving_up_an_attempt_leaves_the_next_one_alone() {
        let lab = Lab::new(Protocol::S3);
        let store = lab.store();
        let uploads = || lab.server.unfinished_uploads().matches("\"UploadId\"").count();
        let begin = |expected| {
            let key = Key::parse("one/data").unwrap();
            let mut sink =
                Sink::start_with(Arc::clone(&store.shared), key, Cancel::default(), SMALL).unwrap();
            backstay_stream::Sink::write(&mut sink, &vec![1; 11 << 20]).unwrap();
            wait_until("an upload", Duration::from_secs(60), || uploads() == expected);
            sink
        };
        let (first, second) = (begin(1), begin(2));
        // It can't be given up in the usual way.
        lab.proxy.fail("DELETE", "uploadId=", 0, 2, Fault::Answer(503));
        backstay_stream::Sink::abort(first, Error::new(Code::Cancelled, "enough"));
        assert_eq!(lab.proxy.struck(), 2);
        assert_eq!(uploads(), 1);
        backstay_stream::Sink::abort(second, Error::new(Code::Cancelled, "enough"));
        lab.assert_empty();
    }

    #[test]
    fn an_object_is_kept_if_only_the_last_answer_is_lost() {
        for (protocol, method, path) in [
            (Protocol::S3, "POST", "uploadId="),
            (Protocol::WebDav, "MOVE", "data"),
        ] {
            let lab = Lab::new(protocol);
            lab.proxy.fail(method, path, 0, 1, Fault::CutAnswer(0));
            lab.assert_stored(lab.upload());
            assert_eq!(lab.proxy.struck(), 1);
        }
    }
}
