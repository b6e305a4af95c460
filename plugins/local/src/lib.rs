//! The destination `local`: a directory of this machine, an external drive or a mounted share.
//!
//! A stored stream is one file and a stored tree one directory, under the artifact's own name. The host
//! writes them, complete and durable or not at all. The plugin decides whether the place is the right
//! one: on the mount that is expected, with room left.

mod config;
mod mount;
mod receipt;

use backstay_sdk::content::stat;
use backstay_sdk::{
    Artifact, Code, Content, Destination, Diagnostic, Failure, FileKind, Object, Result, Room, RunInfo,
    Store, Stored, When, journal, state,
};
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::receipt::Receipt;

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
        let mut diagnostics = config.check();
        if diagnostics.is_empty()
            && let Err(failure) = mounted_on(config).and_then(|now| mount::check_expected(config, &now))
        {
            let pointer = if config.mount.is_some() { "/mount" } else { "/path" };
            // A drive that isn't plugged in now may be there when the job runs.
            diagnostics.push(match failure.code {
                Code::Environment => Diagnostic {
                    hint: failure.hint,
                    ..Diagnostic::warning(pointer, "not-there", failure.message)
                },
                _ => Diagnostic::from_failure(pointer, "unusable-path", failure),
            });
        }
        diagnostics
    }

    fn put(config: &Config, _: &RunInfo, artifact: Artifact) -> Result<Stored> {
        let store = ready(config)?;
        let key = artifact.name;
        // The journal would have it deleted if this run fails, and it belongs to another.
        if store.stat(&key)?.is_some() {
            return Err(Failure::storage(format!(
                "{} exists already",
                config.location(&key)
            )));
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
            location: config.location(receipt.key()),
            receipt: receipt.to_string(),
        })
    }

    fn open(config: &Config, receipt: &str) -> Result<Content> {
        let (store, receipt) = (open(config)?, Receipt::parse(receipt)?);
        if store.stat(receipt.key())?.is_none() {
            refuse_if_unmounted(config)?;
            let message = format!("{} is not there", config.location(receipt.key()));
            return Err(Failure::new(Code::Verification, message)
                .hint("was it moved or deleted by hand, or is another disk mounted?"));
        }
        Ok(if receipt.is_tree() {
            Content::Files(store.get_tree(receipt.key())?)
        } else {
            Content::Bytes(store.get(receipt.key())?)
        })
    }

    fn find(config: &Config, suffix: &str) -> Result<Vec<String>> {
        let found = open(config)?.find(suffix)?;
        let receipts = found.into_iter().map(|o| {
            if o.is_tree {
                Receipt::tree(o.key)
            } else {
                Receipt::file(o.key)
            }
        });
        Ok(receipts.map(|receipt| receipt.to_string()).collect())
    }

    fn remove(config: &Config, receipts: &[String]) -> Result<()> {
        refuse_if_unmounted(config)?;
        let store = open(config)?;
        for receipt in receipts {
            store.delete(Receipt::parse(receipt)?.key())?;
        }
        Ok(())
    }

    fn check(config: &Config, receipt: &str) -> Result<Object> {
        let info = open(config)?.stat(Receipt::parse(receipt)?.key())?;
        if info.is_none() {
            refuse_if_unmounted(config)?;
        }
        Ok(Object {
            found: info.is_some(),
            size: info.map_or(0, |info| info.size),
        })
    }

    fn usage(config: &Config) -> Result<Room> {
        let space = open(config)?.space()?;
        Ok(Room {
            total: Some(space.total),
            available: Some(space.available),
        })
    }

    fn recovery_command(config: &Config, receipt: &str) -> Result<String> {
        Ok(Receipt::parse(receipt)?.recovery_command(config))
    }

    fn undo(config: &Config, entry: &str) -> Result<()> {
        let entry: Entry = journal::read(entry)?;
        refuse_if_unmounted(config)?;
        open(config)?.delete(&entry.key)
    }
}

/// The place, after everything that must hold before something is stored in it.
fn ready(config: &Config) -> Result<Store> {
    Diagnostic::refuse(config.check())?;
    let now = mounted_on(config)?;
    mount::check_expected(config, &now)?;
    remember(config, &now)?;
    let store = Store::directory(&config.path)?;
    let available = store.space()?.available;
    if available < config.min_free_bytes {
        let message = format!(
            "{} has {available} bytes left, less than `minFreeBytes` ({})",
            config.path, config.min_free_bytes
        );
        return Err(
            Failure::disk_space(message).hint("make room, shorten the retention, or lower `minFreeBytes`")
        );
    }
    Ok(store)
}

/// Compares the mount with the one of earlier runs, and notes it for later ones.
fn remember(config: &Config, now: &str) -> Result<()> {
    if compare_with_before(config, now)?.as_deref() == Some(now) {
        Ok(())
    } else {
        state::set(&note(config), now)
    }
}

/// Compares the mount with the one of earlier runs, which is returned.
fn compare_with_before(config: &Config, now: &str) -> Result<Option<String>> {
    let before = state::get(&note(config))?;
    if config.mount.is_none()
        && let Some(before) = &before
    {
        mount::compare(&config.path, before, now)?;
    }
    Ok(before)
}

/// The name of the note that says which mount held the directory.
fn note(config: &Config) -> String {
    format!("mounted-on:{}", config.path)
}

/// Refuses to say or do anything about what is missing while the disk of earlier runs is not mounted: it has lost
/// nothing.
fn refuse_if_unmounted(config: &Config) -> Result<()> {
    compare_with_before(config, &mounted_on(config)?).map(drop)
}

/// The place, to read from it and to delete in it.
fn open(config: &Config) -> Result<Store> {
    Diagnostic::refuse(config.check())?;
    mount::check_expected(config, &mounted_on(config)?)?;
    Store::directory(&config.path)
}

/// The mount that holds the directory.
fn mounted_on(config: &Config) -> Result<String> {
    let path = &config.path;
    match stat(path)? {
        Some(info) if info.kind == FileKind::Directory => Ok(info.mounted_on),
        // What is mounted where it leads would go unseen.
        Some(info) if info.kind == FileKind::Symlink => {
            Err(Failure::storage(format!("{path} is a symbolic link"))
                .hint("name the directory itself in `path`"))
        }
        Some(_) => Err(Failure::storage(format!("{path} is not a directory"))),
        None => Err(match &config.mount {
            Some(mount) => Failure::environment(format!(
                "the directory {path} does not exist; is {mount} mounted?"
            ))
            .hint(format!("mount {mount}, or create the directory there")),
            None => Failure::environment(format!("the directory {path} does not exist"))
                .hint("mount the disk or share that holds it, or create it"),
        }),
    }
}
