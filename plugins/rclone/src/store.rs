//! Stores a stream as an object, or a tree file by file.

use backstay_sdk::{
    ByteStream, Code, Content, CopyOptions, Failure, Listing, Output, Result, RunInfo, Scratch, Stored, Tree,
    TreeCopy, When, journal, log, progress, state,
};

use crate::before::{self, Before};
use crate::config::{Config, Trees};
use crate::jsonlog::{self, Copied};
use crate::receipt::{self, Receipt};
use crate::{Entry, command, complaint, place};

/// How many files are named that are not at the remote as they should be.
const NAMED: usize = 5;

/// Stores an artifact.
pub fn store(config: &Config, run: &RunInfo, key: String, content: Content) -> Result<Stored> {
    place::must_be_as_before(config, run)?;
    match content {
        Content::Bytes(stream) => store_stream(config, run, key, stream),
        Content::Files(tree) if config.trees == Trees::Tar => store_as_tar(config, run, &key, &tree),
        Content::Files(tree) => store_tree(config, run, key, &tree),
    }
}

fn store_stream(config: &Config, run: &RunInfo, key: String, stream: ByteStream) -> Result<Stored> {
    let location = config.location(&key);
    // The journal would have it deleted if this run fails, and it belongs to another. A remote that doesn't answer
    // is also found here, before the source has begun.
    if place::size(config, &key)?.is_some() {
        return Err(Failure::storage(format!("{location} exists already")));
    }
    let entry = Entry {
        key: key.clone(),
        is_tree: false,
    };
    journal::record(&entry, When::OnAbort)?;
    let scratch = Scratch::make()?;
    let output = command::rcat(config, &key, &scratch.path())
        .run_with(stream)
        .map_err(complaint::of_stream)?;
    if !output.is_success() {
        return Err(complaint::failure("store", &location, &output));
    }
    state::remember_use(&config.remote, run)?;
    Ok(Stored {
        receipt: Receipt::Object(key).to_string(),
        location,
    })
}

fn store_as_tar(config: &Config, run: &RunInfo, key: &str, tree: &Tree) -> Result<Stored> {
    store_stream(config, run, format!("{key}.tar"), tree.tar())
}

fn store_tree(config: &Config, run: &RunInfo, key: String, tree: &Tree) -> Result<Stored> {
    let location = config.location(&key);
    if place::amount(config, &key)?.files > 0 {
        return Err(Failure::storage(format!("{location} exists already")));
    }
    progress::stage("looking at the files");
    let (copy, before) = look_at(config, tree, before(config, run, &key)?)?;
    let limit = copy.limit();
    if limit.is_some() {
        log::info("rclone keeps to the limit that holds now; a change of it holds from the next run on");
    }
    let entry = Entry {
        key: key.clone(),
        is_tree: true,
    };
    journal::record(&entry, When::OnAbort)?;
    progress::stage("copying");
    let copied_there = match &before {
        Some(before) => copy_there(config, &copy, before, &key, limit)?,
        None => 0,
    };
    let output = match copy.start(
        &command::copy_tree(config, &key, limit),
        Listing::Files,
        Some(jsonlog::BYTES_DONE),
    ) {
        Ok(output) => output,
        // The host says that rclone would take a name for another.
        Err(failure) if failure.code == Code::Configuration => {
            log::info(format!(
                "the tree is stored as a tar stream, because {}",
                failure.message
            ));
            if before.is_some() {
                place::purge(config, &key)?;
            }
            drop(copy);
            return store_as_tar(config, run, &key, tree);
        }
        Err(failure) => return Err(failure),
    };
    let copied = judge_copy(&location, &output)?;
    let amount = place::amount(config, &key)?;
    if amount.files == 0 {
        log::info(
            "there are no files in the tree, and many places keep no directories: it is stored as a tar stream",
        );
        drop(copy);
        return store_as_tar(config, run, &key, tree);
    }
    progress::stage("checking");
    let check = copy.start(&command::check_tree(config, &key), Listing::Files, None)?;
    let matching = judge_check(&location, &check)?;
    copy.counted(matching);
    let content = match copy.finish() {
        Ok(content) => content,
        // Nobody knows whether rclone took what changed as it was before or after, or half of each.
        Err(failure) if failure.code == Code::Configuration => {
            log::info(format!(
                "the tree is stored as a tar stream, because {}",
                failure.message
            ));
            place::purge(config, &key)?;
            drop(copy);
            return store_as_tar(config, run, &key, tree);
        }
        Err(failure) => {
            // If what came from there is not what the files are, it would not be the next time.
            if failure.code == Code::Verification
                && let Err(e) = before::forget(config, &key)
            {
                log::info(e.message);
            }
            return Err(failure);
        }
    };
    state::remember_use(&config.remote, run)?;
    before::remember(config, &key, before.as_ref())?;
    progress::statistics(&Copied {
        files_copied_there: copied_there,
        files: amount.files,
        bytes: amount.bytes,
        files_checked: matching,
        ..copied
    })?;
    let receipt = Receipt::Tree(receipt::Tree { key, amount, content });
    Ok(Stored {
        receipt: receipt.to_string(),
        location,
    })
}

