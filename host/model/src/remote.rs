//! Remotes: object stores that jobs name, with what is needed to reach them. Their secrets are kept apart from this.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::diagnostic::Diagnostic;
use crate::error::{Code, Error, Result};

/// How the endpoint of an SFTP server begins.
const SFTP: &str = "sftp://";

/// Longest name of a remote, in bytes.
pub const MAX_NAME_BYTES: usize = 64;

/// What speaks at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RemoteKind {
    /// Amazon S3 and what is compatible with it.
    S3,
    /// Google Cloud Storage.
    Gcs,
    /// Azure Blob Storage.
    Azure,
    /// Backblaze B2 by its own interface.
    B2,
    /// A WebDAV server.
    Webdav,
    /// An SFTP server.
    Sftp,
}

impl fmt::Display for RemoteKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RemoteKind::S3 => "s3",
            RemoteKind::Gcs => "gcs",
            RemoteKind::Azure => "azure",
            RemoteKind::B2 => "b2",
            RemoteKind::Webdav => "webdav",
            RemoteKind::Sftp => "sftp",
        })
    }
}

/// A remote, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Remote {
    /// Unique name: letters, digits, `.`, `_`, `-`.
    pub name: String,
    /// What it is.
    #[serde(rename = "type")]
    pub kind: RemoteKind,
    /// Bucket, or Azure's container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<String>,
    /// B2's id of the bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket_id: Option<String>,
    /// URL of the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// S3's region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Who signs in: S3's access key id, Azure's account, B2's application key id, a user name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Directory within the bucket or on the server, below which everything is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// S3: whether the bucket is part of the host's name, not of the path.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub virtual_host_style: bool,
    /// SFTP: a file of this machine with the private key, instead of a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity_file: Option<String>,
    /// SFTP: a file of this machine with the keys of hosts, instead of those that `ssh` knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_hosts_file: Option<String>,
}

/// Which settings a kind has. `Some(true)` is one that it needs.
struct Rules {
    bucket: Option<bool>,
    bucket_id: Option<bool>,
    endpoint: Option<bool>,
    region: Option<bool>,
    account: Option<bool>,
    /// Files of `ssh`.
    files: Option<bool>,
}

impl RemoteKind {
    fn rules(self) -> Rules {
        let (may, must) = (Some(false), Some(true));
        let none = Rules {
            bucket: must,
            bucket_id: None,
            endpoint: may,
            region: None,
            account: must,
            files: None,
        };
        match self {
            RemoteKind::S3 => Rules { region: may, ..none },
            RemoteKind::Gcs => Rules {
                account: None,
                ..none
            },
            RemoteKind::Azure => none,
            RemoteKind::B2 => Rules {
                bucket_id: must,
                endpoint: None,
                ..none
            },
            RemoteKind::Webdav => Rules {
                bucket: None,
                endpoint: must,
                account: may,
                ..none
            },
            RemoteKind::Sftp => Rules {
                bucket: None,
                endpoint: must,
                files: may,
                ..none
            },
        }
    }

    /// What its secret is called by those who give it out.
    pub fn secret_name(self) -> &'static str {
        match self {
            RemoteKind::S3 => "secret access key",
            RemoteKind::Gcs => "service account key (JSON)",
            RemoteKind::Azure => "account key",
            RemoteKind::B2 => "application key",
            RemoteKind::Webdav => "password",
            RemoteKind::Sftp => "private key",
        }
    }
}

impl Remote {
    /// Whether it can't be used without a secret.
    pub fn needs_secret(&self) -> bool {
        match self.kind {
            RemoteKind::Webdav => self.account.is_some(),
            RemoteKind::Sftp => self.identity_file.is_none(),
            _ => true,
        }
    }

