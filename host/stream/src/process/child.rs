//! One child process: started, killed and waited for in ways that can't be got wrong.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use backstay_model::secrets::Secrets;
use backstay_model::{Code, Error, Result};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

use crate::context::{Context, HookGuard, Meter};
use crate::process::activity::{self, Activity};
use crate::process::keep::{Kept, Part, keep};
use crate::process::{CommandSpec, Meaning, Output};

/// How long a child may take to end after SIGTERM.
pub const GRACE: Duration = Duration::from_secs(10);

/// How long a child that closed its input may take to say why.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How much of what a child complains is kept, in bytes: its last words hold the reason.
const STDERR_BYTES: usize = 16 << 10;

/// The same for a child that works through a directory: it may complain of each file.
const STDERR_BYTES_INSIDE: usize = 1 << 20;

/// The line before the whole lines that are kept of the complaints of such a child, if there was more.
const CUT: &str = "…\n";

/// Room in a pipe, in bytes; the most that the kernel gives anybody by default.
pub(super) const PIPE_BYTES: usize = 1 << 20;

/// Where a child's input comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stdin {
    /// Nowhere.
    Null,
    /// From us.
    Piped,
}

/// A running child. Dropping it kills it.
#[derive(Debug)]
pub struct Child {
    command: String,
    code: Code,
    secrets: Secrets,
    meanings: Vec<Meaning>,
    inner: std::process::Child,
    life: Life,
    stdin: Option<ChildStdin>,
    broke: bool,
    stderr: Option<Kept>,
    /// How much of that is kept, if a cut is to be seen.
    marked: Option<usize>,
    exit: Option<ExitStatus>,
    _hook: HookGuard,
}

/// Whether the process group may still be signalled: after the leader is reaped its number may be another's.
#[derive(Debug, Clone)]
struct Life(Arc<Mutex<Option<Pid>>>);

impl Life {
    fn signal(&self, signal: Signal) -> bool {
        match *lock(&self.0) {
            Some(group) => {
                // It may have ended by itself just now.
                let _ = rustix::process::kill_process_group(group, signal);
                true
            }
            None => false,
        }
    }
}

impl Child {
    /// Starts a program in a process group of its own.
    ///
    /// # Errors
    /// It can't be started; the class says whether it is missing or forbidden.
    pub fn start(spec: &CommandSpec, stdin: Stdin, context: &Context) -> Result<Self> {
        let stdin = match stdin {
            Stdin::Piped => Stdio::piped(),
            Stdin::Null => Stdio::null(),
        };
        Child::spawn(spec, stdin, Path::new("/"), None, context)
    }

    /// Starts a program in a directory, with the rest of a file as its input. Of its complaints the last MiB is kept,
    /// with a line `…` before them if there was more.
    ///
    /// # Errors
    /// As [`Child::start`]. That the directory is gone counts as a missing program.
    pub fn start_in(spec: &CommandSpec, directory: &Path, input: File, context: &Context) -> Result<Self> {
        let marked = Some(STDERR_BYTES_INSIDE);
        Child::spawn(spec, Stdio::from(input), directory, marked, context)
    }

    fn spawn(
        spec: &CommandSpec,
        stdin: Stdio,
        directory: &Path,
        marked: Option<usize>,
        context: &Context,
    ) -> Result<Self> {
        context.cancel.check()?;
        let mut command = Command::new(&spec.program);
        command
            .args(&spec.args)
            .env_clear()
            .envs(spec.env.iter().map(|(k, v)| (k, v)));
        command
            .current_dir(directory)
            .process_group(0)
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        die_with_parent(&mut command);
        let mut inner = command.spawn().map_err(|e| {
            let code = if e.kind() == io::ErrorKind::NotFound {
                Code::Environment
            } else {
                Code::Permission
            };
            Error::new(code, format!("cannot start {}", spec.program.display())).because(e)
        })?;
        let life = Life(Arc::new(Mutex::new(Pid::from_raw(inner.id().cast_signed()))));
        let stderr = inner
            .stderr
            .take()
            // One byte more tells that there was more.
            .map(|pipe| keep(pipe, Part::Last(marked.map_or(STDERR_BYTES, |most| most + 1))))
            .transpose()?;
        let stdin = inner.stdin.take();
        if let Some(pipe) = &stdin {
            enlarge(pipe);
        }
        if let Some(pipe) = &inner.stdout {
            enlarge(pipe);
        }
        let hook = context.cancel.on_cancel({
            let life = life.clone();
            move || terminate(life)
        });
        Ok(Child {
            command: spec.describe(),
            code: spec.code,
            secrets: spec.secrets.clone(),
            meanings: spec.meanings.clone(),
            inner,
            life,
            stdin,
            broke: false,
            stderr,
            marked,
            exit: None,
            _hook: hook,
        })
    }

