//! The source `flash`: the flash drive that an Unraid server boots from, with a git history of its configuration.
//!
//! Each run commits what changed (on this machine only: nothing is ever pushed), then offers the drive's files as one
//! tar stream or as a tree, and the history as a bundle. What is on the list of secrets is in neither. The git data
//! may be off the drive, so that commits don't wear it out.
//!
//! Side effects are git's own (each of its files appears whole, by rename) and a cache file; the journal names the
//! locks that a git may leave when it dies, a repository that may stay half made, and the cache file.

mod cache;
mod commit;
mod config;
mod defaults;
mod fault;
mod git;
mod history;
mod pattern;
mod repository;
mod restore;
mod stick;
mod undo;
mod validate;

use backstay_sdk::{
    Artifact, Diagnostic, Previous, Restored, Result, RunInfo, Source, Target, Tree, TreeOptions, content,
    journal, log,
};
use serde::{Deserialize, Serialize};

use crate::config::Config;

/// The plugin.
#[derive(Debug)]
pub struct Flash;

backstay_sdk::source!(Flash, "plugin.json");

/// The artifact that holds the files.
const FILES: &str = "flash";

/// What the manifest of a backup keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Facts {
    /// Where the drive was mounted.
    path: String,
    /// Where the git data was.
    git_path: String,
    /// The mount that held the drive.
    mounted_on: String,
    /// Name of the server.
    server: String,
    /// The newest commit.
    commit: String,
    /// Its branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    branch: Option<String>,
    /// Whether the run made that commit; if not, nothing that git tracks had changed.
    changed: bool,
    /// Patterns of what is not in the backup.
    left_out: Vec<String>,
}

impl Source for Flash {
    type Config = Config;

    fn validate(config: &Config) -> Vec<Diagnostic> {
        let mut diagnostics = config.check();
        if diagnostics.is_empty() {
            diagnostics.extend(validate::look(config));
        }
        diagnostics
    }

    fn open(config: &Config, run: &RunInfo, previous: &[Previous]) -> Result<Vec<Artifact>> {
        Diagnostic::refuse(config.check())?;
        let stick = stick::look(config)?;
        stick::refuse_lost_mount(config, facts_before(previous).as_ref(), &stick.mounted_on)?;
        let server = stick::server_name(config, &run.device);
        repository::prepare(config, &stick.git, &server)?;
        let committed = commit::commit(config, &stick.git)?;
        if let Some(other) = validate::other_repository(config) {
            log::info(other);
        }
        let facts = Facts {
            path: config.path().to_owned(),
            git_path: config.git_path().to_owned(),
            mounted_on: stick.mounted_on.clone(),
            server,
            commit: committed.commit,
            branch: committed.branch,
            changed: committed.is_new,
            left_out: config.secrets.iter().chain(&config.exclude).cloned().collect(),
        };
        let mut artifacts = vec![offer_files(config)?.with_metadata(&facts)?];
        if let Some(history) = history::offer(config, &stick.git)? {
            artifacts.push(history.with_metadata(&facts)?);
        }
        Ok(artifacts)
    }

    fn restore(_: &Config, _: &RunInfo, artifact: Artifact, target: &Target) -> Result<Restored> {
        let facts: Facts = artifact.metadata_as()?;
        if artifact.name == history::ARTIFACT {
            restore::history(&facts, artifact.content, target)
        } else {
            restore::files(&facts, artifact.content, target)
        }
    }

    fn recovery_command(_: &Config, artifact_name: &str, metadata: &str) -> Result<String> {
        let facts: Facts = content::metadata_as(metadata)?;
        Ok(restore::recovery_command(artifact_name, &facts))
    }

    fn undo(config: &Config, entry: &str) -> Result<()> {
        undo::undo(config, &journal::read(entry)?)
    }
}

/// The drive's files, in the form that the job wants.
fn offer_files(config: &Config) -> Result<Artifact> {
    let left_out = config.left_out();
    let options = TreeOptions {
        // The history is an artifact of its own.
        exclude: std::iter::once("/.[gG][iI][tT]".to_owned())
            .chain(left_out.iter().map(pattern::Pattern::for_tree))
            .collect(),
        ..TreeOptions::default()
    };
    let tree = Tree::open(config.path(), &options)?;
    Ok(match &config.local_cache_path {
        Some(file) => Artifact::stream(FILES, content::TAR, cache::fill(file, &tree)?),
        None if config.stream_direct => Artifact::tar(FILES, &tree),
        None => Artifact::tree(FILES, tree),
    })
}

/// What the newest backup says. What another kind of source made for the same job says nothing.
fn facts_before(previous: &[Previous]) -> Option<Facts> {
    let newest = previous.iter().find(|previous| previous.artifact == FILES)?;
    newest.metadata_as().ok()
}

#[cfg(test)]
impl Facts {
    fn example() -> Self {
        Facts {
            path: "/boot".to_owned(),
            git_path: "/boot/.git".to_owned(),
            mounted_on: "/boot".to_owned(),
            server: "Tower".to_owned(),
            commit: "1".to_owned(),
            branch: Some("refs/heads/main".to_owned()),
            changed: true,
            left_out: Vec::new(),
        }
    }
}
