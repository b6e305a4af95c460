//! An HTTP server that takes what it is sent, keeps it for the test, and answers as the test says.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::fail::OrFail;

/// A request that came.
#[derive(Debug, Clone)]
pub struct Received {
    /// Such as `POST`.
    pub method: String,
    /// With its query.
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// As text.
    pub body: String,
}

impl Received {
    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut all = self.headers.iter();
        all.find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// The body read as JSON.
    ///
    /// # Panics
    /// It isn't JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).or_fail(format!("read {:?} as JSON", self.body))
    }
}

/// How a request is answered.
#[derive(Debug, Clone)]
pub enum Answer {
    /// With this status and body.
    Status(u16, String),
    /// With the order to go elsewhere.
    Redirect(String),
    /// Not at all, for as long as the receiver lives.
    Silence,
}

#[derive(Debug, Default)]
struct State {
    received: Mutex<Vec<Received>>,
    came: Condvar,
    answers: Mutex<VecDeque<Answer>>,
    always: Mutex<Option<Answer>>,
    closed: AtomicBool,
}

/// The server; it ends when dropped.
#[derive(Debug)]
pub struct Receiver {
    port: u16,
    state: Arc<State>,
}

impl Receiver {
    /// Starts one that answers everything with 200.
    ///
    /// # Panics
    /// No port is to be had.
    #[track_caller]
    pub fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).or_fail("listen on a port");
        let port = listener.local_addr().or_fail("ask for a port").port();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if shared.closed.load(Ordering::SeqCst) {
                    return;
                }
                let state = Arc::clone(&shared);
                // A client that goes away has got what it wanted.
                std::thread::spawn(move || drop(serve(client, &state)));
            }
        });
        Receiver { port, state }
    }

    /// Its URL, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The next requests are answered so, one each.
    pub fn answer(&self, answers: impl IntoIterator<Item = Answer>) {
        lock(&self.state.answers).extend(answers);
    }

    /// From now on every request is answered so; with nothing, by 200.
    pub fn always(&self, answer: Option<Answer>) {
        *lock(&self.state.always) = answer;
    }

    /// All that came, the oldest first.
    pub fn received(&self) -> Vec<Received> {
        lock(&self.state.received).clone()
    }

    /// All that came, once there is so much of it.
    ///
    /// # Panics
    /// Not so much comes within a minute.
    #[track_caller]
    pub fn wait_for(&self, count: usize) -> Vec<Received> {
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut received = lock(&self.state.received);
        while received.len() < count {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else {
                panic!("waited in vain for {count} requests: {received:#?}");
            };
            let waited = self.state.came.wait_timeout(received, left);
            received = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        received.clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.state.closed.store(true, Ordering::SeqCst);
        // It waits for one more connection.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

fn serve(client: TcpStream, state: &State) -> std::io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut received = Received {
        method: method.to_owned(),
        path: path.to_owned(),
        headers: Vec::new(),
        body: String::new(),
    };
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        received
            .headers
            .push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = received
        .header("content-length")
        .and_then(|text| text.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body)?;
    received.body = String::from_utf8_lossy(&body).into_owned();
    let answer = lock(&state.answers)
        .pop_front()
        .or_else(|| lock(&state.always).clone());
    lock(&state.received).push(received);
    state.came.notify_all();
    let (status, more, body) = match answer {
        None => (200, String::new(), "ok".to_owned()),
        Some(Answer::Status(status, body)) => (status, String::new(), body),
        Some(Answer::Redirect(to)) => (302, format!("Location: {to}\r\n"), String::new()),
        Some(Answer::Silence) => {
            while !state.closed.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(20));
            }
            return Ok(());
        }
    };
    let mut client = client;
    write!(
        client,
        "HTTP/1.1 {status} Answer\r\n{more}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
