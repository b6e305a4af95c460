//! Clients of the service: one request, requests at a fixed rate, and listeners.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use anyhow::Result;
use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// What people and dashboards ask for, in turn.
const PATHS: [&str; 8] = [
    "/status",
    "/api/v1/jobs",
    "/api/v1/runs?limit=20",
    "/ready",
    "/api/v1/queue",
    "/api/v1/jobs/large",
    "/api/v1/backups?limit=20",
    "/health",
];

/// So many connections send the requests in turn.
const CONNECTIONS: u32 = 40;

/// How often it is looked whether the load is over.
const LOOK: Duration = Duration::from_millis(100);

/// Where the service is, and what lets a client in.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) port: u16,
    pub(super) token: String,
}

impl Target {
    async fn connect(&self) -> Result<SendRequest<Empty<Bytes>>> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // What goes wrong with it is seen by who sends.
        tokio::spawn(connection);
        Ok(sender)
    }

    fn request(&self, path: &str) -> Result<Request<Empty<Bytes>>> {
        let request = Request::builder()
            .uri(path)
            .header(header::HOST, format!("127.0.0.1:{}", self.port))
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token));
        Ok(request.body(Empty::new())?)
    }
}

/// A thread's own place for tasks.
fn on_this_thread<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(work)
}

/// One request: its status and body.
pub(super) fn get(target: &Target, path: &str) -> Result<(u16, Bytes)> {
    on_this_thread(async { exchange(&mut target.connect().await?, target, path).await })
}

async fn exchange(
    sender: &mut SendRequest<Empty<Bytes>>,
    target: &Target,
    path: &str,
) -> Result<(u16, Bytes)> {
    sender.ready().await?;
    let response = sender.send_request(target.request(path)?).await?;
    let status = response.status().as_u16();
    Ok((status, response.into_body().collect().await?.to_bytes()))
}

/// What became of the requests.
#[derive(Default)]
pub(super) struct Requests {
    /// From when each was due to its answer, the fastest first.
    pub(super) micros: Vec<u64>,
    pub(super) failed: usize,
    pub(super) first_failure: Option<String>,
}

impl Requests {
    /// Milliseconds within which this part of them was answered.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a place in a list of some thousands"
    )]
    pub(super) fn millis(&self, part: f64) -> f64 {
        let last = self.micros.len().saturating_sub(1);
        let at = ((last as f64) * part).ceil() as usize;
        self.micros
            .get(at)
            .map_or(f64::NAN, |micros| *micros as f64 / 1e3)
    }
}

/// Sends requests at a fixed rate until it is over.
pub(super) fn ask(target: &Target, rate: u32, is_over: &Arc<AtomicBool>) -> Result<Requests> {
    on_this_thread(async {
        let start = Instant::now();
        let every = Duration::from_secs(1) / rate;
        let mut workers = JoinSet::new();
        for worker in 0..CONNECTIONS {
            workers.spawn(ask_in_turn(
                target.clone(),
                start,
                every,
                worker,
                Arc::clone(is_over),
            ));
        }
        let mut all = Requests::default();
        while let Some(some) = workers.join_next().await {
            let mut some = some?;
            all.micros.append(&mut some.micros);
            all.failed += some.failed;
            all.first_failure = all.first_failure.or(some.first_failure);
        }
        all.micros.sort_unstable();
        Ok(all)
    })
}

/// Sends every so-manieth request when it is due, by a connection of its own.
async fn ask_in_turn(
    target: Target,
    start: Instant,
    every: Duration,
    mut number: u32,
    is_over: Arc<AtomicBool>,
) -> Requests {
    let mut requests = Requests::default();
    let mut sender = None;
    while !is_over.load(Ordering::Relaxed) {
        let due = start + every * number;
        tokio::time::sleep_until(due.into()).await;
        let path = PATHS[(number / CONNECTIONS + number) as usize % PATHS.len()];
        let answered = async {
            let sender = match &mut sender {
                Some(sender) => sender,
                none => none.insert(target.connect().await?),
            };
            exchange(sender, &target, path).await
        };
        let failure = match answered.await {
            Ok((200, _)) => None,
            Ok((status, body)) => Some(format!("{path}: {status} {}", String::from_utf8_lossy(&body))),
            Err(error) => Some(format!("{path}: {error:#}")),
        };
        match failure {
            None => requests
                .micros
                .push(u64::try_from(due.elapsed().as_micros()).unwrap_or(u64::MAX)),
            Some(why) => {
                requests.failed += 1;
                requests.first_failure.get_or_insert(why);
                sender = None;
            }
        }
        number += CONNECTIONS;
    }
    requests
}

