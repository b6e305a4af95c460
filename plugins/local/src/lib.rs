//! The destination `local`: a directory of this machine, an external drive or a mounted share.
//!
//! A stored stream is one file and a stored tree one directory, under the artifact's own name. The host
//! writes them, complete and durable or not at all. The plugin decides whether the place is the right
//! one: on the mount that is expected, with room left.

mod config;

use backstay_sdk::directory::Receipt;
use backstay_sdk::{
    Artifact, Content, Destination, Diagnostic, Failure, Object, Result, Room, RunInfo, Stored, When, journal,
};
use serde::{Deserialize, Serialize};

use crate::config::Config;

/// The plugin.
#[derive(Debug)]
pub struct Local;

backstay_sdk::destination!(Local, "plugin.json");

/// An object that this run is about to store.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    key: String,
}

impl Destination for Local {
    type Config = Config;

    fn validate(config: &Config) -> Vec<Diagnostic> {
        let diagnostics = config.check();
        if diagnostics.is_empty() {
            return config.directory().look();
        }
        diagnostics
    }

    fn put(config: &Config, _: &RunInfo, artifact: Artifact) -> Result<Stored> {
        let place = config.directory();
        let store = place.ready()?;
        let key = artifact.name;
        // The journal would have it deleted if this run fails, and it belongs to another.
        if store.stat(&key)?.is_some() {
            let message = format!("{} exists already", place.location(&key));
            return Err(Failure::storage(message));
        }
        journal::record(&Entry { key: key.clone() }, When::OnAbort)?;
        let receipt = match artifact.content {
            Content::Bytes(stream) => {
                store.put(&key, stream)?;
                Receipt::file(key)
            }
            Content::Files(tree) => {
                store.put_tree(&key, tree)?;
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
        config.directory().remove(receipts)
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
        place.open()?.delete(&entry.key)
    }
}
