//! The git history as a bundle: what branches and tags reach, and nothing else of the repository.
//!
//! Its configuration (which may hold passwords of remotes), its hooks, and objects that nothing refers to any more
//! don't leave the machine.

use std::collections::BTreeSet;

use backstay_sdk::{Artifact, Result, log};

use crate::config::Config;
use crate::git::Git;
use crate::pattern;

/// The artifact, a file that `git clone` takes.
pub const ARTIFACT: &str = "history.bundle";

/// Media type of the artifact.
const MEDIA_TYPE: &str = "application/x-git-bundle";

/// At most this many secrets are named.
const MOST_NAMED: usize = 3;

/// The history, unless it isn't wanted or holds what must not leave the machine.
///
/// # Errors
/// Git fails.
pub fn offer(config: &Config, git: &Git) -> Result<Option<Artifact>> {
    if !config.include_git_history {
        return Ok(None);
    }
    let secrets = secrets_in(config, git)?;
    if let Some(first) = secrets.first() {
        let named: Vec<&str> = secrets.iter().map(String::as_str).take(MOST_NAMED).collect();
        let more = match secrets.len().saturating_sub(MOST_NAMED) {
            0 => String::new(),
            n => format!(" and {n} more"),
        };
        log::warning(
            "history-left-out",
            format!(
                "the git history is not in this backup, because earlier commits hold what `secrets` keeps out: \
                 {}{more}. Begin a new history (move {} away) or set `includeGitHistory: false`",
                named.join(", "),
                git.git_dir
            ),
            Some(first),
        );
        return Ok(None);
    }
    Ok(Some(Artifact::stream(ARTIFACT, MEDIA_TYPE, git.bundle().pipe()?)))
}

/// Files in any commit that the list of secrets names.
fn secrets_in(config: &Config, git: &Git) -> Result<Vec<String>> {
    let patterns = pattern::parse_all(&config.secrets);
    if patterns.is_empty() {
        return Ok(Vec::new());
    }
    let pathspecs: Vec<String> = patterns.iter().flat_map(|p| p.pathspecs("")).collect();
    let output = git.run_with(&git.search_history(), &format!("--\n{}\n", pathspecs.join("\n")))?;
    Ok(names(&output.stdout))
}

/// Each name once. Commits may stand between them as empty lines.
fn names(listing: &str) -> Vec<String> {
    let names: BTreeSet<&str> = listing
        .split('\0')
        .map(|name| name.trim_start_matches('\n'))
        .filter(|name| !name.is_empty())
        .collect();
    names.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_named_once() {
        assert_eq!(names("\0b\0a\0\0\nb\0"), ["a", "b"]);
        assert_eq!(names(""), [""; 0]);
    }
}
