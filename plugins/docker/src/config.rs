//! The configuration of a `docker` source, and the rules that its schema can't say.

use std::collections::BTreeMap;

use backstay_sdk::Diagnostic;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pattern;

/// The most labels in one job: `plugin.json` has a place for each, and one for the project.
const MAX_LABELS: usize = 8;

/// Places that hold no data of a container, or that of the whole machine.
pub const SYSTEM_PATHS: [&str; 12] = [
    "/proc",
    "/sys",
    "/dev",
    "/run",
    "/var/run",
    "/lib/modules",
    "/usr/lib/modules",
    "/usr/share/zoneinfo",
    "/etc/localtime",
    "/etc/timezone",
    "/etc/machine-id",
    "/etc/resolv.conf",
];

/// Containers whose volumes and bind mounts are backed up.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// `docker` or `podman`; without it the first of the two that answers.
    #[serde(default)]
    pub engine: Option<Engine>,
    /// The engine's socket, such as `unix:///run/user/1000/docker.sock`; without it the engine's own default.
    #[serde(default)]
    #[schemars(regex(pattern = r"^unix:///"))]
    pub host: Option<String>,
    /// Containers by name.
    #[serde(default)]
    pub containers: Vec<String>,
    /// Containers by label, `KEY` or `KEY=VALUE`: those that have all of them, at most 8.
    #[serde(default)]
    pub labels: Vec<String>,
    /// The containers of a compose project; with `labels`, those of the project that have them.
    #[serde(default)]
    pub project: Option<String>,
    /// What is done to a running container while its data is read.
    #[serde(default)]
    pub action: Action,
    /// Another action for some of them, by the name of the container or of its compose service.
    #[serde(default)]
    pub actions: BTreeMap<String, Action>,
    /// Seconds that a container may take to stop before the engine kills it, at most 3600; without it what
    /// the container itself says, or 10.
    #[serde(default)]
    #[schemars(range(max = 3600))]
    pub stop_timeout: Option<u32>,
    /// The command for the action `quiesce`, run by `sh -c` inside the container.
    #[serde(default)]
    pub quiesce: Option<String>,
    /// The command that takes `quiesce` back. It may be run twice.
    #[serde(default)]
    pub resume: Option<String>,
    /// What is not backed up: names of volumes, paths on this machine, or paths inside a container, with `*`
    /// for any characters.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// Patterns of files to leave out of every mount, as in a `.gitignore`.
    #[serde(default)]
    pub exclude_files: Vec<String>,
    /// Directories of this machine whose bind mounts are backed up: those at or below one of them. Others
    /// are named in a warning.
    #[serde(default)]
    pub bind_paths: Vec<String>,
    /// Where the engine keeps its volumes, if neither in `/var/lib/docker/volumes` nor in
    /// `/var/lib/containers/storage/volumes`.
    #[serde(default)]
    pub data_root: Option<String>,
}

/// A container engine, by the name of its program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// Docker.
    Docker,
    /// Podman.
    Podman,
}

impl Engine {
    /// Its program.
    pub const fn program(self) -> &'static str {
        match self {
            Engine::Docker => "docker",
            Engine::Podman => "podman",
        }
    }
}

/// What is done to a running container while its data is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Stop it, and start it again.
    #[default]
    Stop,
    /// Pause it, and let it go on.
    Pause,
    /// Run a command in it, and another one afterwards.
    Quiesce,
    /// Nothing: it goes on writing.
    None,
}

impl Config {
    /// The action for a container.
    pub fn action_for(&self, name: &str, service: Option<&str>) -> Action {
        let own = self.actions.get(name);
        let own = own.or_else(|| self.actions.get(service?));
        own.copied().unwrap_or(self.action)
    }

