//! The source `zfs`: a snapshot of a pool or dataset, sent whole or as an increment to an earlier one.
//!
//! Each run makes one snapshot with a hold on it. It stays after a committed backup, as the base of the
//! next increment, and the ones before it go; after a failed run it goes itself. What is ours is known by
//! its name, the job's id in a user property, and its guid; nothing else is ever destroyed, and `zfs
//! destroy` is only ever called with an `@` in the name, or with the name of what a drill restored.
//!
//! Works with OpenZFS 2.x and zfs-fuse 0.7.

mod base;
mod command;
mod config;
mod drill;
mod restore;
mod snapshot;
mod undo;
mod validate;

use backstay_sdk::{
    Artifact, Diagnostic, Failure, Previous, Restored, Result, RunInfo, Source, Target, When, content,
    journal, log, progress,
};
use serde::{Deserialize, Serialize};

use crate::base::Candidate;
use crate::config::Config;
use crate::snapshot::Name;
use crate::undo::Entry;

/// The plugin.
#[derive(Debug)]
pub struct Zfs;

backstay_sdk::source!(Zfs, "plugin.json");

/// The one artifact.
const ARTIFACT: &str = "data";

/// Media type of what `zfs send` writes.
const MEDIA_TYPE: &str = "application/x-zfs-stream";

/// What the manifest of a backup keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Facts {
    /// The dataset.
    dataset: String,
    /// The snapshot's whole name, with the `@`.
    snapshot: String,
    /// Its guid; text, because it doesn't fit into a JSON number everywhere.
    guid: String,
    /// The guid of the snapshot that this is an increment to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base_guid: Option<String>,
    /// Sent as stored, still encrypted.
    raw: bool,
    /// With all datasets below.
    recursive: bool,
    /// Sent as compressed on disk.
    compressed: bool,
    /// Sent with blocks over 128 KiB.
    large_blocks: bool,
    /// Increments of the chain up to this one; 0 for a whole stream.
    #[serde(default)]
    increments: u32,
}

/// What is to be undone.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Undo {
    Snapshot(Entry),
    Drill(drill::Entry),
}

impl Source for Zfs {
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
        let name = Name::of_run(config, run);
        let tag = format!("backstay-{}", run.instance_id);

        let mut strays = snapshot::of_job(config, run, &name)?;
        let newest = if config.incremental {
            base::find(config, &candidates(previous))?
        } else {
            None
        };

        // One that was received from a backup says nothing of the job; of very many snapshots not all are listed.
        let of_base = newest
            .as_ref()
            .and_then(|b| Some((Name::parse(&b.facts.snapshot)?, &b.facts.guid)));
        if let Some((name, guid)) = of_base
            && !strays.iter().any(|(stray, _)| *stray == name)
        {
            strays.push((name, Some(guid.clone())));
        }
        let base = newest.filter(|newest| !base::is_long_enough(config, &newest.facts));

        progress::stage("creating snapshot");
        let keep = if config.incremental {
            When::OnAbort
        } else {
            When::Always
        };
        let entry = |name: &Name, guid: Option<String>| Entry {
            snapshot: name.to_string(),
            guid,
            recursive: config.recursive,
            tag: tag.clone(),
            in_making: false,
        };
        let own = Entry {
            in_making: true,
            ..entry(&name, None)
        };
        journal::record(&own, keep)?;
        snapshot::create(config, run, &name)?;
        snapshot::hold(config, &tag, &name)?;
        let guid = snapshot::guid(&name)?.ok_or_else(|| {
            Failure::backup_failed(format!("the snapshot {name} vanished just after it was made"))
        })?;

        for (stray, guid) in strays {
            // It may have been made by a recursive run of this job before somebody changed the job.
            let entry = Entry {
                recursive: true,
                ..entry(&stray, guid)
            };
            journal::record(&entry, When::OnCommit)?;
        }

        match &base {
            Some(base) => log::info(format!(
                "sending {name} as an increment to {}",
                base.facts.snapshot
            )),
            None => log::info(format!("sending {name} whole")),
        }
        let stream = command::send(config, base.as_ref().map(|b| b.facts.snapshot.as_str()), &name).pipe()?;
        let facts = Facts {
            dataset: config.pool_name.clone(),
            snapshot: name.to_string(),
            guid,
            base_guid: base.as_ref().map(|b| b.facts.guid.clone()),
            raw: config.raw,
            recursive: config.recursive,
            compressed: config.compressed,
            large_blocks: config.large_blocks,
            increments: base.as_ref().map_or(0, |b| b.facts.increments + 1),
        };
        let artifact = Artifact::stream(ARTIFACT, MEDIA_TYPE, stream).with_metadata(&facts)?;
        Ok(vec![match base {
            Some(base) => artifact.based_on(base.backup_id),
            None => artifact,
        }])
    }

    fn restore(_: &Config, run: &RunInfo, artifact: Artifact, target: &Target) -> Result<Restored> {
        let facts: Facts = artifact.metadata_as()?;
        restore::restore(&facts, run, artifact.content, target)
    }

    fn recovery_command(_: &Config, _: &str, metadata: &str) -> Result<String> {
        let facts: Facts = content::metadata_as(metadata)?;
        Ok(restore::recovery_command(&facts).to_owned())
    }

    fn undo(config: &Config, entry: &str) -> Result<()> {
        match journal::read(entry)? {
            Undo::Snapshot(entry) => undo::undo(config, &entry),
            Undo::Drill(entry) => drill::undo(&entry),
        }
    }
}

/// Earlier backups that an increment could be based on, the newest first. What another kind of source made
/// for the same job is none of them.
fn candidates(previous: &[Previous]) -> Vec<Candidate> {
    let ours = previous.iter().filter(|previous| previous.artifact == ARTIFACT);
    ours.filter_map(|p| {
        Some(Candidate {
            backup_id: p.backup_id.clone(),
            facts: p.metadata_as().ok()?,
        })
    })
    .collect()
}
