//! Stores a stream or a tree as a snapshot.

use backstay_sdk::{
    ByteStream, Code, Content, CopyOptions, Failure, Listing, Output, Result, RunInfo, Stored, Tree,
    TreeCopy, When, journal, log, progress, state,
};

use crate::answer::{self, Summary};
use crate::complaint::Kind;
use crate::config::Config;
use crate::receipt::Receipt;
use crate::{Entry, command, complaint, locks, repository, under_way};

/// restic's exit status for a snapshot without all that it should have, because it could not read that.
const INCOMPLETE: i32 = 3;

/// What the host puts before what it keeps of a program's complaints if there was more.
const CUT: char = '…';

/// What the host writes where a secret was.
const REDACTED: &str = "***";

/// Stores an object.
pub fn store(config: &Config, run: &RunInfo, key: &str, content: Content) -> Result<Stored> {
    match content {
        Content::Bytes(stream) => store_stream(config, run, key, stream),
        Content::Files(tree) => store_tree(config, run, key, &tree),
    }
}

/// Looks whether the repository is there and the key free, and writes down what is about to be done. Each start of restic takes its
/// time to open a repository, so it is asked once a run; and of a key again that an attempt before this one may have stored.
fn begin(config: &Config, run: &RunInfo, key: &str) -> Result<()> {
    if under_way::has_begun(key)? || !state::was_used_by(&config.repository, run)? {
        repository::ready(config, run, key)?;
    }
    let entry = Entry::Storing {
        run_id: run.run_id.clone(),
        key: key.to_owned(),
        since: locks::now()?.to_string(),
    };
    journal::record(&entry, When::OnAbort)?;
    under_way::begin(key)
}

fn store_stream(config: &Config, run: &RunInfo, key: &str, stream: ByteStream) -> Result<Stored> {
    begin(config, run, key)?;
    say_what_deduplicates_badly(key);
    let output = command::backup(config, run, key)
        .run_with(stream)
        .map_err(|failure| of_stream(config, failure))?;
    if !output.is_success() {
        return Err(of_backup(config, key, &output));
    }
    end(config, run, key, summary(&output)?, false)
}

/// Stores a tree as its tar stream: nobody needs its copy any more, for which the host may be reading still.
fn store_as_tar(config: &Config, run: &RunInfo, key: &str, tree: &Tree, copy: TreeCopy) -> Result<Stored> {
    drop(copy);
    store_stream(config, run, &format!("{key}.tar"), tree.tar())
}

fn store_tree(config: &Config, run: &RunInfo, key: &str, tree: &Tree) -> Result<Stored> {
    begin(config, run, key)?;
    progress::stage("looking at the files");
    let copy = tree.copy(CopyOptions {
        exclude: Vec::new(),
        hard_links: true,
        earlier: None,
        carry_over: false,
        at_rest: false,
    })?;
    let (size, limit) = (copy.size(), copy.limit());
    if size.is_directory && size.entries <= 1 {
        log::info("restic keeps no empty directory: it gets a tar stream");
        return store_as_tar(config, run, key, tree, copy);
    }
    if size.beyond_pax {
        log::info(
            "restic can't give back extended attributes with `=` in their names, or more than 1 MiB of them at one file: it gets a tar stream",
        );
        return store_as_tar(config, run, key, tree, copy);
    }
    if limit.is_some() {
        log::info("restic keeps to the limit that holds now; a change of it holds from the next run on");
    }
    let command = command::backup_tree(&beside_cache(config, &copy)?, run, key, &size, limit);
    let input = if size.is_directory {
        Listing::LeftOut
    } else {
        Listing::Taken
    };
    progress::stage("copying");
    let output = match copy.start(&command, input, Some("\"bytes_done\":")) {
        Ok(output) => output,
        // The host says that restic would have to compare too many patterns with each file.
        Err(failure) if failure.code == Code::Configuration => {
            log::info(format!("restic gets a tar stream: {}", failure.message));
            return store_as_tar(config, run, key, tree, copy);
        }
        Err(failure) => return Err(failure),
    };
    judge(config, key, &copy, &output)?;
    let summary = summary(&output)?;
    copy.counted(summary.files());
    copy.finish()?;
    end(config, run, key, summary, true)
}

/// The configuration without its cache, if the tree has that in it: restic leaves out its own cache and doesn't say so.
fn beside_cache(config: &Config, copy: &TreeCopy) -> Result<Config> {
    let Some(path) = &config.cache_directory else {
        return Ok(config.clone());
    };
    if !copy.takes(path)? {
        return Ok(config.clone());
    }
    log::info(format!(
        "{path} is part of what is backed up, so restic does without its cache: exclude it in the source, or choose another `cacheDirectory`"
    ));
    Ok(Config {
        cache_directory: None,
        ..config.clone()
    })
}

