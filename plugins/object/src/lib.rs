//! The destination `object`: an object store, or an SFTP server, that the job names as a remote.
//!
//! A stored stream is one object under the artifact's own name. A tree is one, too, as its tar stream; or each of its files
//! is an object below that name. The host uploads, and publishes an object whole or not at all; the plugin says which, and where.

mod config;

use backstay_sdk::directory::Receipt;
use backstay_sdk::{
    Artifact, Code, Content, Destination, Diagnostic, Failure, Object, ObjectInfo, Result, Room, RunInfo,
    Severity, Store, Stored, When, journal,
};
use serde::{Deserialize, Serialize};

use crate::config::{Config, Trees};

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
        if !diagnostics.iter().any(|d| d.severity == Severity::Error) {
            match open(config) {
                Err(failure) => {
                    diagnostics.push(Diagnostic::from_failure("/remote", "unusable-remote", failure));
                }
                Ok(store) if config.trees == Trees::Files => {
                    let kept = store.tree_recovery_command("job/backup/data");
                    diagnostics.extend(
                        kept.err()
                            .map(|failure| Diagnostic::from_failure("/trees", "no-trees", failure)),
                    );
                }
                Ok(_) => {}
            }
        }
        diagnostics
    }

    fn put(config: &Config, _: &RunInfo, artifact: Artifact) -> Result<Stored> {
        let store = open(config)?;
        let (receipt, content) = match artifact.content {
            Content::Files(tree) if config.trees == Trees::Tar => {
                let key = format!("{}.tar", artifact.name);
                (Receipt::file(key), Content::Bytes(tree.tar()))
            }
            content @ Content::Files(_) => (Receipt::tree(artifact.name), content),
            content @ Content::Bytes(_) => (Receipt::file(artifact.name), content),
        };
        let key = receipt.key();
        let location = store.location(key)?;
        // The journal would have it deleted if this run fails, and it belongs to another.
        if store.stat(key)?.is_some() {
            return Err(Failure::storage(format!("{location} exists already")));
        }
        journal::record(&Entry { key: key.to_owned() }, When::OnAbort)?;
        match content {
            Content::Bytes(stream) => store.put(key, stream)?,
            Content::Files(tree) => store.put_tree(key, tree)?,
        };
        Ok(Stored {
            receipt: receipt.to_string(),
            location,
        })
    }

    fn open(config: &Config, receipt: &str) -> Result<Content> {
        let store = open(config)?;
        let receipt = Receipt::parse(receipt)?;
        let key = receipt.key();
        if receipt.is_tree() {
            return store.get_files(key).map(Content::Bytes);
        }
        if find(&store, &receipt)?.is_none() {
            let message = format!("{} is not there", store.location(key)?);
            return Err(Failure::new(Code::Verification, message)
                .hint("was it deleted by hand or by a rule of the bucket, or does the remote lead somewhere else now?"));
        }
        Ok(Content::Bytes(store.get(key)?))
    }

    fn find(config: &Config, suffix: &str) -> Result<Vec<String>> {
        let found = open(config)?.find(suffix)?;
        Ok(found.into_iter().map(|object| object.key).collect())
    }

    fn remove(config: &Config, receipts: &[String]) -> Result<()> {
        let store = open(config)?;
        for receipt in receipts {
            store.delete(Receipt::parse(receipt)?.key())?;
        }
        Ok(())
    }

    fn check(config: &Config, receipt: &str) -> Result<Object> {
        let info = find(&open(config)?, &Receipt::parse(receipt)?)?;
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
        let (store, receipt) = (open(config)?, Receipt::parse(receipt)?);
        if receipt.is_tree() {
            store.tree_recovery_command(receipt.key())
        } else {
            store.recovery_command(receipt.key())
        }
    }

    fn undo(config: &Config, entry: &str) -> Result<()> {
        let entry: Entry = journal::read(entry)?;
        open(config)?.delete(&entry.key)
    }
}

/// What a receipt is of, if it is there.
fn find(store: &Store, receipt: &Receipt) -> Result<Option<ObjectInfo>> {
    let info = store.stat(receipt.key())?;
    Ok(info.filter(|info| info.is_tree == receipt.is_tree()))
}

/// The place.
fn open(config: &Config) -> Result<Store> {
    Diagnostic::refuse(config.check())?;
    Store::remote(&config.remote, &config.options())
}
