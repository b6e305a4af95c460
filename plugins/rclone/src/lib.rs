//! The destination `rclone`: any place that rclone knows, such as S3, B2, Google Drive, SFTP or WebDAV.
//!
//! A stored stream is one object under the artifact's own name; a tree arrives here as a tar stream. `rclone rcat` takes
//! a stream, and stores what it has got as soon as its input ends: so the host ends that input only when the source is
//! known to have ended well, and kills rclone otherwise. What a killed rclone leaves is removed by the journal.

mod answer;
mod command;
mod complaint;
mod config;
mod key;
mod place;
mod validate;

use std::collections::BTreeSet;

use backstay_sdk::{
    Artifact, Code, Content, Destination, Diagnostic, Failure, Object, Result, Room, RunInfo, Scratch,
    Stored, When, journal, state,
};
use serde::{Deserialize, Serialize};

use crate::config::Config;

/// The plugin.
#[derive(Debug)]
pub struct Rclone;

backstay_sdk::destination!(Rclone, "plugin.json");

/// An object that this run is about to store.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    key: String,
}

impl Destination for Rclone {
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
        place::must_be_as_before(config, run)?;
        let key = artifact.name;
        let location = config.location(&key);
        // The journal would have it deleted if this run fails, and it belongs to another. A remote that doesn't answer
        // is also found here, before the source has begun.
        if place::size(config, &key)?.is_some() {
            return Err(Failure::storage(format!("{location} exists already")));
        }
        journal::record(&Entry { key: key.clone() }, When::OnAbort)?;
        let stream = artifact.content.into_stream()?;
        let scratch = Scratch::make()?;
        let output = command::rcat(config, &key, &scratch.path())
            .run_with(stream)
            .map_err(complaint::of_stream)?;
        if !output.is_success() {
            return Err(complaint::failure("store", &location, &output));
        }
        state::remember_use(&config.remote, run)?;
        Ok(Stored {
            receipt: key,
            location,
        })
    }

    fn open(config: &Config, receipt: &str) -> Result<Content> {
        Diagnostic::refuse(config.check())?;
        let key = key::parse(receipt)?;
        // For what isn't there, `rclone cat` gives nothing and ends well at some places.
        if place::size(config, key)?.is_none() {
            place::must_be_there(config)?;
            let message = format!("{} is not there", config.location(key));
            return Err(Failure::new(Code::Verification, message)
                .hint("was it moved or deleted by hand, or does the remote lead to another place now?"));
        }
        Ok(Content::Bytes(command::cat(config, key).pipe()?))
    }

    fn find(config: &Config, suffix: &str) -> Result<Vec<String>> {
        Diagnostic::refuse(config.check())?;
        place::find(config, suffix)
    }

    fn remove(config: &Config, receipts: &[String]) -> Result<()> {
        Diagnostic::refuse(config.check())?;
        let mut directories = BTreeSet::new();
        for receipt in receipts {
            let key = key::parse(receipt)?;
            place::delete(config, key)?;
            directories.extend(key::directory(key));
        }
        directories
            .into_iter()
            .try_for_each(|directory| place::tidy(config, directory))
    }

    fn check(config: &Config, receipt: &str) -> Result<Object> {
        Diagnostic::refuse(config.check())?;
        let size = place::size(config, key::parse(receipt)?)?;
        if size.is_none() {
            place::must_be_there(config)?;
        }
        Ok(Object {
            found: size.is_some(),
            size: size.unwrap_or(0),
        })
    }

    fn usage(config: &Config) -> Result<Room> {
        Diagnostic::refuse(config.check())?;
        let output = command::about(config).run()?;
        if output.is_success() {
            return answer::room(&output.stdout);
        }
        let unknown = Room {
            total: None,
            available: None,
        };
        match complaint::failure("ask for the room at", &config.remote, &output) {
            // Many kinds of remotes can't tell, and a place that isn't there yet can't either.
            failure if failure.code == Code::Storage => Ok(unknown),
            failure => Err(failure),
        }
    }

    fn recovery_command(config: &Config, receipt: &str) -> Result<String> {
        Ok(command::cat_by_hand(config, key::parse(receipt)?).to_string())
    }

    fn undo(config: &Config, entry: &str) -> Result<()> {
        Diagnostic::refuse(config.check())?;
        let entry: Entry = journal::read(entry)?;
        place::delete(config, &entry.key)?;
        if let Some(directory) = key::directory(&entry.key) {
            place::end_uploads(config, directory)?;
            place::tidy(config, directory)?;
        }
        Ok(())
    }
}
