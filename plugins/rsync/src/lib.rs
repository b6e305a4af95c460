//! The destination `rsync`: dated snapshots of trees in a directory of this machine, or of another one by ssh, copied by
//! rsync.
//!
//! Each backup is a directory of its own, `JOB/BACKUP/NAME`. Files that have not changed since the newest complete one are
//! further names of its files, so they take no room, and any of the snapshots can be removed without the others. A
//! snapshot has a temporary name until the host has found all of it there. The host says which files are taken and
//! hashes them; rsync decides what of them must be copied. `JOB/latest` leads to the newest complete backup.

mod answer;
mod command;
mod complaint;
mod config;
mod latest;
mod owner;
mod place;
mod remote;
mod s3;
mod snapshot;
mod ssh;

use backstay_sdk::directory::Receipt;
use backstay_sdk::{
    Artifact, Content, Destination, Diagnostic, Failure, Object, Result, Room, RunInfo, Stored, When,
    journal, log,
};
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::owner::Owner;
use crate::place::Place;
use crate::remote::Remote;

/// The plugin.
#[derive(Debug)]
pub struct Rsync;

backstay_sdk::destination!(Rsync, "plugin.json");

/// An object that this run is about to store.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    key: String,
    owner: Owner,
}

impl Destination for Rsync {
    type Config = Config;

    fn validate(config: &Config) -> Vec<Diagnostic> {
        let mut diagnostics = config.check();
        if diagnostics.is_empty() {
            if let Err(failure) = command::version().run_ok() {
                let hint = "install it, for example with `apt-get install rsync`";
                diagnostics.push(Diagnostic::from_failure("", "no-rsync", failure.hint(hint)));
            }
            if let Some(to) = &config.sync_to_s3 {
                diagnostics.extend(s3::look(to));
            }
            match Remote::of(config) {
                Some(remote) => diagnostics.extend(remote.inspect()),
                None => diagnostics.extend(config.directory().look()),
            }
        }
        diagnostics
    }

    fn put(config: &Config, run: &RunInfo, artifact: Artifact) -> Result<Stored> {
        let (key, owner) = (artifact.name, Owner::of_run(run));
        let place = ready(config, &key, matches!(artifact.content, Content::Files(_)))?;
        let entry = Entry {
            key: key.clone(),
            owner: owner.clone(),
        };
        journal::record(&entry, When::OnAbort)?;
        let receipt = match artifact.content {
            Content::Bytes(stream) => {
                match &place {
                    Place::Disk(_, store) => store.put(&key, stream).map(drop)?,
                    Place::Remote(remote) => remote.put(&key, stream)?,
                }
                warn_if_not_linked(latest::came(&place, &key, &owner));
                Receipt::file(key.clone()).to_string()
            }
            Content::Files(tree) => snapshot::take(config, &place, run, &key, tree)?,
        };
        Ok(Stored {
            location: place.location(&key),
            receipt,
        })
    }

    fn open(config: &Config, receipt: &str) -> Result<Content> {
        Diagnostic::refuse(config.check())?;
        match Remote::of(config) {
            Some(remote) => remote.content(receipt),
            None => config.directory().content(receipt),
        }
    }

    fn find(config: &Config, suffix: &str) -> Result<Vec<String>> {
        Diagnostic::refuse(config.check())?;
        match Remote::of(config) {
            Some(remote) => Ok(remote.find(suffix)?.iter().map(Receipt::to_string).collect()),
            None => config.directory().list(suffix),
        }
    }

    fn remove(config: &Config, receipts: &[String]) -> Result<()> {
        Diagnostic::refuse(config.check())?;
        let place = Place::open(config)?;
        let receipts: Vec<Receipt> = receipts
            .iter()
            .map(|receipt| remote::parse(receipt).map(|(receipt, _)| receipt))
            .collect::<Result<_>>()?;
        let is_manifest = |receipt: &&Receipt| receipt.key().ends_with(owner::MANIFEST);
        // Once a manifest is gone, nobody can say whose backup it was.
        let manifests: Vec<_> = receipts
            .iter()
            .filter(is_manifest)
            .map(|receipt| (receipt.key(), Owner::of_backup(&place, receipt.key())))
            .collect();
        for receipt in &receipts {
            place.delete(receipt.key())?;
        }
        for (key, owner) in manifests {
            tell_if_not_linked(latest::went(&place, key, owner.as_ref()));
        }
        Ok(())
    }

    fn check(config: &Config, receipt: &str) -> Result<Object> {
        Diagnostic::refuse(config.check())?;
        match Remote::of(config) {
            Some(remote) => remote.facts(receipt),
            None => config.directory().facts(receipt),
        }
    }

    fn usage(config: &Config) -> Result<Room> {
        Diagnostic::refuse(config.check())?;
        match Remote::of(config) {
            Some(remote) => remote.room(),
            None => config.directory().room(),
        }
    }

    fn recovery_command(config: &Config, receipt: &str) -> Result<String> {
        Diagnostic::refuse(config.check())?;
        let (receipt, _) = remote::parse(receipt)?;
        if config.host.is_none() {
            return Ok(receipt.recovery_command(&config.directory().location(receipt.key())));
        }
        Ok(if receipt.is_tree() {
            command::fetch_by_hand(config, receipt.key())
        } else {
            ssh::read_by_hand(config, receipt.key()).to_string()
        })
    }

    fn undo(config: &Config, entry: &str) -> Result<()> {
        Diagnostic::refuse(config.check())?;
        let entry: Entry = journal::read(entry)?;
        let place = Place::open(config)?;
        place.delete(&entry.key)?;
        tell_if_not_linked(latest::went(&place, &entry.key, Some(&entry.owner)));
        Ok(())
    }
}

/// The place, after everything that must hold before something is stored in it under a key. What is there already belongs
/// to another, and the journal would have it deleted if this run fails.
fn ready<'a>(config: &'a Config, key: &str, is_tree: bool) -> Result<Place<'a>> {
    Diagnostic::refuse(config.check())?;
    if let Some(remote) = Remote::of(config) {
        remote.ready(key, is_tree)?;
        return Ok(Place::Remote(remote));
    }
    let directory = config.directory();
    let store = directory.ready()?;
    if backstay_sdk::content::stat(&directory.location(key))?.is_some() {
        let message = format!("{} exists already", directory.location(key));
        return Err(Failure::storage(message));
    }
    Ok(Place::Disk(directory, store))
}

/// Some filesystems have no symbolic links, and what has the name may be somebody's own. Backups are whole without one, so
/// it is a warning of the run.
fn warn_if_not_linked(linked: Result<()>) {
    if let Err(failure) = linked {
        log::warning("latest-not-linked", not_linked(&failure), None);
    }
}

/// As [`warn_if_not_linked`], where something is being removed.
fn tell_if_not_linked(linked: Result<()>) {
    if let Err(failure) = linked {
        log::warn(not_linked(&failure));
    }
}

fn not_linked(failure: &Failure) -> String {
    format!(
        "the link `latest` does not lead to the newest backup: {}",
        failure.message
    )
}
