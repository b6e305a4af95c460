//! How much a tree holds.

use std::path::Path;

use backstay_model::Result;

use crate::context::Context;
use crate::tree::scan::{Taken, scan};
use crate::tree::spec::TreeSpec;

/// Bytes of content below a directory, counted as a [`crate::tree::TarRecipe`] counts them: with holes, and a
/// file with several names once. What can't be read counts nothing. Takes any depth and any number of directories.
///
/// # Errors
/// The directory itself can't be read.
pub fn content_bytes(directory: &Path) -> Result<u64> {
    let mut total = 0;
    scan(
        &TreeSpec::all(directory)?,
        &Context::default(),
        &mut |entry, _| {
            total += entry.size;
            Ok(Taken::Yes)
        },
    )?;
    Ok(total)
}
