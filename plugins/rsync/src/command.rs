//! The commands of `rsync` that this plugin runs, one function each. `plugin.json` asks for exactly these.
//!
//! The host starts them in the tree's directory and gives them the list of what to take, so no name of a file is ever an
//! argument, and what is left out was left out before.

use backstay_sdk::Command;

use crate::config::Config;
use crate::ssh;

/// What every copy keeps: kinds, modes, owners by number, times to the nanosecond, ACLs, attributes.
const FAITHFUL: [&str; 5] = [
    "--archive",
    "--acls",
    "--xattrs",
    "--numeric-ids",
    "--modify-window=-1",
];

/// What vanishes from the list while it is copied is the host's to judge.
const LISTED: [&str; 2] = ["--sparse", "--ignore-missing-args"];

/// When nothing has moved for so many seconds, the disk there hangs: ssh only notices a machine that doesn't answer. Long
/// enough for `--checksum` of a file of some hundred GB, during which nothing moves either.
const STALLED: &str = "--timeout=3600";

/// Prints the version.
pub fn version() -> Command {
    rsync().arg("--version")
}

/// Copies what is on its input from where it is started to the directory under the key `to`. Files that the one under
/// `linked_to` has as well become further names of those. `limit` is in bytes a second.
pub fn take(config: &Config, limit: Option<u64>, linked_to: Option<&str>, to: &str) -> Command {
    let before = |key: &str| match config.host {
        Some(_) => format!("{}/{key}", ssh::path(config)),
        None => config.directory().location(key),
    };
    rsync()
        .args(FAITHFUL)
        .args(LISTED)
        .args(["--no-human-readable", "--info=progress2,stats2"])
        .args(config.hard_links.then_some("--hard-links"))
        .args(config.compare_content.then_some("--checksum"))
        .args(limit.map(|bytes| format!("--bwlimit={}", (bytes >> 10).max(1))))
        .args(connection(config))
        .args(linked_to.map(|key| format!("--link-dest={}", before(key))))
        .args(["--files-from=-", "--from0", "--", "./"])
        .arg(format!("{}/", address(config, to)))
}

/// Makes what is on its input, all of it in the snapshot in the directory `from` of this machine, a part of the one in `to`.
pub fn carry(config: &Config, from: &str, to: &str) -> Command {
    rsync()
        .args(FAITHFUL)
        .args(LISTED)
        .args(config.hard_links.then_some("--hard-links"))
        .arg(format!("--link-dest={from}"))
        .args(["--files-from=-", "--from0", "--"])
        .args([format!("{from}/"), format!("{to}/")])
}

/// Gives the directory under the key `to` the attributes of the directory in which it is started, and nothing of what is
/// in it.
pub fn root(config: &Config, to: &str) -> Command {
    rsync()
        .args(FAITHFUL)
        .args(["--no-recursive", "--dirs", "--exclude=*"])
        .args(connection(config))
        .args(["--", "./"])
        .arg(format!("{}/", address(config, to)))
}

/// Copies a stored tree from another machine into a directory of this one.
pub fn fetch(config: &Config, key: &str, to: &str) -> Command {
    rsync()
        .args(FAITHFUL)
        .args(["--sparse", "--hard-links"])
        .args(connection(config))
        .arg("--")
        .args([format!("{}/", address(config, key)), format!("{to}/")])
}

/// What copies a stored tree from another machine into the directory `$TARGET`, for a person.
pub fn fetch_by_hand(config: &Config, key: &str) -> String {
    let mut ssh = "ssh".to_owned();
    ssh.extend(config.port.map(|port| format!(" -p {port}")));
    ssh.extend(config.identity_file.iter().map(|file| format!(" -i {file}")));
    let fetch = rsync()
        .args(["-aHAXS", "--numeric-ids", "--protect-args"])
        .args(config.fake_super.then_some("--remote-option=--fake-super"))
        .args(["-e".to_owned(), ssh])
        .arg(format!("{}@{}/", ssh::user(config), address(config, key)));
    format!("{fetch} \"$TARGET/\"")
}

/// How another machine is reached; nothing for this one.
fn connection(config: &Config) -> Vec<String> {
    if config.host.is_none() {
        return Vec::new();
    }
    let mut options = [STALLED, "--protect-args"].map(str::to_owned).to_vec();
    options.push(ssh::remote_shell(config));
    options.extend(
        config
            .fake_super
            .then(|| "--remote-option=--fake-super".to_owned()),
    );
    options
}

/// Where an object is, as rsync wants to be told.
fn address(config: &Config, key: &str) -> String {
    match config.host {
        Some(_) => format!("{}:{}/{key}", ssh::host(config), ssh::path(config)),
        None => config.directory().location(key),
    }
}

fn rsync() -> Command {
    Command::new("rsync")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(more: serde_json::Value) -> Config {
        let mut config = serde_json::json!({ "localDestination": "/mnt/usb" });
        if let (Some(config), Some(more)) = (config.as_object_mut(), more.as_object()) {
            config.extend(more.clone());
        }
        serde_json::from_value(config).expect("a configuration")
    }

    #[test]
    fn options_follow_the_job() {
        let plain = take(&config(serde_json::json!({})), None, None, "j/1/.data.partial").to_string();
        assert!(
            plain.contains("--hard-links") && !plain.contains("--checksum"),
            "{plain}"
        );
        assert!(
            plain.ends_with("--files-from=- --from0 -- ./ /mnt/usb/j/1/.data.partial/"),
            "{plain}"
        );
        let other = config(serde_json::json!({ "hardLinks": false, "compareContent": true }));
        let other = take(&other, Some(5_000_000), Some("j/0/data"), "j/1/x").to_string();
        assert!(
            other.contains("--checksum --bwlimit=4882 --link-dest=/mnt/usb/j/0/data"),
            "{other}"
        );
        assert!(!other.contains("--hard-links"), "{other}");
    }

    #[test]
    fn a_limit_is_never_none_by_rounding() {
        let slow = take(&config(serde_json::json!({})), Some(100), None, "x").to_string();
        assert!(slow.contains("--bwlimit=1 "), "{slow}");
    }

    #[test]
    fn a_person_fetches_a_tree_with_one_command() {
        let remote = serde_json::json!({ "host": "nas", "remotePath": "/my backups", "port": 2222 });
        let remote: Config = serde_json::from_value(remote).expect("a configuration");
        assert_eq!(
            fetch_by_hand(&remote, "j/1/data"),
            r#"rsync -aHAXS --numeric-ids --protect-args -e 'ssh -p 2222' 'root@nas:/my backups/j/1/data/' "$TARGET/""#
        );
    }
}
