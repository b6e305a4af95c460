//! A real ZFS pool on a sparse file, served by `zfs-fuse`. Needs root and `/dev/fuse`.
//!
//! The daemon is started by the first pool of all test processes and ended by the last; one that ran before is used
//! and left alone. zfs-fuse cuts times to whole seconds and has no dry, resumed, raw or compressed send.

mod daemon;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::mount::{UnmountFlags, unmount};
use tempfile::TempDir;

use self::daemon::Daemon;
use crate::fail::{OrFail, in_drop};

/// How pools of tests are called, so that leftovers of killed tests are recognised.
const NAME_PREFIX: &str = "bstest-";

/// How long the destruction of a pool may find it busy.
const BUSY_TIMEOUT: Duration = Duration::from_secs(20);

/// A pool of its own for one test; destroyed when dropped.
#[derive(Debug)]
pub struct Pool {
    name: String,
    mountpoint: PathBuf,
    _daemon: Daemon,
    directory: TempDir,
}

/// One file system of a pool.
#[derive(Debug, Clone)]
pub struct Dataset {
    name: String,
    mountpoint: PathBuf,
}

/// A snapshot as `zfs` names it, and the number that names it everywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// `pool/dataset@snapshot`.
    pub name: String,
    /// The guid in decimal; the same in every pool that received it.
    pub guid: String,
}

impl Pool {
    /// Makes a pool of 512 MiB, which takes up on disk only what is written to it.
    ///
    /// # Panics
    /// zfs-fuse is missing or doesn't start, or the pool can't be made.
    #[track_caller]
    pub fn create() -> Self {
        Self::with_bytes(512 << 20)
    }

    /// Makes a pool on a file of `size_bytes`, at least 64 MiB.
    ///
    /// # Panics
    /// As [`Pool::create`].
    #[track_caller]
    pub fn with_bytes(size_bytes: u64) -> Self {
        let daemon = Daemon::join();
        let prefix = "backstay-zfs-";
        let directory = tempfile::Builder::new()
            .prefix(prefix)
            .tempdir()
            .or_fail("make a directory for a pool");
        let unique = directory
            .path()
            .file_name()
            .and_then(OsStr::to_str)
            .unwrap_or_default()
            .replace(prefix, "");
        let name = format!("{NAME_PREFIX}{}-{unique}", std::process::id());
        let file = directory.path().join("pool.img");
        let mountpoint = directory.path().join("mnt");
        std::fs::File::create(&file)
            .and_then(|f| f.set_len(size_bytes))
            .or_fail("make the pool's file");
        std::fs::create_dir(&mountpoint).or_fail("make the pool's mount point");
        let mut create = Command::new("zpool");
        create
            .args(["create", "-f", "-o", "cachefile=none", "-m"])
            .arg(&mountpoint)
            .arg(&name)
            .arg(&file);
        let turn = daemon::turn().or_fail("wait for a turn with zfs-fuse");
        output(&mut create).or_fail("create a pool");
        drop(turn);
        Pool {
            name,
            mountpoint,
            _daemon: daemon,
            directory,
        }
    }

    /// The pool's name, which is also that of its first dataset.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the pool's first dataset is mounted.
    pub fn mountpoint(&self) -> &Path {
        &self.mountpoint
    }

    /// Makes the file system `POOL/path`, with its parents, mounted below [`Pool::mountpoint`].
    ///
    /// # Panics
    /// `zfs create` fails.
    #[track_caller]
    pub fn dataset(&self, path: &str) -> Dataset {
        let name = format!("{}/{path}", self.name);
        self.zfs(&["create", "-p", &name]);
        Dataset {
            name,
            mountpoint: self.mountpoint.join(path),
        }
    }

    /// Runs `zfs` with `args` and returns its standard output.
    ///
    /// # Panics
    /// It fails; the message holds its standard error.
    #[track_caller]
    pub fn zfs(&self, args: &[&str]) -> String {
        self.try_zfs(args)
            .or_fail(format!("run `zfs {}`", args.join(" ")))
    }

