//! Runs a script to its end, and ends all of it: when it is done, when it breaks a limit, when somebody asks.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use backstay_model::{Code, Error, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, Gid, Mode, Uid};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags, Resource, Rlimit, Signal, pidfd_open, pidfd_send_signal};

use crate::cgroup::Group;
use crate::identity::Identity;
use crate::limits::{Broken, Limits, OPEN_FILES};
use crate::lines::{Hear, Said, Stream, listen};
use crate::memory::memory;
use crate::output::{self, Cleaned};
use crate::script::Script;
use crate::view::{self, Descriptors};
use crate::{filter, processes};

/// How long a script may take to end after SIGTERM.
pub const GRACE: Duration = Duration::from_secs(10);

/// How long bubblewrap may take to make the namespaces.
const SETUP: Duration = Duration::from_secs(10);

/// How often a running script is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Measuring the output takes at most this part of the time.
const MEASURE_SHARE: u32 = 10;

/// Room that is left on the disk of the output, in bytes; on small disks, a twentieth.
const SPARE_BYTES: u64 = 256 << 20;

/// The program that makes the namespaces.
pub(crate) const BUBBLEWRAP: (&str, &str) = ("bwrap", "bubblewrap");

/// The program that gives up what root may do.
pub(crate) const SETPRIV: (&str, &str) = ("setpriv", "util-linux");

/// Where those are looked for.
const TRUSTED: [&str; 4] = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"];

/// How a script ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// By itself, with this status; 128 + n if signal n killed it.
    Exited(i32),
    /// It broke a limit.
    Broke(Broken),
    /// Somebody asked for its end.
    Stopped,
}

/// A script that has ended with all that it started.
#[derive(Debug, Clone)]
pub struct Ended {
    /// How.
    pub how: How,
    /// What it said.
    pub said: Said,
    /// What it left in its output directory.
    pub output: Cleaned,
}

impl Ended {
    /// Fails unless it ended well.
    ///
    /// # Errors
    /// How it ended, and its last words.
    pub fn success(&self, script: &str, limits: &Limits) -> Result<()> {
        match self.how {
            How::Exited(0) => Ok(()),
            How::Exited(status) => {
                let last = match self.said.last.as_str() {
                    "" => "it said nothing",
                    last => last,
                };
                let error = Error::new(
                    Code::BackupFailed,
                    format!("the script {script} ended with status {status}: {last}"),
                );
                Err(error.hint("the run's log has what it said; it sees only what `read` names"))
            }
            How::Broke(broken) => Err(broken.error(script, limits)),
            How::Stopped => Err(Error::new(
                Code::Cancelled,
                format!("the script {script} was stopped"),
            )),
        }
    }
}

/// Runs a script. It has ended, with all that it started, when this returns, and its output is clean.
///
/// Blocks its thread; the script dies with it.
///
/// # Errors
/// It can't be confined or started. Its own failure is no error here.
pub fn run(script: &Script, stop: &AtomicBool, hear: &Hear) -> Result<Ended> {
    script.check()?;
    let identity = Identity::choose();
    if let Some(output) = &script.output {
        hand_over(output, identity)?;
    }
    let mut running = Running::start(script, identity, hear)?;
    let ended = running.watch(script, stop);
    running.end();
    let said = running.said();
    let how = running.how(ended?, &said, script)?;
    drop(running);
    let mut ended = Ended {
        how,
        said,
        output: Cleaned::default(),
    };
    if let Some(output) = &script.output {
        match output::clean(output, &script.limits)? {
            Ok(cleaned) => ended.output = cleaned,
            Err(broken) => ended.how = How::Broke(broken),
        }
    }
    Ok(ended)
}

