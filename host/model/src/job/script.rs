//! A script that a job runs before or after it, and the rules for it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::diagnostic::Diagnostic;
use crate::secrets::check_name;
use crate::span::Span;

/// A script that runs confined: it sees the system's programs and what `read` names, writes only to `/tmp`, and has no
/// network unless granted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScriptSpec {
    /// Absolute path of a script that ends in .sh, .py, .pl, .js or .wasm.
    #[schemars(regex(pattern = r"^/"))]
    pub script_path: String,
    /// Its arguments, handed over as they are; without `;`, `|` and `&`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub script_args: Vec<String>,
    /// Where it starts, a directory that it sees; `/tmp` without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^/"))]
    pub working_directory: Option<String>,
    /// Absolute paths that it may read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub read: Vec<String>,
    /// Whether it has the host's network.
    #[serde(default)]
    pub network: bool,
    /// Variables for its environment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// Variables whose value is the secret of that name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secret_environment: BTreeMap<String, String>,
    /// It must have ended by then, 1–3600 s.
    #[serde(default = "five_minutes")]
    pub timeout: Span,
    /// Memory of all its processes together, in bytes.
    #[serde(default = "one_gibibyte")]
    #[schemars(range(min = 16_777_216))]
    pub max_memory_bytes: u64,
    /// Processes and threads at once.
    #[serde(default = "many_processes")]
    #[schemars(range(min = 4, max = 4096))]
    pub max_processes: u32,
}

fn five_minutes() -> Span {
    Span::seconds(300)
}

fn one_gibibyte() -> u64 {
    1 << 30
}

fn many_processes() -> u32 {
    128
}

/// What a script's name may end with.
const ENDINGS: [&str; 5] = [".sh", ".py", ".pl", ".js", ".wasm"];

/// Characters that arguments can't have: whoever writes them expects a shell, and there is none.
const SHELL: [char; 3] = [';', '|', '&'];

impl ScriptSpec {
    /// Whether it is a WASI command.
    pub fn is_wasm(&self) -> bool {
        self.script_path.ends_with(".wasm")
    }

    /// What is wrong with it. Pointers start with `at`.
    pub fn check(&self, at: &str) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        if !ENDINGS.iter().any(|ending| self.script_path.ends_with(ending)) {
            let message = format!("`{}` is not the name of a script", self.script_path);
            found.push(
                Diagnostic::error(format!("{at}/scriptPath"), "script-type", message)
                    .hint(format!("it must end in one of {}", ENDINGS.join(" "))),
            );
        }
        let paths = [("scriptPath".to_owned(), &self.script_path)]
            .into_iter()
            .chain(
                self.working_directory
                    .iter()
                    .map(|path| ("workingDirectory".to_owned(), path)),
            )
            .chain(
                self.read
                    .iter()
                    .enumerate()
                    .map(|(index, path)| (format!("read/{index}"), path)),
            );
        for (field, path) in paths {
            if !path.starts_with('/') || path.split('/').any(|part| part == "..") {
                let message = format!("`{path}` is not an absolute path without `..`");
                found.push(
                    Diagnostic::error(format!("{at}/{field}"), "bad-path", message).hint("name it in full"),
                );
            }
        }
        for (index, arg) in self.script_args.iter().enumerate() {
            if arg.contains(SHELL) {
                let message = format!("`{arg}` has one of the characters ; | &");
                found.push(
                    Diagnostic::error(format!("{at}/scriptArgs/{index}"), "shell-operator", message)
                        .hint("no shell sees the arguments: write what should happen into the script"),
                );
            }
        }
        for (field, variables) in [
            ("environment", &self.environment),
            ("secretEnvironment", &self.secret_environment),
        ] {
            for name in variables.keys() {
                if let Some(fault) = fault_of_variable(name) {
                    let message = format!("`{name}` can't be a variable of a script: {fault}");
                    found.push(
                        Diagnostic::error(format!("{at}/{field}/{name}"), "bad-variable", message)
                            .hint("choose another name"),
                    );
                }
            }
        }
        for (variable, secret) in &self.secret_environment {
            if let Err(error) = check_name(secret) {
                let pointer = format!("{at}/secretEnvironment/{variable}");
                let diagnostic = Diagnostic::error(pointer, "bad-secret", error.to_string());
                found.push(match error.hint_text() {
                    Some(hint) => diagnostic.hint(hint),
                    None => diagnostic,
                });
            }
        }
        if self.timeout < Span::seconds(1) || self.timeout > Span::seconds(3600) {
            let message = format!("{} is not between 1s and 3600s", self.timeout);
            found.push(
                Diagnostic::error(format!("{at}/timeout"), "out-of-range", message)
                    .hint("the default is 300s"),
            );
        }
        found
    }
}

/// Why a variable can't have this name.
fn fault_of_variable(name: &str) -> Option<&'static str> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.bytes().all(plain) {
        Some("it must be of letters, digits and `_`")
    } else if name.starts_with("BACKSTAY_") || matches!(name, "PATH" | "LANG" | "HOME" | "TMPDIR") {
        Some("the host sets it")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn check(value: Value) -> Vec<String> {
        let script: ScriptSpec = serde_json::from_value(value).unwrap();
        script.check("/before").iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_path_is_enough() {
        for ending in ENDINGS {
            assert_eq!(
                check(json!({ "scriptPath": format!("/x/a{ending}") })),
                Vec::<String>::new()
            );
        }
    }

    #[test]
    fn all_that_is_wrong_is_said_at_once() {
        let said = check(json!({
            "scriptPath": "/x/../a.exe", "scriptArgs": ["ok", "a; rm -rf /", "b|c", "d & e"], "workingDirectory": "srv",
            "read": ["/srv", "data"], "environment": { "OK": "1", "PATH": "/x", "A-B": "", "BACKSTAY_JOB": "" }, "timeout": "2h",
        }));
        insta::assert_snapshot!(said.join("\n"));
    }
}
