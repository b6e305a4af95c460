//! Whether the machine has what a configuration names.

use backstay_sdk::content::stat;
use backstay_sdk::{Code, Command, Diagnostic, Failure};

use crate::config::Config;
use crate::{cache, repository, stick};

/// Prints the version of git.
pub fn version() -> Command {
    Command::new("git").arg("--version")
}

/// Looks for git, the drive, the git data and the cache file.
pub fn look(config: &Config) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    if let Err(failure) = version().run_ok() {
        found.push(unstartable(failure));
    }
    if let Err(failure) = stick::look(config) {
        let pointer = if failure.message.starts_with("no filesystem") {
            "/requireMount"
        } else {
            "/path"
        };
        found.push(Diagnostic::from_failure(pointer, "bad-path", failure));
    }
    if let Err(failure) = repository::look(config.git_path()) {
        found.push(Diagnostic::from_failure("/gitPath", "bad-git-path", failure));
    }
    if let Some(file) = &config.local_cache_path
        && let Err(failure) = cache::refuse_taken(file)
    {
        found.push(Diagnostic::from_failure("/localCachePath", "taken", failure));
    }
    if let Some(other) = other_repository(config) {
        found.push(Diagnostic::info("/gitPath", "other-repository", other));
    }
    found
}

/// What to say of a repository at the top of the drive that isn't the job's.
pub fn other_repository(config: &Config) -> Option<String> {
    let other = format!("{}/.git", config.path());
    if other == config.git_path() || !matches!(stat(&other), Ok(Some(_))) {
        return None;
    }
    Some(format!(
        "{other} is not in the backup: the git data of this job is at {}",
        config.git_path()
    ))
}

fn unstartable(failure: Failure) -> Diagnostic {
    if failure.code == Code::Environment {
        Diagnostic::error("", "missing-program", failure.message)
            .hint("install git 2.36 or newer, on Debian and Ubuntu `apt install git`")
    } else {
        Diagnostic::from_failure("", "git-unavailable", failure)
    }
}
