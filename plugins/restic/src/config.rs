//! The configuration of a `restic` destination, and the rules that its schema can't say.

use std::collections::BTreeMap;

use backstay_sdk::Diagnostic;
use schemars::JsonSchema;
use serde::Deserialize;

/// A restic repository to keep backups in.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// The repository as restic writes it: an absolute path, or a URL such as `s3:https://HOST/BUCKET/PATH`,
    /// `sftp:USER@HOST:/PATH` or `rest:https://HOST/PATH`.
    pub repository: String,
    /// Name of the secret with the password of the repository.
    #[schemars(regex(pattern = r"^[A-Za-z0-9_-][A-Za-z0-9._-]*$"))]
    pub password_secret: String,
    /// Variables for restic and the secrets that hold their values, such as `AWS_SECRET_ACCESS_KEY: s3-key`.
    #[serde(default)]
    pub environment_secrets: BTreeMap<String, String>,
    /// Variables for restic that are no secrets, such as `AWS_DEFAULT_REGION: eu-west-1`.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Make the repository at the first backup if there is none.
    #[serde(default)]
    pub init: bool,
    /// Whether restic checks the repository after it removed data from it, once a day at most (`restic check`, without reading
    /// the data itself).
    #[serde(default = "yes")]
    pub check_after_prune: bool,
    /// More tags for each snapshot.
    #[serde(default)]
    pub tags: Vec<String>,
    /// The host of the snapshots. Without it, the name of this machine.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub host: Option<String>,
    /// The origin in the snapshots' tags. Without it, the name of this machine.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub origin: Option<String>,
    /// The account in the snapshots' tags. Without it there is no such tag.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub account_id: Option<String>,
    /// How restic compresses. Without it, as restic does by itself: `auto`.
    #[serde(default)]
    pub compression: Option<Compression>,
    /// Absolute path of a directory in which restic keeps copies of the repository's indexes. Without it, it keeps none.
    #[serde(default)]
    #[schemars(regex(pattern = r"^/"))]
    pub cache_directory: Option<String>,
}

fn yes() -> bool {
    true
}

/// How restic compresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Fast.
    Auto,
    /// Not at all.
    Off,
    /// As small as can be.
    Max,
}

impl Compression {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Compression::Auto => "auto",
            Compression::Off => "off",
            Compression::Max => "max",
        }
    }
}

/// Variables that a job may set. Each is also named in `plugin.json`.
pub const VARIABLES: [&str; 25] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_DEFAULT_REGION",
    "B2_ACCOUNT_ID",
    "B2_ACCOUNT_KEY",
    "AZURE_ACCOUNT_NAME",
    "AZURE_ACCOUNT_KEY",
    "AZURE_ACCOUNT_SAS",
    "GOOGLE_PROJECT_ID",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GOOGLE_ACCESS_TOKEN",
    "OS_AUTH_URL",
    "OS_REGION_NAME",
    "OS_USERNAME",
    "OS_PASSWORD",
    "OS_TENANT_NAME",
    "OS_PROJECT_NAME",
    "OS_USER_DOMAIN_NAME",
    "OS_PROJECT_DOMAIN_NAME",
    "ST_AUTH",
    "ST_USER",
    "ST_KEY",
    "RESTIC_REST_USERNAME",
    "RESTIC_REST_PASSWORD",
];

/// Variables whose value must not be written into a job.
const ONLY_AS_SECRETS: [&str; 9] = [
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "B2_ACCOUNT_KEY",
    "AZURE_ACCOUNT_KEY",
    "AZURE_ACCOUNT_SAS",
    "GOOGLE_ACCESS_TOKEN",
    "OS_PASSWORD",
    "ST_KEY",
    "RESTIC_REST_PASSWORD",
];

/// What tags begin with that this plugin gives by itself.
const OWN_TAGS: [&str; 9] = [
    "backstay",
    "run:",
    "object:",
    "tree:",
    "bytes:",
    "backup:",
    "backup_name=",
    "origin=",
    "account_id=",
];

impl Config {
    /// What is wrong without looking at the machine.
    pub fn check(&self) -> Vec<Diagnostic> {
        self.faults(true)
    }

