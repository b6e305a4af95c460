//! The configuration of an `rsync` destination, and the rules that its schema can't say.

use backstay_sdk::Diagnostic;
use backstay_sdk::directory::{Directory, fault_of_path};
use schemars::JsonSchema;
use serde::Deserialize;

/// A directory to keep snapshots in: of this machine (`localDestination`), or of another one by ssh (`host` and
/// `remotePath`).
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// Absolute path of a directory that exists, on a disk of this machine or a mounted share, without `/` at its end.
    #[serde(default)]
    #[schemars(regex(pattern = r"^/(.*[^/])?$"))]
    pub local_destination: Option<String>,
    /// Name or IPv4 address of a machine that is reached by ssh.
    #[serde(default)]
    #[schemars(regex(pattern = r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$"))]
    pub host: Option<String>,
    /// Absolute path of a directory that exists there, without `/` at its end, quotes, backslashes and `*`, `?`, `[`, `]`.
    #[serde(default)]
    #[schemars(regex(pattern = r#"^/[^\x00-\x1f\x7f'"`\\*?\[\]]*[^\x00-\x1f\x7f'"`\\*?\[\]/]$"#))]
    pub remote_path: Option<String>,
    /// The account there. `root` unless told.
    #[serde(default)]
    #[schemars(regex(pattern = r"^[A-Za-z_][A-Za-z0-9_.-]*$"))]
    pub user: Option<String>,
    /// The port of the ssh server. 22 unless told.
    #[serde(default)]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u32>,
    /// Absolute path of the private key to log in with, which has no passphrase. `~/.ssh/id_ed25519` of the user that the
    /// host runs as, unless told.
    #[serde(default)]
    #[schemars(regex(pattern = r"^/[A-Za-z0-9_./@+=,-]+$"))]
    pub identity_file: Option<String>,
    /// Absolute path of the file with the keys of servers that are trusted. `~/.ssh/known_hosts` of the user that the host
    /// runs as, unless told. A server whose key isn't in it is refused.
    #[serde(default)]
    #[schemars(regex(pattern = r"^/[A-Za-z0-9_./@+=,-]+$"))]
    pub known_hosts_file: Option<String>,
    /// Whether rsync keeps owners, devices and the like in extended attributes at the other machine, for an account that
    /// isn't root there.
    #[serde(default)]
    pub fake_super: bool,
    /// The mount point that must hold the directory, such as `/mnt/usb`: nothing is stored or read while no filesystem is
    /// mounted exactly there. Without it, the mount that held the directory when it was first used is expected again. `/`
    /// says that it belongs on the root filesystem.
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
    /// Where each new snapshot of a directory of this machine is copied on to, after it is whole: an object store.
    #[serde(default)]
    pub sync_to_s3: Option<SyncToS3>,
}

/// An object store that snapshots are copied on to by rclone.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SyncToS3 {
    /// Whether it is done. True unless told.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// A remote of the rclone configuration and a path in it without `/` at its end, such as `s3:my-bucket/off-site`.
    #[schemars(regex(pattern = r"^[A-Za-z0-9_][A-Za-z0-9_.+@ -]*:[^\x00-\x1f\x7f]*[^/\x00-\x1f\x7f]$"))]
    pub remote: String,
    /// Directory below it. `YYYY`, `MM`, `DD`, `hh`, `mm` and `ss` stand for the time at which the run began, in UTC, such as
    /// in `rsync/YYYY-MM-DD`.
    #[serde(default)]
    #[schemars(regex(pattern = r"^([^/\x00-\x1f\x7f][^\x00-\x1f\x7f]*)?$"))]
    pub s3_prefix: String,
    /// Storage class of what is uploaded. The store's own unless told.
    #[serde(default)]
    pub storage_class: Option<StorageClass>,
    /// Whether what is gone from the snapshot is deleted there.
    #[serde(default)]
    pub delete_from_s3: bool,
    /// Absolute path of the rclone configuration. Without it, the usual one of the user that the host runs as.
    #[serde(default)]
    #[schemars(regex(pattern = r"^/"))]
    pub config_file: Option<String>,
    /// Name of the secret with the password of an encrypted rclone configuration.
    #[serde(default)]
    #[schemars(regex(pattern = r"^[A-Za-z0-9_-][A-Za-z0-9._-]*$"))]
    pub config_password_secret: Option<String>,
}

/// A storage class of S3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum StorageClass {
    /// For what is read often.
    Standard,
    /// For what is read seldom.
    StandardIa,
    /// For what is read hardly ever, and hours after it was asked for.
    Glacier,
    /// For what is read hardly ever, and at once.
    GlacierIr,
}

impl StorageClass {
    /// Its name at S3.
    pub fn name(self) -> &'static str {
        match self {
            StorageClass::Standard => "STANDARD",
            StorageClass::StandardIa => "STANDARD_IA",
            StorageClass::Glacier => "GLACIER",
            StorageClass::GlacierIr => "GLACIER_IR",
        }
    }
}

