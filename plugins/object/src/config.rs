//! The configuration of an `object` destination, and the rules that its schema can't say.

use backstay_sdk::{Diagnostic, LockMode, ObjectLock, RemoteOptions};
use schemars::JsonSchema;
use serde::Deserialize;

/// A remote, and where in it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// Name of a remote, as `backstay remote list` shows it.
    #[schemars(regex(pattern = r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$"))]
    pub remote: String,
    /// Directory within the remote, such as `nas/flash`, so that several machines can share a remote.
    #[serde(default)]
    pub prefix: Option<String>,
    /// Storage class of what is stored, in the words of the store: `STANDARD_IA`, `GLACIER_IR`, `COLDLINE` and the
    /// like. The store's default unless told.
    #[serde(default)]
    #[schemars(regex(pattern = r"^[A-Z][A-Z0-9_]{0,63}$"))]
    pub storage_class: Option<String>,
    /// How a file tree is kept that no filter changes: as one tar stream, or each file as an object of its own.
    #[serde(default)]
    pub trees: Trees,
    /// For how long nobody may delete what is stored, not even who has the key: the object lock of an `s3` store, whose
    /// bucket must have been made with it. Not locked unless told.
    #[serde(default)]
    pub object_lock: Option<Lock>,
}

/// How file trees are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Trees {
    /// As one tar stream.
    #[default]
    Tar,
    /// Each file as an object.
    Files,
}

/// An object lock.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Lock {
    /// Who may shorten it.
    pub mode: Mode,
    /// How many days it lasts, from when the object is stored.
    #[schemars(range(min = 1, max = 36500))]
    pub days: u32,
}

/// Who may shorten an object lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Mode {
    /// Whoever has the right `s3:BypassGovernanceRetention`.
    Governance,
    /// Nobody, not even the owner of the account.
    Compliance,
}

/// Classes of S3 from which nothing can be read before hours have passed.
const FROZEN: [&str; 2] = ["GLACIER", "DEEP_ARCHIVE"];

impl Config {
    /// What is wrong without looking at the machine.
    pub fn check(&self) -> Vec<Diagnostic> {
        let mut diagnostics = Vec::new();
        if let Some(fault) = self.prefix.as_deref().and_then(fault_of_prefix) {
            diagnostics.push(
                Diagnostic::error("/prefix", "bad-prefix", format!("`prefix` {fault}"))
                    .hint("name directories such as `nas/flash`; leave it out for none"),
            );
        }
        if let Some(class) = self.storage_class.as_deref().filter(|c| FROZEN.contains(c)) {
            let message = format!(
                "what is stored as {class} can't be read before the store was asked to thaw it, which takes hours: verifying and restoring fail until then"
            );
            diagnostics.push(
                Diagnostic::warning("/storageClass", "frozen", message)
                    .hint("GLACIER_IR costs little more and is read at once"),
            );
        }
        if self.trees == Trees::Files && self.object_lock.is_some() {
            let message = "the files of a tree can't be locked one by one";
            diagnostics.push(
                Diagnostic::error("/trees", "not-locked", message).hint("leave out `trees` or `objectLock`"),
            );
        }
        if let Some(lock) = self.object_lock.filter(|lock| lock.mode == Mode::Compliance) {
            let message = format!(
                "for {} days nobody can delete what is stored, not even the owner of the account, and all of it is paid for",
                lock.days
            );
            diagnostics.push(
                Diagnostic::warning("/objectLock/mode", "cannot-be-undone", message)
                    .hint("`governance` can be lifted by who has a special right: begin with that"),
            );
        }
        diagnostics
    }

    /// How objects are kept.
    pub fn options(&self) -> RemoteOptions {
        let prefix = self.prefix.as_deref().unwrap_or_default();
        RemoteOptions {
            prefix: prefix.trim_matches('/').to_owned(),
            storage_class: self.storage_class.clone(),
            lock: self.object_lock.map(|lock| ObjectLock {
                mode: match lock.mode {
                    Mode::Governance => LockMode::Governance,
                    Mode::Compliance => LockMode::Compliance,
                },
                days: lock.days,
            }),
        }
    }
}

fn fault_of_prefix(prefix: &str) -> Option<&'static str> {
    let prefix = prefix.trim_end_matches('/');
    if prefix.is_empty() {
        Some("is empty")
    } else if prefix.starts_with('/') {
        Some("must not begin with `/`: it is within the remote")
    } else if prefix.chars().any(char::is_control) {
        Some("has a control character")
    } else if prefix.split('/').any(str::is_empty) {
        Some("has an empty name in it")
    } else if prefix.split('/').any(|name| name.starts_with('.')) {
        Some("has a name that begins with a dot")
    } else if prefix.len() > 512 || prefix.split('/').any(|name| name.len() > 240) {
        Some("is too long: 512 bytes in all and 240 for each name are the most")
    } else {
        None
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
            .map(|d| (d.pointer.as_str(), d.code.as_str()))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn only_the_remote_is_needed() {
        check(serde_json::json!({ "remote": "s3-main" }), &[]);
        check(
            serde_json::json!({ "remote": "s3-main", "prefix": "nas/flash/", "storageClass": "STANDARD_IA" }),
            &[],
        );
    }

    #[test]
    fn a_prefix_leads_nowhere_else() {
        for prefix in [
            "",
            "/",
            "/x",
            "a//b",
            "../x",
            "a/.b",
            "a\nb",
            &"x".repeat(241),
            &"x/".repeat(300),
        ] {
            check(
                serde_json::json!({ "remote": "r", "prefix": prefix }),
                &[("/prefix", "bad-prefix")],
            );
        }
    }

    #[test]
    fn a_class_that_is_read_only_after_hours_is_said() {
        check(
            serde_json::json!({ "remote": "r", "storageClass": "DEEP_ARCHIVE" }),
            &[("/storageClass", "frozen")],
        );
    }

    #[test]
    fn a_lock_that_nobody_can_lift_is_said() {
        let lock = |mode| serde_json::json!({ "remote": "r", "objectLock": { "mode": mode, "days": 30 } });
        check(lock("governance"), &[]);
        check(lock("compliance"), &[("/objectLock/mode", "cannot-be-undone")]);
    }

    #[test]
    fn a_prefix_is_used_without_slashes_around_it() {
        let config = serde_json::json!({ "remote": "r", "prefix": "nas/flash/" });
        let config: Config = serde_json::from_value(config).expect("config");
        assert_eq!(config.options().prefix, "nas/flash");
    }
}
