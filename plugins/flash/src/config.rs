//! The configuration of a `flash` source, and the rules that its schema can't say.

use backstay_sdk::Diagnostic;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::defaults;
use crate::pattern::{self, Pattern};

/// Where Unraid mounts its flash drive.
pub const DEFAULT_PATH: &str = "/boot";

/// Where the git data is if nothing else is said.
pub const DEFAULT_GIT_PATH: &str = "/boot/.git";

/// A flash drive to back up.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// Where the drive is mounted. Without it: `/boot`.
    #[serde(default)]
    #[schemars(regex(pattern = r"^\/[a-zA-Z0-9_\-\/\.]+$"))]
    pub path: Option<String>,
    /// Directory of the git data, ending in `/.git`: on the drive, or elsewhere so that the drive isn't worn out.
    /// Without it: `/boot/.git`.
    #[serde(default)]
    #[schemars(regex(pattern = r"^\/[a-zA-Z0-9_\-\/\.]+$"))]
    pub git_path: Option<String>,
    /// Message of the commit.
    #[serde(default = "commit_message")]
    #[schemars(length(min = 1))]
    pub commit_message: String,
    /// Name of the author of the commit.
    #[serde(default = "user_name")]
    #[schemars(length(min = 1))]
    pub user_name: String,
    /// E-mail address of the author of the commit.
    #[serde(default = "user_email")]
    #[schemars(length(min = 1))]
    pub user_email: String,
    /// Name of the server, for the repository's description. Without it: the one in `config/ident.cfg`, or else the
    /// name of this machine.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub server_name: Option<String>,
    /// Back up the git history as well.
    #[serde(default = "yes")]
    pub include_git_history: bool,
    /// One tar stream straight from the drive. If false: a tar file is made at `localCachePath` first, or, without
    /// that, the drive is handed over as a tree of files.
    #[serde(default = "yes")]
    pub stream_direct: bool,
    /// File that the tar stream is kept in until it is stored; it is removed when the run ends. Only if
    /// `streamDirect` is false.
    #[serde(default)]
    #[schemars(regex(pattern = r"^\/[a-zA-Z0-9_\-\/\.]+$"))]
    pub local_cache_path: Option<String>,
    /// Patterns of secrets, kept out of git and out of the backup, whatever the case of letters. As in a
    /// `.gitignore`: `*` within a name, `**` across directories, a leading `/` for the top. An empty list takes all.
    #[serde(default = "secrets")]
    pub secrets: Vec<String>,
    /// Patterns of what else to keep out of git and out of the backup.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// Patterns of what git doesn't track. It is in the backup all the same.
    #[serde(default = "untracked")]
    pub untracked: Vec<String>,
    /// Warn when git begins to track a file that is larger than this, in bytes. 0: never.
    #[serde(default = "large_file_bytes")]
    pub large_file_bytes: u64,
    /// `true`: refuse unless `path` is on a filesystem of its own, not on the one of `/`. `false`: don't look at
    /// mounts. Without it: refuse when the mount that held `path` at the last backup is gone.
    #[serde(default)]
    pub require_mount: Option<bool>,
}

fn yes() -> bool {
    true
}

fn commit_message() -> String {
    "Config change".to_owned()
}

fn user_name() -> String {
    "Backstay".to_owned()
}

fn user_email() -> String {
    "backstay@localhost".to_owned()
}

fn secrets() -> Vec<String> {
    defaults::SECRETS.map(str::to_owned).to_vec()
}

fn untracked() -> Vec<String> {
    defaults::UNTRACKED.map(str::to_owned).to_vec()
}

fn large_file_bytes() -> u64 {
    defaults::LARGE_FILE_BYTES
}

impl Config {
    /// Where the drive is mounted.
    pub fn path(&self) -> &str {
        self.path.as_deref().unwrap_or(DEFAULT_PATH)
    }

    /// The directory of the git data.
    pub fn git_path(&self) -> &str {
        self.git_path.as_deref().unwrap_or(DEFAULT_GIT_PATH)
    }

