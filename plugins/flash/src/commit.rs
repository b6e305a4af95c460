//! Commits what changed on the drive, and nothing if nothing did.

use std::collections::BTreeSet;

use backstay_sdk::{Failure, Result, log, progress};

use crate::config::Config;
use crate::fault;
use crate::git::{Author, Git};

/// Git's tree without entries.
const EMPTY_TREE: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

/// At most this many files that git can't take are named.
const MOST_NAMED: usize = 20;

/// Where the history stands after a run's commit.
#[derive(Debug)]
pub struct Committed {
    /// The newest commit.
    pub commit: String,
    /// Its branch; nothing if `HEAD` is on none.
    pub branch: Option<String>,
    /// Whether this run made it.
    pub is_new: bool,
}

/// Brings the history up to date.
///
/// # Errors
/// Git fails, or there is nothing on the drive.
pub fn commit(config: &Config, git: &Git) -> Result<Committed> {
    progress::stage("committing");
    drop_untracked(config, git)?;
    add(config, git)?;
    let tree = git.run(&git.write_tree())?.stdout.trim().to_owned();
    if tree == EMPTY_TREE {
        return Err(
            Failure::backup_failed(format!("git finds no file to track in {}", git.work_tree))
                .hint("is the flash drive mounted there? does a `.gitignore` on it leave everything out?"),
        );
    }
    let parent = git.look_up("HEAD")?;
    let before = git.look_up("HEAD^{tree}")?;
    let branch = git.current_branch()?;
    let parent = match (parent, &before) {
        (Some(commit), Some(before)) if *before == tree => {
            log::info(format!("nothing changed since commit {commit}"));
            return Ok(Committed {
                commit,
                branch,
                is_new: false,
            });
        }
        (Some(commit), None) => {
            return Err(Failure::backup_failed(format!(
                "the repository at {} is damaged: its newest commit {commit} can't be read",
                git.git_dir
            ))
            .hint(format!(
                "`git --git-dir={0} fsck` says more; move {0} away and the next run begins a new one",
                git.git_dir
            )));
        }
        (parent, _) => parent,
    };
    warn_of_large(config, git, before.as_deref(), &tree)?;
    let author = Author {
        name: &config.user_name,
        email: &config.user_email,
    };
    let make = git.commit_tree(&tree, parent.as_deref(), author);
    let commit = git
        .run_with(&make, &config.commit_message)?
        .stdout
        .trim()
        .to_owned();
    git.run(&git.move_head(&commit, parent.as_deref()))?;
    log::info(format!("made commit {commit}"));
    Ok(Committed {
        commit,
        branch,
        is_new: true,
    })
}

/// Drops from the index what is left out now, by the job or by the repository's own ignore-lists.
fn drop_untracked(config: &Config, git: &Git) -> Result<()> {
    let pathspecs = pathspecs(config, "");
    if !pathspecs.is_empty() {
        let output = git.run_with(&git.untrack(), &pathspecs)?;
        let dropped = output
            .stdout
            .lines()
            .filter(|line| line.starts_with("rm "))
            .count();
        if dropped > 0 {
            log::info(format!("git does not track {dropped} files any more"));
        }
    }
    let ignored = git.list_ignored().pipe()?;
    git.check(git.forget().run_with(ignored)?).map(drop)
}

fn add(config: &Config, git: &Git) -> Result<()> {
    // Everything, but for what is left out: that holds whatever a `.gitignore` on the drive says.
    let text = format!(":/\0{}", pathspecs(config, "exclude,"));
    let output = git.add().run_with(backstay_sdk::ByteStream::text(&text))?;
    for line in output.stderr.lines() {
        if let Some(path) = line.strip_prefix("warning: adding embedded git repository: ") {
            log::warning(
                "embedded-repository",
                format!("{path} is a repository of its own: git keeps only which commit it is at"),
                Some(path),
            );
        }
    }
    // With 1 it has added all but some.
    let refused = refused_files(&output.stderr);
    let is_only_note = refused.is_none() && is_note(&output.stderr);
    if output.is_success() || (output.status == 1 && (refused.is_some() || is_only_note)) {
        for line in refused.unwrap_or_default().into_iter().take(MOST_NAMED) {
            log::warning("not-in-git", format!("git can't keep a file: {line}"), None);
        }
        return Ok(());
    }
    Err(fault::explain(&output, &git.git_dir))
}

