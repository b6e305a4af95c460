//! The file that a tar stream waits in, for jobs that don't want the drive to be read while a slow destination takes
//! its time.

use backstay_sdk::content::stat;
use backstay_sdk::{ByteStream, Code, Command, Failure, Result, Tree, When, journal, progress};

use crate::undo::Entry;

/// Writes standard input to a new file, to the disk.
pub fn write(file: &str) -> Command {
    Command::new("dd")
        .arg(format!("of={file}"))
        .args(["bs=1M", "conv=excl,fsync", "status=none"])
}

/// Removes the file.
pub fn remove(file: &str) -> Command {
    Command::new("rm").args(["-f", "--", file])
}

/// Makes the tar file and offers it. It goes when the run ends.
///
/// # Errors
/// Something is there already, or there is no room.
pub fn fill(file: &str, tree: &Tree) -> Result<ByteStream> {
    refuse_taken(file)?;
    progress::stage("caching");
    journal::record(
        &Entry::Cache {
            file: file.to_owned(),
        },
        When::Always,
    )?;
    write(file)
        .run_with(tree.tar())
        .and_then(backstay_sdk::Output::check)
        .map_err(|failure| explain(failure, file))?;
    ByteStream::file(file)
}

fn explain(failure: Failure, file: &str) -> Failure {
    if failure.message.contains("No space left") {
        failure
            .with_code(Code::DiskSpace)
            .hint("make room for the cache file, or set `streamDirect: true`: then none is needed")
    } else if failure.message.contains(file) {
        failure.hint("`localCachePath` must be in a directory that exists and can be written to")
    } else {
        failure
    }
}

/// Refuses a place where something is: it isn't ours to overwrite.
///
/// # Errors
/// There is something.
pub fn refuse_taken(file: &str) -> Result<()> {
    if stat(file)?.is_some() {
        return Err(
            Failure::configuration(format!("{file} exists already, and is not overwritten"))
                .hint("remove it, or name another file in `localCachePath`"),
        );
    }
    Ok(())
}
