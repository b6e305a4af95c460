//! The link to the newest complete backup of a job. Anything else of its name is somebody's own and is left alone.

use backstay_sdk::{Result, Store};

use crate::owner::{MANIFEST, Owner, complete};
use crate::place::Place;

/// Its name.
pub const LATEST: &str = "latest";

/// Has the link lead to the newest complete backup, after an object was stored.
pub fn came(place: &Place<'_>, key: &str, owner: &Owner) -> Result<()> {
    match (job_of(key), place) {
        (None, _) => Ok(()),
        // To ask for all of them takes long there, and no other can have come while this run has its job's lock.
        (Some(job), Place::Remote(remote)) => remote.link(job, backup_of(key)),
        (Some(job), _) => lead_to_newest(place, job, owner).map(drop),
    }
}

/// Has the link lead to the newest complete backup that is left if it leads nowhere now, after an object was removed. A job
/// that has none left, or of which nothing is known, has no link.
pub fn went(place: &Place<'_>, key: &str, owner: Option<&Owner>) -> Result<()> {
    let Some(job) = job_of(key) else {
        return Ok(());
    };
    if !is_broken(place, job)? {
        return Ok(());
    }
    let is_linked = owner.map(|owner| lead_to_newest(place, job, owner)).transpose()?;
    if is_linked == Some(true) {
        return Ok(());
    }
    place.delete(&format!("{job}/{LATEST}"))
}

/// The name of the job whose manifest an object is.
fn job_of(key: &str) -> Option<&str> {
    let backup = key.strip_suffix(MANIFEST)?;
    backup.split_once('/').map(|(job, _)| job)
}

/// The directory of the backup whose manifest an object is, within that of its job.
fn backup_of(key: &str) -> &str {
    let backup = key.strip_suffix(MANIFEST).unwrap_or(key);
    backup.rsplit_once('/').map_or(backup, |(_, backup)| backup)
}

/// Says whether there is a complete backup to lead to.
fn lead_to_newest(place: &Place<'_>, job: &str, owner: &Owner) -> Result<bool> {
    let backups = complete(place, job)?.into_iter().rev();
    let Some(newest) = backups.into_iter().find(|backup| owner.has(place, backup)) else {
        return Ok(false);
    };
    match place {
        Place::Disk(_, store) => store.link(&format!("{job}/{LATEST}"), &newest)?,
        Place::Remote(remote) => {
            remote.link(job, backup_of(&newest))?;
        }
    }
    Ok(true)
}

/// Whether there is a link, and it leads to no backup.
fn is_broken(place: &Place<'_>, job: &str) -> Result<bool> {
    match place {
        Place::Disk(_, store) => {
            let link = format!("{job}/{LATEST}");
            Ok(store.stat(&format!("{link}{MANIFEST}"))?.is_none() && is_link(store, &link)?)
        }
        Place::Remote(remote) => remote.is_link_broken(job),
    }
}

/// Whether a link is at a key. It is something, and neither a directory nor among the files.
fn is_link(store: &Store, key: &str) -> Result<bool> {
    match store.stat(key)? {
        Some(there) if !there.is_tree => Ok(!store.find(key)?.iter().any(|file| file.key == key)),
        _ => Ok(false),
    }
}
