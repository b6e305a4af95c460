//! The drive itself: whether it is there, and what is known of it.

use backstay_sdk::content::stat;
use backstay_sdk::{ByteStream, Failure, FileKind, Result, log};

use crate::Facts;
use crate::config::Config;
use crate::git::Git;

/// Longest `ident.cfg` that is read, in bytes.
const IDENT_BYTES: u32 = 64 << 10;

/// A drive that is there.
#[derive(Debug)]
pub struct Stick {
    /// The mount that holds it.
    pub mounted_on: String,
    /// The git data and the files.
    pub git: Git,
}

/// Looks at the drive.
///
/// # Errors
/// It isn't there, or not on the mount that it must be on.
pub fn look(config: &Config) -> Result<Stick> {
    let path = config.path();
    let info = stat(path)?.ok_or_else(|| {
        Failure::backup_failed(format!("{path} does not exist"))
            .hint("mount the flash drive there, or say in `path` where it is")
    })?;
    if info.kind != FileKind::Directory {
        return Err(Failure::backup_failed(format!("{path} is not a directory"))
            .hint("name the directory that the flash drive is mounted on in `path`"));
    }
    if config.require_mount == Some(true) && info.mounted_on == "/" {
        return Err(
            Failure::backup_failed(format!("no filesystem is mounted at or above {path}"))
                .hint("mount the flash drive, or remove `requireMount` from the job"),
        );
    }
    Ok(Stick {
        mounted_on: info.mounted_on,
        git: Git {
            git_dir: config.git_path().to_owned(),
            work_tree: path.to_owned(),
            // Every such drive has a directory `config`; one that answers to this name as well is on FAT.
            ignore_case: stat(&format!("{path}/cOnFiG"))?.is_some(),
        },
    })
}

/// Refuses what is under a mount that is gone.
///
/// # Errors
/// The drive was on a mount of its own at the last backup and isn't now.
pub fn refuse_lost_mount(config: &Config, before: Option<&Facts>, now: &str) -> Result<()> {
    let lost = before.filter(|b| b.path == config.path() && now.len() < b.mounted_on.len());
    match lost {
        Some(before) if config.require_mount.is_none() => Err(Failure::backup_failed(format!(
            "{} was on the filesystem mounted at {}, which is not mounted now",
            before.path, before.mounted_on
        ))
        .hint("mount it; if the data has moved for good, set `requireMount: false` in the job for one run")),
        _ => Ok(()),
    }
}

/// The name of the server: as configured, as the drive says, or else that of this machine.
pub fn server_name(config: &Config, device: &str) -> String {
    if let Some(name) = &config.server_name {
        return name.clone();
    }
    let file = format!("{}/config/ident.cfg", config.path());
    let text = match stat(&file) {
        Ok(Some(info)) if info.kind == FileKind::File => {
            ByteStream::file(&file).and_then(|file| file.read_text(IDENT_BYTES))
        }
        _ => return device.to_owned(),
    };
    match text {
        Ok(text) => name_in(&text).unwrap_or(device).to_owned(),
        Err(failure) => {
            log::info(format!(
                "the server's name is taken to be {device}: {}",
                failure.message
            ));
            device.to_owned()
        }
    }
}

/// The name in an `ident.cfg`: a line `NAME="Tower"`.
fn name_in(text: &str) -> Option<&str> {
    let value = text.lines().find_map(|line| line.trim().strip_prefix("NAME="))?;
    let name = value.trim().trim_matches('"').trim();
    (!name.is_empty() && !name.chars().any(char::is_control)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_stands_in_the_drives_own_configuration() {
        assert_eq!(
            name_in("# Generated\r\nNAME=\"Tower\"\r\ntimeZone=\"UTC\"\r\n"),
            Some("Tower")
        );
        assert_eq!(name_in("NAME=box\n"), Some("box"));
        assert_eq!(name_in("NAME=\"\"\n"), None);
        assert_eq!(name_in("XNAME=\"a\"\n"), None);
    }

    #[test]
    fn a_mount_that_is_gone_is_no_drive() {
        let config = |json| serde_json::from_str::<Config>(json).expect("config");
        let before = Facts {
            mounted_on: "/boot".to_owned(),
            ..Facts::example()
        };
        let failure = refuse_lost_mount(&config("{}"), Some(&before), "/").expect_err("gone");
        assert_eq!(
            failure.message,
            "/boot was on the filesystem mounted at /boot, which is not mounted now"
        );
        assert!(refuse_lost_mount(&config("{}"), Some(&before), "/boot").is_ok());
        assert!(refuse_lost_mount(&config(r#"{"requireMount":false}"#), Some(&before), "/").is_ok());
        assert!(
            refuse_lost_mount(
                &config(r#"{"path":"/mnt","gitPath":"/mnt/.git"}"#),
                Some(&before),
                "/"
            )
            .is_ok()
        );
    }
}
