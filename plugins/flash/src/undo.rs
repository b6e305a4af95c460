//! Takes back what a run left half done: locks of a git that died, a repository without a commit, the cache file.

use backstay_sdk::content::stat;
use backstay_sdk::{Failure, Result, Store, log};
use serde::{Deserialize, Serialize};

use crate::cache;
use crate::config::Config;
use crate::git::Git;

/// What `git init` and a first commit make.
const PARTS: [&str; 10] = [
    "HEAD",
    "config",
    "description",
    "index",
    "info",
    "logs",
    "refs",
    "packed-refs",
    "hooks",
    "objects",
];

/// What may have to be taken back, in the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Entry {
    /// Git is at work in a repository.
    Repository {
        /// Its directory.
        git_dir: String,
        /// Whether there was none before.
        is_new: bool,
        /// The locks that git may leave; none of them was there before.
        locks: Vec<String>,
    },
    /// A tar file waits to be stored.
    Cache {
        /// Its path.
        file: String,
    },
}

/// Takes an entry back.
///
/// # Errors
/// Something can't be removed.
pub fn undo(config: &Config, entry: &Entry) -> Result<()> {
    match entry {
        Entry::Cache { file } => {
            if config.local_cache_path.as_ref() != Some(file) {
                return Err(foreign(file));
            }
            cache::remove(file).run_ok().map(drop)
        }
        Entry::Repository {
            git_dir,
            is_new,
            locks,
        } => {
            if git_dir != config.git_path() {
                return Err(foreign(git_dir));
            }
            if stat(git_dir)?.is_none() {
                return Ok(());
            }
            for lock in locks {
                remove_lock(git_dir, lock)?;
            }
            if *is_new {
                remove_unborn(config, git_dir)
            } else {
                Ok(())
            }
        }
    }
}

fn foreign(path: &str) -> Failure {
    Failure::internal(format!("the journal names {path}, which is not of this job"))
}

/// Removes a lock. Git's children die with the host, so nobody holds it any more.
fn remove_lock(git_dir: &str, lock: &str) -> Result<()> {
    let file = format!("{git_dir}/{lock}");
    if stat(&file)?.is_none() {
        return Ok(());
    }
    // The place is the directory itself: deleting from one above it would remove it if it is empty then.
    let (directory, name) = file
        .rsplit_once('/')
        .ok_or_else(|| Failure::internal(format!("{file} has no directory")))?;
    log::info(format!("removing {file}, which a git of this job left"));
    Store::directory(directory)?.delete(name)
}

/// Removes a repository that this run began and that never got a commit.
fn remove_unborn(config: &Config, git_dir: &str) -> Result<()> {
    let git = Git {
        git_dir: git_dir.to_owned(),
        work_tree: config.path().to_owned(),
        ignore_case: false,
    };
    // One that is only half there can't be asked.
    if matches!(git.look_up("HEAD"), Ok(Some(_))) {
        return Ok(());
    }
    log::info(format!(
        "removing the repository at {git_dir}, which has no commit"
    ));
    let store = Store::directory(git_dir)?;
    PARTS.iter().try_for_each(|part| store.delete(part))
}
