//! The configuration of a `zfs` source, and the rules that its schema can't say.

use backstay_sdk::Diagnostic;
use schemars::JsonSchema;
use serde::Deserialize;

/// Bytes in the longest name that ZFS takes for a snapshot, dataset included.
const MAX_NAME_BYTES: usize = 255;

/// Bytes of a run's id and the `@` and `-` beside it.
const SUFFIX_BYTES: usize = 38;

/// A ZFS pool or dataset to back up.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// Name of a pool or dataset, such as `tank/home`.
    #[schemars(regex(pattern = r"^[a-zA-Z0-9_\-\/]+$"))]
    pub pool_name: String,
    /// What the names of snapshots begin with; the run's id follows.
    #[serde(default = "backstay")]
    #[schemars(regex(pattern = r"^[a-zA-Z0-9_\-]+$"))]
    pub snapshot_name: String,
    /// Send only what changed since the last backup, where its snapshot is still there.
    #[serde(default = "yes")]
    pub incremental: bool,
    /// Increments in a row; then it is sent whole again, so that retention can let the chain go. 0 for any number.
    #[serde(default = "thirty")]
    pub max_increments: u32,
    /// Take all datasets below as well (`zfs send -R`).
    #[serde(default)]
    pub recursive: bool,
    /// Send blocks as they are on disk, encrypted ones still encrypted (`zfs send -w`). OpenZFS only.
    #[serde(default)]
    pub raw: bool,
    /// Send blocks as they are compressed on disk (`zfs send -c`). OpenZFS only.
    #[serde(default)]
    pub compressed: bool,
    /// Send blocks over 128 KiB in one piece (`zfs send -L`). OpenZFS only.
    #[serde(default)]
    pub large_blocks: bool,
}

fn backstay() -> String {
    "backstay".to_owned()
}

fn thirty() -> u32 {
    30
}

fn yes() -> bool {
    true
}

impl Config {
    /// What is wrong without looking at the machine.
    pub fn check(&self) -> Vec<Diagnostic> {
        let mut diagnostics = Vec::new();
        if let Some(fault) = fault_of_dataset(&self.pool_name) {
            let message = format!(
                "`{}` is not the name of a pool or dataset: it {fault}",
                self.pool_name
            );
            diagnostics.push(Diagnostic::error("/poolName", "bad-name", message));
        }
        if !is_word(&self.snapshot_name) {
            let message = format!(
                "`{}` must consist of letters, digits, `_` and `-`",
                self.snapshot_name
            );
            diagnostics.push(Diagnostic::error("/snapshotName", "bad-name", message));
        }
        let bytes = self.pool_name.len() + self.snapshot_name.len() + SUFFIX_BYTES;
        if bytes > MAX_NAME_BYTES {
            let message =
                format!("the names of snapshots would have {bytes} bytes; ZFS takes {MAX_NAME_BYTES}");
            diagnostics.push(
                Diagnostic::error("/snapshotName", "name-too-long", message).hint("shorten `snapshotName`"),
            );
        }
        diagnostics
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}

fn fault_of_dataset(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        Some("is empty")
    } else if name.contains("..") {
        Some("contains `..`")
    } else if name.starts_with('/') {
        Some("begins with `/`")
    } else if name.starts_with('-') {
        Some("begins with `-`")
    } else if name.ends_with('/') || name.contains("//") {
        Some("has an empty part")
    } else if !name.split('/').all(is_word) {
        Some("holds other characters than letters, digits, `_`, `-` and `/`")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
    fn only_the_pool_is_needed() {
        check(serde_json::json!({ "poolName": "tank/home_1/a-b" }), &[]);
        let config: Config =
            serde_json::from_value(serde_json::json!({ "poolName": "tank" })).expect("config");
        assert!(
            config.incremental
                && !config.recursive
                && !config.raw
                && !config.compressed
                && !config.large_blocks
        );
        assert_eq!(config.snapshot_name, "backstay");
    }

    #[test]
    fn a_wrong_pool_name_says_what_is_wrong() {
        for (name, fault) in [
            ("", "is empty"),
            ("tank/../x", "contains `..`"),
            ("/tank", "begins with `/`"),
            ("-r", "begins with `-`"),
            ("tank/", "has an empty part"),
            ("tank//x", "has an empty part"),
            (
                "tank@snap",
                "holds other characters than letters, digits, `_`, `-` and `/`",
            ),
            (
                "tank%x",
                "holds other characters than letters, digits, `_`, `-` and `/`",
            ),
        ] {
            let message = format!("`{name}` is not the name of a pool or dataset: it {fault}");
            check(
                serde_json::json!({ "poolName": name }),
                &[("/poolName", &message)],
            );
        }
    }

    #[test]
    fn everything_wrong_is_said_at_once() {
        check(
            serde_json::json!({ "poolName": "/tank", "snapshotName": "a@b" }),
            &[
                (
                    "/poolName",
                    "`/tank` is not the name of a pool or dataset: it begins with `/`",
                ),
                (
                    "/snapshotName",
                    "`a@b` must consist of letters, digits, `_` and `-`",
                ),
            ],
        );
    }

    #[test]
    fn a_name_that_zfs_would_refuse_is_refused_first() {
        check(
            serde_json::json!({ "poolName": "p", "snapshotName": "x".repeat(217) }),
            &[(
                "/snapshotName",
                "the names of snapshots would have 256 bytes; ZFS takes 255",
            )],
        );
    }

    proptest! {
        #[test]
        fn an_accepted_name_is_one_argument_that_names_no_snapshot_and_no_option(name in "[-a-z/.@%,_ ]{0,12}") {
            if fault_of_dataset(&name).is_none() {
                prop_assert!(!name.starts_with(['-', '/']) && !name.contains(['@', '%', ',', ' ', '.']));
            }
        }
    }
}
