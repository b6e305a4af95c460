//! The destination `restic`: a restic repository, wherever restic can keep one.
//!
//! A stored stream is a snapshot of one file, under the artifact's own name. `restic backup --stdin` makes the snapshot as
//! soon as its input ends: so the host ends that input only when the source is known to have ended well, and kills restic
//! otherwise. A stored tree is a snapshot of the tree: restic walks it by itself, with a list of what the host leaves out.
//! The journal removes the lock that a killed restic leaves, and a snapshot that the host did not commit. Snapshots are
//! removed by id only, and only such as this plugin has made.

mod answer;
mod command;
mod complaint;
mod config;
mod locks;
mod receipt;
mod repository;
mod store;
mod under_way;
mod validate;

use backstay_sdk::{
    Artifact, Code, Content, Destination, Diagnostic, Failure, Object, Result, RunInfo, Stored, When, journal,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::receipt::Receipt;
use crate::repository::Look;

/// The plugin.
#[derive(Debug)]
pub struct Restic;

backstay_sdk::destination!(Restic, "plugin.json");

/// What a restic of ours is about to do.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "doing")]
enum Entry {
    /// To store an object.
    Storing {
        run_id: String,
        key: String,
        since: String,
    },
    /// To remove snapshots.
    Removing { since: String },
}

impl Destination for Restic {
    type Config = Config;

    fn validate(config: &Config) -> Vec<Diagnostic> {
        let mut diagnostics = config.check();
        if diagnostics.is_empty() {
            diagnostics.extend(validate::look(config));
        }
        diagnostics
    }

    fn put(config: &Config, run: &RunInfo, artifact: Artifact) -> Result<Stored> {
        Diagnostic::refuse(config.check())?;
        store::store(config, run, &artifact.name, artifact.content)
    }

    fn open(config: &Config, receipt: &str) -> Result<Content> {
        Diagnostic::refuse(config.check_stored())?;
        let receipt = Receipt::parse(receipt)?;
        let location = config.location(&receipt.key);
        if repository::look(config, &receipt)? == Look::Gone {
            return Err(
                Failure::new(Code::Verification, format!("{location} is not there"))
                    .hint("was it removed by `restic forget`? restore from another backup or destination"),
            );
        }
        let meanings = complaint::meanings(&location);
        Ok(Content::Bytes(
            command::dump(config, &receipt).pipe_explained(meanings)?,
        ))
    }

    fn find(config: &Config, suffix: &str) -> Result<Vec<String>> {
        Diagnostic::refuse(config.check_stored())?;
        // A whole last name has a tag of its own, which keeps the list short.
        let tags: Vec<String> = suffix
            .contains('/')
            .then(|| command::of_object(suffix))
            .into_iter()
            .collect();
        let snapshots = repository::snapshots(config, &tags)?;
        let found = snapshots.iter().filter_map(|snapshot| {
            let key = snapshot.key().filter(|key| format!("/{key}").ends_with(suffix))?;
            Some(Receipt::new(&snapshot.id, key, snapshot.tree().is_some())?.to_string())
        });
        Ok(found.collect())
    }

    fn remove(config: &Config, receipts: &[String]) -> Result<()> {
        Diagnostic::refuse(config.check_stored())?;
        let receipts: Vec<Receipt> = receipts
            .iter()
            .map(|text| Receipt::parse(text))
            .collect::<Result<_>>()?;
        if receipts.is_empty() {
            return Ok(());
        }
        // A manifest is removed alone: its few bytes go with the data that follows.
        let prune = !receipts.iter().all(Receipt::is_manifest);
        let entry = Entry::Removing {
            since: locks::now()?.to_string(),
        };
        journal::record(&entry, When::Always)?;
        repository::remove(config, &receipts, prune)
    }

    fn check(config: &Config, receipt: &str) -> Result<Object> {
        Diagnostic::refuse(config.check_stored())?;
        let receipt = Receipt::parse(receipt)?;
        if let Some(size) = under_way::bytes(&receipt)? {
            if receipt.is_manifest() {
                repository::has_all(config, &under_way::stored(&receipt.key)?)?;
                under_way::forget(&receipt.key)?;
            }
            return Ok(Object { found: true, size });
        }
        Ok(match repository::look(config, &receipt)? {
            Look::There(size) => Object { found: true, size },
            Look::Gone => Object {
                found: false,
                size: 0,
            },
        })
    }

    fn recovery_command(config: &Config, receipt: &str) -> Result<String> {
        Ok(command::by_hand(config, &Receipt::parse(receipt)?))
    }

    fn undo(config: &Config, entry: &str) -> Result<()> {
        Diagnostic::refuse(config.check_stored())?;
        match journal::read(entry)? {
            Entry::Removing { since } => locks::heal(config, instant(&since)?),
            Entry::Storing { run_id, key, since } => {
                // First, because a restic that is about to end may still make its snapshot.
                locks::heal(config, instant(&since)?)?;
                let made = repository::of_run(config, &run_id, &key)?;
                let ids: Vec<String> = made.into_iter().map(|snapshot| snapshot.id).collect();
                repository::forget(config, &ids, true)?;
                under_way::undone(&key)
            }
        }
    }
}

fn instant(text: &str) -> Result<Timestamp> {
    text.parse()
        .map_err(|e| Failure::internal(format!("the journal entry can't be read: {e}")))
}
