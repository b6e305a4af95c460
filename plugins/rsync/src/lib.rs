//! The destination `rsync`: dated snapshots of trees in a directory, copied by rsync.
//!
//! Each backup is a directory of its own, `JOB/BACKUP/NAME`. Files that have not changed since the newest complete one are
//! further names of its files, so they take no room, and any of the snapshots can be removed without the others. A
//! snapshot has a temporary name until the host has found all of it there. The host says which files are taken and
//! hashes them; rsync decides what of them must be copied. `JOB/latest` leads to the newest complete backup.

mod answer;
mod command;
mod config;
mod latest;
mod owner;
mod snapshot;

use backstay_sdk::directory::Receipt;
use backstay_sdk::{
    Artifact, Content, Destination, Diagnostic, Failure, Object, Result, Room, RunInfo, Stored, When,
    journal, log,
};
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::owner::Owner;

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
            diagnostics.extend(config.directory().look());
            if let Err(failure) = command::version().run_ok() {
                let hint = "install it, for example with `apt-get install rsync`";
                diagnostics.push(Diagnostic::from_failure("", "no-rsync", failure.hint(hint)));
            }
        }
        diagnostics
    }

    fn put(config: &Config, run: &RunInfo, artifact: Artifact) -> Result<Stored> {
        let place = config.directory();
        let store = place.ready()?;
        let (key, owner) = (artifact.name, Owner::of_run(run));
        // The journal would have it deleted if this run fails, and it belongs to another.
        if backstay_sdk::content::stat(&place.location(&key))?.is_some() {
            let message = format!("{} exists already", place.location(&key));
            return Err(Failure::storage(message));
        }
        let entry = Entry {
            key: key.clone(),
            owner: owner.clone(),
        };
        journal::record(&entry, When::OnAbort)?;
        let receipt = match artifact.content {
            Content::Bytes(stream) => {
                store.put(&key, stream)?;
                tell_if_not_linked(latest::came(&store, &key, &owner));
                Receipt::file(key)
            }
            Content::Files(tree) => {
                snapshot::take(config, &store, &owner, &key, tree)?;
                Receipt::tree(key)
            }
        };
        Ok(Stored {
            location: place.location(receipt.key()),
            receipt: receipt.to_string(),
        })
    }

    fn open(config: &Config, receipt: &str) -> Result<Content> {
        config.directory().content(receipt)
    }

    fn find(config: &Config, suffix: &str) -> Result<Vec<String>> {
        config.directory().list(suffix)
    }

    fn remove(config: &Config, receipts: &[String]) -> Result<()> {
        let place = config.directory();
        place.refuse_if_unmounted()?;
        let store = place.open()?;
        let mut manifests = Vec::new();
        for receipt in receipts {
            let receipt = Receipt::parse(receipt)?;
            if receipt.key().ends_with(owner::MANIFEST) {
                // Once it is gone, nobody can say whose backup it was.
                let owner = Owner::of_backup(&store, receipt.key());
                manifests.push((receipt.key().to_owned(), owner));
            }
        }
        place.remove(receipts)?;
        for (key, owner) in manifests {
            tell_if_not_linked(latest::went(&store, &key, owner.as_ref()));
        }
        Ok(())
    }

    fn check(config: &Config, receipt: &str) -> Result<Object> {
        config.directory().facts(receipt)
    }

    fn usage(config: &Config) -> Result<Room> {
        config.directory().room()
    }

    fn recovery_command(config: &Config, receipt: &str) -> Result<String> {
        let receipt = Receipt::parse(receipt)?;
        Ok(receipt.recovery_command(&config.directory().location(receipt.key())))
    }

    fn undo(config: &Config, entry: &str) -> Result<()> {
        let entry: Entry = journal::read(entry)?;
        let place = config.directory();
        place.refuse_if_unmounted()?;
        let store = place.open()?;
        store.delete(&entry.key)?;
        tell_if_not_linked(latest::went(&store, &entry.key, Some(&entry.owner)));
        Ok(())
    }
}

/// Some filesystems have no symbolic links, and what has the name may be somebody's own. Backups are whole without one.
fn tell_if_not_linked(linked: Result<()>) {
    if let Err(failure) = linked {
        log::warn(format!(
            "the link `latest` does not lead to the newest backup: {}",
            failure.message
        ));
    }
}