/// Makes the output directory the script's own.
fn hand_over(output: &Path, identity: Identity) -> Result<()> {
    let failed = |e: rustix::io::Errno| Error::io("hand over", output, e.into());
    if identity.is_other {
        let (user, group) = (Uid::from_raw(identity.user), Gid::from_raw(identity.group));
        rustix::fs::chownat(
            CWD,
            output,
            Some(user),
            Some(group),
            rustix::fs::AtFlags::SYMLINK_NOFOLLOW,
        )
        .map_err(failed)?;
    }
    rustix::fs::chmod(output, Mode::from_raw_mode(0o700)).map_err(failed)
}

/// A program of the system, by its fixed places alone.
///
/// # Errors
/// [`Code::Environment`]: it isn't installed, and which package has it.
pub(crate) fn find((name, package): (&str, &str)) -> Result<PathBuf> {
    let places = TRUSTED.iter().map(|directory| Path::new(directory).join(name));
    places.into_iter().find(|path| path.is_file()).ok_or_else(|| {
        Error::new(
            Code::Environment,
            format!("scripts can't be confined: the program `{name}` is not installed"),
        )
        .hint(format!("install {package}; no script is run without it"))
    })
}

/// A script under way. Dropping it kills it.
struct Running {
    outer: Child,
    status: File,
    status_text: String,
    first: Option<(i32, OwnedFd)>,
    group: Option<Group>,
    listeners: Vec<JoinHandle<Said>>,
    /// It waits for a byte on this pipe; its end would be one too.
    go: File,
    is_over: bool,
}

impl Running {
    fn start(script: &Script, identity: Identity, hear: &Hear) -> Result<Self> {
        let bubblewrap = find(BUBBLEWRAP)?;
        let setpriv = if identity.is_other {
            find(SETPRIV)?
        } else {
            PathBuf::new()
        };
        let failed = |e: rustix::io::Errno| {
            Error::new(Code::Environment, "cannot start a script").because(std::io::Error::from(e))
        };
        let content = memory("script", &script.content)?;
        let program = memory("filter", &filter::program()?)?;
        let (status, status_in) = pipe_with(PipeFlags::CLOEXEC).map_err(failed)?;
        let (go, go_in) = pipe_with(PipeFlags::CLOEXEC).map_err(failed)?;
        let fds = Descriptors {
            script: content.as_raw_fd(),
            filter: program.as_raw_fd(),
            status: status_in.as_raw_fd(),
            go: go.as_raw_fd(),
        };
        let view = view::of(script, identity, &setpriv, fds)?;
        let options = memory("options", &joined(&view.options))?;
        let mut command = Command::new(bubblewrap);
        command
            .arg("--args")
            .arg(options.as_raw_fd().to_string())
            .arg("--")
            .args(view.inside);
        command.env_clear().current_dir("/").process_group(0);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let group = Group::create(&script.limits);
        let mut handed = vec![fds.script, fds.filter, fds.status, fds.go, options.as_raw_fd()];
        handed.extend(view.files.iter().map(File::as_raw_fd));
        prepare(&mut command, handed, &script.limits, identity);
        let mut outer = command
            .spawn()
            .map_err(|e| Error::new(Code::Environment, "cannot start bubblewrap").because(e))?;
        drop((status_in, go));
        let output = outer
            .stdout
            .take()
            .map(|pipe| listen(pipe, Stream::Output, hear.clone()));
        let errors = outer
            .stderr
            .take()
            .map(|pipe| listen(pipe, Stream::Error, hear.clone()));
        let mut running = Running {
            outer,
            status: File::from(status),
            status_text: String::new(),
            first: None,
            group,
            listeners: Vec::new(),
            go: File::from(go_in),
            is_over: false,
        };
        for listener in [output, errors].into_iter().flatten() {
            running.listeners.push(listener?);
        }
        if let Some(first) = running.first_process() {
            let pid = Pid::from_raw(first).ok_or_else(|| Error::internal("bubblewrap named no process"))?;
            let handle = pidfd_open(pid, PidfdFlags::empty()).map_err(failed)?;
            // It waits for the byte below, so the number is still its own. If it died meanwhile its status says so.
            if let Some(group) = &running.group
                && !is_ready(handle.as_fd(), Duration::ZERO)
            {
                // Without it the other limits hold.
                let _ = group.take(first);
            }
            running.first = Some((first, handle));
            let _ = running.go.write_all(b"1");
        }
        Ok(running)
    }

