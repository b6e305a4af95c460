//! Whether a program that says nothing works all the same.

use std::fs;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use backstay_model::{Code, Error, Result};

use crate::context::Meter;

/// How often it is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// How deep children of children are looked at.
const GENERATIONS: u32 = 8;

/// Counts work of a process and its children as movement until it is dropped.
#[derive(Debug)]
pub(crate) struct Activity {
    _stop: Sender<()>,
}

/// Starts to look, on a thread of its own.
///
/// # Errors
/// The thread can't be started.
pub(super) fn watch(pid: u32, meter: Arc<Meter>) -> Result<Activity> {
    let (stop, stopped) = channel();
    std::thread::Builder::new()
        .name("activity".to_owned())
        .spawn(move || {
            let mut last = 0;
            while stopped.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
                let now = work_of(pid, GENERATIONS);
                if now != last {
                    meter.tick();
                }
                last = now;
            }
        })
        .map_err(|e| {
            Error::new(Code::Environment, "cannot start a thread")
                .because(e)
                .retryable()
        })?;
    Ok(Activity { _stop: stop })
}

/// A number that changes when a process or one below it computes, reads or writes. What can't be read counts nothing.
fn work_of(pid: u32, generations: u32) -> u64 {
    let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
    // After the name in parentheses, which may hold anything, the 12th and 13th field are processor time.
    let stat = read("stat");
    let times = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split(' ')
        .skip(12)
        .take(2);
    let io = read("io");
    let moved = io.lines().filter_map(|line| line.split(' ').nth(1));
    let own: u64 = times
        .chain(moved)
        .filter_map(|number| number.parse::<u64>().ok())
        .fold(0, u64::wrapping_add);
    if generations == 0 {
        return own;
    }
    read(&format!("task/{pid}/children"))
        .split(' ')
        .filter_map(|child| child.parse().ok())
        .fold(own, |sum, child| {
            sum.wrapping_add(work_of(child, generations - 1))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_of_a_child_of_a_child_is_seen() {
        let script = "sh -c 'while :; do :; done' & wait";
        let mut shell = std::process::Command::new("sh")
            .args(["-c", script])
            .spawn()
            .unwrap();
        let before = work_of(shell.id(), GENERATIONS);
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while work_of(shell.id(), GENERATIONS) <= before + 5 {
            assert!(std::time::Instant::now() < deadline);
            std::thread::sleep(Duration::from_millis(20));
        }
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", shell.id())).unwrap();
        for child in children.split_whitespace() {
            let pid = rustix::process::Pid::from_raw(child.parse().unwrap()).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        }
        shell.wait().unwrap();
    }
}
