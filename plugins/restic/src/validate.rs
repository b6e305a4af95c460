//! What a configuration names, looked for on this machine and at the repository.

use backstay_sdk::{Code, Diagnostic, Failure, secrets};

use crate::complaint::Kind;
use crate::config::Config;
use crate::{answer, command, complaint};

/// Everything wrong with what the configuration names. What may be right later, such as a server that doesn't answer
/// now, is a warning.
pub fn look(config: &Config) -> Vec<Diagnostic> {
    if let Err(diagnostic) = program() {
        return vec![*diagnostic];
    }
    let missing = missing_secrets(config);
    if missing.is_empty() {
        repository(config).into_iter().collect()
    } else {
        missing
    }
}

/// Whether restic is there and new enough.
fn program() -> Result<(), Box<Diagnostic>> {
    let wrong = |code: &str, failure: Failure| Box::new(Diagnostic::from_failure("", code, failure));
    let output = command::version()
        .run()
        .map_err(|failure| wrong("no-restic", failure))?;
    if answer::is_broken(&output.stdout) {
        let message = "restic here is 0.18.0, a broken release: it can't store streams under a path";
        let failure =
            Failure::environment(message).hint("update restic to 0.18.1 or newer: https://restic.net");
        return Err(wrong("broken-restic", failure));
    }
    let (major, minor) = answer::OLDEST;
    match answer::version(&output.stdout) {
        Some(version) if version >= answer::OLDEST => Ok(()),
        found => {
            let found = found.map_or_else(|| "of an unknown version".to_owned(), |(a, b)| format!("{a}.{b}"));
            let message = format!("restic here is {found}; {major}.{minor} is the oldest that will do");
            let hint = "install a newer one: https://restic.net";
            Err(wrong("old-restic", Failure::environment(message).hint(hint)))
        }
    }
}

/// The secrets that the configuration names and that aren't there.
fn missing_secrets(config: &Config) -> Vec<Diagnostic> {
    let password = ("/passwordSecret".to_owned(), &config.password_secret);
    let others = config.environment_secrets.iter();
    let others = others.map(|(variable, name)| (format!("/environmentSecrets/{variable}"), name));
    let named = [password].into_iter().chain(others);
    named
        .filter_map(|(at, name)| secrets::missing(at, name))
        .collect()
}

/// What is wrong with the repository.
fn repository(config: &Config) -> Option<Diagnostic> {
    let output = match command::cat_config(config).run() {
        Ok(output) => output,
        Err(failure) => return Some(Diagnostic::from_failure("", "no-restic", failure)),
    };
    if output.is_success() {
        let version = answer::repository_version(&output.stdout).unwrap_or(2);
        let message = "this repository has the old format, which knows no compression";
        let is_too_old = version < 2 && config.compression.is_some();
        return is_too_old.then(|| {
            Diagnostic::error("/compression", "old-format", message)
                .hint("leave `compression` out, or upgrade it: restic migrate upgrade_repo_v2")
        });
    }
    if output.status == command::TIMED_OUT {
        let message = format!("cannot open {}: it did not answer within 30 s", config.repository);
        return Some(
            Diagnostic::warning("/repository", "unreachable", message)
                .hint("is the server running, is its address right in `repository`, and is there a network?"),
        );
    }
    let failure = complaint::failure("open", &config.repository, &output);
    Some(match complaint::kind(&output.stderr) {
        Some(Kind::Missing) if config.init => Diagnostic::info(
            "/repository",
            "no-repository-yet",
            format!(
                "there is no repository at {}; the first backup makes one",
                config.repository
            ),
        ),
        Some(Kind::Missing) => Diagnostic::from_failure("/repository", "no-repository", failure),
        Some(Kind::Password) => Diagnostic::from_failure("/passwordSecret", "wrong-password", failure),
        _ if failure.code == Code::Environment => Diagnostic::from_failure("", "old-restic", failure),
        _ => Diagnostic {
            hint: failure.hint,
            ..Diagnostic::warning("/repository", "unreachable", failure.message)
        },
    })
}
