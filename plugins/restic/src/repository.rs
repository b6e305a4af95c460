//! The repository, through restic: what is in it, and what has to go.

use backstay_sdk::{Code, Failure, Output, Result, RunInfo, log, shell, state};

use jiff::Timestamp;

use crate::answer::{self, Snapshot};
use crate::complaint::{self, Kind};
use crate::config::Config;
use crate::receipt::{Receipt, is_id};
use crate::{command, locks};

/// The host keeps so many bytes of what a program prints.
const MOST_BYTES: usize = 1 << 20;

/// What a stored object's snapshot says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// It is there, with so many bytes.
    There(u64),
    /// There is no such snapshot, or it holds no such object.
    Gone,
}

/// Looks at a stored object.
///
/// # Errors
/// The repository can't be opened, or what is in it is damaged.
pub fn look(config: &Config, receipt: &Receipt) -> Result<Look> {
    if receipt.is_tree {
        return look_at_tree(config, receipt);
    }
    let output = command::ls(config, &receipt.id).run()?;
    // Some versions end well if there is no such snapshot.
    if complaint::kind(&output.stderr) == Some(Kind::Gone) {
        return Ok(Look::Gone);
    }
    let location = config.location(&receipt.key);
    if !output.is_success() || complaint::kind(&output.stderr) == Some(Kind::Damaged) {
        return Err(complaint::failure("look at", &location, &output));
    }
    let size = answer::size(&output.stdout, &receipt.path());
    Ok(size.map_or(Look::Gone, Look::There))
}

/// All that is in a tree would be a long list, so its snapshot says how large it is.
fn look_at_tree(config: &Config, receipt: &Receipt) -> Result<Look> {
    let output = command::snapshots_by_id(config, std::slice::from_ref(&receipt.id)).run()?;
    if complaint::kind(&output.stderr) == Some(Kind::Gone) {
        return Ok(Look::Gone);
    }
    let there = listed(config, &output)?;
    let bytes = there
        .iter()
        .find(|one| is_of(one, receipt))
        .and_then(Snapshot::bytes);
    Ok(bytes.map_or(Look::Gone, Look::There))
}

/// Whether a snapshot is the one of a stored object.
fn is_of(snapshot: &Snapshot, receipt: &Receipt) -> bool {
    let is_key = if receipt.is_tree {
        snapshot.tree() == Some(command::as_tag(&receipt.key).as_str())
    } else {
        snapshot.key() == Some(receipt.key.as_str())
    };
    snapshot.id == receipt.id && snapshot.has(command::OWN) && is_key
}

/// This plugin's snapshots with these tags.
///
/// # Errors
/// The repository can't be opened, or holds too many of them.
pub fn snapshots(config: &Config, tags: &[String]) -> Result<Vec<Snapshot>> {
    let output = command::snapshots(config, tags).run()?;
    listed(config, &output)
}

/// The snapshots that a run has made of a key.
///
/// # Errors
/// As [`snapshots`].
pub fn of_run(config: &Config, run_id: &str, key: &str) -> Result<Vec<Snapshot>> {
    let mut made = snapshots(config, &of_key(run_id, key))?;
    made.retain(|snapshot| is_named(snapshot, key));
    Ok(made)
}

fn of_key(run_id: &str, key: &str) -> [String; 2] {
    [command::of_run(run_id), command::of_object(key)]
}

fn is_named(snapshot: &Snapshot, key: &str) -> bool {
    snapshot.key() == Some(key) || snapshot.tree() == Some(command::as_tag(key).as_str())
}

fn listed(config: &Config, output: &Output) -> Result<Vec<Snapshot>> {
    if !output.is_success() || complaint::has_unloaded(&output.stderr) {
        return Err(complaint::failure("list", &config.repository, output));
    }
    if output.stdout.len() >= MOST_BYTES {
        let message = format!(
            "the list of snapshots in {} is longer than 1 MiB",
            config.repository
        );
        return Err(Failure::storage(message)
            .hint("use a repository of its own for each machine or each group of jobs"));
    }
    let mut snapshots = answer::snapshots(&output.stdout)?;
    snapshots.retain(|snapshot| is_id(&snapshot.id));
    Ok(snapshots)
}

