//! The configuration of a `local` destination, and the rules that its schema can't say.

use backstay_sdk::Diagnostic;
use backstay_sdk::directory::Directory;
use schemars::JsonSchema;
use serde::Deserialize;

/// A directory to keep backups in.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// Absolute path of a directory that exists.
    #[schemars(regex(pattern = r"^/"))]
    pub path: String,
    /// The mount point that must hold `path`, such as `/mnt/usb`: nothing is stored or read while no
    /// filesystem is mounted exactly there. Without it, the mount that held `path` when it was first
    /// used is expected again. `/` says that `path` belongs on the root filesystem.
    #[serde(default)]
    #[schemars(regex(pattern = r"^/"))]
    pub mount: Option<String>,
    /// Bytes that must be free before anything is stored. 16 MiB unless told.
    #[serde(default = "sixteen_mebibytes")]
    pub min_free_bytes: u64,
}

fn sixteen_mebibytes() -> u64 {
    16 << 20
}

impl Config {
    /// What is wrong without looking at the machine.
    pub fn check(&self) -> Vec<Diagnostic> {
        self.directory().check()
    }

    /// The directory.
    pub fn directory(&self) -> Directory<'_> {
        Directory {
            field: "path",
            path: &self.path,
            mount: self.mount.as_deref(),
            min_free_bytes: self.min_free_bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(config: serde_json::Value, expected: &[(&str, &str)]) {
        let config: Config = serde_json::from_value(config).expect("a configuration of the right shape");
        let diagnostics = config.check();
        let found: Vec<(&str, &str)> = diagnostics
            .iter()
            .map(|d| (d.pointer.as_str(), d.message.as_str()))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn only_the_path_is_needed() {
        check(serde_json::json!({ "path": "/mnt/usb/backups" }), &[]);
        check(
            serde_json::json!({ "path": "/mnt/usb/backups/", "mount": "/mnt/usb/", "minFreeBytes": 0 }),
            &[],
        );
        check(serde_json::json!({ "path": "/backups", "mount": "/" }), &[]);
    }

    #[test]
    fn everything_wrong_is_said_at_once() {
        check(
            serde_json::json!({ "path": "backups", "mount": "/mnt/../x" }),
            &[
                ("/path", "`backups` must be an absolute path"),
                ("/mount", "`/mnt/../x` must not contain `..`"),
            ],
        );
    }

    #[test]
    fn the_mount_holds_the_path_by_whole_names() {
        check(
            serde_json::json!({ "path": "/mnt/usb2", "mount": "/mnt/usb" }),
            &[("/mount", "`path` (/mnt/usb2) is not below `mount` (/mnt/usb)")],
        );
    }

    #[test]
    fn the_root_directory_is_no_place_for_backups() {
        check(
            serde_json::json!({ "path": "//" }),
            &[("/path", "backups can't be kept in the root directory itself")],
        );
    }

    #[test]
    fn a_location_is_a_path() {
        let config: Config =
            serde_json::from_value(serde_json::json!({ "path": "/mnt/usb/" })).expect("config");
        assert_eq!(
            config.directory().location("flash/1/data.tar"),
            "/mnt/usb/flash/1/data.tar"
        );
    }
}
