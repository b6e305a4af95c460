//! The destination `rclone`: any place that rclone knows, such as S3, B2, Google Drive, SFTP or WebDAV.
//!
//! A stored stream is one object under the artifact's own name. `rclone rcat` takes a stream, and stores what it has got as
//! soon as its input ends: so the host ends that input only when the source is known to have ended well, and kills rclone
//! otherwise. A stored tree is a directory under that name, to which `rclone copy` brings each file that the host lists;
//! what the backup before has, the remote copies from there. It comes back by `rclone copy`, some files at a time, and the host's index makes it what it was. What a killed rclone leaves
//! is removed by the journal.

mod answer;
mod before;
mod command;
mod complaint;
mod config;
mod jsonlog;
mod key;
mod place;
mod receipt;
mod store;
mod validate;

use std::collections::BTreeSet;

use backstay_sdk::{
    Artifact, Code, Content, Destination, Diagnostic, Failure, Object, Result, Room, RunInfo, Scratch,
    Stored, journal,
};
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::receipt::Receipt;

/// The plugin.
#[derive(Debug)]
pub struct Rclone;

backstay_sdk::destination!(Rclone, "plugin.json");

/// What to look for where something is missing.
const GONE: &str = "was it moved or deleted by hand, or does the remote lead to another place now?";

/// What this run is about to store.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Entry {
    key: String,
    /// Whether it is a directory with a tree.
    #[serde(default)]
    is_tree: bool,
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
        store::store(config, run, artifact.name, artifact.content)
    }

    fn open(config: &Config, receipt: &str) -> Result<Content> {
        Diagnostic::refuse(config.check())?;
        match Receipt::parse(receipt)? {
            Receipt::Tree(tree) => open_tree(config, &tree.key),
            Receipt::Object(key) => {
                // For what isn't there, `rclone cat` gives nothing and ends well at some places.
                if place::size(config, &key)?.is_none() {
                    place::must_be_there(config)?;
                    let message = format!("{} is not there", config.location(&key));
                    return Err(Failure::new(Code::Verification, message).hint(GONE));
                }
                Ok(Content::Bytes(command::cat(config, &key).pipe()?))
            }
        }
    }

    fn find(config: &Config, suffix: &str) -> Result<Vec<String>> {
        Diagnostic::refuse(config.check())?;
        place::find(config, suffix)
    }

    fn remove(config: &Config, receipts: &[String]) -> Result<()> {
        Diagnostic::refuse(config.check())?;
        place::must_not_be_away(config)?;
        let mut directories = BTreeSet::new();
        for receipt in receipts {
            let receipt = Receipt::parse(receipt)?;
            match &receipt {
                Receipt::Object(key) => place::delete(config, key)?,
                Receipt::Tree(tree) => place::purge(config, &tree.key)?,
            }
            directories.extend(key::directory(receipt.key()).map(str::to_owned));
        }
        directories
            .iter()
            .try_for_each(|directory| place::tidy(config, directory))
    }

    fn check(config: &Config, receipt: &str) -> Result<Object> {
        Diagnostic::refuse(config.check())?;
        match Receipt::parse(receipt)? {
            Receipt::Tree(tree) => check_tree(config, &tree),
            Receipt::Object(key) => {
                let size = place::size(config, &key)?;
                if size.is_none() {
                    place::must_be_there(config)?;
                }
                Ok(Object {
                    found: size.is_some(),
                    size: size.unwrap_or(0),
                })
            }
        }
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
        Ok(match Receipt::parse(receipt)? {
            Receipt::Object(key) => command::cat_by_hand(config, &key).to_string(),
            Receipt::Tree(tree) => command::copy_by_hand(config, &tree.key),
        })
    }

    fn undo(config: &Config, entry: &str) -> Result<()> {
        Diagnostic::refuse(config.check())?;
        let entry: Entry = journal::read(entry)?;
        place::must_not_be_away(config)?;
        if entry.is_tree {
            place::purge(config, &entry.key)?;
        } else {
            place::delete(config, &entry.key)?;
        }
        if let Some(directory) = key::directory(&entry.key) {
            place::end_uploads(config, directory)?;
            place::tidy(config, directory)?;
        }
        Ok(())
    }
}

fn open_tree(config: &Config, key: &str) -> Result<Content> {
    place::must_be_there(config)?;
    let scratch = Scratch::make()?;
    let many = command::fetch(config, key, &scratch.path());
    let one = command::cat_listed(config, key);
    let meanings = complaint::meanings_of_tree(&config.location(key));
    Ok(Content::Bytes(scratch.fetch(&many, &one, meanings)?))
}

/// A tree is as large as it was if as much is there as when it was stored. More does no harm: other programs leave files of
/// their own (`.DS_Store`), and the index says which are ours.
fn check_tree(config: &Config, tree: &receipt::Tree) -> Result<Object> {
    let amount = place::amount(config, &tree.key)?;
    if amount.files >= tree.amount.files && amount.bytes >= tree.amount.bytes {
        return Ok(Object {
            found: true,
            size: tree.content,
        });
    }
    if amount.files == 0 {
        place::must_be_there(config)?;
        return Ok(Object {
            found: false,
            size: 0,
        });
    }
    let message = format!(
        "{} is damaged: {} files of {} bytes are there instead of {} of {}",
        config.location(&tree.key),
        amount.files,
        amount.bytes,
        tree.amount.files,
        tree.amount.bytes
    );
    Err(Failure::new(Code::Verification, message)
        .hint("restore from another backup or destination; keep this one until you have found out why"))
}