/// Whether git only says that a pattern of what to leave out names files which its own lists leave out too.
fn is_note(stderr: &str) -> bool {
    let is_wrong = |line: &str| line.starts_with("error: ") || line.starts_with("fatal: ");
    stderr.starts_with("The following paths are ignored by one of your .gitignore files")
        && !stderr.lines().any(is_wrong)
}

/// The complaints of `git add` about single files; nothing if it complains of anything else.
fn refused_files(stderr: &str) -> Option<Vec<&str>> {
    let mut lines = Vec::new();
    for line in stderr.lines().filter_map(|line| line.strip_prefix("error: ")) {
        let is_consequence = line.starts_with("unable to index file") || line.starts_with("unable to add");
        let is_of_a_file = line.starts_with("open(")
            || line.starts_with("invalid path")
            || line.starts_with("short read")
            || line.starts_with("readlink(");
        match (is_of_a_file, is_consequence) {
            (true, _) => lines.push(line),
            (_, true) => {}
            _ => return None,
        }
    }
    (!lines.is_empty()).then_some(lines)
}

fn pathspecs(config: &Config, magic: &str) -> String {
    let patterns = config.not_tracked();
    let all = patterns.iter().flat_map(|pattern| pattern.pathspecs(magic));
    all.map(|pathspec| pathspec + "\0").collect()
}

/// Names large files that git tracks from now on: nothing is dropped for its size.
fn warn_of_large(config: &Config, git: &Git, before: Option<&str>, tree: &str) -> Result<()> {
    let most = config.large_file_bytes;
    if most == 0 {
        return Ok(());
    }
    let list = |tree: &str| git.run(&git.list_tree(tree)).map(|output| output.stdout);
    let now = list(tree)?;
    let large = larger_than(&now, most);
    if large.is_empty() {
        return Ok(());
    }
    let then = before.map(list).transpose()?.unwrap_or_default();
    let known: BTreeSet<&str> = then.split('\0').collect();
    for file in large.iter().filter(|file| !known.contains(file.line)) {
        log::warning(
            "large-file",
            format!(
                "git now keeps each version of {}, which has {} bytes; to keep it in the backup alone, add it to \
                 `untracked`",
                file.path, file.bytes
            ),
            Some(file.path),
        );
    }
    Ok(())
}

struct Large<'a> {
    line: &'a str,
    path: &'a str,
    bytes: u64,
}

/// The files over a size in what `git ls-tree -l` wrote.
fn larger_than(listing: &str, most: u64) -> Vec<Large<'_>> {
    let large = listing.split('\0').filter_map(|line| {
        let (head, path) = line.split_once('\t')?;
        let bytes: u64 = head.rsplit(' ').next()?.parse().ok()?;
        (bytes > most).then_some(Large { line, path, bytes })
    });
    large.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_files_are_found_in_a_listing() {
        let listing = [
            "100644 blob aa      12\ta b",
            "100644 blob bb 20000000\tbig\tname",
            "160000 commit cc       -\tsub",
            "",
        ]
        .join("\0");
        let found: Vec<(&str, u64)> = larger_than(&listing, 12)
            .iter()
            .map(|l| (l.path, l.bytes))
            .collect();
        assert_eq!(found, [("big\tname", 20_000_000)]);
    }

    #[test]
    fn a_file_that_git_refuses_is_told_from_a_repository_that_fails() {
        let one = "error: invalid path 'git~1/x'\nerror: unable to add 'git~1/x' to index\n";
        assert_eq!(refused_files(one), Some(vec!["invalid path 'git~1/x'"]));
        let full = "error: unable to write file: No space left on device\nerror: unable to index file 'a'\n";
        assert_eq!(refused_files(full), None);
        assert_eq!(refused_files("fatal: x\n"), None);
    }
}
