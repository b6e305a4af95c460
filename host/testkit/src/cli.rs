//! Runs the `backstay` binary as a user would, on a data directory of its own.

use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::fail::OrFail;
use crate::{process, template};

/// A command that takes longer than this has hung: its process tree is killed and the test fails.
const TIMEOUT: Duration = Duration::from_secs(300);

/// The binary together with a data directory, which is removed when this is dropped.
#[derive(Debug)]
pub struct Backstay {
    binary: PathBuf,
    directory: TempDir,
    environment: Vec<(String, String)>,
}

/// How a command ended and what it said.
#[derive(Debug, Clone)]
pub struct Output {
    /// Exit code; 128 and the signal's number if a signal ended it, as a shell counts.
    pub code: i32,
    /// Standard output as text; bytes that aren't UTF-8 are replaced.
    pub stdout: String,
    /// Standard output as it was, for what is restored to it.
    pub stdout_bytes: Vec<u8>,
    /// Standard error as text.
    pub stderr: String,
}

/// A command under way. Dropping it kills its process tree.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdout: Option<JoinHandle<Vec<u8>>>,
    stderr: Option<JoinHandle<Vec<u8>>>,
    command: String,
}

impl Backstay {
    /// Takes the binary at `binary`, such as `env!("CARGO_BIN_EXE_backstay")`, and makes a data directory.
    ///
    /// # Panics
    /// There is no such file.
    #[track_caller]
    pub fn new(binary: impl Into<PathBuf>) -> Self {
        Self::with_guests(binary, &[])
    }

    /// As [`Backstay::new`], with these guests installed, such as `lab-source`.
    ///
    /// # Panics
    /// There is no such file or guest.
    #[track_caller]
    pub fn with_guests(binary: impl Into<PathBuf>, guests: &[&str]) -> Self {
        let binary = binary.into();
        if !binary.is_file() {
            panic!(
                "this test needs the backstay binary, and {} is no file",
                binary.display()
            );
        }
        let directory = tempfile::Builder::new()
            .prefix("backstay-data-")
            .tempdir()
            .or_fail("make a data directory");
        let data_dir = directory.path().join("data");
        std::fs::create_dir(&data_dir).or_fail("make a data directory");
        template::fill(&binary, guests, &data_dir);
        Backstay {
            binary,
            directory,
            environment: Vec::new(),
        }
    }

    /// Takes the binary that the environment variable `BACKSTAY_BIN` names.
    ///
    /// # Panics
    /// It isn't set.
    #[track_caller]
    pub fn from_environment() -> Self {
        let Some(binary) = std::env::var_os("BACKSTAY_BIN") else {
            panic!("this test needs BACKSTAY_BIN, the path of the backstay binary");
        };
        Self::new(binary)
    }

    /// Sets an environment variable for all commands from here on.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// The data directory that every command gets as `BACKSTAY_DATA_DIR`.
    pub fn data_dir(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// A directory for files of the test, removed with the data directory.
    pub fn scratch_dir(&self) -> &Path {
        self.directory.path()
    }

    /// Runs a command to its end.
    ///
    /// # Panics
    /// It can't be started, or takes longer than 300 s.
    #[track_caller]
    #[must_use = "say how it must end: `.ok()` or `.code(n)`"]
    pub fn run<S: AsRef<OsStr>>(&self, args: &[S]) -> Output {
        self.spawn(args).wait()
    }

    /// Runs a command with `--json`, which must succeed, and returns what it printed.
    ///
    /// # Panics
    /// It fails, or doesn't print JSON.
    #[track_caller]
    pub fn json(&self, args: &[&str]) -> Value {
        self.run_json(args).ok().json()
    }

    /// Runs a command with `--json`, however it ends.
    ///
    /// # Panics
    /// As [`Backstay::run`].
    #[track_caller]
    #[must_use = "say how it must end: `.ok()` or `.code(n)`"]
    pub fn run_json(&self, args: &[&str]) -> Output {
        self.run(&[args, &["--json"]].concat())
    }

    /// Writes `yaml` to a file and runs `apply -f` on it.
    ///
    /// # Panics
    /// As [`Backstay::run`].
    #[track_caller]
    #[must_use = "say how it must end: `.ok()` or `.code(n)`"]
    pub fn apply(&self, yaml: &str) -> Output {
        let file = self.scratch_dir().join("job.yaml");
        std::fs::write(&file, yaml).or_fail("write a job file");
        self.run(&[OsStr::new("apply"), OsStr::new("-f"), file.as_os_str()])
    }

    /// Starts a command and returns at once, so that the test can kill it.
    ///
    /// # Panics
    /// It can't be started.
    #[track_caller]
    pub fn spawn<S: AsRef<OsStr>>(&self, args: &[S]) -> Running {
        let mut command = Command::new(&self.binary);
        command
            .args(args)
            .env("BACKSTAY_DATA_DIR", self.data_dir())
            .current_dir(self.scratch_dir());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let shown = format!("{command:?}");
        let mut child = command.spawn().or_fail(format!("start {shown}"));
        let stdout = child.stdout.take().map(drain);
        let stderr = child.stderr.take().map(drain);
        Running {
            child,
            stdout,
            stderr,
            command: shown,
        }
    }
}

impl Output {
    /// The output itself if the exit code is 0.
    ///
    /// # Panics
    /// It isn't; the message holds all that was printed.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.code(0)
    }

