//! Runs a program to its end, or to the end of its time, and writes what it says to a file.

use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::process::ChildStdout;
use std::time::{Duration, Instant};

use backstay_model::{Code, Error, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::context::Context;
use crate::process::CommandSpec;
use crate::process::child::{Child, Stdin};

/// How often a program that says nothing is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// How long a program may take and how much it may say.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// After this it is killed with its whole process group.
    pub time: Duration,
    /// The first so many bytes are kept; the rest is read and thrown away.
    pub bytes: u64,
}

/// How a program ended whose output was written to a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Its exit status; 128 + n if signal n killed it.
    pub status: i32,
    /// The last of what it complained.
    pub stderr: String,
    /// Bytes that were written.
    pub bytes: u64,
    /// It was killed because its time was over.
    pub timed_out: bool,
    /// It said more than was kept.
    pub truncated: bool,
}

/// Runs a program without input and writes its output to `file`.
///
/// # Errors
/// It can't be started, its output can't be written, or the run was cancelled. Neither a bad exit status nor
/// the end of its time is an error here.
pub fn record(spec: &CommandSpec, file: File, bounds: Bounds, context: &Context) -> Result<Recorded> {
    let deadline = Instant::now() + bounds.time;
    let mut child = Child::start(spec, Stdin::Null, context)?;
    let mut taker = Taker {
        stdout: child.take_stdout()?,
        file,
        buffer: vec![0; 64 << 10],
        bytes: 0,
        left: bounds.bytes,
        truncated: false,
    };
    let mut exit = None;
    while Instant::now() < deadline {
        if taker.is_readable(if exit.is_some() { Duration::ZERO } else { LOOK }) {
            if taker.take(spec)? == 0 {
                break;
            }
            context.meter.tick();
        } else if exit.is_some() {
            break;
        } else if child.ends_by(Instant::now()) {
            // Ends what it left behind in its group, which may hold its output open.
            exit = Some(child.wait()?);
        }
    }
    let timed_out = !child.ends_by(deadline);
    let exit = match exit {
        Some(exit) => exit,
        None if timed_out => child
            .kill()
            .ok_or_else(|| Error::internal(format!("cannot find out how `{}` ended", spec.describe())))?,
        None => child.wait()?,
    };
    context.cancel.check()?;
    let output = exit.into_output(&[]);
    Ok(Recorded {
        status: output.status,
        stderr: output.stderr,
        bytes: taker.bytes,
        timed_out,
        truncated: taker.truncated,
    })
}

/// Moves a program's output into a file.
struct Taker {
    stdout: ChildStdout,
    file: File,
    buffer: Vec<u8>,
    bytes: u64,
    left: u64,
    truncated: bool,
}

impl Taker {
    fn is_readable(&self, limit: Duration) -> bool {
        let mut waited = [PollFd::new(&self.stdout, PollFlags::IN)];
        let limit = Timespec {
            tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(limit.subsec_nanos()),
        };
        match poll(&mut waited, Some(&limit)) {
            Ok(ready) => ready > 0,
            Err(Errno::INTR) => false,
            // The read says what is wrong.
            Err(_) => true,
        }
    }

    /// Takes what there is. Nothing at the end.
    fn take(&mut self, spec: &CommandSpec) -> Result<usize> {
        let n = match self.stdout.read(&mut self.buffer) {
            Err(e) if e.kind() == ErrorKind::Interrupted => return Ok(self.buffer.len()),
            read => read.map_err(|e| {
                Error::new(
                    Code::Collection,
                    format!("cannot read from `{}`", spec.describe()),
                )
                .because(e)
            })?,
        };
        let kept = usize::try_from(self.left).unwrap_or(usize::MAX).min(n);
        self.file.write_all(&self.buffer[..kept]).map_err(|e| {
            let message = format!("cannot keep what `{}` says", spec.describe());
            backstay_model::error::from_io(e, Code::Storage, &message)
        })?;
        self.truncated |= kept < n;
        self.bytes += kept as u64;
        self.left -= kept as u64;
        Ok(n)
    }
}
