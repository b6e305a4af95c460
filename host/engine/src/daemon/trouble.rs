//! What keeps the service from its work for now: said once when it begins and once when it is over, and shown meanwhile.

use std::path::Path;

use rustix::fs::{StatVfsMountFlags, statvfs};

use super::{Daemon, lock};

/// With less room than this in the data directory the database may not take another run, in bytes.
const LEAST_ROOM: u64 = 1 << 20;

impl Daemon {
    /// Why the service can't do its work for now. It goes on by itself when that is over; what is due stays due.
    pub fn trouble(&self) -> Option<String> {
        lock(&self.trouble).clone()
    }

    /// Takes note of how it is now.
    pub(super) fn note_trouble(&self, now: Option<String>) {
        let mut known = lock(&self.trouble);
        if *known == now {
            return;
        }
        match &now {
            Some(said) => tracing::error!("{said}"),
            None => tracing::info!("the scheduler works again"),
        }
        *known = now;
        drop(known);
        self.tell();
    }
}

/// What is wrong with the place of the data directory, before it is found out by a write that fails.
pub(super) fn with_place(data_dir: &Path) -> Option<String> {
    // What can't be asked is found out by the next write.
    let found = statvfs(data_dir).ok()?;
    let place = data_dir.display();
    if found.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Some(format!(
            "no run can be started: the file system of the data directory {place} is read-only"
        ));
    }
    let room = found.f_bavail.saturating_mul(found.f_frsize);
    (room < LEAST_ROOM).then(|| {
        format!("no run can be relied on: there is no room left for the database in {place}; free some space")
    })
}
