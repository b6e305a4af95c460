//! Runs a program, or a pipe of several, and says what that cost.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::shell;

/// What one execution cost.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cost {
    /// From the start of the first program to the end of the last.
    pub(super) wall: Duration,
    /// Processor time of all programs, in user mode and in the kernel.
    pub(super) cpu: Duration,
    /// The most memory that one of the programs had at a time.
    pub(super) peak_bytes: u64,
}

impl Cost {
    /// The cost of this and of what is done after it.
    pub(super) fn then(self, next: Cost) -> Cost {
        Cost {
            wall: self.wall + next.wall,
            cpu: self.cpu + next.cpu,
            peak_bytes: self.peak_bytes.max(next.peak_bytes),
        }
    }
}

/// Runs programs with a pipe from each to the next, as a shell would; `into` takes the output of the last.
/// All must end well.
pub(super) fn pipe(mut commands: Vec<Command>, into: Option<&Path>) -> Result<Cost> {
    let last = commands.len().checked_sub(1).context("a pipe of nothing")?;
    let mut output = match into {
        Some(file) => Some(Stdio::from(
            File::create(file).with_context(|| format!("can't make {}", file.display()))?,
        )),
        None => Some(Stdio::null()),
    };
    let mut children = Vec::new();
    let mut input = None;
    let start = Instant::now();
    for (index, command) in commands.iter_mut().enumerate() {
        if let Some(input) = input.take() {
            command.stdin(Stdio::from(input));
        }
        let is_last = index == last;
        command.stdout(if is_last {
            output.take().unwrap_or_else(Stdio::null)
        } else {
            Stdio::piped()
        });
        let mut child = command
            .spawn()
            .with_context(|| format!("can't start `{}`", shell::shown(command)))?;
        input = child.stdout.take();
        children.push((child, shell::shown(command)));
    }
    // What holds the pipes' ends goes before anybody is waited for.
    drop(commands);
    let mut total = Cost {
        wall: Duration::ZERO,
        cpu: Duration::ZERO,
        peak_bytes: 0,
    };
    for (child, shown) in children {
        let (status, usage) = wait(&child).with_context(|| format!("can't wait for `{shown}`"))?;
        if status != 0 {
            bail!("`{shown}` failed, with the wait status {status:#x}");
        }
        total.cpu += duration(usage.ru_utime) + duration(usage.ru_stime);
        total.peak_bytes = total.peak_bytes.max(u64::try_from(usage.ru_maxrss)? << 10);
    }
    total.wall = start.elapsed();
    Ok(total)
}

/// Waits for a child; the standard library doesn't say what it used.
#[expect(
    unsafe_code,
    reason = "no safe interface gives the resource usage of one child"
)]
fn wait(child: &Child) -> Result<(i32, libc::rusage)> {
    let pid = libc::pid_t::try_from(child.id())?;
    let mut status = 0;
    loop {
        // SAFETY: all zeros are a valid value of this structure of integers.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: both pointers are to values of the right type that live until it returns. The child is ours,
        // and nobody else waits for it.
        let waited = unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) };
        if waited == pid {
            return Ok((status, usage));
        }
        let error = std::io::Error::last_os_error();
        if error.kind() != std::io::ErrorKind::Interrupted {
            return Err(error.into());
        }
    }
}

fn duration(time: libc::timeval) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let micros = u64::try_from(time.tv_usec).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_micros(micros)
}

/// Lets the disk finish what was written, so that one side doesn't wait for what the other left.
pub(super) fn settle(directory: &Path) -> Result<()> {
    let open = File::open(directory).with_context(|| format!("can't open {}", directory.display()))?;
    rustix::fs::syncfs(&open).with_context(|| format!("can't sync {}", directory.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_ends_well_only_if_all_its_programs_do() {
        let directory = std::env::temp_dir().join(format!("xtask-measure-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let out = directory.join("out");
        let echo = || {
            let mut command = Command::new("echo");
            command.arg("hello");
            command
        };
        let cost = pipe(vec![echo(), Command::new("cat")], Some(&out)).unwrap();
        assert_eq!(std::fs::read_to_string(&out).unwrap(), "hello\n");
        assert!(cost.peak_bytes > 0);
        let error = pipe(vec![Command::new("false"), Command::new("cat")], None).unwrap_err();
        assert!(error.to_string().contains("`false` failed"), "{error}");
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