    /// What is left out of everything.
    pub fn left_out(&self) -> Vec<Pattern> {
        pattern::parse_all(self.secrets.iter().chain(&self.exclude))
    }

    /// What git doesn't track.
    pub fn not_tracked(&self) -> Vec<Pattern> {
        pattern::parse_all(self.secrets.iter().chain(&self.exclude).chain(&self.untracked))
    }

    /// What is wrong without looking at the machine.
    pub fn check(&self) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        found.extend(self.check_paths());
        found.extend(self.check_cache());
        found.extend(self.check_texts());
        for (field, patterns) in [
            ("secrets", &self.secrets),
            ("exclude", &self.exclude),
            ("untracked", &self.untracked),
        ] {
            for (index, text) in patterns.iter().enumerate() {
                if let Err(fault) = Pattern::parse(text) {
                    let message = format!("the pattern `{text}` in `{field}` {fault}");
                    found.push(
                        Diagnostic::error(format!("/{field}/{index}"), "bad-pattern", message).hint(
                            "patterns are like those of .gitignore: `*.tmp`, `/config/shadow`, `logs/`",
                        ),
                    );
                }
            }
        }
        found
    }

    fn check_paths(&self) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        let named = [
            ("/path", self.path()),
            ("/gitPath", self.git_path()),
            (
                "/localCachePath",
                self.local_cache_path.as_deref().unwrap_or("/-"),
            ),
        ];
        for (pointer, path) in named {
            if let Some(fault) = fault_of_path(path) {
                found.push(Diagnostic::error(
                    pointer,
                    "bad-path",
                    format!("`{path}` {fault}"),
                ));
            }
        }
        if !self.git_path().ends_with("/.git") {
            let message = format!("`{}` must end in `/.git`", self.git_path());
            found.push(
                Diagnostic::error("/gitPath", "bad-git-path", message)
                    .hint("name the repository's own directory, such as `/mnt/user/system/flash/.git`"),
            );
        }
        if self.path() != DEFAULT_PATH && self.git_path.is_none() {
            let message =
                format!("`path` is not {DEFAULT_PATH}, so `gitPath` must say where the git data is");
            found.push(
                Diagnostic::error("/gitPath", "missing-git-path", message).hint(format!(
                    "set `gitPath: {}/.git`, or name a directory off the drive",
                    self.path()
                )),
            );
        } else if let Some(below) = below(self.git_path(), self.path())
            && below != ".git"
        {
            let message = format!(
                "`{}` is inside of the drive at {}, but not at its top",
                self.git_path(),
                self.path()
            );
            found.push(
                Diagnostic::error("/gitPath", "bad-git-path", message).hint(format!(
                    "use `{}/.git`, or a directory off the drive",
                    self.path()
                )),
            );
        } else if below_or_same(self.path(), self.git_path()) {
            let message = format!(
                "`{}` is inside of the git data at {}",
                self.path(),
                self.git_path()
            );
            found.push(
                Diagnostic::error("/path", "bad-path", message).hint("name the directory that is backed up"),
            );
        }
        found
    }

    fn check_cache(&self) -> Option<Diagnostic> {
        let cache = self.local_cache_path.as_deref()?;
        let error = |code, message: String| Diagnostic::error("/localCachePath", code, message);
        if self.stream_direct {
            let message = "`localCachePath` can only be used when `streamDirect` is false".to_owned();
            return Some(
                error("cache-not-used", message)
                    .hint("set `streamDirect: false`, or remove `localCachePath`"),
            );
        }
        for (what, place) in [("drive", self.path()), ("git data", self.git_path())] {
            if below_or_same(cache, place) {
                let message = format!("`{cache}` is inside of the {what} at {place}");
                return Some(error("bad-cache-path", message).hint("name a file on another disk"));
            }
        }
        None
    }

    fn check_texts(&self) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        if self.commit_message.trim().is_empty() || self.commit_message.contains('\0') {
            let message = "`commitMessage` must be a text that isn't empty";
            found.push(Diagnostic::error("/commitMessage", "bad-text", message));
        }
        let server = self.server_name.as_deref().unwrap_or("-");
        for (field, text) in [
            ("userName", self.user_name.as_str()),
            ("userEmail", &self.user_email),
            ("serverName", server),
        ] {
            let is_line = !text.trim().is_empty() && !text.chars().any(char::is_control);
            if !is_line || (field != "serverName" && text.contains(['<', '>'])) {
                let message = format!("`{field}` must be one line that isn't empty, without `<` and `>`");
                found.push(Diagnostic::error(format!("/{field}"), "bad-text", message));
            }
        }
        found
    }
}

