//! The place, through rclone: what is there, and what has to go.

use backstay_sdk::{Code, Failure, Result, RunInfo, log, shell, state};

use crate::config::Config;
use crate::receipt::Amount;
use crate::{answer, command, complaint, key};

/// rclone's exit statuses for a directory and for a file that isn't there.
const NOT_FOUND: [i32; 2] = [3, 4];

/// The size of an object; nothing if it isn't there.
///
/// # Errors
/// The remote doesn't answer.
pub fn size(config: &Config, key: &str) -> Result<Option<u64>> {
    let output = command::stat(config, key).run()?;
    if output.is_success() {
        return answer::size(&output.stdout);
    }
    if NOT_FOUND.contains(&output.status) {
        return Ok(None);
    }
    Err(complaint::failure("look at", &config.location(key), &output))
}

/// Whether the directory is there that all objects are below. A store without directories always says so.
///
/// # Errors
/// The remote doesn't answer.
fn is_there(config: &Config) -> Result<bool> {
    let output = command::list_directories(config).run()?;
    if output.is_success() || NOT_FOUND.contains(&output.status) {
        return Ok(output.is_success());
    }
    Err(complaint::failure("list", &config.remote, &output))
}

/// Refuses to say anything about what is missing while the whole place is: an unmounted disk has lost nothing.
///
/// # Errors
/// The place isn't there, or the remote doesn't answer.
pub fn must_be_there(config: &Config) -> Result<()> {
    if is_there(config)? {
        return Ok(());
    }
    let message = format!("{} is not there", config.remote);
    Err(Failure::storage(message)
        .hint("mount the disk that holds it, or correct the remote in the rclone configuration"))
}

/// Refuses to take anything as removed while the whole place is away that holds it. Before the first run has ended well nobody
/// knows whether there ever was such a place.
///
/// # Errors
/// It is away, or the remote doesn't answer.
pub fn must_not_be_away(config: &Config) -> Result<()> {
    if state::was_used(&config.remote)? {
        must_be_there(config)?;
    }
    Ok(())
}

/// Refuses a place that holds what earlier runs have stored and that is gone: it would be made anew, perhaps under a
/// disk that isn't mounted now. Looks once a run.
///
/// # Errors
/// It is gone, or the remote doesn't answer.
pub fn must_be_as_before(config: &Config, run: &RunInfo) -> Result<()> {
    if state::was_used_before(&config.remote, run)? && !is_there(config)? {
        let message = format!(
            "{} has held backups of this job, and is not there now",
            config.remote
        );
        let hint = format!(
            "mount the disk that holds it; if it was removed on purpose, make it again: rclone mkdir {}",
            shell::quote(&config.remote)
        );
        return Err(Failure::storage(message).hint(hint));
    }
    Ok(())
}

/// Keys of all objects that end with `suffix`.
///
/// # Errors
/// The remote doesn't answer, or there are too many.
pub fn find(config: &Config, suffix: &str) -> Result<Vec<String>> {
    /// The host keeps so many bytes of what a program prints.
    const MOST_BYTES: usize = 1 << 20;
    let output = command::list_matching(config, &key::pattern(suffix)).run()?;
    if NOT_FOUND.contains(&output.status) {
        return Ok(Vec::new());
    }
    if !output.is_success() {
        return Err(complaint::failure("list", &config.remote, &output));
    }
    if output.stdout.len() >= MOST_BYTES {
        let message = format!("the list of what is at {} is longer than 1 MiB", config.remote);
        return Err(
            Failure::storage(message).hint("use a place of its own for each machine or each group of jobs")
        );
    }
    // Something that somebody else put there is none of ours.
    let keys = output
        .stdout
        .lines()
        .filter(|key| format!("/{key}").ends_with(suffix));
    Ok(keys
        .filter(|key| key::parse(key).is_ok())
        .map(str::to_owned)
        .collect())
}

/// How much is in a directory; nothing if it isn't there.
///
/// # Errors
/// The remote doesn't answer.
pub fn amount(config: &Config, key: &str) -> Result<Amount> {
    let output = command::size(config, key).run()?;
    if output.is_success() {
        return answer::amount(&output.stdout);
    }
    if NOT_FOUND.contains(&output.status) {
        return Ok(Amount::default());
    }
    Err(complaint::failure(
        "count what is in",
        &config.location(key),
        &output,
    ))
}

/// Removes the directory of a tree with all that is in it. One that isn't there is removed already.
///
/// # Errors
/// Something of it may still be there.
pub fn purge(config: &Config, key: &str) -> Result<()> {
    let output = command::purge(config, key).run()?;
    if output.is_success() || NOT_FOUND.contains(&output.status) {
        return Ok(());
    }
    // Of a directory that isn't there rclone says at some places that it can't be removed.
    if NOT_FOUND.contains(&command::size(config, key).run()?.status) {
        return Ok(());
    }
    Err(complaint::failure("remove", &config.location(key), &output))
}

/// Removes an object. One that isn't there is removed already.
///
/// # Errors
/// It may still be there.
pub fn delete(config: &Config, key: &str) -> Result<()> {
    let output = command::delete_file(config, key).run()?;
    if output.is_success() || NOT_FOUND.contains(&output.status) {
        return Ok(());
    }
    Err(complaint::failure("remove", &config.location(key), &output))
}

/// Removes the directory of a backup if nothing is left in it.
///
/// # Errors
/// rclone can't be run. What rclone complains of is only logged: an empty directory is no loss.
pub fn tidy(config: &Config, directory: &str) -> Result<()> {
    let output = command::remove_directory(config, directory).run()?;
    if !output.is_success() && !NOT_FOUND.contains(&output.status) {
        let place = config.location(directory);
        log::debug(format!(
            "the directory {place} stays: {}",
            complaint::said(&output.stderr)
        ));
    }
    Ok(())
}

/// Ends uploads in parts at S3 that nobody has finished. They can't be seen there, but are stored, and paid for. A store
/// that doesn't let them be listed is a warning: it would not tomorrow either.
///
/// # Errors
/// The remote doesn't answer.
pub fn end_uploads(config: &Config, directory: &str) -> Result<()> {
    if kind(config)?.as_deref() != Some("s3") {
        return Ok(());
    }
    let output = command::end_uploads(config, directory).run()?;
    if output.is_success() || NOT_FOUND.contains(&output.status) {
        return Ok(());
    }
    // Some say so if there are none.
    if output.stderr.contains("NoSuchUpload") {
        return Ok(());
    }
    let failure = complaint::failure("end unfinished uploads to", &config.location(directory), &output);
    if failure.code == Code::Network {
        return Err(failure);
    }
    log::warning("unfinished-uploads", failure.message, None);
    Ok(())
}

/// The type of the remote, such as `s3`; nothing if there is no such remote.
fn kind(config: &Config) -> Result<Option<String>> {
    let output = command::list_remotes(config).run()?;
    if !output.is_success() {
        return Err(complaint::failure(
            "list the remotes of",
            "the rclone configuration",
            &output,
        ));
    }
    let remotes = answer::remotes(&output.stdout);
    let found = remotes
        .into_iter()
        .find(|(name, _)| *name == config.remote_name());
    Ok(found.map(|(_, kind)| kind.to_owned()))
}
