//! Goes through objects page by page: of a bucket with millions of them only what is looked for is kept, and it may take as
//! long as it takes, as long as the pages come.

use std::ops::ControlFlow;

use backstay_model::Result;
use backstay_stream::Cancel;
use futures::TryStreamExt as _;
use opendal::{Entry, ErrorKind, Lister, Operator};

use super::{PATIENCE, Shared};
use crate::key::DEEPEST;
use crate::{Key, ObjectInfo};

/// All objects whose key ends with `suffix`, sorted.
pub(super) fn find(shared: &Shared, suffix: &str) -> Result<Vec<ObjectInfo>> {
    let mut found = Vec::new();
    walk_to(shared, "/", DEEPEST, &Cancel::default(), &mut |entry| {
        let path = entry.path();
        if is_of_backup(path) && path.ends_with(suffix) && Key::parse(path).is_ok() {
            found.push(info(shared, entry)?);
        }
        Ok(ControlFlow::Continue(()))
    })?;
    found.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(found)
}

/// Whether an object is one of a backup, and no file of a tree.
fn is_of_backup(path: &str) -> bool {
    path.split('/').count() <= DEEPEST
}

/// Goes through all objects below a directory, until `each` has enough.
pub(super) fn walk(
    shared: &Shared,
    start: &str,
    cancel: &Cancel,
    each: &mut dyn FnMut(Entry) -> Result<ControlFlow<()>>,
) -> Result<()> {
    walk_to(shared, start, usize::MAX, cancel, each)
}

/// The same, as far as a store must be asked for each directory, through those of so many names only.
fn walk_to(
    shared: &Shared,
    start: &str,
    deepest: usize,
    cancel: &Cancel,
    each: &mut dyn FnMut(Entry) -> Result<ControlFlow<()>>,
) -> Result<()> {
    // Servers of WebDAV seldom list more than one directory at once.
    let recursive = !shared.is_whole();
    let mut open = vec![start.to_owned()];
    while let Some(at) = open.pop() {
        let list = begin(&shared.looks, &at, recursive);
        let Some(mut lister) = shared.wait(cancel, Some(PATIENCE), "list", &at, list)? else {
            continue;
        };
        while let Some(entry) = shared.wait(cancel, Some(PATIENCE), "list", &at, next(&mut lister))? {
            let path = entry.path();
            if entry.metadata().is_file() {
                if each(entry)?.is_break() {
                    return Ok(());
                }
            } else if !recursive && path != at && path != "/" && path.matches('/').count() < deepest {
                open.push(path.to_owned());
            }
        }
    }
    Ok(())
}

/// Begins to list; nothing if there is no such directory.
async fn begin(operator: &Operator, at: &str, recursive: bool) -> opendal::Result<Option<Lister>> {
    match operator.lister_with(at).recursive(recursive).await {
        Ok(lister) => Ok(Some(lister)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// The next entry, which may take a request. Some stores say only now that there is no such directory.
async fn next(lister: &mut Lister) -> opendal::Result<Option<Entry>> {
    match lister.try_next().await {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        other => other,
    }
}

fn info(shared: &Shared, entry: Entry) -> Result<ObjectInfo> {
    let (key, meta) = entry.into_parts();
    let size_bytes = match meta.content_length() {
        // Some stores don't say it in a listing.
        0 => shared.size(&shared.looks, &key, &Cancel::default())?.unwrap_or(0),
        size => size,
    };
    Ok(ObjectInfo {
        key,
        size_bytes,
        is_tree: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_deeper_than_a_backup_is_of_a_tree() {
        assert!(is_of_backup("j/1/manifest.json"));
        assert!(!is_of_backup("j/1/data/manifest.json"));
    }
}