impl SyncToS3 {
    /// Whether what is there can't be read, and so not be copied there either, until somebody has it thawed.
    pub fn is_frozen(&self) -> bool {
        self.storage_class == Some(StorageClass::Glacier)
    }

    fn check(&self, is_remote: bool) -> Vec<Diagnostic> {
        let mut diagnostics = Vec::new();
        if is_remote {
            diagnostics.push(
                Diagnostic::error(
                    "/syncToS3",
                    "not-here",
                    "only snapshots on this machine can be copied on",
                )
                .hint("use `localDestination`, or add a second destination such as `rclone` to the job"),
            );
        }
        for (field, path) in [("remote", &self.remote), ("s3Prefix", &self.s3_prefix)] {
            if path.split('/').any(|name| name == "." || name == "..") {
                let message = format!("`{path}` must not contain `.` or `..` as a name");
                diagnostics.push(Diagnostic::error(
                    format!("/syncToS3/{field}"),
                    "bad-path",
                    message,
                ));
            }
        }
        diagnostics
    }
}

fn sixteen_mebibytes() -> u64 {
    16 << 20
}

fn yes() -> bool {
    true
}

impl Config {
    /// What is wrong without looking at any machine.
    pub fn check(&self) -> Vec<Diagnostic> {
        let mut diagnostics = match (&self.local_destination, &self.host) {
            (Some(_), Some(_)) => vec![
                Diagnostic::error("/host", "two-places", "both `localDestination` and `host` are named")
                    .hint("keep one of them: a job may have several destinations"),
            ],
            (None, None) => vec![
                Diagnostic::error("", "no-place", "neither `localDestination` nor `host` is named").hint(
                    "name a directory of this machine in `localDestination`, or another machine in `host` and a directory there in `remotePath`",
                ),
            ],
            (None, Some(_)) if self.remote_path.is_none() => vec![
                Diagnostic::error("/remotePath", "no-path", "`remotePath` is missing")
                    .hint("name the directory at the other machine"),
            ],
            _ => Vec::new(),
        };
        if self.host.is_none() {
            let needless = [
                ("remotePath", self.remote_path.is_some()),
                ("user", self.user.is_some()),
                ("port", self.port.is_some()),
                ("identityFile", self.identity_file.is_some()),
                ("knownHostsFile", self.known_hosts_file.is_some()),
                ("fakeSuper", self.fake_super),
            ];
            for (field, _) in needless.into_iter().filter(|(_, is_there)| *is_there) {
                let message = format!("`{field}` is for another machine, and no `host` is named");
                diagnostics.push(
                    Diagnostic::error(format!("/{field}"), "without-host", message)
                        .hint("name the machine in `host`, or remove the field"),
                );
            }
        }
        for (field, path) in [
            ("identityFile", &self.identity_file),
            ("knownHostsFile", &self.known_hosts_file),
        ] {
            if let Some(path) = path
                && let Some(fault) = fault_of_path(path)
            {
                let message = format!("`{path}` {fault}");
                diagnostics.push(Diagnostic::error(format!("/{field}"), "bad-path", message));
            }
        }
        if let Some(to) = &self.sync_to_s3 {
            diagnostics.extend(to.check(self.host.is_some()));
        }
        if diagnostics.is_empty() {
            diagnostics = self.directory().check();
        }
        diagnostics
    }

    /// The directory, on whichever machine it is.
    pub fn directory(&self) -> Directory<'_> {
        let (field, path) = match &self.host {
            None => ("localDestination", &self.local_destination),
            Some(_) => ("remotePath", &self.remote_path),
        };
        Directory {
            field,
            path: path.as_deref().unwrap_or_default(),
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

    fn pointers(json: serde_json::Value) -> Vec<String> {
        config(json).check().into_iter().map(|d| d.pointer).collect()
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
        let local = serde_json::json!({ "localDestination": "/mnt/../x", "mount": "usb" });
        assert_eq!(pointers(local), ["/localDestination", "/mount"]);
        let remote = serde_json::json!({ "host": "nas", "remotePath": "/a/../b", "mount": "usb" });
        assert_eq!(pointers(remote), ["/remotePath", "/mount"]);
        let keys = serde_json::json!({ "host": "nas", "remotePath": "/b", "identityFile": "/a/../k" });
        assert_eq!(pointers(keys), ["/identityFile"]);
    }

    #[test]
    fn there_is_one_place_and_what_belongs_to_the_other_is_refused() {
        assert_eq!(pointers(serde_json::json!({})), [""]);
        assert_eq!(pointers(serde_json::json!({ "host": "nas" })), ["/remotePath"]);
        let both = serde_json::json!({ "localDestination": "/b", "host": "nas", "remotePath": "/b" });
        assert_eq!(pointers(both), ["/host"]);
        let needless = serde_json::json!({ "localDestination": "/b", "port": 1, "fakeSuper": true });
        assert_eq!(pointers(needless), ["/port", "/fakeSuper"]);
    }
}
