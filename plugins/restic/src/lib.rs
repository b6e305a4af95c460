//! The destination `restic`: a restic repository, wherever restic can keep one.
//!
//! A stored stream is a snapshot of one file, under the artifact's own name; a tree arrives here as a tar stream. `restic
//! backup --stdin` makes the snapshot as soon as its input ends: so the host ends that input only when the source is
//! known to have ended well, and kills restic otherwise. The journal then removes the lock that a killed restic leaves,
//! and a snapshot that the host did not commit. Snapshots are removed by id only, and only such as this plugin has made.

mod answer;
mod command;
mod complaint;
mod config;
mod locks;
mod receipt;
mod repository;
mod validate;

use backstay_sdk::{
    Artifact, Code, Content, Destination, Diagnostic, Failure, Object, Output, Result, RunInfo, Stored, When,
    journal, log,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::complaint::Kind;
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
        let key = artifact.name;
        repository::ready(config, run, &key)?;
        say_what_deduplicates_badly(&key);
        let entry = Entry::Storing {
            run_id: run.run_id.clone(),
            key: key.clone(),
            since: locks::now()?.to_string(),
        };
        journal::record(&entry, When::OnAbort)?;
        let stream = artifact.content.into_stream()?;
        let output = command::backup(config, run, &key)
            .run_with(stream)
            .map_err(|failure| of_stream(config, failure))?;
        if !output.is_success() {
            return Err(of_backup(config, &key, &output));
        }
        let summary = answer::summary(&output.stdout).ok_or_else(|| {
            Failure::environment("restic made a backup and did not say which")
                .hint("`restic version` must be 0.14 or newer")
        })?;
        let id = repository::whole_id(config, run, &key, &summary.snapshot_id)?;
        repository::remember(config, run)?;
        log::info(format!(
            "snapshot {} of /{key}: {} of {} bytes were new; files: {} new, {} changed, {} unmodified",
            id.get(..8).unwrap_or(&id),
            summary.data_added,
            summary.total_bytes_processed,
            summary.files_new,
            summary.files_changed,
            summary.files_unmodified
        ));
        let location = config.location(&key);
        let receipt = Receipt::new(&id, &key)
            .ok_or_else(|| Failure::internal(format!("`{}` is no name for an object", key.escape_debug())))?;
        Ok(Stored {
            receipt: receipt.to_string(),
            location,
        })
    }

    fn open(config: &Config, receipt: &str) -> Result<Content> {
        Diagnostic::refuse(config.check())?;
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
        Diagnostic::refuse(config.check())?;
        // A whole last name has a tag of its own, which keeps the list short.
        let tags: Vec<String> = suffix
            .contains('/')
            .then(|| command::of_object(suffix))
            .into_iter()
            .collect();
        let snapshots = repository::snapshots(config, &tags, None)?;
        let found = snapshots.iter().filter_map(|snapshot| {
            let key = snapshot.key().filter(|key| format!("/{key}").ends_with(suffix))?;
            Some(Receipt::new(&snapshot.id, key)?.to_string())
        });
        Ok(found.collect())
    }

    fn remove(config: &Config, receipts: &[String]) -> Result<()> {
        /// What the host removes first of a backup, and alone: its few bytes go with the data that follows.
        const MANIFEST: &str = "/manifest.json";
        Diagnostic::refuse(config.check())?;
        let receipts: Vec<Receipt> = receipts
            .iter()
            .map(|text| Receipt::parse(text))
            .collect::<Result<_>>()?;
        if receipts.is_empty() {
            return Ok(());
        }
        let prune = receipts.iter().any(|receipt| !receipt.key.ends_with(MANIFEST));
        let entry = Entry::Removing {
            since: locks::now()?.to_string(),
        };
        journal::record(&entry, When::Always)?;
        repository::remove(config, &receipts, prune)
    }

    fn check(config: &Config, receipt: &str) -> Result<Object> {
        Diagnostic::refuse(config.check())?;
        Ok(match repository::look(config, &Receipt::parse(receipt)?)? {
            Look::There(size) => Object { found: true, size },
            Look::Gone => Object {
                found: false,
                size: 0,
            },
        })
    }

    fn recovery_command(config: &Config, receipt: &str) -> Result<String> {
        Ok(command::dump_by_hand(config, &Receipt::parse(receipt)?))
    }

    fn undo(config: &Config, entry: &str) -> Result<()> {
        Diagnostic::refuse(config.check())?;
        match journal::read(entry)? {
            Entry::Removing { since } => locks::heal(config, instant(&since)?),
            Entry::Storing { run_id, key, since } => {
                let made = repository::snapshots(config, &[command::of_run(&run_id)], Some(&key))?;
                locks::heal(config, instant(&since)?)?;
                let ids: Vec<String> = made.into_iter().map(|snapshot| snapshot.id).collect();
                repository::forget(config, &ids, true)
            }
        }
    }
}

fn instant(text: &str) -> Result<Timestamp> {
    text.parse()
        .map_err(|e| Failure::internal(format!("the journal entry can't be read: {e}")))
}

/// The failure of a stream on its way into restic.
fn of_stream(config: &Config, failure: Failure) -> Failure {
    let is_locked =
        complaint::is_of_restic(&failure) && complaint::kind(&failure.message) == Some(Kind::Locked);
    let failure = complaint::of_stream(failure);
    if is_locked {
        locks::name_holders(config, failure)
    } else {
        failure
    }
}

/// The failure of a backup that ended badly when it had got everything.
fn of_backup(config: &Config, key: &str, output: &Output) -> Failure {
    /// restic's exit status for a source that it could not read.
    const INCOMPLETE: i32 = 3;
    let place = config.location(key);
    let read = answer::summary(&output.stdout).map(|summary| summary.total_bytes_processed);
    if output.status == INCOMPLETE && read == Some(0) {
        return Failure::storage(format!("cannot store {place}: it is empty, and restic keeps no empty stream"))
            .hint("an encryption or compression filter makes something of nothing; or let the source be skipped while it is empty");
    }
    let failure = complaint::failure("store", &place, output);
    match complaint::kind(&output.stderr) {
        Some(Kind::Locked) => locks::name_holders(config, failure),
        _ => failure,
    }
}

/// What was compressed or encrypted before has little in common with what came the day before.
fn say_what_deduplicates_badly(key: &str) {
    const COMPRESSED: [&str; 5] = [".zst", ".gz", ".xz", ".bz2", ".lz4"];
    let (how, shared) = if key.ends_with(".age") {
        ("encrypted", "nothing")
    } else if COMPRESSED.iter().any(|ending| key.ends_with(ending)) {
        ("compressed", "less")
    } else {
        return;
    };
    log::info(format!(
        "/{key} is {how} before restic gets it, so {shared} of it can be shared with earlier backups: leave the job's filters out, restic does both"
    ));
}