    /// Runs `zfs` with `args` and returns its standard output. Commands that mount take turns.
    ///
    /// # Errors
    /// It fails: its standard error.
    pub fn try_zfs(&self, args: &[&str]) -> Result<String, String> {
        const MOUNTING: [&str; 5] = ["clone", "create", "mount", "rename", "rollback"];
        let mounts = args.first().is_some_and(|verb| MOUNTING.contains(verb));
        let turn = mounts.then(daemon::turn).transpose()?;
        let result = output(Command::new("zfs").args(args));
        drop(turn);
        result
    }

    /// Whether a dataset or snapshot of this full name exists.
    pub fn exists(&self, name: &str) -> bool {
        self.try_zfs(&["list", "-H", "-o", "name", name]).is_ok()
    }

    /// The snapshots of one dataset, oldest first, without those of its children.
    ///
    /// # Panics
    /// The dataset doesn't exist.
    #[track_caller]
    pub fn snapshots(&self, dataset: &str) -> Vec<Snapshot> {
        self.zfs(&["get", "-rHp", "-d", "1", "-o", "name,value", "guid", dataset])
            .lines()
            .filter_map(|line| line.split_once('\t'))
            .filter(|(name, _)| {
                name.strip_prefix(dataset)
                    .is_some_and(|rest| rest.starts_with('@'))
            })
            .map(|(name, guid)| Snapshot {
                name: name.into(),
                guid: guid.into(),
            })
            .collect()
    }

    /// How many holds a snapshot has (`zfs holds` doesn't work with zfs-fuse).
    ///
    /// # Panics
    /// The snapshot doesn't exist.
    #[track_caller]
    pub fn holds(&self, snapshot: &str) -> u64 {
        self.zfs(&["get", "-Hp", "-o", "value", "userrefs", snapshot])
            .trim()
            .parse()
            .or_fail("read a count of holds")
    }
}

impl Dataset {
    /// `pool/path`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it is mounted.
    pub fn mountpoint(&self) -> &Path {
        &self.mountpoint
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if let Err(sentence) = destroy(&self.name, self.directory.path()) {
            in_drop(&sentence);
        }
    }
}

/// Destroys a pool, which may go on being busy for a moment after its last use.
fn destroy(pool: &str, below: &Path) -> Result<(), String> {
    let deadline = Instant::now() + BUSY_TIMEOUT;
    loop {
        match output(Command::new("zpool").args(["destroy", "-f", pool])) {
            Ok(_) => return Ok(()),
            Err(text) if text.contains("no such pool") => return Ok(()),
            Err(text) if Instant::now() >= deadline => {
                detach_mounts(below)?;
                return Err(format!("can't destroy the pool {pool}: {text}"));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// Detaches what is mounted below a directory, so that removing the directory can't reach into it.
fn detach_mounts(below: &Path) -> Result<(), String> {
    let mounts =
        std::fs::read_to_string("/proc/mounts").map_err(|e| format!("can't read /proc/mounts: {e}"))?;
    for mountpoint in mounts.lines().rev().filter_map(|line| line.split(' ').nth(1)) {
        if Path::new(mountpoint).starts_with(below) {
            unmount(mountpoint, UnmountFlags::DETACH)
                .map_err(|e| format!("can't unmount {mountpoint}: {e}"))?;
        }
    }
    Ok(())
}

/// Standard output, or else what the program said on its standard error.
fn output(command: &mut Command) -> Result<String, String> {
    let result = command
        .output()
        .map_err(|e| format!("{:?}: {e}", command.get_program()))?;
    if result.status.success() {
        Ok(String::from_utf8_lossy(&result.stdout).into_owned())
    } else {
        Err(format!(
            "{} ({})",
            String::from_utf8_lossy(&result.stderr).trim_end(),
            result.status
        ))
    }
}
