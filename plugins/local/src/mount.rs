//! Whether the filesystem that should hold the directory is mounted.

use backstay_sdk::{Failure, Result};

use crate::config::Config;

/// Refuses a directory that is not on the mount that the job names.
///
/// # Errors
/// `mount` is set, and the directory is on another one.
pub fn check_expected(config: &Config, now: &str) -> Result<()> {
    match &config.mount {
        Some(mount) if trim(mount) != trim(now) => {
            let message = if trim(now).len() < trim(mount).len() {
                format!(
                    "nothing is mounted at {mount}; {} is on the filesystem mounted at {now}",
                    config.path
                )
            } else {
                format!(
                    "{} is on the filesystem mounted at {now}, not on the one at {mount}",
                    config.path
                )
            };
            Err(Failure::environment(message).hint(format!("mount {mount}, or correct `mount` in the job")))
        }
        _ => Ok(()),
    }
}

/// Compares the mount that held the directory at earlier runs with the one that holds it now. A mount
/// further down is a disk that was added, and is taken.
///
/// # Errors
/// The earlier mount is gone: what is there now is the directory under it.
pub fn compare(path: &str, before: &str, now: &str) -> Result<()> {
    if trim(now).len() < trim(before).len() {
        let message = format!("{path} was on the filesystem mounted at {before}, which is not mounted now");
        return Err(Failure::environment(message).hint(format!(
            "mount it; if backups now belong here for good, set `mount: {now}` in the job"
        )));
    }
    Ok(())
}

fn trim(path: &str) -> &str {
    path.trim_end_matches('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(mount: Option<&str>) -> Config {
        Config {
            path: "/mnt/usb/b".to_owned(),
            mount: mount.map(str::to_owned),
            min_free_bytes: 0,
        }
    }

    #[test]
    fn an_expected_mount_that_is_absent_is_refused() {
        let failure = check_expected(&config(Some("/mnt/usb")), "/").expect_err("absent");
        assert_eq!(failure.code, backstay_sdk::Code::Environment);
        assert_eq!(
            failure.message,
            "nothing is mounted at /mnt/usb; /mnt/usb/b is on the filesystem mounted at /"
        );
    }

    #[test]
    fn another_filesystem_mounted_below_the_expected_one_is_refused() {
        let failure = check_expected(&config(Some("/mnt")), "/mnt/usb").expect_err("another");
        assert_eq!(
            failure.message,
            "/mnt/usb/b is on the filesystem mounted at /mnt/usb, not on the one at /mnt"
        );
    }

    #[test]
    fn the_expected_mount_is_well_however_it_is_written() {
        assert!(check_expected(&config(Some("/mnt/usb/")), "/mnt/usb").is_ok());
        assert!(check_expected(&config(Some("/")), "/").is_ok());
        assert!(check_expected(&config(None), "/").is_ok());
    }

    #[test]
    fn a_mount_of_earlier_runs_that_is_gone_is_refused() {
        let failure = compare("/mnt/usb/b", "/mnt/usb", "/").expect_err("gone");
        assert_eq!(
            failure.message,
            "/mnt/usb/b was on the filesystem mounted at /mnt/usb, which is not mounted now"
        );
        assert!(failure.hint.is_some_and(|hint| hint.contains("`mount: /`")));
        assert!(compare("/mnt/usb/b", "/", "/mnt/usb").is_ok());
    }
}
