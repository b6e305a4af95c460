//! Takes a snapshot back: after a failed run its own, after a committed one those before it.

use backstay_sdk::{Failure, Output, Result, log};
use serde::{Deserialize, Serialize};

use crate::command;
use crate::config::Config;
use crate::snapshot::{self, Name};

/// A snapshot that must go, in the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Entry {
    /// Its whole name.
    pub snapshot: String,
    /// Its guid, unless the entry was written before the snapshot was made.
    pub guid: Option<String>,
    /// Whether the datasets below have it too.
    pub recursive: bool,
    /// The tag of its hold.
    pub tag: String,
    /// Whether the entry was written before the snapshot was made, so that it may yet appear.
    #[serde(default)]
    pub in_making: bool,
}

/// What a snapshot says of its job that was only made to be destroyed.
const NO_JOB: &str = "none";

/// What to do about an entry.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// It is ours: let go of it and destroy it.
    Destroy,
    /// It isn't there any more.
    Gone,
    /// Somebody made another snapshot of that name.
    Foreign,
}

/// Releases the hold and destroys the snapshot, if it is still the one that the entry means.
///
/// # Errors
/// It is there and can't be destroyed, for example because a clone was made of it.
pub fn undo(config: &Config, entry: &Entry) -> Result<()> {
    let name = own_name(config, &entry.snapshot)?;
    let mut found = snapshot::guid(&name)?;
    if found.is_none() && entry.in_making {
        found = outrun(entry, &name)?;
    }
    match judge(entry, found.as_deref()) {
        Verdict::Destroy => {}
        Verdict::Gone => return Ok(()),
        Verdict::Foreign => {
            log::warn(format!(
                "{name} is left alone: its guid is not the one of the snapshot that this job made"
            ));
            return Ok(());
        }
    }
    if entry.recursive {
        remove_all(entry, &name)
    } else {
        remove(&entry.tag, &name)
    }
}

/// Takes the name before a `zfs snapshot` that outlived its host can.
///
/// ZFS may go on with a snapshot after the command that asked for it was killed. One asked for now is made
/// after it, or finds it there; either way it is there to be destroyed, and can't appear any more.
fn outrun(entry: &Entry, name: &Name) -> Result<Option<String>> {
    let output = command::snapshot(entry.recursive, NO_JOB, name).run()?;
    // Where none can be made, such as on a full pool or a dataset that is gone, there was none either.
    if !output.is_success() {
        log::debug(format!("{name} can't be made: {}", output.complaint()));
    }
    snapshot::guid(name)
}

/// Removes a recursive snapshot. ZFS does nothing at all where one of the datasets has no such hold, or
/// stops half-way at one that is busy; then each goes by itself, as far as possible.
fn remove_all(entry: &Entry, name: &Name) -> Result<()> {
    let released = command::release(true, &entry.tag, name).run()?;
    if released.is_success() && command::destroy(true, name).run()?.is_success() {
        return Ok(());
    }
    let mut first_failure = None;
    for part in snapshot::parts(name)? {
        if let Err(failure) = remove(&entry.tag, &part) {
            first_failure.get_or_insert(failure);
        }
    }
    first_failure.map_or(Ok(()), Err)
}

/// Lets go of the snapshot of one dataset and destroys it.
fn let_go_and_destroy(tag: &str, name: &Name) -> Result<Output> {
    let output = command::release(false, tag, name).run()?;
    let complaint = output.complaint();
    if !output.is_success() && !complaint.contains("no such tag") && !snapshot::is_gone(&complaint) {
        return Err(output.failure());
    }
    command::destroy(false, name).run()
}

/// Removes the snapshot of one dataset.
fn remove(tag: &str, name: &Name) -> Result<()> {
    let mut output = let_go_and_destroy(tag, name)?;
    if output.complaint().contains("dataset is busy") {
        // A hold that outlived its host, as a snapshot can, came in between.
        output = let_go_and_destroy(tag, name)?;
    }
    let complaint = output.complaint();
    if output.is_success() || snapshot::is_gone(&complaint) {
        return Ok(());
    }
    Err(if complaint.contains("dependent clones") {
        output
            .failure()
            .hint("destroy or promote the clones that were made of this snapshot")
    } else if complaint.contains("dataset is busy") {
        output
            .failure()
            .hint("somebody holds this snapshot; see `zfs holds`")
            .retry()
    } else {
        output.failure()
    })
}

/// The name, if it is one of a snapshot that this plugin makes of the job's dataset.
fn own_name(config: &Config, text: &str) -> Result<Name> {
    Name::parse(text)
        .filter(|name| name.dataset() == config.pool_name)
        .ok_or_else(|| {
            Failure::internal(format!(
                "the journal names {text}, which is no snapshot that this job makes"
            ))
        })
}

/// A recursive snapshot may be half destroyed, its top first: its name, with the run's id in it, is then
/// all that is left to know the rest by.
fn judge(entry: &Entry, found_guid: Option<&str>) -> Verdict {
    match (found_guid, &entry.guid) {
        (None, _) if entry.recursive => Verdict::Destroy,
        (None, _) => Verdict::Gone,
        (Some(found), Some(ours)) if found != ours => Verdict::Foreign,
        (Some(_), _) => Verdict::Destroy,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(guid: Option<&str>, recursive: bool) -> Entry {
        Entry {
            snapshot: String::new(),
            guid: guid.map(str::to_owned),
            recursive,
            tag: "backstay-x".to_owned(),
            in_making: false,
        }
    }

    #[test]
    fn only_the_snapshot_that_was_meant_is_destroyed() {
        assert_eq!(judge(&entry(Some("1"), false), Some("1")), Verdict::Destroy);
        assert_eq!(judge(&entry(Some("1"), false), Some("2")), Verdict::Foreign);
        assert_eq!(judge(&entry(Some("1"), true), Some("2")), Verdict::Foreign);
        assert_eq!(judge(&entry(None, false), Some("2")), Verdict::Destroy);
    }

    #[test]
    fn a_second_time_there_is_nothing_to_do() {
        assert_eq!(judge(&entry(Some("1"), false), None), Verdict::Gone);
    }

    #[test]
    fn a_recursive_snapshot_is_followed_to_the_end_even_if_its_top_is_gone() {
        assert_eq!(judge(&entry(Some("1"), true), None), Verdict::Destroy);
    }

    #[test]
    fn a_name_that_is_not_ours_is_refused() {
        let config: Config = serde_json::from_str(r#"{"poolName":"tank"}"#).expect("config");
        let run = "0199a5b2-7c00-7000-8000-000000000001";
        assert!(own_name(&config, &format!("tank@backstay-{run}")).is_ok());
        for name in [
            "tank".to_owned(),
            "tank@daily".to_owned(),
            format!("tank/home@backstay-{run}"),
        ] {
            let failure = own_name(&config, &name).expect_err("not ours");
            assert_eq!(
                failure.message,
                format!("the journal names {name}, which is no snapshot that this job makes")
            );
        }
    }
}