    /// The same for what is stored already: its tags were given before some of them became Backstay's own.
    pub fn check_stored(&self) -> Vec<Diagnostic> {
        self.faults(false)
    }

    fn faults(&self, is_new: bool) -> Vec<Diagnostic> {
        let mut diagnostics = Vec::new();
        if let Some((message, hint)) = fault_of_repository(&self.repository) {
            // Without the text itself: somebody may have written a password into it.
            let message = format!("`repository` {message}");
            diagnostics.push(Diagnostic::error("/repository", "bad-repository", message).hint(hint));
        }
        diagnostics.extend(self.faults_of_environment());
        for (index, tag) in self.tags.iter().enumerate() {
            let at = format!("/tags/{index}");
            let own = OWN_TAGS.iter().find(|own| is_new && tag.starts_with(**own));
            if let Some(own) = own {
                let message = format!("tags that begin with `{own}` are given by Backstay itself");
                diagnostics
                    .push(Diagnostic::error(at, "own-tag", message).hint("leave it out, or rename it"));
            } else if let Some(fault) = fault_of_tag(tag) {
                diagnostics.push(Diagnostic::error(at, "bad-tag", format!("a tag {fault}")));
            }
        }
        let named = [
            ("host", &self.host),
            ("origin", &self.origin),
            ("accountId", &self.account_id),
        ];
        for (field, value) in named {
            if let Some(fault) = value.as_deref().and_then(fault_of_tag) {
                let message = format!("`{field}` {fault}");
                diagnostics.push(Diagnostic::error(format!("/{field}"), "bad-tag", message));
            }
        }
        if let Some(path) = &self.cache_directory
            && (!path.starts_with('/') || path.contains('\0'))
        {
            let message = format!("`{}` must be an absolute path", path.escape_debug());
            diagnostics.push(Diagnostic::error("/cacheDirectory", "bad-path", message));
        }
        diagnostics
    }

    fn faults_of_environment(&self) -> Vec<Diagnostic> {
        let mut diagnostics = Vec::new();
        let plain = self.environment.keys().map(|name| ("environment", name));
        let secret = self
            .environment_secrets
            .keys()
            .map(|name| ("environmentSecrets", name));
        for (field, name) in plain.chain(secret) {
            let at = format!("/{field}/{name}");
            if !VARIABLES.contains(&name.as_str()) {
                let message = format!("restic is not given `{}`", name.escape_debug());
                let hint = format!("these it is given: {}", VARIABLES.join(", "));
                diagnostics.push(Diagnostic::error(at, "unknown-variable", message).hint(hint));
            } else if field == "environment" && ONLY_AS_SECRETS.contains(&name.as_str()) {
                let message = format!(
                    "the value of {name} is a secret, and everybody who sees the job can read it here"
                );
                diagnostics.push(
                    Diagnostic::error(at, "plain-secret", message)
                        .hint("make it a secret, and name that in `environmentSecrets`"),
                );
            } else if field == "environment" && self.environment_secrets.contains_key(name) {
                let message = format!("{name} is in `environmentSecrets` too");
                diagnostics.push(Diagnostic::error(at, "twice", message).hint("leave one of them out"));
            }
        }
        diagnostics
    }

    /// Where an object is, for a person.
    pub fn location(&self, key: &str) -> String {
        format!("{}/{key}", self.repository.trim_end_matches('/'))
    }
}

fn fault_of_tag(tag: &str) -> Option<&'static str> {
    if tag.trim().is_empty() {
        return Some("is empty");
    }
    if tag.contains(',') {
        return Some("has a comma in it, which ends a tag");
    }
    tag.chars()
        .any(char::is_control)
        .then_some("has a control character in it")
}

/// Where repositories can be. `rclone:` has a plugin of its own, which knows more.
const SCHEMES: [&str; 8] = ["local", "sftp", "rest", "s3", "b2", "azure", "gs", "swift"];

