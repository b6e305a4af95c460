//! Whether the machine has what a configuration names.

use backstay_sdk::{Code, Diagnostic, Failure, Result};

use crate::choose::{self, Miss};
use crate::config::Config;
use crate::engine::Cli;
use crate::mounts::Mounts;

/// Looks for the engine, the containers and their mounts.
pub fn look(config: &Config) -> Vec<Diagnostic> {
    let pointer = if config.host.is_some() { "/host" } else { "/engine" };
    Cli::find(config)
        .and_then(|cli| look_with(&cli, config))
        .unwrap_or_else(|failure| {
            let code = if failure.code == Code::Environment {
                "engine-unavailable"
            } else {
                "engine-failed"
            };
            vec![Diagnostic::from_failure(pointer, code, failure)]
        })
}

fn look_with(cli: &Cli, config: &Config) -> Result<Vec<Diagnostic>> {
    let (containers, missing) = choose::find(cli, config)?;
    let mut diagnostics: Vec<Diagnostic> = missing
        .into_iter()
        .map(|Miss { pointer, failure }| Diagnostic::from_failure(pointer, "missing-container", failure))
        .collect();
    if let Err(failure) = choose::refuse_to_lose(config, &containers) {
        diagnostics.push(Diagnostic::from_failure(
            "/action",
            "removed-when-stopped",
            failure,
        ));
    }
    for name in config.actions.keys() {
        let is_known = |c: &crate::inspect::Container| c.name == *name || c.service() == Some(name);
        if !containers.iter().any(is_known) {
            let message = format!("`{name}` is none of the chosen containers");
            diagnostics.push(Diagnostic::warning("/actions", "unknown-container", message));
        }
    }
    let mounts = Mounts::look(cli, config, &containers)?;
    for omission in &mounts.omissions {
        let pointer = match omission.code {
            "bind-not-named" => "/bindPaths",
            "volume-elsewhere" => "/dataRoot",
            _ => "",
        };
        let diagnostic = Diagnostic::warning(pointer, omission.code, omission.message.clone());
        diagnostics.push(diagnostic.hint(omission.hint));
    }
    if mounts.facts.is_empty() && !containers.is_empty() {
        diagnostics.push(Diagnostic::from_failure("", "nothing-to-back-up", nothing()));
    }
    Ok(diagnostics)
}

/// The failure when none of the containers has anything to keep.
pub fn nothing() -> Failure {
    Failure::backup_failed("the chosen containers have no volume or bind mount that is backed up")
        .hint("choose containers with data, or name their directories in `bindPaths`")
}
