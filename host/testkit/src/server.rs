//! What database servers for tests share: a data directory of an unprivileged user, and a process that never
//! outlives its test.

use std::ffi::OsStr;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use crate::fail::{OrFail, in_drop};
use crate::{process, tools};

/// Servers refuse to run as root; this is nobody, on every system.
const UNPRIVILEGED: &str = "65534";

/// The key of a server with encrypted connections, in its directory.
pub(crate) const KEY: &str = "server.key";

/// Its certificate.
pub(crate) const CERTIFICATE: &str = "server.pem";

/// How long a server may take to start or stop on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A directory that the unprivileged user owns, removed when dropped.
pub(crate) fn directory(prefix: &str) -> TempDir {
    let directory = tempfile::Builder::new()
        .prefix(prefix)
        .tempdir()
        .or_fail("make a directory for a server");
    give_away(directory.path());
    directory
}

/// Makes a path belong to the unprivileged user, if this is root.
pub(crate) fn give_away(path: &Path) {
    if rustix::process::geteuid().is_root() {
        let id: u32 = UNPRIVILEGED.parse().or_fail("read a number");
        std::os::unix::fs::chown(path, Some(id), Some(id)).or_fail(format!("give {} away", path.display()));
    }
}

/// A command that runs as the unprivileged user and dies with the thread that started it.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    tools::require(&["setpriv"]);
    let mut command = Command::new("setpriv");
    command.arg("--pdeathsig=KILL");
    if rustix::process::geteuid().is_root() {
        command.args([
            format!("--reuid={UNPRIVILEGED}"),
            format!("--regid={UNPRIVILEGED}"),
            "--clear-groups".to_owned(),
        ]);
    }
    command
        .arg("--")
        .arg(program)
        .current_dir("/")
        .stdin(Stdio::null());
    command.env_remove("HOME");
    command
}

/// Runs a command of the unprivileged user to its end.
#[track_caller]
pub(crate) fn run(command: &mut Command) {
    let output = command.output().or_fail(format!("run {command:?}"));
    if !output.status.success() {
        panic!("{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Makes a key and a certificate for 127.0.0.1 that the server may read, and returns the certificate, which vouches for
/// itself.
#[track_caller]
pub(crate) fn certify(directory: &Path) -> PathBuf {
    tools::require(&["openssl"]);
    let mut openssl = Command::new("openssl");
    openssl.args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
    ]);
    openssl.args(["-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]);
    openssl.args([
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-keyout",
        KEY,
        "-out",
        CERTIFICATE,
    ]);
    run(openssl.current_dir(directory));
    for file in [KEY, CERTIFICATE] {
        give_away(&directory.join(file));
    }
    directory.join(CERTIFICATE)
}

/// A TCP port of this machine that nobody uses now, and that this process hasn't been given before. It is none of those that the
/// system gives to whoever connects: they could be taken before a server listens there, or while it is stopped.
///
/// # Panics
/// None is free.
#[track_caller]
pub fn free_port() -> u16 {
    const PORTS: std::ops::Range<u32> = 10_000..32_000;
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    // Processes that run at the same time begin far from each other.
    let first = std::process::id().wrapping_mul(97);
    for _ in PORTS {
        let number = first.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed));
        let port = PORTS.start + number % (PORTS.end - PORTS.start);
        let port = u16::try_from(port).or_fail("make a port of a number");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port between {} and {} is free", PORTS.start, PORTS.end);
}

/// The file of a program that isn't on the `PATH`, in one of several places.
#[track_caller]
pub(crate) fn program(name: &str, places: &[PathBuf]) -> PathBuf {
    let found = places
        .iter()
        .map(|place| place.join(name))
        .find(|file| file.is_file());
    match found.or_else(|| tools::find(name)) {
        Some(file) => file,
        None => {
            tools::require(&[name]);
            unreachable!("a missing tool ends the test");
        }
    }
}

/// A server's process; killed when dropped.
#[derive(Debug)]
pub(crate) struct Process(Option<Child>);

impl Process {
    /// Starts it with its words in a file.
    #[track_caller]
    pub(crate) fn start(command: &mut Command, log: &Path) -> Self {
        let file = std::fs::File::create(log).or_fail("make a server's log");
        let errors = file.try_clone().or_fail("share a server's log");
        let child = command.stdout(file).stderr(errors).spawn();
        Process(Some(child.or_fail(format!("start {command:?}"))))
    }

    /// Waits until `answers` says so; fails the test with the server's own words if it ends before.
    #[track_caller]
    pub(crate) fn wait_until(&mut self, log: &Path, mut answers: impl FnMut() -> bool) {
        process::wait_until("a server to answer", PATIENCE, || {
            let ended = self
                .0
                .as_mut()
                .and_then(|child| child.try_wait().or_fail("ask after a server"));
            if let Some(status) = ended {
                let said = std::fs::read_to_string(log).unwrap_or_default();
                panic!("a server ended with {status}:\n{said}");
            }
            answers()
        });
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn end(&mut self) {
        if let Some(child) = &self.0 {
            process::terminate(child.id());
        }
        if let Some(mut child) = self.0.take() {
            child.wait().or_fail("wait for a server");
        }
    }

    /// Kills it and all its children at once, as a power loss would.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.0.take() {
            process::kill_tree(child.id());
            if let Err(error) = child.wait() {
                in_drop(&format!("can't wait for a server: {error}"));
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
