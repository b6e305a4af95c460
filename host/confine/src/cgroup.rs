//! A control group of its own for a script, where the kernel has them (version 2) and lets us.
//!
//! It limits memory and processes together and exactly, and ends all of them at once. Without one the limits of each
//! process and the eye on all of them stay; so nothing here is an error.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::limits::Limits;

/// What our groups' names begin with.
const PREFIX: &str = "backstay-script-";

/// Counts the groups of this process.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A group, ended with all that is in it when dropped.
#[derive(Debug)]
pub(crate) struct Group {
    path: PathBuf,
    entrance: File,
}

impl Group {
    /// Makes a group with these limits, if that is possible.
    pub(crate) fn create(limits: &Limits) -> Option<Self> {
        let parent = own()?;
        sweep(&parent);
        let handed_down = parent.join("cgroup.subtree_control");
        for controller in ["+memory", "+pids"] {
            // A group with processes in it can't hand controllers down, so this needs a group whose only processes are
            // in groups below it.
            let _ = fs::write(&handed_down, controller);
        }
        // Without any, a group would limit nothing, and the kernel takes some 10 ms to move a process.
        if fs::read_to_string(&handed_down).ok()?.trim().is_empty() {
            return None;
        }
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("{PREFIX}{}-{number}", std::process::id()));
        fs::create_dir(&path).ok()?;
        for (file, value) in [
            ("memory.max", limits.memory_bytes.to_string()),
            ("memory.swap.max", "0".to_owned()),
            ("memory.oom.group", "1".to_owned()),
            ("pids.max", (limits.processes + 2).to_string()),
        ] {
            if path.join(file).exists() {
                let _ = fs::write(path.join(file), value);
            }
        }
        let entrance = File::options().write(true).open(path.join("cgroup.procs"));
        match entrance {
            Ok(entrance) => Some(Group { path, entrance }),
            Err(_) => {
                let _ = fs::remove_dir(&path);
                None
            }
        }
    }

    /// Takes in a process, with all that it starts from now on. The kernel takes some 10 ms for it.
    ///
    /// # Errors
    /// There is no such process, or the kernel doesn't let us.
    pub(crate) fn take(&self, process: i32) -> std::io::Result<()> {
        (&self.entrance).write_all(process.to_string().as_bytes())
    }

    /// Whether the kernel limits the memory of the whole group.
    pub(crate) fn limits_memory(&self) -> bool {
        self.path.join("memory.max").exists()
    }

    /// Whether the kernel ended it for want of memory.
    pub(crate) fn ran_out_of_memory(&self) -> bool {
        let events = fs::read_to_string(self.path.join("memory.events")).unwrap_or_default();
        let count = events.lines().find_map(|line| line.strip_prefix("oom_kill "));
        count.is_some_and(|count| count.trim() != "0")
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Before Linux 5.14 there is no such file; the end of the namespace ends them as well.
        let _ = fs::write(self.path.join("cgroup.kill"), "1");
        for _ in 0..50 {
            if fs::remove_dir(&self.path).is_ok() || !self.path.exists() {
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// The group of this process.
fn own() -> Option<PathBuf> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let mount = mounts.lines().find(|line| line.contains(" - cgroup2 "))?;
    let path = Path::new(mount.split(' ').nth(4)?).join(own);
    path.join("cgroup.procs").exists().then_some(path)
}

/// Removes groups whose host is gone. A new one of a living host is empty as well until its script joins.
fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let host = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if host.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            // With processes in it, it can't be removed.
            let _ = fs::remove_dir(entry.path());
        }
    }
}