    /// The output itself if the exit code is `expected`.
    ///
    /// # Panics
    /// As [`Output::ok`].
    #[track_caller]
    pub fn code(self, expected: i32) -> Self {
        if self.code != expected {
            panic!(
                "exit code {} instead of {expected}\n{}\n{}",
                self.code, self.stdout, self.stderr
            );
        }
        self
    }

    /// Standard output read as JSON.
    ///
    /// # Panics
    /// It isn't JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        match serde_json::from_slice(&self.stdout_bytes) {
            Ok(value) => value,
            Err(error) => panic!(
                "not JSON ({error}), exit code {}\n{}\n{}",
                self.code, self.stdout, self.stderr
            ),
        }
    }
}

impl Running {
    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends SIGKILL to the process alone and reaps it; its children live on, as after a crash of the host.
    pub fn kill(&mut self) {
        process::kill(self.pid());
        self.child.wait().or_fail("wait for a killed command");
    }

    /// Sends SIGTERM, the polite request to stop.
    pub fn terminate(&self) {
        process::terminate(self.pid());
    }

    /// Whether it hasn't ended yet.
    ///
    /// # Panics
    /// The system doesn't say.
    #[track_caller]
    pub fn is_running(&mut self) -> bool {
        self.child
            .try_wait()
            .or_fail(format!("ask after {}", self.command))
            .is_none()
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// It takes longer than 300 s.
    #[track_caller]
    #[must_use = "say how it must end: `.ok()` or `.code(n)`"]
    pub fn wait(mut self) -> Output {
        let deadline = Instant::now() + TIMEOUT;
        let status = loop {
            if let Some(status) = self
                .child
                .try_wait()
                .or_fail(format!("wait for {}", self.command))
            {
                break status;
            }
            if Instant::now() >= deadline {
                panic!("{} didn't end within {TIMEOUT:?}", self.command);
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let stdout_bytes = join(self.stdout.take());
        let signal = std::os::unix::process::ExitStatusExt::signal(&status);
        Output {
            code: status.code().or(signal.map(|number| 128 + number)).unwrap_or(-1),
            stdout: String::from_utf8_lossy(&stdout_bytes).into_owned(),
            stdout_bytes,
            stderr: String::from_utf8_lossy(&join(self.stderr.take())).into_owned(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            process::kill_tree(self.pid());
            self.child.wait().or_fail("wait for a killed command");
        }
    }
}

/// Reads a pipe to its end on a thread, so that the child never blocks on it.
fn drain(mut pipe: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes)
            .or_fail("read the output of a command");
        bytes
    })
}

fn join(reader: Option<JoinHandle<Vec<u8>>>) -> Vec<u8> {
    let Some(thread) = reader else { return Vec::new() };
    match thread.join() {
        Ok(bytes) => bytes,
        Err(cause) => std::panic::resume_unwind(cause),
    }
}