fn fault_of_path(path: &str) -> Option<&'static str> {
    if !path.starts_with('/') {
        Some("must be an absolute path")
    } else if path.split('/').any(|name| matches!(name, "." | "..")) {
        Some("must not contain `.` or `..`")
    } else if path.len() > 1 && (path.ends_with('/') || path.contains("//")) {
        Some("must not have an empty name in it")
    } else if path == "/" {
        Some("must not be the root of the system")
    } else {
        None
    }
}

/// The rest of a path that is below another.
fn below<'a>(path: &'a str, place: &str) -> Option<&'a str> {
    path.strip_prefix(place)?.strip_prefix('/')
}

fn below_or_same(path: &str, place: &str) -> bool {
    path == place || below(path, place).is_some()
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
    fn nothing_is_needed() {
        check(serde_json::json!({}), &[]);
        let config: Config = serde_json::from_value(serde_json::json!({})).expect("config");
        assert_eq!((config.path(), config.git_path()), ("/boot", "/boot/.git"));
        assert!(config.include_git_history && config.stream_direct && !config.secrets.is_empty());
    }

    #[test]
    fn the_git_data_may_be_off_the_drive_but_not_anywhere_on_it() {
        check(serde_json::json!({ "gitPath": "/mnt/user/flash/.git" }), &[]);
        check(serde_json::json!({ "gitPath": "/bootleg/.git" }), &[]);
        check(
            serde_json::json!({ "gitPath": "/boot/config/.git" }),
            &[(
                "/gitPath",
                "`/boot/config/.git` is inside of the drive at /boot, but not at its top",
            )],
        );
        check(
            serde_json::json!({ "path": "/mnt/x/.git/a", "gitPath": "/mnt/x/.git" }),
            &[(
                "/path",
                "`/mnt/x/.git/a` is inside of the git data at /mnt/x/.git",
            )],
        );
    }

    #[test]
    fn every_default_pattern_is_right() {
        let config: Config = serde_json::from_value(serde_json::json!({})).expect("config");
        assert_eq!(config.left_out().len(), defaults::SECRETS.len());
        assert_eq!(
            config.not_tracked().len(),
            defaults::SECRETS.len() + defaults::UNTRACKED.len()
        );
    }

    #[test]
    fn everything_wrong_is_said_at_once() {
        check(
            serde_json::json!({
                "path": "boot", "gitPath": "/x/git", "localCachePath": "/tmp/../c", "commitMessage": " ",
                "userName": "a<b", "userEmail": "\n", "serverName": "a\nb", "exclude": ["a", "!b"],
            }),
            &[
                ("/path", "`boot` must be an absolute path"),
                ("/localCachePath", "`/tmp/../c` must not contain `.` or `..`"),
                ("/gitPath", "`/x/git` must end in `/.git`"),
                (
                    "/localCachePath",
                    "`localCachePath` can only be used when `streamDirect` is false",
                ),
                (
                    "/commitMessage",
                    "`commitMessage` must be a text that isn't empty",
                ),
                (
                    "/userName",
                    "`userName` must be one line that isn't empty, without `<` and `>`",
                ),
                (
                    "/userEmail",
                    "`userEmail` must be one line that isn't empty, without `<` and `>`",
                ),
                (
                    "/serverName",
                    "`serverName` must be one line that isn't empty, without `<` and `>`",
                ),
                (
                    "/exclude/1",
                    "the pattern `!b` in `exclude` begins with `!`: nothing can be taken back in",
                ),
            ],
        );
    }
}
