//! The configuration of a `script` source, and the rules that its schema can't say.

use std::collections::BTreeMap;

use backstay_sdk::Diagnostic;
use schemars::JsonSchema;
use serde::Deserialize;

/// A script, whose files in `BACKSTAY_OUTPUT_DIR` are backed up.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// Absolute path of a script that ends in .sh, .py, .pl, .js or .wasm.
    #[schemars(regex(pattern = r"^/"))]
    pub script_path: String,
    /// Its arguments, handed over as they are; without `;`, `|` and `&`.
    #[serde(default)]
    pub script_args: Vec<String>,
    /// Where it starts, a directory that it may then read; the output directory without it.
    #[serde(default)]
    #[schemars(regex(pattern = r"^/"))]
    pub working_directory: Option<String>,
    /// Absolute paths that it may read, besides the system's programs.
    #[serde(default)]
    pub read: Vec<String>,
    /// Whether it has the host's network.
    #[serde(default)]
    pub network: bool,
    /// Variables for its environment.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Variables whose value is the secret of that name.
    #[serde(default)]
    pub secret_environment: BTreeMap<String, String>,
    /// Seconds until it must have ended, 1 to 3600. The job's `timeouts.prepare` counts too.
    #[serde(default = "five_minutes")]
    #[schemars(range(min = 1, max = 3600))]
    pub timeout: u32,
    /// Bytes that it may write to the output directory, 1 MiB at least.
    #[serde(default = "ten_gibibytes")]
    #[schemars(range(min = 1_048_576))]
    pub max_output_bytes: u64,
    /// Memory of all its processes together, in bytes, 16 MiB at least.
    #[serde(default = "one_gibibyte")]
    #[schemars(range(min = 16_777_216))]
    pub max_memory_bytes: u64,
    /// Processes and threads at once.
    #[serde(default = "many_processes")]
    #[schemars(range(min = 4, max = 4096))]
    pub max_processes: u32,
    /// One tar stream; if false, a tree of files.
    #[serde(default = "yes")]
    pub stream: bool,
}

fn five_minutes() -> u32 {
    300
}

fn ten_gibibytes() -> u64 {
    10 << 30
}

fn one_gibibyte() -> u64 {
    1 << 30
}

fn many_processes() -> u32 {
    128
}

fn yes() -> bool {
    true
}

/// What a script's name may end with.
const ENDINGS: [&str; 5] = [".sh", ".py", ".pl", ".js", ".wasm"];

/// Characters that arguments can't have: whoever writes them expects a shell, and there is none.
const SHELL: [char; 3] = [';', '|', '&'];

impl Config {
    /// Whether it is a WASI command.
    pub fn is_wasm(&self) -> bool {
        self.script_path.ends_with(".wasm")
    }

    /// What is wrong without looking at the machine.
    pub fn check(&self) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        if !ENDINGS.iter().any(|ending| self.script_path.ends_with(ending)) {
            let message = format!("`{}` is not the name of a script", self.script_path);
            found.push(
                Diagnostic::error("/scriptPath", "script-type", message)
                    .hint(format!("it must end in one of {}", ENDINGS.join(" "))),
            );
        }
        let one = [
            ("/scriptPath", Some(&self.script_path)),
            ("/workingDirectory", self.working_directory.as_ref()),
        ];
        let one = one
            .into_iter()
            .filter_map(|(pointer, path)| Some((pointer.to_owned(), path?)));
        let many = self
            .read
            .iter()
            .enumerate()
            .map(|(index, path)| (format!("/read/{index}"), path));
        for (pointer, path) in one.chain(many) {
            if !path.starts_with('/') || path.split('/').any(|part| part == "..") {
                let message = format!("`{path}` is not an absolute path without `..`");
                found.push(Diagnostic::error(pointer, "bad-path", message).hint("name it in full"));
            }
        }
        for (index, arg) in self.script_args.iter().enumerate() {
            if arg.contains(SHELL) {
                let message = format!("`{arg}` has one of the characters ; | &");
                found.push(
                    Diagnostic::error(format!("/scriptArgs/{index}"), "shell-operator", message)
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
                        Diagnostic::error(format!("/{field}/{name}"), "bad-variable", message)
                            .hint("choose another name"),
                    );
                }
            }
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
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn pointers(config: Value) -> Vec<String> {
        let config: Config = serde_json::from_value(config).expect("a configuration of the right shape");
        config.check().into_iter().map(|found| found.pointer).collect()
    }

    #[test]
    fn a_path_is_enough() {
        for ending in ENDINGS {
            assert!(
                pointers(json!({ "scriptPath": format!("/x/a{ending}") })).is_empty(),
                "{ending}"
            );
        }
    }

    #[test]
    fn everything_wrong_is_said_at_once() {
        let found = pointers(json!({
            "scriptPath": "a.exe", "scriptArgs": ["ok", "a;b"], "workingDirectory": "/a/..", "read": ["/srv", "srv"],
            "environment": { "OK": "", "A B": "", "HOME": "" },
        }));
        let expected = [
            "/scriptPath",
            "/scriptPath",
            "/workingDirectory",
            "/read/1",
            "/scriptArgs/1",
            "/environment/A B",
            "/environment/HOME",
        ];
        assert_eq!(found, expected);
    }

    proptest! {
        #[test]
        fn an_accepted_argument_has_no_operator_of_a_shell(arg in "\\PC{0,20}") {
            let config = json!({ "scriptPath": "/a.sh", "scriptArgs": [arg] });
            prop_assert_eq!(pointers(config).is_empty(), !arg.contains([';', '|', '&']));
        }
    }
}
