//! Servers over a directory that `rclone serve` runs, and the configuration that rclone reaches them by.

use std::io::Write as _;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::fail::OrFail;
use crate::server::{Process, free_port};
use crate::tools;

/// Where the host looks for programs, whatever the `PATH` is.
const HOST_PATH: [&str; 6] = [
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
];

/// The account of every server.
pub const USER: &str = "backstay-test";

/// What a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// S3. The directories at the top of what is served are the buckets.
    S3,
    /// WebDAV.
    WebDav,
}

/// A server over a directory. It ends when this is dropped.
#[derive(Debug)]
pub struct Server {
    protocol: Protocol,
    root: PathBuf,
    log: PathBuf,
    password: String,
    options: Vec<String>,
    port: u16,
    process: Process,
}

/// The rclone that the host runs.
///
/// # Panics
/// It isn't where the host looks.
#[track_caller]
pub fn program() -> PathBuf {
    let mut places = HOST_PATH
        .iter()
        .map(|directory| Path::new(directory).join("rclone"));
    match places.find(|file| file.is_file()) {
        Some(file) => file,
        None => panic!(
            "this test needs `rclone` in {}; `cargo xtask setup --for test` installs it",
            HOST_PATH.join(":")
        ),
    }
}

/// A password as rclone's configuration holds it.
///
/// # Panics
/// rclone fails.
#[track_caller]
pub fn obscure(password: &str) -> String {
    // Not as an argument: tests look for passwords in command lines.
    let (output, mut input) = std::io::pipe().or_fail("make a pipe");
    input.write_all(password.as_bytes()).or_fail("write a password");
    drop(input);
    let output = Command::new(program())
        .args(["obscure", "-"])
        .stdin(output)
        .output()
        .or_fail("run rclone");
    assert!(output.status.success(), "rclone obscure failed");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Encrypts a configuration of rclone in its place.
///
/// # Panics
/// rclone fails.
#[track_caller]
pub fn encrypt(config: &Path, password: &str) {
    let output = Command::new(program())
        .args(["config", "encryption", "set", "--config"])
        .arg(config)
        .args(["--password-command", "printenv NEW_PASSWORD"])
        .env("NEW_PASSWORD", password)
        .output()
        .or_fail("run rclone");
    assert!(output.status.success(), "rclone config encryption failed");
}

impl Server {
    /// Serves the directory `root` on a free port of this machine, to those who know `password`.
    ///
    /// # Panics
    /// It doesn't answer.
    #[track_caller]
    pub fn start(protocol: Protocol, root: &Path, password: &str) -> Self {
        Server::start_with(protocol, root, password, &[])
    }

    /// As [`Server::start`], with more options for `rclone serve`.
    ///
    /// # Panics
    /// It doesn't answer.
    #[track_caller]
    pub fn start_with(protocol: Protocol, root: &Path, password: &str, options: &[&str]) -> Self {
        std::fs::create_dir_all(root).or_fail("make a directory to serve");
        let log = root.with_extension("log");
        let port = free_port();
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        let process = start(protocol, root, password, &options, port, &log);
        Server {
            protocol,
            root: root.to_owned(),
            log,
            password: password.to_owned(),
            options,
            port,
            process,
        }
    }

    /// Stops it, as a power loss would.
    pub fn stop(&mut self) {
        self.process.kill();
    }

    /// Starts it again at the same address.
    ///
    /// # Panics
    /// It doesn't answer.
    #[track_caller]
    pub fn restart(&mut self) {
        self.stop();
        self.process = start(
            self.protocol,
            &self.root,
            &self.password,
            &self.options,
            self.port,
            &self.log,
        );
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The section of a configuration of rclone that makes it the remote `name`.
    pub fn remote(&self, name: &str) -> String {
        let Server { port, password, .. } = self;
        match self.protocol {
            Protocol::S3 => format!(
                "[{name}]\ntype = s3\nprovider = Rclone\nendpoint = http://127.0.0.1:{port}\naccess_key_id = {USER}\nsecret_access_key = {password}\nuse_multipart_uploads = true\n"
            ),
            Protocol::WebDav => format!(
                "[{name}]\ntype = webdav\nvendor = rclone\nurl = http://127.0.0.1:{port}\nuser = {USER}\npass = {}\n",
                obscure(password)
            ),
        }
    }
}

#[track_caller]
fn start(
    protocol: Protocol,
    root: &Path,
    password: &str,
    options: &[String],
    port: u16,
    log: &Path,
) -> Process {
    tools::require(&["setpriv"]);
    let mut command = Command::new("setpriv");
    command.arg("--pdeathsig=KILL").arg(program()).arg("serve");
    // The password isn't in the command line: tests look for it there.
    match protocol {
        Protocol::S3 => command
            .arg("s3")
            .env("RCLONE_AUTH_KEY", format!("\"{USER},{password}\"")),
        Protocol::WebDav => command
            .arg("webdav")
            .env("RCLONE_USER", USER)
            .env("RCLONE_PASS", password),
    };
    command
        .args(["--config", "/dev/null", "--addr", &format!("127.0.0.1:{port}")])
        // What changes behind its back is seen before the next command has started. With no time at all its timers
        // keep both processors busy, and requests wait for minutes.
        .arg("--dir-cache-time=20ms")
        .args(options)
        .arg(root)
        .current_dir("/")
        .stdin(std::process::Stdio::null());
    let mut process = Process::start(&mut command, log);
    process.wait_until(log, || TcpStream::connect(("127.0.0.1", port)).is_ok());
    process
}