    /// What is wrong without looking at the machine.
    pub fn check(&self) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        if self.containers.is_empty() && self.labels.is_empty() && self.project.is_none() {
            let message = "no containers are chosen";
            found.push(
                Diagnostic::error("", "nothing-chosen", message)
                    .hint("name some in `containers`, or choose them by `labels` or `project`"),
            );
        }
        if let Some(host) = &self.host
            && !host.strip_prefix("unix://").is_some_and(is_plain_path)
        {
            let message = format!("`{host}` is not the address of a socket");
            found.push(
                Diagnostic::error("/host", "bad-host", message)
                    .hint("write `unix://` and an absolute path, such as `unix:///run/docker.sock`"),
            );
        }
        for (index, name) in self.containers.iter().enumerate() {
            found.extend(check_name(&format!("/containers/{index}"), name));
        }
        for name in self.actions.keys() {
            found.extend(check_name("/actions", name));
        }
        if let Some(project) = &self.project {
            found.extend(check_name("/project", project));
        }
        self.check_labels(&mut found);
        self.check_commands(&mut found);
        for (index, path) in self.bind_paths.iter().enumerate() {
            found.extend(check_path(&format!("/bindPaths/{index}"), path));
        }
        found.extend(
            self.data_root
                .iter()
                .filter_map(|path| check_path("/dataRoot", path)),
        );
        for (field, patterns) in [("exclude", &self.exclude), ("excludeFiles", &self.exclude_files)] {
            for (index, _) in patterns.iter().enumerate().filter(|(_, p)| p.trim().is_empty()) {
                let message = format!("a pattern in `{field}` is empty");
                found.push(
                    Diagnostic::error(format!("/{field}/{index}"), "empty-pattern", message)
                        .hint("remove it"),
                );
            }
        }
        if self.stop_timeout.is_some_and(|seconds| seconds > 3600) {
            found.push(Diagnostic::error(
                "/stopTimeout",
                "too-long",
                "`stopTimeout` is at most 3600 s",
            ));
        }
        found
    }

    fn check_labels(&self, found: &mut Vec<Diagnostic>) {
        for (index, label) in self.labels.iter().enumerate() {
            let key = label.split('=').next().unwrap_or_default();
            if key.is_empty() || label.chars().any(char::is_control) {
                let message = format!("`{}` is not a label", label.escape_debug());
                found.push(
                    Diagnostic::error(format!("/labels/{index}"), "bad-label", message)
                        .hint("write `KEY` or `KEY=VALUE`"),
                );
            }
        }
        if self.labels.len() > MAX_LABELS {
            let message = format!(
                "there are {} labels; {MAX_LABELS} are the most",
                self.labels.len()
            );
            found.push(
                Diagnostic::error("/labels", "too-many-labels", message)
                    .hint("give the containers one label for the backup"),
            );
        }
    }

    fn check_commands(&self, found: &mut Vec<Diagnostic>) {
        let wanted = self.action == Action::Quiesce || self.actions.values().any(|a| *a == Action::Quiesce);
        for (field, other, command) in [
            ("quiesce", "resume", &self.quiesce),
            ("resume", "quiesce", &self.resume),
        ] {
            let pointer = format!("/{field}");
            match command {
                None if wanted => found.push(
                    Diagnostic::error(
                        pointer,
                        "missing-command",
                        format!("the action `quiesce` needs the command `{field}`"),
                    )
                    .hint(format!(
                        "write both `{field}` and `{other}`; `\"true\"` is a command that does nothing"
                    )),
                ),
                Some(_) if !wanted => found.push(
                    Diagnostic::error(
                        pointer,
                        "unused-command",
                        format!("the command `{field}` is never run"),
                    )
                    .hint("choose `action: quiesce`, for all containers or for one in `actions`"),
                ),
                Some(text) if text.trim().is_empty() || text.contains('\0') => found.push(
                    Diagnostic::error(
                        pointer,
                        "bad-command",
                        format!("the command `{field}` is empty or holds a NUL character"),
                    )
                    .hint("`\"true\"` is a command that does nothing"),
                ),
                _ => {}
            }
        }
    }

    /// Whether a mount is left out by name, by its path here, or by its path in the container.
    pub fn excludes<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> bool {
        let mut names = names.into_iter();
        names.any(|name| self.exclude.iter().any(|p| pattern::matches(p, name)))
    }
}

