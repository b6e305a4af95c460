//! Takes a snapshot of a tree.

use std::time::Instant;

use backstay_sdk::content::stat;
use backstay_sdk::{CopyOptions, FileKind, Listing, Result, Store, Tree, log, progress};
use serde::Serialize;

use crate::answer::{Statistics, judge};
use crate::command;
use crate::config::Config;
use crate::owner::{Owner, complete};

/// What is kept with the run.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Stages {
    /// The copy into the directory.
    stage1: Statistics,
}

/// Copies a tree into a directory of its own, linked to the newest complete snapshot.
pub fn take(config: &Config, store: &Store, owner: &Owner, key: &str, tree: Tree) -> Result<()> {
    let place = config.directory();
    let before = newest(config, store, owner, key)?;
    let earlier = match &before {
        Some(before) if !config.delete_extraneous => Some(store.get(&format!("{before}.index"))?),
        _ => None,
    };
    progress::stage("looking at the files");
    let copy = tree.copy(CopyOptions {
        exclude: config.exclude_patterns.clone(),
        hard_links: config.hard_links,
        earlier,
    })?;
    let (size, limit) = (copy.size(), copy.limit());
    if before.is_none() {
        place.refuse_without_room(store, size.allocated)?;
    }
    if limit.is_some() {
        log::info("rsync keeps to the limit that holds now; a change of it holds from the next run on");
    }
    let partial = store.begin_tree(key)?;
    // Its own path may be by another way than the one that the job names and the grants know.
    let (directory, _) = key.rsplit_once('/').unwrap_or(("", key));
    let (_, name) = partial.rsplit_once('/').unwrap_or(("", &partial));
    let to = format!("{}/{name}", place.location(directory));
    let before = before.map(|key| place.location(&key));
    progress::stage("copying");
    let started = Instant::now();
    let mut complaints = Vec::new();
    // First what is gone from the source: the directories that it goes to get their times later.
    if let Some(before) = before.as_ref().filter(|_| size.carried > 0) {
        let output = copy.start(&command::carry(config, before, &to), Listing::Carried, None)?;
        complaints.extend(judge(&output)?);
    }
    let command = command::take(config, limit, before.as_deref(), &to);
    let output = copy.start(&command, Listing::Taken, Some(""))?;
    complaints.extend(judge(&output)?);
    if size.is_directory {
        let output = copy.start(&command::root(&to), Listing::Nothing, None)?;
        complaints.extend(judge(&output)?);
    }
    let duration = started.elapsed();
    progress::stage("comparing");
    store
        .put_copied(key, copy)
        .map_err(|failure| match complaints.first() {
            Some(complaint) => failure.hint(format!("rsync said: {complaint}")),
            None => failure,
        })?;
    let stage1 = Statistics {
        duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
        entries_carried: size.carried,
        local_path: place.location(key),
        linked_to: before,
        ..Statistics::parse(&output.stdout)
    };
    log::info(format!(
        "{} of {} bytes in {} files were new",
        stage1.bytes_transferred, size.bytes, stage1.files_transferred
    ));
    progress::statistics(&Stages { stage1 })
}

/// The key of the newest complete snapshot of the same tree of the same job.
fn newest(config: &Config, store: &Store, owner: &Owner, key: &str) -> Result<Option<String>> {
    let names: Vec<&str> = key.split('/').collect();
    let [job, _, name] = names.as_slice() else {
        return Ok(None);
    };
    for backup in complete(store, job)?.into_iter().rev() {
        let key = format!("{backup}/{name}");
        let is_directory = |info: &backstay_sdk::FileInfo| info.kind == FileKind::Directory;
        if stat(&config.directory().location(&key))?
            .as_ref()
            .is_some_and(is_directory)
            && owner.has(store, &backup)
        {
            return Ok(Some(key));
        }
    }
    Ok(None)
}