    /// The number of the first process inside, as this process sees it; nothing if it never came to be.
    fn first_process(&mut self) -> Option<i32> {
        let deadline = Instant::now() + SETUP;
        while Instant::now() < deadline {
            if let Some(first) = self.said_of_status("child-pid") {
                return i32::try_from(first).ok();
            }
            if is_ready(self.status.as_fd(), LOOK) {
                let mut buffer = [0; 512];
                match self.status.read(&mut buffer) {
                    Ok(0) | Err(_) => return None,
                    Ok(read) => self
                        .status_text
                        .push_str(&String::from_utf8_lossy(&buffer[..read])),
                }
            }
        }
        None
    }

    /// What bubblewrap says about a run in JSON, one object after the other.
    fn said_of_status(&self, key: &str) -> Option<i64> {
        let objects = serde_json::Deserializer::from_str(&self.status_text).into_iter::<serde_json::Value>();
        objects
            .map_while(std::result::Result::ok)
            .find_map(|object| object.get(key)?.as_i64())
    }

    /// Waits until all of it has ended by itself or must be ended, and says why.
    fn watch(&self, script: &Script, stop: &AtomicBool) -> Result<Option<How>> {
        let Some((first, handle)) = &self.first else {
            return Ok(None);
        };
        let limits = &script.limits;
        let begun = Instant::now();
        let mut asked: Option<(Instant, How)> = None;
        let mut measured = (Instant::now(), Duration::ZERO);
        while !is_ready(handle.as_fd(), LOOK) {
            match asked {
                Some((at, how)) if at.elapsed() > GRACE => return Ok(Some(how)),
                Some(_) => {}
                None => {
                    let why = if stop.load(Ordering::SeqCst) {
                        Some(How::Stopped)
                    } else {
                        (begun.elapsed() > limits.time).then_some(How::Broke(Broken::Time))
                    };
                    if let Some(how) = why {
                        processes::ask_to_end(*first);
                        asked = Some((Instant::now(), how));
                    }
                }
            }
            let usage = processes::usage(*first);
            let has_limit = self.group.as_ref().is_some_and(Group::limits_memory);
            if usage.memory_bytes > limits.memory_bytes && !has_limit {
                return Ok(Some(How::Broke(Broken::Memory)));
            }
            if usage.tasks >= u64::from(limits.processes) {
                return Ok(Some(How::Broke(Broken::Processes)));
            }
            if let Some(output) = &script.output {
                if is_nearly_full(output)? {
                    return Ok(Some(How::Broke(Broken::DiskSpace)));
                }
                if measured.0.elapsed() > measured.1 * MEASURE_SHARE {
                    let start = Instant::now();
                    if let Some(broken) = output::broken(output, limits) {
                        return Ok(Some(How::Broke(broken)));
                    }
                    measured = (Instant::now(), start.elapsed());
                }
            }
        }
        Ok(asked.map(|(_, how)| how))
    }

    /// Ends what is left: the kernel ends a namespace with its first process, and that one is gone only after all
    /// others are.
    fn end(&mut self) {
        self.is_over = true;
        if let Some((_, handle)) = &self.first {
            // It may have ended by itself.
            let _ = pidfd_send_signal(handle, Signal::KILL);
            while !is_ready(handle.as_fd(), LOOK) {}
        } else {
            let _ = self.outer.kill();
        }
        // Reaped; how it ended is in the status.
        let _ = self.outer.wait();
        let mut rest = String::new();
        if self.status.read_to_string(&mut rest).is_ok() {
            self.status_text.push_str(&rest);
        }
    }

    /// What it said, to the end.
    fn said(&mut self) -> Said {
        let said = self
            .listeners
            .drain(..)
            .map(|listener| listener.join().unwrap_or_default());
        said.fold(Said::default(), Said::and)
    }

