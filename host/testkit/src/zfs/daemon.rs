//! The one `zfs-fuse` daemon of a machine, shared by all test processes.
//!
//! Two lock files do it: `users` is held shared by each pool, so the last one is known even after a test was killed;
//! `gate` is held while the daemon starts or ends. Only a daemon that this crate started is ever ended. A third lock,
//! `turn`, keeps its users from mounting at the same moment.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::{NAME_PREFIX, destroy, output};
use crate::fail::{OrFail, in_drop};
use crate::{process, tools};

const DIRECTORY: &str = "/run/backstay-testkit";
const PID_FILE: &str = "/run/backstay-testkit/zfs.pid";

/// A share in the running daemon.
#[derive(Debug)]
pub(super) struct Daemon {
    users: Option<File>,
}

impl Daemon {
    /// Starts the daemon if none runs.
    #[track_caller]
    pub(super) fn join() -> Self {
        tools::require(&["zfs-fuse", "zfs", "zpool"]);
        tools::require_root("to run zfs-fuse");
        if !Path::new("/dev/fuse").exists() {
            panic!(
                "this test needs /dev/fuse: load the module `fuse`, or start the container with `--device /dev/fuse`"
            );
        }
        std::fs::create_dir_all(DIRECTORY).or_fail(format!("make {DIRECTORY}"));
        let gate = open("gate");
        gate.lock().or_fail("wait for the lock of zfs-fuse");
        let users = open("users");
        users.lock_shared().or_fail("take a share in zfs-fuse");
        if let Err(text) = answers() {
            if !text.contains("make sure that the zfs-fuse daemon is running") {
                panic!("ZFS doesn't answer: {text}");
            }
            start();
        }
        Daemon { users: Some(users) }
    }
}

/// Held while a file system is mounted: two at the same moment garble the daemon's own messages, and it
/// never mounts anything again.
pub(super) fn turn() -> Result<File, String> {
    let turn = open("turn");
    turn.lock()
        .map_err(|e| format!("can't wait for a turn with zfs-fuse: {e}"))?;
    Ok(turn)
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Err(sentence) = self.leave() {
            in_drop(&sentence);
        }
    }
}

impl Daemon {
    /// Gives the share back; the last one ends the daemon.
    fn leave(&mut self) -> Result<(), String> {
        let gate = open("gate");
        gate.lock()
            .map_err(|e| format!("can't wait for the lock of zfs-fuse: {e}"))?;
        self.users = None;
        match open("users").try_lock() {
            Ok(()) => stop(),
            Err(TryLockError::WouldBlock) => Ok(()),
            Err(TryLockError::Error(error)) => Err(format!("can't see who uses zfs-fuse: {error}")),
        }
    }
}

fn open(name: &str) -> File {
    let path = Path::new(DIRECTORY).join(name);
    File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .or_fail(format!("open {}", path.display()))
}

/// The names of all pools, if the daemon runs.
fn answers() -> Result<String, String> {
    output(Command::new("zpool").args(["list", "-H", "-o", "name"]))
}

fn start() {
    // With a pid file of an earlier one it refuses to start, without a word.
    if Path::new(PID_FILE).exists() {
        std::fs::remove_file(PID_FILE).or_fail(format!("remove {PID_FILE}"));
    }
    let log = File::create(Path::new(DIRECTORY).join("zfs.log")).or_fail("make the log of zfs-fuse");
    let errors = log.try_clone().or_fail("share the log of zfs-fuse");
    let status = Command::new("zfs-fuse")
        .args(["--pidfile", PID_FILE, "--no-kstat-mount", "--enable-xattr"])
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        .status()
        .or_fail("start zfs-fuse");
    if !status.success() {
        panic!("can't start zfs-fuse: it ended with {status}, see {DIRECTORY}/zfs.log");
    }
    process::wait_until("zfs-fuse to answer", Duration::from_secs(20), || {
        answers().is_ok()
    });
}

/// Ends the daemon if this crate started it and only pools of tests are left on it.
fn stop() -> Result<(), String> {
    let Some(pid) = own_daemon() else { return Ok(()) };
    let pools = answers()?;
    let (leftovers, foreign): (Vec<&str>, Vec<&str>) =
        pools.lines().partition(|name| name.starts_with(NAME_PREFIX));
    for pool in leftovers {
        let mountpoint = output(Command::new("zfs").args(["get", "-H", "-o", "value", "mountpoint", pool]))?;
        destroy(pool, Path::new(mountpoint.trim_end()))?;
    }
    if foreign.is_empty() {
        // Asked politely it sleeps for 4.5 s; with no pool left there is nothing that it could lose.
        process::kill(pid);
        process::wait_until("zfs-fuse to end", Duration::from_secs(20), || {
            !process::is_alive(pid)
        });
    }
    Ok(())
}

fn own_daemon() -> Option<u32> {
    let pid = std::fs::read_to_string(PID_FILE).ok()?.trim().parse().ok()?;
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    (name.trim_end() == "zfs-fuse").then_some(pid)
}
