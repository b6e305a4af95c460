//! The configuration of an `rsync` destination.

use backstay_sdk::Diagnostic;
use backstay_sdk::directory::Directory;
use schemars::JsonSchema;
use serde::Deserialize;

/// A directory to keep snapshots in.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// Absolute path of a directory that exists, on a disk of this machine or a mounted share, without `/` at its end.
    #[schemars(regex(pattern = r"^/(.*[^/])?$"))]
    pub local_destination: String,
    /// The mount point that must hold `localDestination`, such as `/mnt/usb`: nothing is stored or read while no
    /// filesystem is mounted exactly there. Without it, the mount that held the directory when it was first used is
    /// expected again. `/` says that it belongs on the root filesystem.
    #[serde(default)]
    #[schemars(regex(pattern = r"^/"))]
    pub mount: Option<String>,
    /// Bytes that must be free before anything is stored. 16 MiB unless told.
    #[serde(default = "sixteen_mebibytes")]
    pub min_free_bytes: u64,
    /// Whether a snapshot is exactly what the source is. If not, what is gone from the source is carried over from the
    /// snapshot before, so it is never deleted while one snapshot is kept.
    #[serde(default = "yes")]
    pub delete_extraneous: bool,
    /// What is left out at this destination besides what the source leaves out, in the form of `.gitignore` patterns.
    /// Nothing is left out unless it is asked for.
    #[serde(default)]
    pub exclude_patterns: Vec<String>,
    /// Whether names of one file stay names of one file. Without it each is a file of its own, and rsync needs less memory.
    #[serde(default = "yes")]
    pub hard_links: bool,
    /// Whether files are compared with the snapshot before by their whole content, and not by size and time. Reads all
    /// of both, and so also replaces what has been damaged in the snapshot.
    #[serde(default)]
    pub compare_content: bool,
}

fn sixteen_mebibytes() -> u64 {
    16 << 20
}

fn yes() -> bool {
    true
}

impl Config {
    /// What is wrong without looking at the machine.
    pub fn check(&self) -> Vec<Diagnostic> {
        self.directory().check()
    }

    /// The directory.
    pub fn directory(&self) -> Directory<'_> {
        Directory {
            field: "localDestination",
            path: &self.local_destination,
            mount: self.mount.as_deref(),
            min_free_bytes: self.min_free_bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(config: serde_json::Value) -> Config {
        serde_json::from_value(config).expect("a configuration of the right shape")
    }

    #[test]
    fn nothing_is_left_out_unless_asked_for() {
        let config = config(serde_json::json!({ "localDestination": "/mnt/usb/backups" }));
        assert_eq!(config.exclude_patterns, Vec::<String>::new());
        assert!(config.delete_extraneous && config.hard_links && !config.compare_content);
        assert!(config.check().is_empty());
    }

    #[test]
    fn what_is_wrong_names_the_field() {
        let config = config(serde_json::json!({ "localDestination": "/mnt/../x", "mount": "usb" }));
        let found: Vec<String> = config.check().into_iter().map(|d| d.pointer).collect();
        assert_eq!(found, ["/localDestination", "/mount"]);
    }
}
