//! A mail server (aiosmtpd) that keeps what it is sent, with or without TLS by a certificate authority of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::fail::OrFail;
use crate::server::{PATIENCE, Process, free_port};
use crate::{process, tools};

/// Who signs in to a server that encrypts.
pub const USER: &str = "me";

/// With this password.
pub const PASSWORD: &str = "p4ssw0rd";

/// How it is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption {
    /// TLS from the first byte.
    Tls,
    /// After STARTTLS.
    Starttls,
    /// Not encrypted, and nobody signs in.
    None,
}

/// The server, known as `localhost`; killed when dropped.
#[derive(Debug)]
pub struct MailServer {
    port: u16,
    directory: TempDir,
    #[expect(dead_code, reason = "dropping it ends the server")]
    process: Process,
}

impl MailServer {
    /// Starts one.
    ///
    /// # Panics
    /// aiosmtpd or openssl is missing, or it doesn't start.
    #[track_caller]
    pub fn start(encryption: Encryption) -> Self {
        tools::require(&["python3", "aiosmtpd", "openssl", "setpriv"]);
        let directory = tempfile::Builder::new()
            .prefix("backstay-mail-")
            .tempdir()
            .or_fail("make a directory for a mail server");
        let path = directory.path();
        if encryption != Encryption::None {
            make_certificates(path);
        }
        let script = path.join("mail.py");
        std::fs::write(&script, include_str!("mail.py")).or_fail("write the mail server");
        let port = free_port();
        let mode = match encryption {
            Encryption::Tls => "tls",
            Encryption::Starttls => "starttls",
            Encryption::None => "none",
        };
        let mut command = Command::new("setpriv");
        // Debian's module is for Debian's Python.
        command.args(["--pdeathsig=KILL", "--", "/usr/bin/python3"]);
        command.arg(&script).arg(port.to_string()).arg(path).arg(mode);
        command.arg(path.join("server.pem")).arg(path.join("server.key"));
        let log = path.join("log");
        let mut process = Process::start(&mut command, &log);
        process.wait_until(&log, || path.join("ready").exists());
        MailServer {
            port,
            directory,
            process,
        }
    }

    /// Where it listens on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The certificate of who signed the server's, to be trusted through `SSL_CERT_FILE`.
    pub fn authority(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// What came: from, to, encrypted, signedIn, headers and body. The oldest first.
    ///
    /// # Panics
    /// It can't be read.
    #[track_caller]
    pub fn received(&self) -> Vec<Value> {
        let files = (1..).map(|number| self.directory.path().join(format!("{number}.json")));
        let read = |file: PathBuf| {
            let text = std::fs::read_to_string(&file).or_fail("read a mail");
            serde_json::from_str(&text).or_fail("read a mail as JSON")
        };
        files.take_while(|file| file.exists()).map(read).collect()
    }

    /// What came, once there is so much of it.
    ///
    /// # Panics
    /// Not so much comes within a minute.
    #[track_caller]
    pub fn wait_for(&self, count: usize) -> Vec<Value> {
        process::wait_until("a mail", PATIENCE, || self.received().len() >= count);
        self.received()
    }
}

/// A certificate authority, and a certificate for `localhost`.
fn make_certificates(directory: &Path) {
    let extensions = "subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=critical,CA:FALSE\nextendedKeyUsage=serverAuth\n";
    std::fs::write(directory.join("extensions"), extensions).or_fail("write what a certificate says");
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    let authority = [
        "-x509",
        "-days",
        "2",
        "-subj",
        "/CN=Test authority",
        "-keyout",
        "ca.key",
        "-out",
        "ca.pem",
    ];
    let request = [
        "-subj",
        "/CN=localhost",
        "-keyout",
        "server.key",
        "-out",
        "server.csr",
    ];
    let sign = [
        "x509",
        "-req",
        "-days",
        "2",
        "-in",
        "server.csr",
        "-CA",
        "ca.pem",
        "-CAkey",
        "ca.key",
        "-CAcreateserial",
        "-extfile",
        "extensions",
        "-out",
        "server.pem",
    ];
    for args in [
        [&["req"], &key[..], &authority[..]].concat(),
        [&["req"], &key[..], &request[..]].concat(),
        sign.to_vec(),
    ] {
        let output = Command::new("openssl")
            .current_dir(directory)
            .args(&args)
            .output()
            .or_fail("run openssl");
        if !output.status.success() {
            panic!("openssl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
}