/// Fails unless restic took all that it could read. What it could not, it has named.
fn judge(config: &Config, key: &str, copy: &TreeCopy, output: &Output) -> Result<()> {
    if output.is_success() {
        return Ok(());
    }
    let untaken = answer::untaken(&output.stderr);
    let untaken = match untaken {
        Some(all) if output.status == INCOMPLETE && !all.is_empty() => all,
        None if output.status == INCOMPLETE => {
            return Err(unread(
                "restic could not read files, and does not say which in a way that is known",
            ));
        }
        all => return Err(of_tree(config, key, output, &all.unwrap_or_default())),
    };
    if output.stderr.starts_with(CUT) {
        return Err(unread(format!(
            "restic could not read more files than it could name, {} and {} others among them",
            untaken.first().map_or("", |(path, _)| path),
            untaken.len() - 1
        )));
    }
    if let Some((path, _)) = untaken.iter().find(|(path, _)| path.contains(REDACTED)) {
        return Err(unread(format!(
            "restic could not read {path}, where {REDACTED} stands for a text that is a secret too, so it can't be told which file that is"
        )));
    }
    for (path, why) in &untaken {
        copy.untaken(path, why);
    }
    Ok(())
}

fn summary(output: &Output) -> Result<Summary> {
    answer::summary(&output.stdout).ok_or_else(|| {
        Failure::environment("restic made a backup and did not say which")
            .hint("`restic version` must be 0.14 or newer")
    })
}

/// The failure of a tree of which it isn't known what is missing.
fn unread(message: impl Into<String>) -> Failure {
    Failure::new(Code::BackupFailed, message)
        .hint("do they come and go? leave them out; else look for what is wrong with the disk")
        .retry()
}

/// The failure of a tree. What restic says of single files isn't its cause, whatever stands in their names.
fn of_tree(config: &Config, key: &str, output: &Output, untaken: &[(String, String)]) -> Failure {
    let output = Output {
        stderr: answer::without_files(&output.stderr),
        ..output.clone()
    };
    let place = config.location(key);
    match untaken.first() {
        Some((path, why)) if output.stderr.trim().is_empty() => Failure::storage(format!(
            "cannot store {place}: restic ended with status {}; it could not read {path}: {why}",
            output.status
        )),
        _ => of_restic(config, &place, &output),
    }
}

/// Finds the new snapshot and says what it took.
fn end(config: &Config, run: &RunInfo, key: &str, summary: Summary, is_tree: bool) -> Result<Stored> {
    let id = repository::whole_id(config, run, key, &summary.snapshot_id)?;
    state::remember_use(&config.repository, run)?;
    log::info(format!(
        "snapshot {} of /{key}: {} of {} bytes were new; files: {} new, {} changed, {} unmodified",
        id.get(..8).unwrap_or(&id),
        summary.data_added,
        summary.total_bytes_processed,
        summary.files_new,
        summary.files_changed,
        summary.files_unmodified
    ));
    let receipt = Receipt::new(&id, key, is_tree)
        .ok_or_else(|| Failure::internal(format!("`{}` is no name for an object", key.escape_debug())))?;
    under_way::ended(&receipt, summary.total_bytes_processed)?;
    progress::statistics(&Summary {
        snapshot_id: id.clone(),
        ..summary
    })?;
    Ok(Stored {
        receipt: receipt.to_string(),
        location: config.location(key),
    })
}

/// The failure of a stream on its way into restic.
fn of_stream(config: &Config, failure: Failure) -> Failure {
    let is_locked =
        complaint::is_of_restic(&failure) && complaint::kind(&failure.message) == Some(Kind::Locked);
    let failure = complaint::of_stream(failure);
    if is_locked {
        locks::name_holders(config, failure)
    } else {
        failure
    }
}

/// The failure of a stream's backup that ended badly when it had got everything.
fn of_backup(config: &Config, key: &str, output: &Output) -> Failure {
    let place = config.location(key);
    let read = answer::summary(&output.stdout).map(|summary| summary.total_bytes_processed);
    if output.status == INCOMPLETE && read == Some(0) {
        return Failure::storage(format!("cannot store {place}: it is empty, and restic keeps no empty stream"))
            .hint("an encryption or compression filter makes something of nothing; or let the source be skipped while it is empty");
    }
    of_restic(config, &place, output)
}

fn of_restic(config: &Config, place: &str, output: &Output) -> Failure {
    let failure = complaint::failure("store", place, output);
    match complaint::kind(&output.stderr) {
        Some(Kind::Locked) => locks::name_holders(config, failure),
        _ => failure,
    }
}

/// What was compressed or encrypted before has little in common with what came the day before.
fn say_what_deduplicates_badly(key: &str) {
    const COMPRESSED: [&str; 5] = [".zst", ".gz", ".xz", ".bz2", ".lz4"];
    let (how, shared) = if key.ends_with(".age") {
        ("encrypted", "nothing")
    } else if COMPRESSED.iter().any(|ending| key.ends_with(ending)) {
        ("compressed", "less")
    } else {
        return;
    };
    log::info(format!(
        "/{key} is {how} before restic gets it, so {shared} of it can be shared with earlier backups: leave the job's filters out, restic does both"
    ));
}
