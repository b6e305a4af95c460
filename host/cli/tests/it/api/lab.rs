//! A service with its interface on the network, and a client that can send anything.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use backstay_testkit::cli::{Backstay, Running};
use backstay_testkit::free_port;
use backstay_testkit::process::wait_until;
use serde_json::Value;

pub const PATIENCE: Duration = Duration::from_secs(60);

/// A data directory, a small and a large source, a place for backups, and the service.
pub struct Lab {
    pub backstay: Backstay,
    pub service: Running,
    pub port: u16,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Reply {
    /// The body, if the status is this one.
    #[track_caller]
    pub fn json(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}\n{}", self.head, self.body);
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }

    /// The problem, of this status and kind.
    #[track_caller]
    pub fn problem(&self, status: u16, kind: &str) -> Value {
        let problem = self.json(status);
        assert_eq!(
            problem["type"],
            format!("urn:backstay:problem:{kind}"),
            "{problem}"
        );
        assert_eq!(problem["status"], status, "{problem}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        problem
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// Reads an answer to the end of the connection.
pub fn read_reply(mut stream: impl std::io::Read) -> Option<Reply> {
    let mut bytes = Vec::new();
    // A connection that is reset has ended too.
    let _ = stream.read_to_end(&mut bytes);
    parse(&bytes)
}

pub fn parse(bytes: &[u8]) -> Option<Reply> {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let is_chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    let body = if is_chunked {
        unchunk(body)
    } else {
        body.to_owned()
    };
    Some(Reply {
        status,
        head: head.to_owned(),
        body,
    })
}

fn unchunk(mut rest: &str) -> String {
    let mut text = String::new();
    while let Some((length, after)) = rest.split_once("\r\n") {
        let Ok(length) = usize::from_str_radix(length, 16) else {
            break;
        };
        if length == 0 || after.len() < length {
            break;
        }
        text.push_str(&after[..length]);
        rest = after[length..].trim_start_matches("\r\n");
    }
    text
}

impl Lab {
    /// With the interface on a free port of the loopback address.
    #[track_caller]
    pub fn new() -> Self {
        Self::with("")
    }

    /// With more lines in the settings.
    #[track_caller]
    pub fn with(settings: &str) -> Self {
        Self::prepared(settings, |_| ()).0
    }

    /// As `with`, after something was done to the data directory.
    #[track_caller]
    pub fn prepared<T>(settings: &str, prepare: impl FnOnce(&Backstay) -> T) -> (Self, T) {
        let backstay = Backstay::new(env!("CARGO_BIN_EXE_backstay"));
        for name in ["small", "large", "place"] {
            fs::create_dir(backstay.scratch_dir().join(name)).unwrap();
        }
        fs::write(backstay.scratch_dir().join("small/file"), "content").unwrap();
        fs::write(backstay.scratch_dir().join("large/file"), vec![7; 4_000_000]).unwrap();
        let prepared = prepare(&backstay);
        let port = free_port();
        let service = serve(&backstay, port, settings);
        let lab = Lab {
            backstay,
            service,
            port,
        };
        (lab, prepared)
    }

    /// With a certificate and its key, once it listens.
    #[track_caller]
    pub fn encrypted([certificate, key]: &[PathBuf; 2]) -> Self {
        let backstay = Backstay::new(env!("CARGO_BIN_EXE_backstay"));
        let port = free_port();
        let (certificate, key) = (certificate.display(), key.display());
        let tls = format!("  tls: {{ certificate: {certificate}, key: {key} }}");
        let mut service = start(&backstay, port, &tls);
        wait_until("the service to listen", PATIENCE, || {
            assert!(service.is_running(), "the service has ended");
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        Lab {
            backstay,
            service,
            port,
        }
    }

    /// With a certificate and its key that need not be there, once the socket answers.
    #[track_caller]
    pub fn unheard([certificate, key]: &[PathBuf; 2]) -> Self {
        let port = free_port();
        let (certificate, key) = (certificate.display(), key.display());
        let tls = format!("tls: {{ certificate: {certificate}, key: {key} }}");
        let lab = Self::with_settings(&format!("api: {{ listen: \"127.0.0.1:{port}\", {tls} }}"));
        Lab { port, ..lab }
    }

    /// With these settings alone, once the socket answers.
    #[track_caller]
    pub fn with_settings(settings: &str) -> Self {
        let backstay = Backstay::new(env!("CARGO_BIN_EXE_backstay"));
        for name in ["small", "place"] {
            fs::create_dir(backstay.scratch_dir().join(name)).unwrap();
        }
        fs::write(backstay.scratch_dir().join("small/file"), "content").unwrap();
        let mut service = begin(&backstay, settings);
        wait_until("the socket", PATIENCE, || {
            assert!(service.is_running(), "the service has ended");
            UnixStream::connect(backstay.data_dir().join("api.sock")).is_ok()
        });
        Lab {
            backstay,
            service,
            port: 0,
        }
    }

    /// Kills the service and starts it again.
    #[track_caller]
    pub fn crash(&mut self) {
        self.service.kill();
        self.start_again("");
    }

    /// Starts the service again, with these lines in the settings.
    #[track_caller]
    pub fn start_again(&mut self, settings: &str) {
        self.service = serve(&self.backstay, self.port, settings);
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.backstay.scratch_dir().join(name)
    }

    /// Makes a token.
    #[track_caller]
    pub fn token(&self, name: &str, role: &str) -> String {
        let made = self.backstay.json(&["token", "add", name, "--role", role]);
        made["token"].as_str().unwrap().to_owned()
    }

    /// A job, as it is sent.
    pub fn spec(&self, name: &str) -> Value {
        serde_json::json!({
            "name": name,
            "source": { "plugin": "path", "config": { "path": self.file("small"), "stream": true } },
            "destinations": [{ "plugin": "local", "config": { "path": self.file("place") } }],
        })
    }

    /// Stores a job over the small source.
    #[track_caller]
    pub fn job(&self, name: &str) {
        self.backstay.apply(&self.spec(name).to_string()).ok();
    }

    /// Stores a job that would take an hour.
    #[track_caller]
    pub fn slow_job(&self, name: &str) {
        let mut spec = self.spec(name);
        spec["source"]["config"]["path"] = self.file("large").to_str().unwrap().into();
        spec["filters"] = serde_json::json!({ "throttle": { "bytesPerSecond": "1k" } });
        self.backstay.apply(&spec.to_string()).ok();
    }

    pub fn connect(&self) -> TcpStream {
        {
            let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream
        }
    }

    /// Sends these bytes by the network, and reads what comes back.
    #[track_caller]
    pub fn send(&self, bytes: &[u8]) -> Reply {
        let mut stream = self.connect();
        // It may answer and hang up before all is sent.
        let _ = stream.write_all(bytes);
        read_reply(stream).expect("there is no answer")
    }

    /// A request by the network: `GET /path`, its headers, its body.
    #[track_caller]
    pub fn ask(&self, what: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let host = format!("127.0.0.1:{}", self.port);
        self.send(request(what, &host, headers, body).as_bytes())
    }

    /// A request by the network with a token.
    #[track_caller]
    pub fn ask_as(&self, token: &str, what: &str) -> Reply {
        self.ask(what, &[("Authorization", &format!("Bearer {token}"))], "")
    }

    /// A request by the socket in the data directory, as root.
    #[track_caller]
    pub fn local(&self, what: &str) -> Reply {
        self.local_with(what, &[], "")
    }

    /// As `local`, with headers and a body.
    #[track_caller]
    pub fn local_with(&self, what: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let mut stream = UnixStream::connect(self.backstay.data_dir().join("api.sock")).unwrap();
        stream
            .write_all(request(what, "localhost", headers, body).as_bytes())
            .unwrap();
        read_reply(stream).expect("there is no answer")
    }

    /// Waits until the run has a status.
    #[track_caller]
    pub fn wait_for_run(&self, id: &str, status: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let run = self.local(&format!("GET /api/v1/runs/{id}")).json(200);
            if run["status"] == status {
                return run;
            }
            assert!(Instant::now() < deadline, "waited in vain for {status}: {run:#}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// A request as it goes over the wire, for one answer.
pub fn request(what: &str, host: &str, headers: &[(&str, &str)], body: &str) -> String {
    let mut text = format!("{what} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    if !body.is_empty() {
        text += &format!(
            "Content-Type: application/json\r\nContent-Length: {}\r\n",
            body.len()
        );
    }
    format!("{text}\r\n{body}")
}

#[track_caller]
fn start(backstay: &Backstay, port: u16, settings: &str) -> Running {
    begin(
        backstay,
        &format!("api:\n  listen: 127.0.0.1:{port}\n{settings}\n"),
    )
}

#[track_caller]
fn begin(backstay: &Backstay, settings: &str) -> Running {
    let file = backstay.scratch_dir().join("config.yaml");
    fs::write(&file, settings).unwrap();
    backstay.spawn(&["serve", "--config", file.to_str().unwrap()])
}

#[track_caller]
fn serve(backstay: &Backstay, port: u16, settings: &str) -> Running {
    let mut service = start(backstay, port, settings);
    wait_until("the service to answer", PATIENCE, || {
        assert!(service.is_running(), "the service has ended");
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else {
            return false;
        };
        let host = format!("127.0.0.1:{port}");
        let mut bytes = Vec::new();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
            .write_all(request("GET /health", &host, &[], "").as_bytes())
            .and_then(|()| stream.read_to_end(&mut bytes))
            .is_ok()
            && parse(&bytes).is_some_and(|reply| reply.status == 200)
    });
    service
}