fn fault_of_repository(repository: &str) -> Option<(&'static str, &'static str)> {
    if repository.chars().any(char::is_control) {
        return Some(("has a control character in it", "correct it"));
    }
    let is_path = repository
        .strip_prefix("local:")
        .unwrap_or(repository)
        .starts_with('/');
    let (scheme, rest) = repository.split_once(':').unwrap_or_default();
    if scheme == "rclone" {
        let hint = "the destination `rclone` takes remotes of rclone";
        return Some((
            "is a remote of rclone, whose configuration restic isn't given",
            hint,
        ));
    }
    if !is_path && (!SCHEMES.contains(&scheme) || scheme == "local" || rest.is_empty()) {
        let hint =
            "write an absolute path, or a URL that begins with sftp:, rest:, s3:, b2:, azure:, gs: or swift:";
        return Some(("is neither an absolute path nor a URL that restic knows", hint));
    }
    if repository
        .trim_start_matches("local:")
        .trim_matches('/')
        .is_empty()
    {
        return Some(("is the root directory", "name a directory of its own"));
    }
    // ssh asks for no password here, so a user is all that such a URL can hold.
    let authority = rest.split_once("://").filter(|_| scheme != "sftp");
    let authority = authority.and_then(|(_, rest)| rest.split('/').next());
    if authority.is_some_and(|authority| authority.contains('@')) {
        let hint = "give them by `environmentSecrets`: RESTIC_REST_USERNAME and RESTIC_REST_PASSWORD (a newer restic than 0.15), or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY";
        return Some((
            "has a user or a password in it, and would show them in command lines",
            hint,
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(config: serde_json::Value) -> Vec<String> {
        let mut all = serde_json::json!({ "repository": "/srv/restic", "passwordSecret": "p" });
        if let (Some(all), Some(more)) = (all.as_object_mut(), config.as_object()) {
            all.extend(more.clone());
        }
        let config: Config = serde_json::from_value(all).expect("a configuration of the right shape");
        config.check().into_iter().map(|d| d.message).collect()
    }

    #[test]
    fn a_repository_is_a_path_or_a_url() {
        for repository in [
            "/srv/restic",
            "local:/srv/restic",
            "sftp:user@host:/srv/restic",
            "sftp://user@host:2222//srv/restic",
            "rest:https://host:8000/a/",
            "s3:https://host/bucket/a b",
            "b2:bucket:path",
        ] {
            assert_eq!(
                faults(serde_json::json!({ "repository": repository })),
                [""; 0],
                "{repository}"
            );
        }
        for (repository, message) in [
            ("", "neither"),
            ("srv/restic", "neither"),
            ("local:srv", "neither"),
            ("s3:", "neither"),
            ("ftp:host", "neither"),
            ("/", "root"),
            ("rest:https://user:pass@host/", "password"),
            ("rclone:nas:x", "rclone"),
            ("/a\nb", "control"),
        ] {
            let found = faults(serde_json::json!({ "repository": repository })).concat();
            assert!(found.contains(message), "{repository}: {found}");
        }
    }

    #[test]
    fn what_would_change_other_tags_or_show_a_secret_is_refused() {
        for (config, message) in [
            (serde_json::json!({ "tags": ["a,b"] }), "comma"),
            (serde_json::json!({ "tags": ["run:x"] }), "by Backstay itself"),
            (serde_json::json!({ "host": " " }), "`host` is empty"),
            (
                serde_json::json!({ "environment": { "LD_PRELOAD": "x" } }),
                "not given",
            ),
            (
                serde_json::json!({ "environment": { "ST_KEY": "x" } }),
                "is a secret",
            ),
            (
                serde_json::json!({ "environment": { "ST_USER": "x" }, "environmentSecrets": { "ST_USER": "x" } }),
                "too",
            ),
        ] {
            let found = faults(config).concat();
            assert!(found.contains(message), "{found}");
        }
        assert_eq!(
            faults(serde_json::json!({ "tags": ["nightly"], "accountId": "42" })),
            [""; 0]
        );
    }

    #[test]
    fn what_was_stored_with_a_tag_that_is_refused_now_can_be_opened() {
        let config =
            serde_json::json!({ "repository": "/r", "passwordSecret": "p", "tags": ["tree:x", "bytes:1"] });
        let config: Config = serde_json::from_value(config).expect("a configuration");
        assert_eq!(config.check().len(), 2);
        assert_eq!(config.check_stored().len(), 0);
    }
}
