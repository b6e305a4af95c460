//! The configuration of an `rclone` destination, and the rules that its schema can't say.

use backstay_sdk::Diagnostic;
use schemars::JsonSchema;
use serde::Deserialize;

/// A place that rclone knows to keep backups in.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// A remote of the rclone configuration and a path in it, such as `b2:my-bucket/backups`.
    pub remote: String,
    /// Absolute path of the rclone configuration. Without it, the usual one of the user that the host runs as.
    #[serde(default)]
    #[schemars(regex(pattern = r"^/"))]
    pub config_file: Option<String>,
    /// Name of the secret with the password of an encrypted rclone configuration.
    #[serde(default)]
    #[schemars(regex(pattern = r"^[A-Za-z0-9_-][A-Za-z0-9._-]*$"))]
    pub config_password_secret: Option<String>,
    /// How a file tree is kept that no filter changes: each file as a file of its own, or all as one tar stream.
    #[serde(default)]
    pub trees: Trees,
    /// How a tree is compared with its source after it was copied.
    #[serde(default)]
    pub check: Check,
    /// Whether the remote copies by itself what a file was in the backup before, if it is the same now and the remote can. Otherwise
    /// each run sends all files.
    #[serde(default = "yes")]
    pub copy_unchanged: bool,
    /// Whether owners, modes and attributes go to the remote with each file, if it keeps such. Without it only the index
    /// beside the tree has them, which is enough for restores.
    #[serde(default)]
    pub metadata: bool,
    /// How many files of a tree are copied at once. Without it, what rclone takes, 4.
    #[serde(default)]
    #[schemars(range(min = 1, max = 64))]
    pub transfers: Option<u32>,
    /// Size in MiB of the pieces in which a stream goes to S3. A stream has 10,000 at most, and four of them are
    /// held in memory. Without it, what the remote says; rclone itself takes 5, enough for 48 GiB.
    #[serde(default)]
    #[schemars(range(min = 5, max = 5120))]
    pub s3_chunk_mebibytes: Option<u32>,
}

fn yes() -> bool {
    true
}

/// How file trees are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Trees {
    /// Each file as a file.
    #[default]
    Files,
    /// As one tar stream.
    Tar,
}

/// How a copied tree is compared with its source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Check {
    /// By sizes.
    Size,
    /// By hashes where the remote has some that rclone knows, else by sizes.
    #[default]
    Hash,
    /// All is read back.
    Download,
}

impl Config {
    /// What is wrong without looking at the machine.
    pub fn check(&self) -> Vec<Diagnostic> {
        let mut diagnostics = Vec::new();
        if let Some((message, hint)) = fault_of_remote(&self.remote) {
            // Without the text itself: somebody may have written a password into it.
            let message = format!("`remote` {message}");
            diagnostics.push(Diagnostic::error("/remote", "bad-remote", message).hint(hint));
        }
        if let Some(file) = &self.config_file
            && (!file.starts_with('/') || file.contains('\0'))
        {
            let message = format!("`{}` must be an absolute path", file.escape_debug());
            diagnostics.push(Diagnostic::error("/configFile", "bad-path", message));
        }
        diagnostics
    }

    /// The remote's name, without the colon.
    pub fn remote_name(&self) -> &str {
        self.remote.split_once(':').map_or(&self.remote, |(name, _)| name)
    }

    /// Where an object is, as rclone and people write it.
    pub fn location(&self, key: &str) -> String {
        format!("{}/{key}", self.remote)
    }
}

const NEEDS_A_NAME: &str = "write `NAME:PATH`; `rclone listremotes` lists the names";

fn fault_of_remote(remote: &str) -> Option<(&'static str, &'static str)> {
    let Some((name, path)) = remote.split_once(':') else {
        return Some(("has no name of a remote", NEEDS_A_NAME));
    };
    let plain = |c: char| c.is_alphanumeric() || "_-.+@ ".contains(c);
    if name.is_empty() || name.contains([',', '=']) {
        let hint = "such a remote would put what it holds, secrets too, into command lines: make it with `rclone config` and name it here";
        return Some(("describes a remote instead of naming one", hint));
    }
    if name.starts_with(['-', ' ']) || name.ends_with(' ') || !name.chars().all(plain) {
        return Some(("has a name that rclone doesn't allow", NEEDS_A_NAME));
    }
    if path.chars().any(char::is_control) {
        return Some(("has a control character in its path", "correct the path"));
    }
    if path.trim_matches('/').is_empty() {
        return Some((
            "is a remote as a whole, and backups need a place of their own in it",
            "name a directory in it, such as `NAME:backups`; for a store with buckets `NAME:BUCKET/backups`",
        ));
    }
    if path.ends_with('/') {
        return Some(("ends with `/`", "leave it out"));
    }
    if path.split('/').any(|name| name == ".." || name == ".") {
        return Some(("has `.` or `..` in its path", "write the path without it"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(remote: &str) -> Option<String> {
        let config = serde_json::json!({ "remote": remote });
        let config: Config = serde_json::from_value(config).expect("a configuration of the right shape");
        config
            .check()
            .into_iter()
            .next()
            .map(|diagnostic| diagnostic.message)
    }

    #[test]
    fn a_remote_is_a_name_and_a_path() {
        for remote in ["b2:bucket", "My Drive:a b/c", "sftp.host:/srv/backups", "ä+1@x:ü"] {
            assert_eq!(fault(remote), None, "{remote}");
        }
    }

    #[test]
    fn what_is_no_place_of_its_own_in_a_named_remote_is_refused() {
        for (remote, message) in [
            ("/mnt/backup", "no name"),
            (":s3,secret_access_key=x:bucket", "describes a remote"),
            ("s3,secret_access_key=x:bucket", "describes a remote"),
            ("-x:bucket", "doesn't allow"),
            ("a/b:c", "doesn't allow"),
            ("s3:", "as a whole"),
            ("s3:/", "as a whole"),
            ("s3:bucket/", "ends with"),
            ("s3:bucket/../other", "`..`"),
            ("s3:buck\net", "control character"),
        ] {
            let fault = fault(remote).unwrap_or_default();
            assert!(fault.contains(message), "{remote}: {fault}");
        }
    }
}