/// Whether `path` is `top` or below it.
pub fn is_below(path: &str, top: &str) -> bool {
    let top = top.trim_end_matches('/');
    path.strip_prefix(top)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Engines take these as the names of containers, projects and volumes.
pub fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

fn check_name(pointer: &str, name: &str) -> Option<Diagnostic> {
    let message = format!("`{}` is not a name", name.escape_debug());
    (!is_name(name)).then(|| {
        Diagnostic::error(pointer, "bad-name", message)
            .hint("a name begins with a letter or digit and consists of letters, digits, `_`, `.` and `-`")
    })
}

fn is_plain_path(path: &str) -> bool {
    path.starts_with('/') && !path.contains('\0') && !path.split('/').any(|part| part == "..")
}

fn check_path(pointer: &str, path: &str) -> Option<Diagnostic> {
    let (fault, hint) = if !is_plain_path(path) {
        (
            "is not an absolute path without `..`",
            "write the whole path, beginning with `/`",
        )
    } else if path.trim_matches('/').is_empty() {
        (
            "is the whole machine",
            "name the directories that hold data of containers",
        )
    } else if SYSTEM_PATHS.iter().any(|system| is_below(path, system)) {
        (
            "belongs to the system and holds no data of a container",
            "remove it",
        )
    } else {
        return None;
    };
    let message = format!("`{}` {fault}", path.escape_debug());
    Some(Diagnostic::error(pointer, "bad-path", message).hint(hint))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn read(config: Value) -> Config {
        serde_json::from_value(config).expect("a configuration of the right shape")
    }

    fn check(config: Value, expected: &[(&str, &str)]) {
        let diagnostics = read(config).check();
        let found: Vec<(&str, &str)> = diagnostics
            .iter()
            .map(|d| (d.pointer.as_str(), d.message.as_str()))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn one_way_to_choose_is_enough() {
        for chosen in [
            json!({ "containers": ["web"] }),
            json!({ "labels": ["backup=yes"] }),
            json!({ "project": "shop" }),
        ] {
            check(chosen, &[]);
        }
        check(json!({}), &[("", "no containers are chosen")]);
    }

    #[test]
    fn what_nobody_says_is_to_stop() {
        let config = read(
            json!({ "containers": ["web"], "actions": { "db": "pause", "shop-cache-1": "none", "cache": "stop" } }),
        );
        assert_eq!(config.action_for("web", None), Action::Stop);
        assert_eq!(config.action_for("shop-db-1", Some("db")), Action::Pause);
        assert_eq!(config.action_for("shop-cache-1", Some("cache")), Action::None);
    }

    #[test]
    fn a_place_of_the_system_is_no_place_for_data() {
        for path in [
            "/",
            "//",
            "/proc/1",
            "/var/run/docker.sock",
            "/dev",
            "srv",
            "/srv/../etc",
        ] {
            assert_eq!(
                read(json!({ "containers": ["web"], "bindPaths": [path] }))
                    .check()
                    .len(),
                1,
                "{path}"
            );
        }
        check(
            json!({ "containers": ["web"], "bindPaths": ["/srv", "/runner"] }),
            &[],
        );
    }

    #[test]
    fn a_command_needs_its_counterpart_and_an_action() {
        check(
            json!({ "containers": ["web"], "action": "quiesce", "quiesce": "sync" }),
            &[("/resume", "the action `quiesce` needs the command `resume`")],
        );
        check(
            json!({ "containers": ["web"], "quiesce": "sync", "resume": "true" }),
            &[
                ("/quiesce", "the command `quiesce` is never run"),
                ("/resume", "the command `resume` is never run"),
            ],
        );
        check(
            json!({ "containers": ["web"], "actions": { "db": "quiesce" }, "quiesce": "sync", "resume": "true" }),
            &[],
        );
    }

    proptest! {
        #[test]
        fn an_accepted_name_is_never_an_option(name in "[-a-z./=_ ]{0,8}") {
            if is_name(&name) {
                prop_assert!(!name.starts_with('-') && !name.contains(['/', ' ', '=']));
            }
        }

        #[test]
        fn what_is_below_begins_with_whole_names(top in "(/[ab]{1,3}){1,3}", more in "[ab/]{0,4}") {
            let path = format!("{top}{more}");
            prop_assert_eq!(is_below(&path, &top), std::path::Path::new(&path).starts_with(&top));
        }
    }
}
