//! The processes of a script, found below the first one of its namespace.

use std::fs;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// What the processes of a script use together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Processes and threads.
    pub(crate) tasks: u64,
    /// Memory that belongs to no file, in bytes.
    pub(crate) memory_bytes: u64,
}

/// All processes below `first`, without itself. Those that come or go meanwhile may be missing.
fn below(first: i32) -> Vec<i32> {
    let mut found = Vec::new();
    let mut left = vec![first];
    while let Some(process) = left.pop() {
        let tasks = fs::read_dir(format!("/proc/{process}/task"));
        for task in tasks.into_iter().flatten().flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            let children: Vec<i32> = children
                .split_whitespace()
                .filter_map(|pid| pid.parse().ok())
                .collect();
            left.extend(&children);
            found.extend(children);
        }
    }
    found
}

/// What all processes below `first` use.
pub(crate) fn usage(first: i32) -> Usage {
    let mut usage = Usage::default();
    for process in below(first) {
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        let number = |name: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_whitespace().next()?.parse().ok())
                .unwrap_or(0)
        };
        usage.tasks += number("Threads:");
        usage.memory_bytes += (number("RssAnon:") + number("RssShmem:")) << 10;
    }
    usage
}

/// Asks all processes below `first` to end.
pub(crate) fn ask_to_end(first: i32) {
    let all = below(first);
    for process in &all {
        let Some(pid) = Pid::from_raw(*process) else {
            continue;
        };
        // Held by a descriptor, the number can't become another's; that it was still ours shows its parent.
        let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else {
            continue;
        };
        if parent(*process).is_some_and(|parent| parent == first || all.contains(&parent)) {
            // It may have ended by itself just now.
            let _ = pidfd_send_signal(handle, Signal::TERM);
        }
    }
}

fn parent(process: i32) -> Option<i32> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    line.trim().parse().ok()
}
