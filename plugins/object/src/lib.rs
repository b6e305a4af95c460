//! The destination `object`: an object store, or an SFTP server, that the job names as a remote.
//!
//! A stored stream is one object under the artifact's own name; trees come as their tar stream. The host uploads, and
//! publishes an object whole or not at all; the plugin says which, and where.

mod config;

use backstay_sdk::{
    Artifact, Code, Content, Destination, Diagnostic, Failure, Object, Result, Room, RunInfo, Severity,
    Store, Stored, When, journal,
};
use serde::{Deserialize, Serialize};

use crate::config::Config;

/// The plugin.
#[derive(Debug)]
pub struct ObjectStore;

backstay_sdk::destination!(ObjectStore, "plugin.json");

/// An object that this run is about to store.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    key: String,
}

impl Destination for ObjectStore {
    type Config = Config;

    fn validate(config: &Config) -> Vec<Diagnostic> {
        let mut diagnostics = config.check();
        if !diagnostics.iter().any(|d| d.severity == Severity::Error)
            && let Err(failure) = open(config)
        {
            diagnostics.push(Diagnostic::from_failure("/remote", "unusable-remote", failure));
        }
        diagnostics
    }

    fn put(config: &Config, _: &RunInfo, artifact: Artifact) -> Result<Stored> {
        let store = open(config)?;
        let key = artifact.name;
        let location = store.location(&key)?;
        // The journal would have it deleted if this run fails, and it belongs to another.
        if store.stat(&key)?.is_some() {
            return Err(Failure::storage(format!("{location} exists already")));
        }
        let Content::Bytes(stream) = artifact.content else {
            return Err(Failure::storage("an object store keeps streams, no file trees"));
        };
        journal::record(&Entry { key: key.clone() }, When::OnAbort)?;
        store.put(&key, stream)?;
        Ok(Stored {
            receipt: key,
            location,
        })
    }

    fn open(config: &Config, receipt: &str) -> Result<Content> {
        let store = open(config)?;
        if store.stat(receipt)?.is_none() {
            let message = format!("{} is not there", store.location(receipt)?);
            return Err(Failure::new(Code::Verification, message)
                .hint("was it deleted by hand or by a rule of the bucket, or does the remote lead somewhere else now?"));
        }
        Ok(Content::Bytes(store.get(receipt)?))
    }

    fn find(config: &Config, suffix: &str) -> Result<Vec<String>> {
        let found = open(config)?.find(suffix)?;
        Ok(found.into_iter().map(|object| object.key).collect())
    }

    fn remove(config: &Config, receipts: &[String]) -> Result<()> {
        let store = open(config)?;
        for receipt in receipts {
            store.delete(receipt)?;
        }
        Ok(())
    }

    fn check(config: &Config, receipt: &str) -> Result<Object> {
        let info = open(config)?.stat(receipt)?;
        Ok(Object {
            found: info.is_some(),
            size: info.map_or(0, |info| info.size),
        })
    }

    fn usage(_: &Config) -> Result<Room> {
        Ok(Room {
            total: None,
            available: None,
        })
    }

    fn recovery_command(config: &Config, receipt: &str) -> Result<String> {
        open(config)?.recovery_command(receipt)
    }

    fn undo(config: &Config, entry: &str) -> Result<()> {
        let entry: Entry = journal::read(entry)?;
        open(config)?.delete(&entry.key)
    }
}

/// The place.
fn open(config: &Config) -> Result<Store> {
    Diagnostic::refuse(config.check())?;
    Store::remote(&config.remote, &config.options())
}
