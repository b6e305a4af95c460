//! The link to the newest complete backup of a job. Anything else of its name is somebody's own and is left alone.

use backstay_sdk::{Result, Store};

use crate::owner::{MANIFEST, Owner, complete};

/// Its name.
pub const LATEST: &str = "latest";

/// Has the link lead to the newest complete backup, after an object was stored.
pub fn came(store: &Store, key: &str, owner: &Owner) -> Result<()> {
    let Some(job) = job_of(key) else {
        return Ok(());
    };
    match newest(store, job, owner)? {
        Some(newest) => store.link(&format!("{job}/{LATEST}"), &newest),
        None => Ok(()),
    }
}

/// Has the link lead to the newest complete backup that is left if it leads nowhere now, after an object was removed. A job
/// that has none left, or of which nothing is known, has no link.
pub fn went(store: &Store, key: &str, owner: Option<&Owner>) -> Result<()> {
    let Some(job) = job_of(key) else {
        return Ok(());
    };
    let link = format!("{job}/{LATEST}");
    if store.stat(&format!("{link}{MANIFEST}"))?.is_some() {
        return Ok(());
    }
    let newest = owner.map(|owner| newest(store, job, owner)).transpose()?;
    match newest.flatten() {
        Some(newest) => store.link(&link, &newest),
        None if is_link(store, &link)? => store.delete(&link),
        None => Ok(()),
    }
}

/// The name of the job whose manifest an object is.
fn job_of(key: &str) -> Option<&str> {
    let backup = key.strip_suffix(MANIFEST)?;
    backup.split_once('/').map(|(job, _)| job)
}

fn newest(store: &Store, job: &str, owner: &Owner) -> Result<Option<String>> {
    let backups = complete(store, job)?.into_iter().rev();
    Ok(backups.into_iter().find(|backup| owner.has(store, backup)))
}

/// Whether a link is at a key. It is something, and neither a directory nor among the files.
fn is_link(store: &Store, key: &str) -> Result<bool> {
    match store.stat(key)? {
        Some(there) if !there.is_tree => Ok(!store.find(key)?.iter().any(|file| file.key == key)),
        _ => Ok(false),
    }
}
