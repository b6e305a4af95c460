//! Runs the `backstay` binary as a user would, on a data directory of its own.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Seek as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::fail::OrFail;
use crate::{process, template, tools};

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

/// A system call at which a command is killed, as by a power loss.
#[derive(Debug, Clone, Copy)]
pub struct Moment<'a> {
    call: &'a str,
    path: Option<&'a Path>,
    nth: u32,
    alone: bool,
    effect: &'static str,
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

    /// Keeps a secret for jobs, or gives it another text.
    ///
    /// # Panics
    /// It isn't kept.
    #[track_caller]
    pub fn secret(&self, name: &str, text: &str) {
        let file = self.scratch_dir().join("secret-to-be-kept");
        std::fs::write(&file, text).or_fail("write a secret");
        let args = ["secret", "set", name, "--from-file"].map(OsStr::new);
        self.run(&[&args[..], &[file.as_os_str()]].concat()).ok();
        std::fs::remove_file(file).or_fail("remove the file of a secret");
    }

    /// Starts a command and returns at once, so that the test can kill it.
    ///
    /// # Panics
    /// It can't be started.
    #[track_caller]
    pub fn spawn<S: AsRef<OsStr>>(&self, args: &[S]) -> Running {
        let mut command = Command::new(&self.binary);
        self.equip(command.args(args));
        Self::start(command)
    }

    /// Starts a command of which one thread stands still from this moment on, until it is dropped.
    ///
    /// # Panics
    /// `strace` is missing.
    #[track_caller]
    pub fn held_at(&self, args: &[&str], moment: Moment<'_>) -> Running {
        Self::start(self.strace(
            args,
            Moment {
                effect: "delay_enter=3600s",
                ..moment
            },
        ))
    }

    #[track_caller]
    fn start(mut command: Command) -> Running {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
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

    /// Runs a command that is killed as one of its threads enters a system call. What it started and left behind
    /// isn't waited for. The code is 137 if it came to that, see [`Output::was_killed`].
    ///
    /// # Panics
    /// `strace` is missing.
    #[track_caller]
    pub fn killed_at(&self, args: &[&str], moment: Moment<'_>) -> Output {
        let mut strace = self.strace(args, moment);
        // Files, because a pipe stays open as long as any process that was left behind.
        let [out, err] = [(); 2].map(|()| tempfile::tempfile().or_fail("make a temporary file"));
        let status = strace
            .stdout(out.try_clone().or_fail("share a file"))
            .stderr(err.try_clone().or_fail("share a file"))
            .status()
            .or_fail("run strace");
        Output::new(status, said(out), &said(err))
    }

    /// The command that sends a signal to another at a moment.
    #[track_caller]
    fn strace(&self, args: &[&str], moment: Moment<'_>) -> Command {
        tools::require(&["strace"]);
        let Moment {
            call,
            path,
            nth,
            alone,
            effect,
        } = moment;
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}")]);
        strace.args(["-e", &format!("inject={call}:{effect}:when={nth}")]);
        if let Some(path) = path {
            strace.arg("-P").arg(path);
        }
        if alone {
            strace.args(["-b", "execve"]);
        }
        self.equip(strace.arg(&self.binary).args(args));
        strace
    }

    fn equip(&self, command: &mut Command) {
        command
            .env("BACKSTAY_DATA_DIR", self.data_dir())
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(self.scratch_dir())
            .stdin(Stdio::null());
    }
}

/// What was written to a file from its start.
fn said(mut file: File) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.rewind()
        .and_then(|()| file.read_to_end(&mut bytes))
        .or_fail("read the output of a command");
    bytes
}

impl<'a> Moment<'a> {
    /// The nth call of this kind, of any thread of the command or of a program that it starts.
    pub fn of(call: &'a str, nth: u32) -> Self {
        Moment {
            call,
            path: None,
            nth,
            alone: false,
            effect: "signal=KILL",
        }
    }

    /// Only calls on this path.
    #[must_use]
    pub fn on(self, path: &'a Path) -> Self {
        Moment {
            path: Some(path),
            ..self
        }
    }

    /// With SIGTERM, the polite request to stop, instead of being killed.
    #[must_use]
    pub fn politely(self) -> Self {
        Moment {
            effect: "signal=TERM",
            ..self
        }
    }

    /// Only calls of the command itself: programs that it starts are left alone.
    #[must_use]
    pub fn alone(self) -> Self {
        Moment { alone: true, ..self }
    }
}

impl Output {
    fn new(status: ExitStatus, stdout_bytes: Vec<u8>, stderr: &[u8]) -> Self {
        let signal = status.signal().map(|number| 128 + number);
        Output {
            code: status.code().or(signal).unwrap_or(-1),
            stdout: String::from_utf8_lossy(&stdout_bytes).into_owned(),
            stdout_bytes,
            stderr: String::from_utf8_lossy(stderr).into_owned(),
        }
    }

    /// Whether SIGKILL ended it.
    pub fn was_killed(&self) -> bool {
        self.code == 137
    }

    /// Whether SIGKILL ended it; else it ended well.
    ///
    /// # Panics
    /// It failed by itself.
    #[track_caller]
    pub fn was_killed_or_ok(self) -> bool {
        let was_killed = self.was_killed();
        if !was_killed {
            self.ok();
        }
        was_killed
    }

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
        Output::new(status, stdout_bytes, &join(self.stderr.take()))
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