    fn how(&self, ended: Option<How>, said: &Said, script: &Script) -> Result<How> {
        if self.group.as_ref().is_some_and(Group::ran_out_of_memory) {
            return Ok(How::Broke(Broken::Memory));
        }
        if let Some(how) = ended {
            return Ok(how);
        }
        match self.said_of_status("exit-code") {
            Some(code) if code == i64::from(128 + libc::SIGXFSZ) => Ok(How::Broke(Broken::OutputBytes)),
            Some(code) if code == i64::from(128 + libc::SIGXCPU) => Ok(How::Broke(Broken::Time)),
            Some(code) => Ok(How::Exited(i32::try_from(code).unwrap_or(-1))),
            // It wasn't run.
            None => Err(Error::new(
                Code::Environment,
                format!("the script {} can't be confined on this machine: {}", script.name(), said.last),
            )
            .hint("no script is run free; `backstay doctor` says whether namespaces can be had, and a container needs to be allowed them")),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.is_over {
            self.end();
        }
    }
}

fn joined(options: &[impl AsRef<OsStr>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for option in options {
        bytes.extend_from_slice(option.as_ref().as_bytes());
        bytes.push(0);
    }
    bytes
}

/// What each process is held to, even where there is no control group.
fn ceilings(limits: &Limits, identity: Identity) -> [(Resource, u64); 6] {
    let seconds = limits.time.as_secs().saturating_add(1);
    // In a namespace of users the kernel counts those of the host's user as well before Linux 5.14.
    let processes = if identity.is_other {
        u64::from(limits.processes)
    } else {
        4096
    };
    [
        (Resource::Data, limits.memory_bytes),
        (Resource::Cpu, seconds),
        (Resource::Fsize, limits.output_bytes),
        (Resource::Nofile, OPEN_FILES),
        (Resource::Core, 0),
        (Resource::Nproc, processes),
    ]
}

#[expect(unsafe_code, reason = "std offers no other way to act between fork and exec")]
fn prepare(command: &mut Command, handed: Vec<RawFd>, limits: &Limits, identity: Identity) {
    let ceilings = ceilings(limits, identity);
    // SAFETY: the closure makes system calls only, allocates nothing and takes no lock. The descriptors are open: they
    // were opened before the fork and are closed after the spawn.
    unsafe {
        command.pre_exec(move || {
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
            for (resource, most) in ceilings {
                let limit = Rlimit {
                    current: Some(most),
                    maximum: Some(most),
                };
                rustix::process::setrlimit(resource, limit)?;
            }
            // Whatever else is open, also what whoever started the host forgot.
            let flags = libc::CLOSE_RANGE_CLOEXEC.cast_signed();
            if libc::close_range(3, libc::c_uint::MAX, flags) != 0 {
                return Err(std::io::Error::last_os_error());
            }
            for &descriptor in &handed {
                rustix::io::fcntl_setfd(BorrowedFd::borrow_raw(descriptor), rustix::io::FdFlags::empty())?;
            }
            Ok(())
        });
    }
}

/// Whether something can be read from a descriptor, or a process behind it has ended, within a time.
fn is_ready(descriptor: BorrowedFd<'_>, within: Duration) -> bool {
    let mut polled = [PollFd::from_borrowed_fd(descriptor, PollFlags::IN)];
    let within = Timespec {
        tv_sec: i64::try_from(within.as_secs()).unwrap_or(0),
        tv_nsec: i64::from(within.subsec_nanos()),
    };
    matches!(poll(&mut polled, Some(&within)), Ok(ready) if ready > 0)
}

fn is_nearly_full(directory: &Path) -> Result<bool> {
    let room = rustix::fs::statvfs(directory).map_err(|e| Error::io("look at", directory, e.into()))?;
    let bytes = |blocks: u64| blocks.saturating_mul(room.f_frsize);
    Ok(bytes(room.f_bavail) < SPARE_BYTES.min(bytes(room.f_blocks) / 20))
}