    /// The host of an SFTP server, and its port if it isn't the usual one.
    pub fn ssh_host(&self) -> (&str, Option<&str>) {
        let endpoint = self.endpoint.as_deref().unwrap_or_default();
        let host = endpoint
            .strip_prefix(SFTP)
            .unwrap_or(endpoint)
            .trim_end_matches('/');
        let (host, port) = match host.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, Some(port)),
            _ => (host, None),
        };
        (host.trim_start_matches('[').trim_end_matches(']'), port)
    }

    /// The place, for a person. Two places never share it: buckets have their name for themselves only at the
    /// provider's own endpoint, and containers only within an account.
    pub fn place(&self) -> String {
        let root = self.root.as_deref().unwrap_or_default();
        let root = root.trim_matches('/');
        let bucket = self.bucket.as_deref().unwrap_or_default();
        let account = self.account.as_deref().unwrap_or_default();
        let endpoint = self.endpoint.as_deref().map(|at| at.trim_end_matches('/'));
        let place = match (self.kind, endpoint) {
            (RemoteKind::S3, None) => format!("s3://{bucket}/{root}"),
            (RemoteKind::S3, Some(endpoint)) => format!("s3+{endpoint}/{bucket}/{root}"),
            (RemoteKind::Gcs, None) => format!("gs://{bucket}/{root}"),
            (RemoteKind::Gcs, Some(endpoint)) => format!("gs+{endpoint}/{bucket}/{root}"),
            (RemoteKind::Azure, None) => format!("azure://{account}/{bucket}/{root}"),
            (RemoteKind::Azure, Some(endpoint)) => format!("azure+{endpoint}/{account}/{bucket}/{root}"),
            (RemoteKind::B2, _) => format!("b2://{bucket}/{root}"),
            (RemoteKind::Webdav, endpoint) => format!("{}/{root}", endpoint.unwrap_or_default()),
            (RemoteKind::Sftp, endpoint) => {
                let host = endpoint.and_then(|at| at.strip_prefix(SFTP)).unwrap_or_default();
                // What isn't absolute is below the directory in which a session begins.
                let is_absolute = self.root.as_deref().is_some_and(|root| root.starts_with('/'));
                let home = if is_absolute { "" } else { "/~" };
                format!("{SFTP}{account}@{host}{home}/{root}")
            }
        };
        place.trim_end_matches('/').to_owned()
    }

    /// All that is wrong with it, and what somebody should look at.
    pub fn check(&self) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let name = &self.name;
        if name.is_empty()
            || name.len() > MAX_NAME_BYTES
            || !name.chars().all(plain)
            || name.starts_with(['.', '-'])
        {
            found.push(Diagnostic::error(
                "/name",
                "bad-name",
                "a remote's name has 1 to 64 letters, digits, `.`, `_` or `-`, and begins with none of `.` and `-`",
            ));
        }
        let rules = self.kind.rules();
        for (field, value, rule) in [
            ("bucket", &self.bucket, rules.bucket),
            ("bucketId", &self.bucket_id, rules.bucket_id),
            ("endpoint", &self.endpoint, rules.endpoint),
            ("region", &self.region, rules.region),
            ("account", &self.account, rules.account),
            ("identityFile", &self.identity_file, rules.files),
            ("knownHostsFile", &self.known_hosts_file, rules.files),
        ] {
            let at = format!("/{field}");
            match (value, rule) {
                (Some(_), None) => found.push(Diagnostic::error(
                    at,
                    "not-of-this-type",
                    format!("a remote of type {} has no `{field}`", self.kind),
                )),
                (None, Some(true)) => found.push(
                    Diagnostic::error(
                        at,
                        "missing",
                        format!("a remote of type {} needs `{field}`", self.kind),
                    )
                    .hint(format!("pass {}", option(field))),
                ),
                (Some(text), _) if text.is_empty() || text.chars().any(char::is_control) => {
                    found.push(Diagnostic::error(
                        at,
                        "bad-text",
                        format!("`{field}` is empty or has a control character"),
                    ));
                }
                _ => {}
            }
        }
        if self.kind == RemoteKind::S3 && self.endpoint.is_none() && self.region.is_none() {
            found.push(
                Diagnostic::error("/region", "missing", "Amazon S3 needs the bucket's `region`")
                    .hint("pass --region, or --endpoint for another server"),
            );
        }
        if self.virtual_host_style && self.kind != RemoteKind::S3 {
            found.push(Diagnostic::error(
                "/virtualHostStyle",
                "not-of-this-type",
                format!("a remote of type {} has no `virtualHostStyle`", self.kind),
            ));
        }
        let fault = if self.kind == RemoteKind::Sftp {
            self.fault_of_server()
        } else {
            self.endpoint.as_deref().and_then(fault_of_url)
        };
        found.extend(fault);
        for (field, file) in [
            ("identityFile", &self.identity_file),
            ("knownHostsFile", &self.known_hosts_file),
        ] {
            if file
                .as_deref()
                .is_some_and(|file| !file.starts_with('/') || file.contains('"'))
            {
                found.push(Diagnostic::error(
                    format!("/{field}"),
                    "bad-path",
                    format!("`{field}` is an absolute path without quotes"),
                ));
            }
        }
        if let Some(root) = &self.root
            && (root.split('/').any(|part| matches!(part, "." | "..")) || root.chars().any(char::is_control))
        {
            found.push(Diagnostic::error(
                "/root",
                "bad-path",
                "`root` is a path of plain names, without `.` and `..`",
            ));
        }
        found
    }

    fn fault_of_server(&self) -> Option<Diagnostic> {
        let wrong = |message: &str| Some(Diagnostic::error("/endpoint", "bad-url", message));
        let endpoint = self.endpoint.as_deref()?;
        let Some(rest) = endpoint.strip_prefix(SFTP) else {
            return wrong("`endpoint` of a remote of type sftp is sftp://HOST or sftp://HOST:PORT");
        };
        if rest.contains('@') {
            return wrong("`endpoint` must not hold a user or a password: they have places of their own");
        }
        let (host, port) = self.ssh_host();
        let is_name = |c: char| c.is_ascii_alphanumeric() || "._-:%".contains(c);
        if host.is_empty() || host.starts_with('-') || !host.chars().all(is_name) {
            return wrong("`endpoint` is sftp://HOST or sftp://HOST:PORT; a directory goes into `root`");
        }
        if port.is_some_and(|port| port.parse::<u16>().is_err()) {
            return wrong("the port in `endpoint` is a number from 1 to 65535");
        }
        self.account
            .as_deref()
            .is_some_and(|account| account.starts_with('-'))
            .then(|| Diagnostic::error("/account", "bad-text", "`account` must not begin with `-`"))
    }

    /// Fails with all that [`Remote::check`] finds wrong.
    ///
    /// # Errors
    /// [`Code::Configuration`], naming each field.
    pub fn refuse_if_wrong(&self) -> Result<()> {
        let wrong: Vec<String> = self
            .check()
            .iter()
            .filter(|d| d.is_error())
            .map(ToString::to_string)
            .collect();
        if wrong.is_empty() {
            return Ok(());
        }
        Err(Error::new(
            Code::Configuration,
            format!("the remote can't be used as it is\n  {}", wrong.join("\n  ")),
        ))
    }
}

