//! A small disk that can run full: a tmpfs of a given size, unmounted when dropped. Needs root.

use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, unmount};
use tempfile::TempDir;

use crate::fail::{OrFail, in_drop};
use crate::tools;

/// A mounted file system that holds only so many bytes.
#[derive(Debug)]
pub struct SmallDisk {
    path: PathBuf,
    /// Where it is mounted if nobody said where.
    directory: Option<TempDir>,
}

impl SmallDisk {
    /// Mounts an empty one that holds `size_bytes`, rounded up to whole pages.
    ///
    /// # Panics
    /// Not root, or the kernel refuses the mount.
    #[track_caller]
    pub fn mount(size_bytes: u64) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("backstay-disk-")
            .tempdir()
            .or_fail("make a mount point");
        let mut disk = Self::mount_at(directory.path(), size_bytes);
        disk.directory = Some(directory);
        disk
    }

    /// Mounts an empty one on a directory, whose content it hides.
    ///
    /// # Panics
    /// As [`SmallDisk::mount`].
    #[track_caller]
    pub fn mount_at(path: &Path, size_bytes: u64) -> Self {
        tools::require_root("to mount a small disk");
        let options =
            std::ffi::CString::new(format!("size={size_bytes},mode=0755")).or_fail("write mount options");
        let flags = MountFlags::NODEV | MountFlags::NOSUID;
        mount("backstay-testkit", path, "tmpfs", flags, options.as_c_str()).or_fail("mount a tmpfs");
        SmallDisk {
            path: path.to_owned(),
            directory: None,
        }
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The bytes that can still be written.
    ///
    /// # Panics
    /// The file system can't be asked.
    #[track_caller]
    pub fn free_bytes(&self) -> u64 {
        let found = rustix::fs::statvfs(self.path()).or_fail("ask the small disk for its free space");
        found.f_bavail * found.f_frsize
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if let Err(error) = unmount(self.path(), UnmountFlags::DETACH) {
            in_drop(&format!("can't unmount {}: {error}", self.path().display()));
        }
    }
}

/// A file that can be opened and not read, as on a disk with damage, until this is dropped: a file of the kernel's lies over
/// it, of the loopback device's speed, which it has not got.
#[derive(Debug)]
pub struct Unreadable(PathBuf);

impl Unreadable {
    /// Lays it over a file, and waits until that changed long enough ago to be believed.
    ///
    /// # Panics
    /// It can't be mounted.
    #[track_caller]
    pub fn over(file: &Path) -> Self {
        let kernel = "/sys/devices/virtual/net/lo/speed";
        // It forgets when it changed, unless it was told.
        std::fs::File::open(kernel)
            .and_then(|file| file.set_modified(std::time::SystemTime::now()))
            .or_fail(format!("touch {kernel}"));
        mount_bind(kernel, file).or_fail(format!("lay {kernel} over {}", file.display()));
        std::thread::sleep(std::time::Duration::from_secs(4));
        Unreadable(file.to_owned())
    }
}

impl Drop for Unreadable {
    fn drop(&mut self) {
        if let Err(error) = unmount(&self.0, UnmountFlags::DETACH) {
            in_drop(&format!("can't unmount {}: {error}", self.0.display()));
        }
    }
}
