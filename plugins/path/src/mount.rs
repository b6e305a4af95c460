//! Whether the filesystem that should hold the path is mounted.

use backstay_sdk::{Failure, Result};

use crate::config::Config;

/// What became of the mount that held the path.
#[derive(Debug, PartialEq, Eq)]
pub enum Change {
    /// It is the same.
    None,
    /// Another filesystem is mounted over it: a disk was added, which somebody should know of.
    Covered(String),
}

/// Refuses a path on the root filesystem if the job wants a mount.
///
/// # Errors
/// `requireMount` is true and the path is on `/`.
pub fn check_required(config: &Config, mounted_on: &str) -> Result<()> {
    if config.require_mount == Some(true) && mounted_on == "/" {
        return Err(
            Failure::backup_failed(format!("no filesystem is mounted at or above {}", config.path))
                .hint("mount it, or remove `requireMount` from the job"),
        );
    }
    Ok(())
}

/// Compares the mount that held the path at the last backup with the one that holds it now. Both hold the
/// path, so one is above the other or they are the same.
///
/// # Errors
/// The earlier mount is gone, and what is seen now is what was under it.
pub fn compare(path: &str, before: &str, now: &str) -> Result<Change> {
    if before == now {
        Ok(Change::None)
    } else if now.len() < before.len() {
        Err(Failure::backup_failed(format!(
            "{path} was on the filesystem mounted at {before}, which is not mounted now"
        ))
        .hint("mount it; if the data has moved for good, set `requireMount: false` in the job for one run"))
    } else {
        Ok(Change::Covered(format!(
            "{path} was on the filesystem mounted at {before} and is now on another one, mounted at {now}"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_mount_is_well() {
        assert_eq!(
            compare("/mnt/usb/x", "/mnt/usb", "/mnt/usb").expect("same"),
            Change::None
        );
    }

    #[test]
    fn a_mount_that_is_gone_fails_and_says_which() {
        let failure = compare("/mnt/usb/x", "/mnt/usb", "/").expect_err("gone");
        assert_eq!(
            failure.message,
            "/mnt/usb/x was on the filesystem mounted at /mnt/usb, which is not mounted now"
        );
        assert!(failure.hint.is_some());
    }

    #[test]
    fn a_new_mount_is_a_warning() {
        let Change::Covered(message) = compare("/srv/x", "/", "/srv").expect("covered") else {
            panic!("no warning")
        };
        assert_eq!(
            message,
            "/srv/x was on the filesystem mounted at / and is now on another one, mounted at /srv"
        );
    }

    #[test]
    fn a_required_mount_is_not_the_root_filesystem() {
        let config = |require| Config {
            path: "/mnt/usb".to_owned(),
            include: Vec::new(),
            exclude: Vec::new(),
            one_file_system: false,
            stream: true,
            require_mount: require,
        };
        let failure = check_required(&config(Some(true)), "/").expect_err("not mounted");
        assert_eq!(failure.message, "no filesystem is mounted at or above /mnt/usb");
        assert!(check_required(&config(Some(true)), "/mnt").is_ok());
        assert!(check_required(&config(None), "/").is_ok());
    }
}
