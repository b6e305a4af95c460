//! The configuration of a `path` source, and the rules that its schema can't say.

use backstay_sdk::Diagnostic;
use schemars::JsonSchema;
use serde::Deserialize;

/// A directory or a file to back up.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// Absolute path of a directory or a file. Symbolic links in it are not followed at its end.
    #[schemars(regex(pattern = r"^/"))]
    pub path: String,
    /// Patterns of what to take; without any, everything. As in a `.gitignore`: `*` within a name, `**`
    /// across directories, a leading `/` for the top of `path`.
    #[serde(default)]
    pub include: Vec<String>,
    /// Patterns of what to leave out, in the same form. A directory takes its content with it.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// Leave out what is on another filesystem than `path` itself.
    #[serde(default)]
    pub one_file_system: bool,
    /// One tar stream; if false, a tree of files.
    #[serde(default = "yes")]
    pub stream: bool,
    /// `true`: refuse unless `path` is on a filesystem of its own, not on the one of `/`. `false`: don't
    /// look at mounts. Without it: refuse when the mount that held `path` at the last backup is gone.
    #[serde(default)]
    pub require_mount: Option<bool>,
}

fn yes() -> bool {
    true
}

impl Config {
    /// What is wrong without looking at the machine.
    pub fn check(&self) -> Vec<Diagnostic> {
        let mut diagnostics = Vec::new();
        if let Some(fault) = backstay_sdk::directory::fault_of_path(&self.path) {
            diagnostics.push(Diagnostic::error(
                "/path",
                "bad-path",
                format!("`{}` {fault}", self.path),
            ));
        }
        for (field, patterns) in [("include", &self.include), ("exclude", &self.exclude)] {
            for (index, pattern) in patterns.iter().enumerate() {
                if pattern.trim().is_empty() {
                    let pointer = format!("/{field}/{index}");
                    let message = format!("a pattern in `{field}` is empty");
                    diagnostics.push(Diagnostic::error(pointer, "empty-pattern", message).hint("remove it"));
                }
            }
        }
        diagnostics
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
        check(serde_json::json!({ "path": "/srv" }), &[]);
        let config: Config = serde_json::from_value(serde_json::json!({ "path": "/srv" })).expect("config");
        assert!(config.stream && !config.one_file_system && config.require_mount.is_none());
    }

    #[test]
    fn everything_wrong_is_said_at_once() {
        check(
            serde_json::json!({ "path": "srv/data", "include": ["*.txt", ""], "exclude": [" "] }),
            &[
                ("/path", "`srv/data` must be an absolute path"),
                ("/include/1", "a pattern in `include` is empty"),
                ("/exclude/0", "a pattern in `exclude` is empty"),
            ],
        );
    }

    #[test]
    fn a_path_must_not_climb() {
        check(
            serde_json::json!({ "path": "/srv/../etc" }),
            &[("/path", "`/srv/../etc` must not contain `..`")],
        );
        check(serde_json::json!({ "path": "/srv/..hidden" }), &[]);
    }

    #[test]
    fn an_unknown_key_is_an_error() {
        let error =
            serde_json::from_str::<Config>(r#"{"path":"/srv","onefilesystem":true}"#).expect_err("unknown");
        assert!(
            error.to_string().contains("unknown field `onefilesystem`"),
            "{error}"
        );
    }
}
