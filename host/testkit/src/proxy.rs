//! A TCP proxy before an HTTP server that misbehaves as networks and servers do, on exactly the requests that a test
//! names. Each request has a connection of its own.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::fail::OrFail;

/// What goes wrong with a request.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// The server is not asked; the proxy answers with this status, after it has taken the whole request.
    Answer(u16),
    /// The connection is reset after so many bytes of the request.
    ResetRequest(usize),
    /// The connection ends after so many bytes of the answer.
    CutAnswer(usize),
    /// Nothing more goes through after so many bytes of the request, and nobody hears why.
    Hang(usize),
    /// The request arrives late.
    Delay(Duration),
    /// The answer is another than the server's: this byte of it is flipped.
    Flip(usize),
}

/// Which requests, how many of them, and what happens to them.
#[derive(Debug, Clone)]
struct Rule {
    method: String,
    path: String,
    skip: usize,
    times: usize,
    fault: Fault,
}

#[derive(Debug)]
struct State {
    target: u16,
    rules: Mutex<Vec<Rule>>,
    seen: Mutex<Vec<String>>,
    struck: Mutex<usize>,
    closed: AtomicBool,
}

/// The proxy; it ends when dropped.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    state: Arc<State>,
}

impl Proxy {
    /// Starts one before a server on this machine.
    ///
    /// # Panics
    /// No port is to be had.
    #[track_caller]
    pub fn start(target: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).or_fail("listen on a port");
        let port = listener.local_addr().or_fail("ask for a port").port();
        let state = Arc::new(State {
            target,
            rules: Mutex::default(),
            seen: Mutex::default(),
            struck: Mutex::default(),
            closed: AtomicBool::new(false),
        });
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if shared.closed.load(Ordering::SeqCst) {
                    return;
                }
                let state = Arc::clone(&shared);
                // A connection that breaks is what this is for.
                std::thread::spawn(move || drop(serve(client, &state)));
            }
        });
        Proxy { port, state }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Lets something go wrong with the next `times` requests of a method whose path and query contain `path`, after
    /// the first `skip` of them.
    pub fn fail(&self, method: &str, path: &str, skip: usize, times: usize, fault: Fault) {
        lock(&self.state.rules).push(Rule {
            method: method.to_owned(),
            path: path.to_owned(),
            skip,
            times,
            fault,
        });
    }

    /// Lets everything through again.
    pub fn heal(&self) {
        lock(&self.state.rules).clear();
    }

    /// How many requests something went wrong with.
    pub fn struck(&self) -> usize {
        *lock(&self.state.struck)
    }

    /// The first lines of all requests so far, such as `PUT /bucket/key HTTP/1.1`.
    pub fn seen(&self) -> Vec<String> {
        lock(&self.state.seen).clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.closed.store(true, Ordering::SeqCst);
        // It waits for one more connection.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

fn serve(mut client: TcpStream, state: &State) -> std::io::Result<()> {
    let (head, mut body) = read_head(&mut client)?;
    let line = head.lines().next().unwrap_or_default().to_owned();
    lock(&state.seen).push(line.clone());
    let fault = choose(state, &line);
    if fault.is_some() {
        *lock(&state.struck) += 1;
    }
    match fault {
        Some(Fault::Answer(status)) => {
            drain(&mut client, &head, &body)?;
            return write!(
                client,
                "HTTP/1.1 {status} Trouble\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
        }
        Some(Fault::Delay(time)) => std::thread::sleep(time),
        _ => {}
    }
    let mut server = TcpStream::connect(("127.0.0.1", state.target))?;
    server.write_all(alone(&head).as_bytes())?;
    match fault {
        Some(Fault::ResetRequest(bytes)) => {
            forward(&mut client, &mut server, &mut body, bytes)?;
            let at_once = Some(Duration::ZERO);
            rustix::net::sockopt::set_socket_linger(&client, at_once)?;
            rustix::net::sockopt::set_socket_linger(&server, at_once)?;
            return Ok(());
        }
        Some(Fault::Hang(bytes)) => {
            forward(&mut client, &mut server, &mut body, bytes)?;
            while !state.closed.load(Ordering::SeqCst)
                && lock(&state.rules)
                    .iter()
                    .any(|r| matches!(r.fault, Fault::Hang(_)))
            {
                std::thread::sleep(Duration::from_millis(20));
            }
            return Ok(());
        }
        _ => {}
    }
    server.write_all(&body)?;
    let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
    let sender = std::thread::spawn(move || {
        drop(std::io::copy(&mut from, &mut to));
        drop(to.shutdown(Shutdown::Write));
    });
    match fault {
        Some(Fault::CutAnswer(bytes)) => {
            std::io::copy(&mut (&server).take(bytes as u64), &mut client)?;
            drop(server.shutdown(Shutdown::Both));
        }
        Some(Fault::Flip(at)) => {
            let mut answer = Vec::new();
            server.read_to_end(&mut answer)?;
            if let Some(byte) = answer.get_mut(at) {
                *byte ^= 1;
            }
            client.write_all(&answer)?;
        }
        _ => drop(std::io::copy(&mut server, &mut client)),
    }
    drop(client.shutdown(Shutdown::Both));
    drop(sender.join());
    Ok(())
}

/// The head of a request with its blank line, and what came of the body with it.
fn read_head(client: &mut TcpStream) -> std::io::Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let n = client.read(&mut buffer)?;
        if n == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(&buffer[..n]);
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let body = bytes.split_off(end + 4);
            return Ok((String::from_utf8_lossy(&bytes).into_owned(), body));
        }
    }
}

/// The head with the wish that this is the connection's only request.
fn alone(head: &str) -> String {
    let lines = head
        .lines()
        .filter(|line| !line.is_empty() && !line.to_ascii_lowercase().starts_with("connection:"));
    let mut text: String = lines.map(|line| format!("{line}\r\n")).collect();
    text.push_str("Connection: close\r\n\r\n");
    text
}

fn choose(state: &State, line: &str) -> Option<Fault> {
    let mut rules = lock(&state.rules);
    let rule = rules.iter_mut().find(|rule| {
        rule.times > 0 && line.starts_with(&format!("{} ", rule.method)) && line.contains(&rule.path)
    })?;
    if rule.skip > 0 {
        rule.skip -= 1;
        return None;
    }
    rule.times -= 1;
    Some(rule.fault)
}

/// Takes the rest of a request.
fn drain(client: &mut TcpStream, head: &str, body: &[u8]) -> std::io::Result<()> {
    let head = head.to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let mut buffer = [0; 65536];
    if let Some(length) = length.and_then(|text| text.trim().parse::<usize>().ok()) {
        let mut left = length.saturating_sub(body.len());
        while left > 0 {
            let n = client.read(&mut buffer)?;
            if n == 0 {
                break;
            }
            left = left.saturating_sub(n);
        }
    } else if head.contains("transfer-encoding: chunked") {
        let mut last = body.to_vec();
        while !last.ends_with(b"0\r\n\r\n") {
            let n = client.read(&mut buffer)?;
            if n == 0 {
                break;
            }
            last.extend_from_slice(&buffer[..n]);
            last.drain(..last.len().saturating_sub(16));
        }
    }
    Ok(())
}

/// Lets so many bytes of a body through.
fn forward(
    client: &mut TcpStream,
    server: &mut TcpStream,
    body: &mut Vec<u8>,
    bytes: usize,
) -> std::io::Result<()> {
    body.truncate(bytes);
    server.write_all(body)?;
    let left = bytes - body.len();
    std::io::copy(&mut client.take(left as u64), server).map(drop)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
