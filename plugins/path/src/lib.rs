//! The source `path`: a directory or a file, as one tar stream or as a tree.
//!
//! It looks at the path, hands the host a tree, and remembers on which mount the path was, so that the
//! empty directory under a disk that isn't mounted never becomes a backup. It reads no file itself.

mod config;
mod mount;
mod place;

use backstay_sdk::content::stat;
use backstay_sdk::{
    Artifact, Code, Diagnostic, Failure, FileInfo, FileKind, Previous, Restored, Result, RunInfo, Source,
    Target, Tree, TreeOptions, UnpackOptions, log,
};
use serde::{Deserialize, Serialize};

use crate::config::Config;

/// The plugin.
#[derive(Debug)]
pub struct Path;

backstay_sdk::source!(Path, "plugin.json");

/// The one artifact.
const ARTIFACT: &str = "data";

/// What the manifest of a backup keeps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Facts {
    /// What was backed up.
    path: String,
    /// What it was.
    kind: Kind,
    /// Whether a filesystem was mounted exactly there.
    mount_point: bool,
    /// The mount that held it.
    mounted_on: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    File,
    Directory,
}

impl Source for Path {
    type Config = Config;

    fn validate(config: &Config) -> Vec<Diagnostic> {
        let mut diagnostics = config.check();
        if diagnostics.is_empty() {
            diagnostics.extend(match look(config) {
                Ok(facts) => mount::check_required(config, &facts.mounted_on)
                    .err()
                    .map(|failure| Diagnostic {
                        pointer: "/requireMount".to_owned(),
                        ..Diagnostic::from_failure("", "not-mounted", failure)
                    }),
                Err(failure) => Some(diagnose(failure)),
            });
        }
        diagnostics
    }

    fn open(config: &Config, _: &RunInfo, previous: &[Previous]) -> Result<Vec<Artifact>> {
        Diagnostic::refuse(config.check())?;
        let facts = look(config)?;
        mount::check_required(config, &facts.mounted_on)?;
        if let Some(before) = facts_before(config, previous)
            && let mount::Change::Covered(message) =
                mount::compare(&config.path, &before.mounted_on, &facts.mounted_on)?
        {
            log::warning("mount-changed", message, Some(&config.path));
        }
        let options = TreeOptions {
            include: config.include.clone(),
            exclude: config.exclude.clone(),
            one_file_system: config.one_file_system,
        };
        let tree = Tree::open(&config.path, &options)?;
        let artifact = if config.stream {
            Artifact::tar(ARTIFACT, &tree)
        } else {
            Artifact::tree(ARTIFACT, tree)
        };
        Ok(vec![artifact.with_metadata(&facts)?])
    }

    fn restore(_: &Config, _: &RunInfo, artifact: Artifact, target: &Target) -> Result<Restored> {
        let facts: Facts = artifact.metadata_as()?;
        let place = place::choose(&facts.path, facts.kind == Kind::File, target)?;
        let options = UnpackOptions {
            paths: place.paths,
            ..target.unpack_options()
        };
        let report = artifact.content.unpack(&place.directory, &options)?;
        if target.dry_run {
            log::info(format!(
                "would write {} entries with {} bytes to {}",
                report.entries, report.bytes, place.result
            ));
        }
        Ok(Restored {
            place: place.result,
            entries: report.entries,
            bytes: report.bytes,
        })
    }

    fn recovery_command(_: &Config, _: &str, _: &str) -> Result<String> {
        Ok(RECOVERY_COMMAND.to_owned())
    }
}

/// Tar's own way to do what `restore` does.
const RECOVERY_COMMAND: &str = "mkdir -p \"$TARGET\" && \
    tar --xattrs --xattrs-include='*' --numeric-owner --same-owner -xpf - -C \"$TARGET\"";

/// What the newest backup of this path says, unless nobody wants mounts to be looked at. What another kind of
/// source made for the same job says nothing.
fn facts_before(config: &Config, previous: &[Previous]) -> Option<Facts> {
    let newest: Facts = previous.first()?.metadata_as().ok()?;
    (config.require_mount.is_none() && newest.path == config.path).then_some(newest)
}

/// What is at the path.
fn look(config: &Config) -> Result<Facts> {
    let path = &config.path;
    let Some(info) = stat(path)? else {
        return Err(Failure::new(Code::BackupFailed, format!("{path} does not exist"))
            .hint("correct `path`, or mount the filesystem that holds it"));
    };
    Ok(Facts {
        path: path.clone(),
        kind: kind(path, &info)?,
        mount_point: info.mount_point,
        mounted_on: info.mounted_on,
    })
}

fn kind(path: &str, info: &FileInfo) -> Result<Kind> {
    let what = match info.kind {
        FileKind::File => return Ok(Kind::File),
        FileKind::Directory => return Ok(Kind::Directory),
        FileKind::Symlink => "a symbolic link",
        FileKind::Other => "neither a directory nor a file",
    };
    Err(Failure::new(Code::BackupFailed, format!("{path} is {what}"))
        .hint("name the directory or file itself in `path`"))
}

fn diagnose(failure: Failure) -> Diagnostic {
    let code = match failure.code {
        Code::BackupFailed => "bad-path",
        _ => "unreadable-path",
    };
    Diagnostic::from_failure("/path", code, failure)
}