fn option(field: &str) -> &'static str {
    match field {
        "bucket" => "--bucket",
        "bucketId" => "--bucket-id",
        "endpoint" => "--endpoint",
        "region" => "--region",
        "identityFile" => "--identity-file",
        "knownHostsFile" => "--known-hosts",
        _ => "--account",
    }
}

fn fault_of_url(url: &str) -> Option<Diagnostic> {
    let wrong = |message: &str| Some(Diagnostic::error("/endpoint", "bad-url", message));
    let rest = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"));
    let Some(rest) = rest else {
        return wrong("`endpoint` is a URL that begins with https:// or http://");
    };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if host.contains('@') {
        return wrong("`endpoint` must not hold a user or a password: they have places of their own");
    }
    if host.is_empty() || rest.contains(['?', '#', ' ']) {
        return wrong("`endpoint` is the URL of a server, without a query");
    }
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    let is_here = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
    (url.starts_with("http://") && !is_here).then(|| {
        Diagnostic::warning(
            "/endpoint",
            "not-encrypted",
            "everything goes over the network as it is, without TLS",
        )
        .hint("use https://, and encrypt the job's backups (`filters.encryption`)")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(remote: serde_json::Value, expected: &[&str]) {
        let remote: Remote = serde_json::from_value(remote).unwrap();
        let found: Vec<String> = remote.check().iter().map(ToString::to_string).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn each_type_needs_its_own_settings_and_no_others() {
        use serde_json::json;
        check(
            json!({ "name": "a", "type": "s3", "bucket": "b", "account": "k", "region": "eu-central-1" }),
            &[],
        );
        check(
            json!({ "name": "a", "type": "webdav", "endpoint": "http://127.0.0.1:8080/dav" }),
            &[],
        );
        check(
            json!({ "name": ".a", "type": "s3", "bucketId": "x" }),
            &[
                "error at /name: a remote's name has 1 to 64 letters, digits, `.`, `_` or `-`, and begins with none of `.` and `-`",
                "error at /bucket: a remote of type s3 needs `bucket`\n    pass --bucket",
                "error at /bucketId: a remote of type s3 has no `bucketId`",
                "error at /account: a remote of type s3 needs `account`\n    pass --account",
                "error at /region: Amazon S3 needs the bucket's `region`\n    pass --region, or --endpoint for another server",
            ],
        );
        check(
            json!({ "name": "a", "type": "webdav", "endpoint": "https://me:secret@host/", "root": "../x" }),
            &[
                "error at /endpoint: `endpoint` must not hold a user or a password: they have places of their own",
                "error at /root: `root` is a path of plain names, without `.` and `..`",
            ],
        );
        check(
            json!({ "name": "a", "type": "webdav", "endpoint": "http://nas:80/dav" }),
            &[
                "warning at /endpoint: everything goes over the network as it is, without TLS\n    use https://, and encrypt the job's backups (`filters.encryption`)",
            ],
        );
        check(
            json!({ "name": "a", "type": "sftp", "endpoint": "sftp://nas:2222", "account": "me", "identityFile": "/root/.ssh/id" }),
            &[],
        );
        check(
            json!({ "name": "a", "type": "sftp", "endpoint": "sftp://-oProxyCommand=x", "account": "me", "identityFile": "id" }),
            &[
                "error at /endpoint: `endpoint` is sftp://HOST or sftp://HOST:PORT; a directory goes into `root`",
                "error at /identityFile: `identityFile` is an absolute path without quotes",
            ],
        );
    }

    #[test]
    fn a_server_of_ssh_has_a_host_a_port_and_a_directory() {
        for (endpoint, root, host, port, place) in [
            ("sftp://nas", None, "nas", None, "sftp://me@nas/~"),
            (
                "sftp://nas:2222/",
                Some("/srv/x/"),
                "nas",
                Some("2222"),
                "sftp://me@nas:2222/srv/x",
            ),
            (
                "sftp://[::1]:22",
                Some("x"),
                "::1",
                Some("22"),
                "sftp://me@[::1]:22/~/x",
            ),
            (
                "sftp://[fe80::1]",
                Some("/"),
                "fe80::1",
                None,
                "sftp://me@[fe80::1]",
            ),
        ] {
            let remote = serde_json::json!({
                "name": "a", "type": "sftp", "account": "me", "endpoint": endpoint, "root": root
            });
            let remote: Remote = serde_json::from_value(remote).unwrap();
            assert_eq!(remote.ssh_host(), (host, port));
            assert_eq!(remote.place(), place);
            assert_eq!(remote.check(), []);
        }
    }
}
