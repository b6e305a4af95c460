//! Goes through objects page by page: of a bucket with millions of them only what is looked for is kept, and it may take as
//! long as it takes, as long as the pages come.

use backstay_model::Result;
use backstay_stream::Cancel;
use futures::TryStreamExt as _;
use opendal::{Entry, ErrorKind, Lister, Operator};

use super::{PATIENCE, Shared};
use crate::key::DEEPEST;
use crate::{Key, ObjectInfo};

/// Files of one tree that are gone through before the rest of them is passed over by a request of its own.
const PASSED: usize = 500;

/// How to go on after an object.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Go {
    /// With the next one.
    On,
    /// Past all that is below this directory.
    Past(String),
    /// Not at all.
    Home,
}

/// All objects whose key ends with `suffix`, sorted.
pub(super) fn find(shared: &Shared, suffix: &str) -> Result<Vec<ObjectInfo>> {
    let mut found = Vec::new();
    let mut inside = (String::new(), 0);
    walk_to(shared, "/", DEEPEST, &mut |entry| {
        let path = entry.path();
        if let Some(tree) = tree_of(path) {
            if inside.0 != tree {
                inside = (tree.to_owned(), 0);
            }
            inside.1 += 1;
            return Ok(match inside.1 {
                PASSED => Go::Past(inside.0.clone()),
                _ => Go::On,
            });
        }
        if path.ends_with(suffix) && Key::parse(path).is_ok() {
            found.push(info(shared, entry)?);
        }
        Ok(Go::On)
    })?;
    found.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(found)
}

/// The tree that an object is a file of.
fn tree_of(path: &str) -> Option<&str> {
    let (end, _) = path.match_indices('/').nth(DEEPEST - 1)?;
    Some(&path[..=end])
}

/// Goes through all objects below a directory.
pub(super) fn walk(shared: &Shared, start: &str, each: &mut dyn FnMut(Entry) -> Result<Go>) -> Result<()> {
    walk_to(shared, start, usize::MAX, each)
}

/// The same, as far as a store must be asked for each directory, through those of so many names only.
fn walk_to(
    shared: &Shared,
    start: &str,
    deepest: usize,
    each: &mut dyn FnMut(Entry) -> Result<Go>,
) -> Result<()> {
    // Servers of WebDAV seldom list more than one directory at once.
    let recursive = !shared.is_whole();
    let can_pass = shared.looks.info().capability().list_with_start_after;
    let wait = Cancel::default();
    let mut open = vec![start.to_owned()];
    while let Some(at) = open.pop() {
        let list = begin(&shared.looks, &at, recursive, None);
        let Some(mut lister) = shared.wait(&wait, Some(PATIENCE), "list", &at, list)? else {
            continue;
        };
        while let Some(entry) = shared.wait(&wait, Some(PATIENCE), "list", &at, next(&mut lister))? {
            let path = entry.path();
            if entry.metadata().is_file() {
                match each(entry)? {
                    Go::Past(directory) if can_pass && recursive => {
                        let last = format!("{directory}{}", char::MAX);
                        let list = begin(&shared.looks, &at, recursive, Some(&last));
                        match shared.wait(&wait, Some(PATIENCE), "list", &at, list)? {
                            Some(further) => lister = further,
                            None => break,
                        }
                    }
                    Go::On | Go::Past(_) => {}
                    Go::Home => return Ok(()),
                }
            } else if !recursive && path != at && path != "/" && path.matches('/').count() < deepest {
                open.push(path.to_owned());
            }
        }
    }
    Ok(())
}

/// Begins to list; nothing if there is no such directory.
async fn begin(
    operator: &Operator,
    at: &str,
    recursive: bool,
    after: Option<&str>,
) -> opendal::Result<Option<Lister>> {
    let mut listing = operator.lister_with(at).recursive(recursive);
    if let Some(after) = after {
        listing = listing.start_after(after);
    }
    match listing.await {
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
        for (path, tree) in [
            ("j/1/manifest.json", None),
            ("j/1/data/manifest.json", Some("j/1/data/")),
            ("j/1/data/a/b", Some("j/1/data/")),
        ] {
            assert_eq!(tree_of(path), tree, "{path}");
        }
    }
}