/// The tree that files may be copied from. Whatever is the matter with it is no reason not to send them.
fn before(config: &Config, run: &RunInfo, key: &str) -> Result<Option<Before>> {
    match before::find(config, run, key) {
        Err(failure) if failure.code != Code::Cancelled => {
            say_that_all_is_sent(&failure);
            Ok(None)
        }
        found => found,
    }
}

fn say_that_all_is_sent(failure: &Failure) {
    log::info(format!("everything is sent again: {}", failure.message));
}

/// Walks a tree. What is the same in the tree before is found by that one's index; if it can't be read, everything is sent.
fn look_at(config: &Config, tree: &Tree, before: Option<Before>) -> Result<(TreeCopy, Option<Before>)> {
    let options = |earlier| CopyOptions {
        exclude: Vec::new(),
        hard_links: true,
        earlier,
        carry_over: false,
        at_rest: true,
    };
    if let Some(before) = before {
        match tree.copy(options(Some(before.index(config)?))) {
            Ok(copy) => {
                let has_some = copy.size().unchanged > 0;
                return Ok((copy, Some(before).filter(|_| has_some)));
            }
            Err(failure) if failure.code == Code::Cancelled => return Err(failure),
            // What is wrong with the tree itself is found once more.
            Err(failure) => say_that_all_is_sent(&failure),
        }
    }
    Ok((tree.copy(options(None))?, None))
}

/// Has the remote copy what is the same in the tree before, and says how many files that were. What it doesn't copy is sent.
fn copy_there(
    config: &Config,
    copy: &TreeCopy,
    before: &Before,
    key: &str,
    limit: Option<u64>,
) -> Result<u64> {
    let command = command::copy_there(config, &before.key, key, limit);
    let output = copy.start(&command, Listing::Unchanged, None)?;
    let copied = jsonlog::copied(&output.stdout).transfers;
    if !output.is_success() {
        let place = config.location(&before.key);
        let failure = complaint::failure("copy from", &place, &with_log(&output));
        log::info(format!("{}: what is missing is sent", failure.message));
    }
    log::info(format!(
        "{copied} of {} files that are as they were in the backup before were copied by the remote itself",
        copy.size().unchanged
    ));
    Ok(copied)
}

/// What was copied. Files that change or vanish while rclone reads them are no failure: the host finds them, too, and what
/// is missing besides is found by the check.
fn judge_copy(location: &str, output: &Output) -> Result<Copied> {
    let errors = jsonlog::errors(&output.stdout);
    let is_of_source = |message: &String| jsonlog::is_of_source(message);
    if output.is_success() || (!errors.is_empty() && errors.iter().all(is_of_source)) {
        return Ok(jsonlog::copied(&output.stdout));
    }
    Err(complaint::failure("store", location, &with_log(output)))
}

/// How many regular files are at the remote as they are in the tree.
fn judge_check(location: &str, output: &Output) -> Result<u64> {
    let Some(checked) = jsonlog::checked(&output.stdout) else {
        return Err(complaint::failure("check", location, &with_log(output)));
    };
    if let (Some(failure), false) = (checked.failures.first(), output.is_success()) {
        let said = Output {
            stderr: failure.clone(),
            ..output.clone()
        };
        return Err(complaint::failure("check", location, &said));
    }
    if checked.is_without_hashes {
        log::info(
            "the remote has no hashes that rclone can compare, so it compared sizes; `check: download` has all read back",
        );
    }
    for (path, what) in checked.different.iter().take(NAMED) {
        log::info(format!("{path} is not at {location} as it is now: {what}"));
    }
    if let Some(more) = checked
        .different
        .len()
        .checked_sub(NAMED)
        .filter(|more| *more > 0)
    {
        log::info(format!("and {more} more"));
    }
    Ok(checked.matching)
}

/// The same with what rclone said in its log as what it complained of.
fn with_log(output: &Output) -> Output {
    Output {
        stderr: format!("{}\n{}", output.stderr, jsonlog::messages(&output.stdout)),
        ..output.clone()
    }
}
