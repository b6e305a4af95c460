//! One connection: an `ssh` of the system that runs the server's SFTP, and ends when its input does.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::AsRawFd as _;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backstay_model::secrets::Secrets;
use backstay_model::{Code, Error, Result};
use openssh_sftp_client::{Sftp, SftpOptions};
use rustix::fs::{MemfdFlags, Mode, fchmod, memfd_create};
use tokio::net::unix::pipe;
use tokio::sync::oneshot;

use super::failure;
use super::names::Names;
use crate::object::Access;

/// Where `ssh` is looked for, whatever the `PATH` is.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How long it may take until a connection is there, in seconds.
const CONNECT_SECONDS: u64 = 15;

/// How long all of it may take, with signing in.
const START: Duration = Duration::from_secs(60);

/// Most of what `ssh` says that is kept.
const MOST_SAID_BYTES: usize = 8 << 10;

/// How long `ssh` may take to say why it ends.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// What never changes: nobody is asked, hosts must be known, nothing but files goes over it, no connection of
/// somebody else is used, and a peer that says nothing for a minute is gone.
const OPTIONS: [&str; 11] = [
    "BatchMode=yes",
    "StrictHostKeyChecking=yes",
    "UpdateHostKeys=no",
    "ClearAllForwardings=yes",
    "PermitLocalCommand=no",
    "ControlMaster=no",
    "ControlPath=none",
    "RequestTTY=no",
    "LogLevel=ERROR",
    "ServerAliveInterval=15",
    "ServerAliveCountMax=4",
];

/// A connection.
pub(super) struct Session {
    pub(super) sftp: Sftp,
    words: Words,
    _ssh: Ssh,
    /// What `ssh` reads the key from: it has no name that outlives this process.
    _key: Option<File>,
}

/// The program, which ends when this is dropped.
struct Ssh(Child);

impl Drop for Ssh {
    fn drop(&mut self) {
        // It may have ended already, and nobody is there who could be told.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What `ssh` says.
struct Words {
    said: Arc<Mutex<String>>,
    end: tokio::sync::Mutex<Option<oneshot::Receiver<()>>>,
}

impl Session {
    /// Connects and signs in.
    ///
    /// # Errors
    /// Why not, in the words of `ssh`, with what to do.
    pub(super) async fn start(access: &Access, names: &Names, secrets: &Secrets) -> Result<Self> {
        let remote = &access.remote;
        for file in [&remote.identity_file, &remote.known_hosts_file]
            .into_iter()
            .flatten()
        {
            // Without it `ssh` says no more than that it was not let in.
            std::fs::File::open(file).map_err(|e| {
                Error::io("read", std::path::Path::new(file), e).hint(format!(
                    "`backstay remote show {}` says what it is for",
                    remote.name
                ))
            })?;
        }
        let key = access.secret.as_deref().map(key_file).transpose()?;
        let mut command = Command::new("ssh");
        command.env("PATH", PATH).env("LC_ALL", "C");
        // What it asks for would be asked of nobody.
        command.env_remove("SSH_ASKPASS").env_remove("DISPLAY");
        for option in OPTIONS {
            command.args(["-o", option]);
        }
        command.args(["-o", &format!("ConnectTimeout={CONNECT_SECONDS}")]);
        if let Some(file) = &remote.known_hosts_file {
            command.args(["-o", &format!("UserKnownHostsFile={}", quoted(file))]);
            command.args(["-o", "GlobalKnownHostsFile=/dev/null"]);
        }
        let given = key
            .as_ref()
            .map(|key| format!("/proc/{}/fd/{}", std::process::id(), key.as_raw_fd()));
        if let Some(file) = given.as_ref().or(remote.identity_file.as_ref()) {
            command.args(["-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none"]);
            command.args(["-o", &format!("IdentityFile={}", quoted(file))]);
        }
        let (host, port) = remote.ssh_host();
        if let Some(port) = port {
            command.args(["-p", port]);
        }
        let account = remote.account.as_deref().unwrap_or_default();
        command.args(["-l", account, "-s", "--", host, "sftp"]);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let ssh = command.spawn().map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => {
                Error::new(Code::Environment, "the program `ssh` is not installed").hint(format!(
                    "install OpenSSH's client (Debian: apt-get install openssh-client); it is looked for in {PATH}"
                ))
            }
            _ => Error::new(Code::Environment, "cannot start `ssh`").because(e),
        })?;
        let mut ssh = Ssh(ssh);
        let pipes = (ssh.0.stdin.take(), ssh.0.stdout.take(), ssh.0.stderr.take());
        let (Some(input), Some(output), Some(errors)) = pipes else {
            return Err(Error::internal("a program was started without its pipes"));
        };
        let failed = |e| Error::internal("the pipes of a program can't be used").because(e);
        let input = pipe::Sender::from_owned_fd(input.into()).map_err(failed)?;
        let output = pipe::Receiver::from_owned_fd(output.into()).map_err(failed)?;
        let words = Words::of(errors);
        let starting = Sftp::new(input, output, SftpOptions::new());
        let doing = format!("connect to {}", names.shown(""));
        match tokio::time::timeout(START, starting).await {
            Ok(Ok(sftp)) => Ok(Session {
                sftp,
                words,
                _ssh: ssh,
                _key: key,
            }),
            Ok(Err(error)) => Err(failure::of_connection(
                remote,
                secrets,
                &doing,
                &words.last().await,
                &error,
            )),
            Err(_) => Err(failure::silent("connect to", &names.shown(""))),
        }
    }

    /// What `ssh` said before it ended.
    pub(super) async fn last_words(&self) -> String {
        self.words.last().await
    }
}

impl Words {
    fn of(mut errors: ChildStderr) -> Self {
        let said = Arc::new(Mutex::new(String::new()));
        let kept = Arc::clone(&said);
        let (ended, end) = oneshot::channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 1024];
            while let Ok(read @ 1..) = errors.read(&mut bytes) {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                if kept.len() < MOST_SAID_BYTES {
                    kept.push_str(&String::from_utf8_lossy(&bytes[..read]));
                }
            }
            // Nobody may want to know.
            let _ = ended.send(());
        });
        Words {
            said,
            end: tokio::sync::Mutex::new(Some(end)),
        }
    }

    /// Waits until `ssh` has said all, and returns it.
    async fn last(&self) -> String {
        if let Some(end) = self.end.lock().await.take() {
            // One that goes on has nothing to do with what failed.
            let _ = tokio::time::timeout(LAST_WORDS, end).await;
        }
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The key in memory, so that it is in no directory, and nobody else may open it.
fn key_file(key: &str) -> Result<File> {
    let failed = |e: std::io::Error| Error::new(Code::Environment, "cannot hand a key to `ssh`").because(e);
    let file = memfd_create("backstay-key", MemfdFlags::CLOEXEC).map_err(|e| failed(e.into()))?;
    fchmod(&file, Mode::RUSR | Mode::WUSR).map_err(|e| failed(e.into()))?;
    let mut file = File::from(file);
    std::io::Write::write_all(&mut file, key.trim_end().as_bytes())
        .and_then(|()| std::io::Write::write_all(&mut file, b"\n"))
        .map_err(failed)?;
    Ok(file)
}

/// A path as a value of a setting of `ssh`, which knows quotes, `%` and `~`.
fn quoted(path: &str) -> String {
    format!("\"{}\"", path.replace('%', "%%"))
}