/// Refuses to begin unless the repository can be opened and the key is free; makes the repository if the job says so
/// and there has never been one. All of it before the source has begun.
///
/// # Errors
/// The repository is not there, can't be opened, or holds an object of this name.
pub fn ready(config: &Config, run: &RunInfo, key: &str) -> Result<()> {
    let output = command::snapshots(config, &of_key(&run.run_id, key)).run()?;
    if !output.is_success() && complaint::kind(&output.stderr) == Some(Kind::Missing) {
        if state::was_used_before(&config.repository, run)? {
            let message = format!(
                "the repository {} has held backups of this job, and is not there now",
                config.repository
            );
            let hint = format!(
                "mount the disk that holds it; if it was removed on purpose, make it again: restic init --repo={}",
                shell::quote(&config.repository)
            );
            return Err(Failure::storage(message).hint(hint));
        }
        if config.init {
            return init(config);
        }
    }
    if !listed(config, &output)?.iter().any(|one| is_named(one, key)) {
        return Ok(());
    }
    Err(Failure::storage(format!(
        "{} holds a snapshot of /{key} already",
        config.repository
    )))
}

/// Fails unless all that restic says it has stored of a backup is in the repository.
///
/// # Errors
/// It isn't, or the repository can't be opened.
pub fn has_all(config: &Config, stored: &[Receipt]) -> Result<()> {
    let ids: Vec<String> = stored.iter().map(|receipt| receipt.id.clone()).collect();
    let output = command::snapshots_by_id(config, &ids).run()?;
    let gone = complaint::kind(&output.stderr) == Some(Kind::Gone);
    let there = match listed(config, &output) {
        Err(_) if gone => Vec::new(),
        there => there?,
    };
    let is_there = |receipt: &Receipt| there.iter().any(|one| is_of(one, receipt));
    let Some(lost) = stored.iter().find(|receipt| !is_there(receipt)) else {
        return Ok(());
    };
    // Some versions list nothing if one of the ids isn't there.
    let message = if there.is_empty() {
        format!(
            "not all that restic stored of this backup is in {} now: {}",
            config.repository,
            output.complaint()
        )
    } else {
        format!(
            "restic stored {}, but its snapshot {} is not there now",
            config.location(&lost.key),
            lost.id.get(..8).unwrap_or(&lost.id)
        )
    };
    Err(Failure::new(Code::Verification, message)
        .hint("nothing counts as backed up; the place loses data, so look for what is wrong with it"))
}

fn init(config: &Config) -> Result<()> {
    let output = command::init(config).run()?;
    if !output.is_success() {
        return Err(complaint::failure(
            "make the repository",
            &config.repository,
            &output,
        ));
    }
    log::info(format!("made the repository {}", config.repository));
    Ok(())
}

/// The whole id of the only snapshot that a run has made of a key; restic may have printed its first digits only.
///
/// # Errors
/// It is not there, or there is more than one.
pub fn whole_id(config: &Config, run: &RunInfo, key: &str, start: &str) -> Result<String> {
    if is_id(start) {
        return Ok(start.to_owned());
    }
    let made = of_run(config, &run.run_id, key)?;
    match made.as_slice() {
        [one] if !start.is_empty() && one.id.starts_with(start) => Ok(one.id.clone()),
        _ => {
            let message = format!(
                "restic says that it made the snapshot {start} of /{key}, and {} has {} of them",
                config.repository,
                made.len()
            );
            Err(Failure::storage(message).hint("look at it: `restic snapshots --tag backstay`"))
        }
    }
}

