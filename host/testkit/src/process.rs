//! Waits for things that happen in other processes, and ends whole process trees.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::fail::OrFail;

/// Asks `condition` every 10 ms until it holds.
///
/// # Panics
/// It doesn't hold within `timeout`; `what` completes the sentence "waited in vain for …".
#[track_caller]
pub fn wait_until(what: &str, timeout: Duration, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + timeout;
    while !condition() {
        if Instant::now() >= deadline {
            panic!("waited {timeout:?} in vain for {what}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Sends SIGKILL to the process `pid` and to all its descendants, the process itself first.
///
/// A process that is gone already is no error. Returns without waiting for their end.
pub fn kill_tree(pid: u32) {
    let tree = with_descendants(pid);
    kill(pid);
    for process in with_later_children(tree) {
        kill(process);
    }
}

/// Sends SIGKILL to the process `pid` alone: what a power loss looks like to it.
pub fn kill(pid: u32) {
    signal(pid, Signal::KILL);
}

/// Sends SIGTERM to the process `pid`: a polite request to stop.
pub fn terminate(pid: u32) {
    signal(pid, Signal::TERM);
}

fn signal(pid: u32, signal: Signal) {
    let Some(target) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
        panic!("{pid} is not a process id");
    };
    match kill_process(target, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => {}
        Err(error) => panic!("can't send {signal:?} to process {pid}: {error}"),
    }
}

/// Whether any thread of the process `pid` still runs; a zombie waiting for its parent is not alive.
pub fn is_alive(pid: u32) -> bool {
    // The first thread may be a zombie while others are still ending.
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
    threads > 1 || stat(pid).is_some_and(|(state, _)| state != 'Z' && state != 'X')
}

/// The process `pid` and all its descendants at this moment.
pub fn with_descendants(pid: u32) -> BTreeSet<u32> {
    with_later_children(BTreeSet::from([pid]))
}

fn with_later_children(mut tree: BTreeSet<u32>) -> BTreeSet<u32> {
    let parents: Vec<(u32, u32)> = std::fs::read_dir("/proc")
        .or_fail("list processes in /proc")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, stat(pid)?.1)))
        .collect();
    loop {
        let before = tree.len();
        tree.extend(
            parents
                .iter()
                .filter(|(_, parent)| tree.contains(parent))
                .map(|(pid, _)| *pid)
                .collect::<Vec<_>>(),
        );
        if tree.len() == before {
            return tree;
        }
    }
}

/// State letter and parent of a process; `None` once it is gone.
fn stat(pid: u32) -> Option<(char, u32)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command's name stands in parentheses and may hold spaces and parentheses itself.
    let mut fields = text.get(text.rfind(')')? + 1..)?.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}
