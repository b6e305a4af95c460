//! Takes a snapshot of a tree.

use std::time::Instant;

use backstay_sdk::directory::Receipt;
use backstay_sdk::{ByteStream, Code, CopyOptions, Listing, Result, RunInfo, Tree, TreeCopy, log, progress};
use serde::Serialize;

use crate::answer::{Complaint, Statistics, judge, may_be_full};
use crate::complaint::connection;
use crate::config::Config;
use crate::owner::{Owner, complete};
use crate::place::Place;
use crate::{command, s3, ssh};

/// What is kept with the run.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Stages {
    /// The copy into the directory.
    stage1: Statistics,
    /// The copy on to an object store.
    #[serde(skip_serializing_if = "Option::is_none")]
    stage2: Option<s3::Statistics>,
}

/// Copies a tree into a directory of its own, linked to the newest complete snapshot, and returns its receipt.
pub fn take(config: &Config, place: &Place<'_>, run: &RunInfo, key: &str, tree: Tree) -> Result<String> {
    let before = newest(config, place, run, key)?;
    let config = &as_careful_as_needed(config, run);
    let earlier = match &before {
        Some(before) if !config.delete_extraneous => Some(index_of(config, place, before)?),
        _ => None,
    };
    progress::stage("looking at the files");
    let copy = tree.copy(CopyOptions {
        exclude: config.exclude_patterns.clone(),
        hard_links: config.hard_links,
        earlier,
        carry_over: true,
        at_rest: false,
    });
    let copy = copy.map_err(|failure| match &before {
        Some(before) if !config.delete_extraneous && failure.code == Code::Verification => {
            failure.hint(format!(
                "without its list nothing can be carried over from {}: delete that backup, and the next run builds on the one before",
                place.location(before)
            ))
        }
        _ => failure,
    })?;
    let (size, limit) = (copy.size(), copy.limit());
    if before.is_none() {
        match place {
            Place::Disk(directory, store) => directory.refuse_without_room(store, size.allocated)?,
            Place::Remote(remote) => remote.refuse_without_room(size.allocated)?,
        }
    }
    if limit.is_some() {
        log::info("rsync keeps to the limit that holds now; a change of it holds from the next run on");
    }
    let partial = begin(place, key)?;
    progress::stage("copying");
    let started = Instant::now();
    let mut complaints = Vec::new();
    // First what is gone from the source: the directories that it goes to get their times later.
    if let Some(before) = before.as_ref().filter(|_| size.carried > 0) {
        let command = match place {
            Place::Disk(directory, _) => {
                command::carry(config, &directory.location(before), &directory.location(&partial))
            }
            Place::Remote(_) => ssh::carry(config, before, &partial),
        };
        let output = copy.start(&command, Listing::Carried, None)?;
        let complaint = judge(&output)?;
        match place {
            Place::Remote(remote) if complaint.is_some() => {
                for path in remote.missing(before, &output)? {
                    copy.untaken(&path, "it is not in the snapshot before any more");
                }
            }
            _ => complaints.extend(complaint),
        }
    }
    let command = command::take(config, limit, before.as_deref(), &partial);
    let output = copy.start(&command, Listing::Taken, Some(""))?;
    let judged = judge(&output).map_err(|failure| match place {
        Place::Remote(remote) if may_be_full(&output) => remote.explain_trouble(failure, size.allocated),
        _ => failure,
    });
    complaints.extend(judged?);
    let statistics = Statistics::parse(&output.stdout);
    if let (Place::Remote(_), Some(files)) = (place, statistics.files_found) {
        copy.counted(files);
    }
    if size.is_directory {
        let output = copy.start(&command::root(config, &partial), Listing::Nothing, None)?;
        complaints.extend(judge(&output)?);
    }
    let duration = started.elapsed();
    progress::stage("comparing");
    let receipt = finish(place, key, copy, &complaints)?;
    let stage1 = Statistics {
        duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
        entries_carried: size.carried,
        local_path: place.location(key),
        linked_to: before.map(|key| place.location(&key)),
        ..statistics
    };
    log::info(format!(
        "{} of {} bytes in {} files were new",
        stage1.bytes_transferred, size.bytes, stage1.files_transferred
    ));
    let (_, name) = key.rsplit_once('/').unwrap_or(("", key));
    let stage2 = s3::sync(config, run, name, &place.location(key))?;
    progress::statistics(&Stages { stage1, stage2 })?;
    Ok(receipt)
}

/// What was found damaged may be shared by snapshots that nobody has verified, and has the size and time that it had: so
/// everything is compared by its content.
fn as_careful_as_needed(config: &Config, run: &RunInfo) -> Config {
    if run.damaged.is_empty() || config.compare_content {
        return config.clone();
    }
    log::info(
        "a backup of this job was found damaged, so files are compared with the snapshot before by their content",
    );
    Config {
        compare_content: true,
        ..config.clone()
    }
}

/// The stored index of a snapshot.
fn index_of(config: &Config, place: &Place<'_>, key: &str) -> Result<ByteStream> {
    let index = format!("{key}.index");
    match place {
        Place::Disk(_, store) => store.get(&index),
        Place::Remote(_) => {
            let doing = format!("cannot read {}", place.location(&index));
            ssh::read(config, &index).pipe_explained(connection(&doing))
        }
    }
}

/// Makes the directory for a copy that isn't whole yet, and returns its key.
fn begin(place: &Place<'_>, key: &str) -> Result<String> {
    match place {
        Place::Disk(_, store) => {
            let partial = store.begin_tree(key)?;
            // Its own path may be by another way than the one that the job names and the grants know.
            let (directory, _) = key.rsplit_once('/').unwrap_or(("", key));
            let (_, name) = partial.rsplit_once('/').unwrap_or(("", &partial));
            Ok(format!("{directory}/{name}"))
        }
        Place::Remote(remote) => remote.begin_tree(key),
    }
}

/// Gives a copy its name. In a directory of this machine the host looks at all of it first; at another one rsync's word
/// counts until the next verification, so it must not have left out anything.
fn finish(place: &Place<'_>, key: &str, copy: TreeCopy, complaints: &[Complaint]) -> Result<String> {
    match place {
        Place::Disk(_, store) => store
            .put_copied(key, copy)
            .map(|_| Receipt::tree(key.to_owned()).to_string())
            .map_err(|failure| match complaints.first() {
                // The host knows better what rsync complains of, and what becomes of it.
                Some(_) if failure.retry => failure,
                Some(complaint) => failure.hint(format!("rsync said: {}", complaint.said)),
                None => failure,
            }),
        Place::Remote(remote) => {
            complaints.iter().try_for_each(Complaint::refuse_losses)?;
            remote.publish_tree(key, copy.finish()?)
        }
    }
}

/// The key of the newest complete snapshot of the same tree of the same job. One that is known to be damaged is passed over,
/// unless files are carried over: it may be the only one that has them.
fn newest(config: &Config, place: &Place<'_>, run: &RunInfo, key: &str) -> Result<Option<String>> {
    let owner = Owner::of_run(run);
    let names: Vec<&str> = key.split('/').collect();
    let [job, _, name] = names.as_slice() else {
        return Ok(None);
    };
    for backup in complete(place, job)?.into_iter().rev() {
        let key = format!("{backup}/{name}");
        let is_damaged = run.damaged.iter().any(|id| backup.ends_with(&format!("/{id}")));
        if is_damaged && config.delete_extraneous {
            continue;
        }
        if place.has_tree(&key)? && owner.has(place, &backup) {
            return Ok(Some(key));
        }
    }
    Ok(None)
}
