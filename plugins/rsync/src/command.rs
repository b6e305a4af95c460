//! The commands of `rsync` that this plugin runs, one function each. `plugin.json` asks for exactly these.
//!
//! The host starts them in the tree's directory and gives them the list of what to take, so no name of a file is ever an
//! argument, and what is left out was left out before.

use backstay_sdk::Command;

use crate::config::Config;

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

/// Prints the version.
pub fn version() -> Command {
    rsync().arg("--version")
}

/// Copies what is on its input from where it is started to `to`. Files that `linked_to` has as well become further
/// names of those. `limit` is in bytes a second.
pub fn take(config: &Config, limit: Option<u64>, linked_to: Option<&str>, to: &str) -> Command {
    rsync()
        .args(FAITHFUL)
        .args(LISTED)
        .args(["--no-human-readable", "--info=progress2,stats2"])
        .args(config.hard_links.then_some("--hard-links"))
        .args(config.compare_content.then_some("--checksum"))
        .args(limit.map(|bytes| format!("--bwlimit={}", (bytes >> 10).max(1))))
        .args(linked_to.map(|path| format!("--link-dest={path}")))
        .args(["--files-from=-", "--from0", "--", "./"])
        .arg(format!("{to}/"))
}

/// Makes what is on its input, all of it in the snapshot `from`, a part of the snapshot `to`.
pub fn carry(config: &Config, from: &str, to: &str) -> Command {
    rsync()
        .args(FAITHFUL)
        .args(LISTED)
        .args(config.hard_links.then_some("--hard-links"))
        .arg(format!("--link-dest={from}"))
        .args(["--files-from=-", "--from0", "--"])
        .args([format!("{from}/"), format!("{to}/")])
}

/// Gives `to` the attributes of the directory in which it is started, and nothing of what is in it.
pub fn root(to: &str) -> Command {
    rsync()
        .args(FAITHFUL)
        .args(["--no-recursive", "--dirs", "--exclude=*", "--", "./"])
        .arg(format!("{to}/"))
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
        let plain = take(
            &config(serde_json::json!({})),
            None,
            None,
            "/mnt/usb/j/1/.data.partial",
        )
        .to_string();
        assert!(
            plain.contains("--hard-links") && !plain.contains("--checksum"),
            "{plain}"
        );
        assert!(
            plain.ends_with("--files-from=- --from0 -- ./ /mnt/usb/j/1/.data.partial/"),
            "{plain}"
        );
        let other = config(serde_json::json!({ "hardLinks": false, "compareContent": true }));
        let other = take(
            &other,
            Some(5_000_000),
            Some("/mnt/usb/j/0/data"),
            "/mnt/usb/j/1/x",
        )
        .to_string();
        assert!(
            other.contains("--checksum --bwlimit=4882 --link-dest=/mnt/usb/j/0/data"),
            "{other}"
        );
        assert!(!other.contains("--hard-links"), "{other}");
    }

    #[test]
    fn a_limit_is_never_none_by_rounding() {
        let slow = take(&config(serde_json::json!({})), Some(100), None, "/mnt/usb/x").to_string();
        assert!(slow.contains("--bwlimit=1 "), "{slow}");
    }
}