/// Removes stored objects by the ids of their snapshots. What is gone is removed already.
///
/// # Errors
/// One of the snapshots isn't what its receipt says, so nothing was removed; or they can't be removed.
pub fn remove(config: &Config, receipts: &[Receipt], prune: bool) -> Result<()> {
    let ids: Vec<String> = receipts.iter().map(|receipt| receipt.id.clone()).collect();
    let output = command::snapshots_by_id(config, &ids).run()?;
    let there = listed(config, &output)?;
    for snapshot in &there {
        if !receipts.iter().any(|receipt| is_of(snapshot, receipt)) {
            let id = snapshot.id.get(..8).unwrap_or(&snapshot.id);
            let message = format!(
                "nothing was removed: the snapshot {id} in {} is not one of Backstay's",
                config.repository
            );
            return Err(Failure::new(Code::Security, message)
                .hint("were its tags changed, or was the catalogue? `restic snapshots` shows it"));
        }
    }
    let ids: Vec<String> = there.into_iter().map(|snapshot| snapshot.id).collect();
    forget(config, &ids, prune)?;
    if prune && !ids.is_empty() && config.check_after_prune {
        check(config)?;
    }
    Ok(())
}

/// The least time between two checks of a repository, in hours.
const CHECKED_HOURS: i64 = 24;

/// Has restic check the repository, once a day at most. What was removed is removed, so whatever it finds is only said.
///
/// # Errors
/// What the host itself fails at.
fn check(config: &Config) -> Result<()> {
    let note = format!("checked:{}", config.repository);
    let now = locks::now()?;
    let last = state::get(&note)?.and_then(|last| last.parse::<Timestamp>().ok());
    if last.is_some_and(|last| now.duration_since(last).as_hours() < CHECKED_HOURS) {
        return Ok(());
    }
    let output = command::check(config).run()?;
    if output.is_success() {
        log::info("data was removed, and `restic check` finds the repository whole");
    } else if is_damage(&output) {
        let message = format!(
            "{} is damaged, as `restic check` says: {}; verify the backups in it: backstay verify --all",
            config.repository,
            output.complaint()
        );
        log::warning("repository-damaged", message, None);
    } else {
        let failure = complaint::failure("check", &config.repository, &output);
        log::info(format!("{}; the next removal tries again", failure.message));
        return Ok(());
    }
    state::set(&note, &now.to_string())
}

/// Whether a check that ended badly found damage: it may as well have been kept from looking.
fn is_damage(output: &Output) -> bool {
    output.stderr.contains("repository contains errors")
        || complaint::kind(&output.stderr) == Some(Kind::Damaged)
}

/// Removes snapshots.
///
/// # Errors
/// Somebody else is at work in the repository, or it can't be opened.
pub fn forget(config: &Config, ids: &[String], prune: bool) -> Result<()> {
    // Without an id, restic would choose by itself.
    if ids.is_empty() {
        return Ok(());
    }
    let output = command::forget(config, ids, prune).run()?;
    if output.is_success() {
        return Ok(());
    }
    let failure = complaint::failure("remove snapshots from", &config.repository, &output);
    Err(match complaint::kind(&output.stderr) {
        Some(Kind::Locked) => locks::name_holders(config, failure),
        _ => failure,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_check_finds_is_damage_and_a_server_that_is_away_is_not() {
        let is_damage = |stderr: &str| {
            is_damage(&Output {
                command: "restic check".to_owned(),
                is_fed: false,
                status: 1,
                stdout: String::new(),
                stderr: stderr.to_owned(),
            })
        };
        assert!(is_damage(
            "pack 0e9f: does not exist\nFatal: repository contains errors\n"
        ));
        assert!(!is_damage(
            "Fatal: unable to open repository: dial tcp 127.0.0.1:1: connect: connection refused\n"
        ));
        assert!(!is_damage(
            "unable to create lock in backend: repository is already locked\n"
        ));
        assert!(!is_damage(""));
    }
}
