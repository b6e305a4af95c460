//! Finds objects by the end of their names, page by page: of a bucket with millions of them only what is looked for is
//! kept, and it may take as long as it takes, as long as the pages come.

use backstay_model::Result;
use backstay_stream::Cancel;
use futures::TryStreamExt as _;
use opendal::{Entry, ErrorKind, Lister, Operator};

use super::{PATIENCE, Shared};
use crate::{Key, ObjectInfo};

/// All objects whose key ends with `suffix`, sorted.
pub(super) fn find(shared: &Shared, suffix: &str) -> Result<Vec<ObjectInfo>> {
    // Servers of WebDAV seldom list more than one directory at once.
    let recursive = !shared.is_whole();
    let mut found = Vec::new();
    let mut open = vec![String::from("/")];
    while let Some(at) = open.pop() {
        let list = start(&shared.looks, &at, recursive);
        let Some(mut lister) = shared.wait(&Cancel::default(), Some(PATIENCE), "list", &at, list)? else {
            continue;
        };
        while let Some(entry) =
            shared.wait(&Cancel::default(), Some(PATIENCE), "list", &at, next(&mut lister))?
        {
            let is_file = entry.metadata().is_file();
            let path = entry.path();
            if is_file && path.ends_with(suffix) && Key::parse(path).is_ok() {
                found.push(info(shared, entry)?);
            } else if !is_file && !recursive && path != at && path != "/" {
                open.push(path.to_owned());
            }
        }
    }
    found.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(found)
}

/// Begins to list; nothing if there is no such directory.
async fn start(operator: &Operator, at: &str, recursive: bool) -> opendal::Result<Option<Lister>> {
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
