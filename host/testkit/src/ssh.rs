//! An ssh server of this machine on a free port, with a key of its own and one that may log in as the user of the test.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::fail::OrFail;
use crate::server::{Process, free_port, program};
use crate::tools;

/// A server. It ends when this is dropped.
#[derive(Debug)]
pub struct SshServer {
    directory: PathBuf,
    port: u16,
    process: Process,
}

impl SshServer {
    /// Starts one with its files in a directory that is made.
    ///
    /// # Panics
    /// It doesn't answer.
    #[track_caller]
    pub fn start(directory: &Path) -> Self {
        tools::require(&["ssh", "ssh-keygen", "setpriv"]);
        tools::require_root("to log in to an ssh server of its own as root");
        fs::create_dir_all(directory).or_fail("make a directory for an ssh server");
        // Where the server locks up what it has not yet let in; the system's start scripts make it elsewhere.
        fs::create_dir_all("/run/sshd").or_fail("make /run/sshd");
        for name in ["host-key", "key", "other-key"] {
            make_key(&directory.join(name));
        }
        fs::copy(directory.join("key.pub"), directory.join("authorized")).or_fail("let a key in");
        let port = free_port();
        let here = directory.display();
        // Of the ways to agree on a key the quickest: each command of a test is a connection.
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {here}/host-key\nAuthorizedKeysFile {here}/authorized\nKexAlgorithms curve25519-sha256\nStrictModes no\nPidFile none\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nMaxStartups 100\nPrintMotd no\nSubsystem sftp internal-sftp\n"
        );
        fs::write(directory.join("config"), config).or_fail("write the configuration of an ssh server");
        let process = serve(directory, port);
        let server = SshServer {
            directory: directory.to_owned(),
            port,
            process,
        };
        server.trust("host-key");
        server
    }

    /// The port that it listens on, at 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The private key that may log in.
    pub fn key(&self) -> PathBuf {
        self.directory.join("key")
    }

    /// A private key that may not.
    pub fn other_key(&self) -> PathBuf {
        self.directory.join("other-key")
    }

    /// The file with the keys of servers that are trusted: this one's.
    pub fn known_hosts(&self) -> PathBuf {
        self.directory.join("known-hosts")
    }

    /// Has the file of known servers name another key for this one, or none at all.
    ///
    /// # Panics
    /// The file can't be written.
    #[track_caller]
    pub fn forget(&self, another: bool) {
        if another {
            self.trust("other-key");
        } else {
            fs::write(self.known_hosts(), "").or_fail("forget a server");
        }
    }

    /// Has it name the right one again.
    ///
    /// # Panics
    /// The file can't be written.
    #[track_caller]
    pub fn remember(&self) {
        self.trust("host-key");
    }

    /// Stops it with all its connections, as a power loss would.
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
        self.process = serve(&self.directory, self.port);
    }

    #[track_caller]
    fn trust(&self, key: &str) {
        let public = fs::read_to_string(self.directory.join(format!("{key}.pub"))).or_fail("read a key");
        let line = format!("[127.0.0.1]:{} {public}", self.port);
        fs::write(self.known_hosts(), line).or_fail("write a known server");
    }
}

#[track_caller]
fn make_key(file: &Path) {
    let output = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "backstay-test", "-f"])
        .arg(file)
        .output()
        .or_fail("run ssh-keygen");
    assert!(
        output.status.success(),
        "ssh-keygen: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[track_caller]
fn serve(directory: &Path, port: u16) -> Process {
    let log = directory.join("log");
    let mut command = Command::new("setpriv");
    command
        .arg("--pdeathsig=KILL")
        .arg(program("sshd", &[]))
        .args(["-D", "-e", "-f"])
        .arg(directory.join("config"))
        .current_dir("/")
        .stdin(std::process::Stdio::null());
    let mut process = Process::start(&mut command, &log);
    process.wait_until(&log, || TcpStream::connect(("127.0.0.1", port)).is_ok());
    process
}