    /// Its number among the processes, until it was waited for.
    pub fn id(&self) -> u32 {
        self.inner.id()
    }

    /// Counts its work as movement, until what is returned is dropped.
    ///
    /// # Errors
    /// The thread that looks can't be started.
    pub(crate) fn watch(&self, meter: &Arc<Meter>) -> Result<Activity> {
        activity::watch(self.id(), Arc::clone(meter))
    }

    /// Its output, once.
    ///
    /// # Errors
    /// It was taken before.
    pub fn take_stdout(&mut self) -> Result<ChildStdout> {
        self.inner
            .stdout
            .take()
            .ok_or_else(|| Error::internal("a child's output was taken twice"))
    }

    /// Writes to its input.
    ///
    /// # Errors
    /// It doesn't read any more.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let stdin = self
            .stdin
            .as_mut()
            .ok_or_else(|| Error::internal("a child's input is closed"))?;
        stdin.write_all(bytes).map_err(|e| {
            self.broke = true;
            Error::new(
                self.code,
                format!("`{}` does not read its input any more", self.command),
            )
            .because(e)
        })
    }

    /// Ends its input, which most programs take for a sign that all is there.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Whether a write to it failed.
    pub fn broke(&self) -> bool {
        self.broke
    }

    /// Waits for it to end.
    ///
    /// # Errors
    /// The system can't tell how it ended, which is not the same as ending badly.
    pub fn wait(&mut self) -> Result<Exit> {
        let status = match self.exit {
            Some(status) => status,
            None => {
                self.wait_unreaped(None);
                self.reap()?
            }
        };
        Ok(self.exit_of(status))
    }

    /// Whether it ends by `deadline`. It isn't reaped: [`Child::wait`] does that.
    pub fn ends_by(&self, deadline: Instant) -> bool {
        self.exit.is_some() || self.wait_unreaped(Some(deadline.saturating_duration_since(Instant::now())))
    }

    /// Kills it and its group, waits, and says how it ended, if it ended before that.
    pub fn kill(&mut self) -> Option<Exit> {
        if self.exit.is_none() {
            self.life.signal(Signal::KILL);
        }
        self.wait().ok()
    }

    /// Gives a child that stopped reading a moment to end by itself.
    pub fn wait_or_kill(&mut self) -> Option<Exit> {
        if self.exit.is_none() && !self.wait_unreaped(Some(LAST_WORDS)) {
            self.life.signal(Signal::KILL);
        }
        self.wait().ok()
    }

    /// Waits until the leader has ended without reaping it. False if time ran out.
    fn wait_unreaped(&self, limit: Option<Duration>) -> bool {
        let Some(pid) = Pid::from_raw(self.inner.id().cast_signed()) else {
            return true;
        };
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let Some(limit) = limit else {
            while matches!(
                rustix::process::waitid(WaitId::Pid(pid), options),
                Err(rustix::io::Errno::INTR)
            ) {}
            return true;
        };
        let step = Duration::from_millis(10);
        let deadline = Instant::now() + limit;
        loop {
            match rustix::process::waitid(WaitId::Pid(pid), options | WaitIdOptions::NOHANG) {
                Ok(None) | Err(rustix::io::Errno::INTR) if Instant::now() >= deadline => return false,
                Ok(None) | Err(rustix::io::Errno::INTR) => std::thread::sleep(step),
                _ => return true,
            }
        }
    }

    /// Ends what is left of its group while the leader's number is still its own, then reaps it.
    fn reap(&mut self) -> Result<ExitStatus> {
        let mut life = lock(&self.life.0);
        if let Some(group) = life.take() {
            // Nothing left in the group is the usual case.
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
        let status = self.inner.wait().map_err(|e| {
            Error::internal(format!("cannot find out how `{}` ended", self.command)).because(e)
        })?;
        self.exit = Some(status);
        Ok(status)
    }

    fn exit_of(&mut self, status: ExitStatus) -> Exit {
        let stderr = self.stderr.take().map(Kept::take).unwrap_or_default();
        let is_cut = self.marked.is_some_and(|most| stderr.len() > most);
        let said = self.secrets.redact(&String::from_utf8_lossy(&stderr));
        Exit {
            command: self.command.clone(),
            code: self.code,
            status,
            stderr: if is_cut { after_cut(&said) } else { said },
            meanings: self.meanings.clone(),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.exit.is_none() {
            self.kill();
        }
    }
}

/// How a child ended.
#[derive(Debug, Clone)]
pub struct Exit {
    command: String,
    code: Code,
    status: ExitStatus,
    stderr: String,
    meanings: Vec<Meaning>,
}

impl Exit {
    /// Whether it exited with 0.
    pub fn is_success(&self) -> bool {
        self.status.success()
    }

    /// Its command line.
    pub fn command(&self) -> &str {
        &self.command
    }

    /// The class of its failure.
    pub fn code(&self) -> Code {
        self.code
    }

    /// Fails unless it exited with 0.
    ///
    /// # Errors
    /// How it ended, after how many bytes, and its last words.
    pub fn success(self, bytes: u64) -> Result<()> {
        if self.is_success() {
            Ok(())
        } else {
            Err(self.into_error(bytes))
        }
    }

    /// The failure: how it ended, after how many bytes, and its last words.
    pub fn into_error(self, bytes: u64) -> Error {
        let how = match (self.status.code(), self.status.signal()) {
            (Some(code), _) => format!("exited with status {code}"),
            (None, Some(signal)) => format!("was killed by signal {signal}"),
            (None, None) => "ended in an unknown way".to_owned(),
        };
        let words = self.stderr.trim();
        let known = self.meanings.iter().find(|meaning| words.contains(&meaning.sign));
        if let Some(meaning) = known.filter(|_| !words.is_empty()) {
            return meaning.of(&complaint(words));
        }
        let after = format!("after {bytes} bytes");
        let message = if words.is_empty() {
            format!("`{}` {how} {after} and said nothing", self.command)
        } else {
            format!("`{}` {how} {after}: {}", self.command, complaint(words))
        };
        Error::new(self.code, message).hint("remove what it complains of, or run it by hand to see more")
    }

    /// As the output of a program that was run to its end.
    pub fn into_output(self, stdout: &[u8]) -> Output {
        let status = self
            .status
            .code()
            .unwrap_or_else(|| 128 + self.status.signal().unwrap_or(0));
        Output {
            status,
            stdout: String::from_utf8_lossy(stdout).into_owned(),
            stderr: self.stderr,
        }
    }
}

/// The whole lines of a text that has lost its start, after a line that says so.
fn after_cut(text: &str) -> String {
    let whole = text.split_once('\n').map_or(text, |(_, rest)| rest);
    format!("{CUT}{whole}")
}

/// At most this many lines of a complaint are shown.
const COMPLAINT_LINES: usize = 5;

/// The last line that says something; or, where a line before it says `error:`, that one with what follows, because
/// the cause stands first and a hint or the statement last. Printable, on one line.
fn complaint(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    let is_error = |line: &&str| line.to_ascii_lowercase().contains("error:");
    let first = lines
        .iter()
        .position(is_error)
        .unwrap_or(lines.len().saturating_sub(1));
    let said: Vec<&str> = lines.into_iter().skip(first).take(COMPLAINT_LINES).collect();
    backstay_model::error::show_bytes(said.join("; ").as_bytes())
}

/// SIGTERM now, SIGKILL after [`GRACE`] if it is still there.
fn terminate(life: Life) {
    if !life.signal(Signal::TERM) {
        return;
    }
    let late = std::thread::Builder::new().name("killer".to_owned()).spawn({
        let life = life.clone();
        move || {
            let step = Duration::from_millis(50);
            for _ in 0..GRACE.as_millis() / step.as_millis() {
                std::thread::sleep(step);
                if lock(&life.0).is_none() {
                    return;
                }
            }
            life.signal(Signal::KILL);
        }
    });
    if late.is_err() {
        life.signal(Signal::KILL);
    }
}

#[expect(unsafe_code, reason = "std offers no other way to act between fork and exec")]
fn die_with_parent(command: &mut Command) {
    // SAFETY: the closure makes one system call, allocates nothing and takes no lock.
    unsafe {
        command.pre_exec(|| {
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
            Ok(())
        });
    }
}

fn enlarge(pipe: impl std::os::fd::AsFd) {
    // Only speed depends on it; an unprivileged user over the limit keeps the default.
    let _ = rustix::pipe::fcntl_setpipe_size(pipe, PIPE_BYTES);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