/// What one listener heard.
#[derive(Default)]
pub(super) struct Heard {
    /// The events, as they came.
    pub(super) ids: Vec<i64>,
    /// How often it heard how far a run is.
    pub(super) progress: usize,
}

/// Has clients listen until it is over, and tells by `connected` how many were refused once all are there.
pub(super) fn listen(
    target: &Target,
    count: u32,
    is_over: &AtomicBool,
    connected: mpsc::Sender<usize>,
) -> Result<Vec<Heard>> {
    on_this_thread(async {
        let mut bodies = Vec::new();
        let mut refused = 0;
        for _ in 0..count {
            let mut sender = target.connect().await?;
            let response = sender.send_request(target.request("/api/v1/events")?).await?;
            if response.status() == 200 {
                // The connection lives as long as who may send by it.
                bodies.push((sender, response.into_body()));
            } else {
                refused += 1;
            }
        }
        // Whoever waits for it may have given up.
        let _ = connected.send(refused);
        let (stop, stopped) = tokio::sync::watch::channel(());
        let mut listeners = JoinSet::new();
        for (sender, body) in bodies {
            let mut stopped = stopped.clone();
            listeners.spawn(async move {
                let _sender = sender;
                let mut heard = Listener::default();
                tokio::select! {
                    () = heard.hear(body) => {}
                    _ = stopped.changed() => {}
                }
                heard.heard
            });
        }
        while !is_over.load(Ordering::Relaxed) {
            tokio::time::sleep(LOOK).await;
        }
        drop(stop);
        Ok(listeners.join_all().await)
    })
}

/// Reads a stream of events as far as it must.
#[derive(Default)]
struct Listener {
    heard: Heard,
    rest: Vec<u8>,
}

impl Listener {
    /// Until the stream ends.
    async fn hear(&mut self, mut body: hyper::body::Incoming) {
        while let Some(Ok(frame)) = body.frame().await {
            if let Some(bytes) = frame.data_ref() {
                self.take(bytes);
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        let mut begin = 0;
        while let Some(length) = self.rest[begin..].iter().position(|byte| *byte == b'\n') {
            let line = &self.rest[begin..begin + length];
            if let Some(id) = line.strip_prefix(b"id: ") {
                let id = std::str::from_utf8(id).ok();
                self.heard.ids.extend(id.and_then(|id| id.parse::<i64>().ok()));
            }
            self.heard.progress += usize::from(line == b"event: progress");
            begin += length + 1;
        }
        self.rest.drain(..begin);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_reads_events_however_they_are_cut() {
        let text = "retry: 2000\n: it begins\n\nevent: status\ndata: {\"id\":7}\nid: 17\n\nevent: progress\ndata: {}\n\nevent: log\ndata: {}\nid: 18\n\n";
        for size in 1..text.len() {
            let mut listener = Listener::default();
            for part in text.as_bytes().chunks(size) {
                listener.take(part);
            }
            assert_eq!((listener.heard.ids, listener.heard.progress), (vec![17, 18], 1));
        }
    }

    #[test]
    fn a_part_of_requests_is_counted_from_the_fastest() {
        let requests = Requests {
            micros: (1..=100).map(|n| n * 1000).collect(),
            ..Requests::default()
        };
        let millis = [0.0, 0.5, 0.99, 1.0].map(|part| requests.millis(part));
        assert_eq!(millis.map(f64::round), [1.0, 51.0, 100.0, 100.0]);
    }
}
