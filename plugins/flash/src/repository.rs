//! The git data: made if it is missing, refused if it isn't safe to use, described, and locked by nobody else.

use backstay_sdk::content::stat;
use backstay_sdk::{ByteStream, Failure, FileKind, Result, Store, When, journal, log};

use crate::config::Config;
use crate::git::Git;
use crate::undo::Entry;

/// What the name of a lock ends with.
const LOCK: &str = ".lock";

/// The branch of a new repository.
const FIRST_BRANCH: &str = "refs/heads/main";

/// The first line of an ignore-list that is ours to change.
const MARK: &str = "# Written by Backstay. Remove this line to keep your own.";

/// Longest description or ignore-list that is read, in bytes.
const TEXT_BYTES: u32 = 256 << 10;

/// What is at the place of the git data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nothing of a repository.
    Absent,
    /// A repository.
    Present,
}

/// Looks at the place of the git data.
///
/// # Errors
/// What is there can't be used.
pub fn look(git_dir: &str) -> Result<State> {
    let Some(info) = stat(git_dir)? else {
        return Ok(State::Absent);
    };
    let is_there = |name: &str| Ok::<_, Failure>(stat(&format!("{git_dir}/{name}"))?.is_some());
    let refuse = |why: &str, hint: &str| Err(Failure::backup_failed(format!("{git_dir} {why}")).hint(hint));
    if info.kind != FileKind::Directory {
        return refuse(
            "is not a directory",
            "it may be the link of a work tree or submodule: name the repository itself in `gitPath`",
        );
    }
    if is_there("commondir")? {
        return refuse(
            "is a linked work tree, not a repository",
            "name the repository itself in `gitPath`",
        );
    }
    if is_there("HEAD")? {
        return Ok(State::Present);
    }
    if is_there("objects")? || is_there("packed-refs")? {
        return refuse(
            "is a damaged repository: it has no HEAD",
            "repair it, or move it away: the next run begins a new one, and the history is still in earlier backups",
        );
    }
    Ok(State::Absent)
}

/// Makes the repository ready for a commit.
///
/// # Errors
/// It can't be used, or another git is at work in it.
pub fn prepare(config: &Config, git: &Git, server: &str) -> Result<()> {
    let state = look(&git.git_dir)?;
    let branches = match state {
        State::Absent => vec![FIRST_BRANCH.to_owned()],
        State::Present => git.current_branch()?.into_iter().collect(),
    };
    let locks = locks(branches);
    refuse_locked(git, &locks)?;
    let entry = Entry::Repository {
        git_dir: git.git_dir.clone(),
        is_new: state == State::Absent,
        locks,
    };
    journal::record(&entry, When::Always)?;
    if state == State::Absent {
        log::info(format!("making a repository at {}", git.git_dir));
        create(git)?;
    }
    refuse_filters(git)?;
    let description = format!("Unraid flash drive for {server}\n");
    write(git, "description", &description, |_| true)?;
    write(git, "info/exclude", &ignore_list(config), |text| {
        text.starts_with(MARK)
    })
}

/// Makes a repository.
///
/// # Errors
/// It can't be made.
pub fn create(git: &Git) -> Result<()> {
    let output = git.init().run()?;
    if output.stderr.contains("No such file or directory") {
        let parent = git.git_dir.rsplit_once('/').map_or("/", |(parent, _)| parent);
        return Err(
            Failure::backup_failed(format!("there is no directory {parent} for the git data"))
                .hint("create it, or correct `gitPath`"),
        );
    }
    git.check(output).map(drop)
}

fn locks(branches: Vec<String>) -> Vec<String> {
    let of_all = ["index", "HEAD", "config", "packed-refs"].map(str::to_owned);
    let all = of_all.into_iter().chain(branches);
    all.map(|name| name + LOCK).collect()
}

/// Refuses to go on where another git is at work: its lock is not ours to remove.
fn refuse_locked(git: &Git, locks: &[String]) -> Result<()> {
    for lock in locks {
        let file = format!("{}/{lock}", git.git_dir);
        if stat(&file)?.is_some() {
            return Err(Failure::backup_failed(format!(
                "another git has locked the repository: {file} is there"
            ))
            .hint(format!(
                "wait for it to end; if no git is running, one has crashed: remove {file}"
            ))
            .retry());
        }
    }
    Ok(())
}

/// Refuses a repository that has git run programs on what is added.
fn refuse_filters(git: &Git) -> Result<()> {
    let output = git.filters().run()?;
    if output.status == 1 {
        return Ok(());
    }
    let output = git.check(output)?;
    let first = output.stdout.lines().next().unwrap_or_default();
    Err(Failure::configuration(format!(
        "the repository at {} filters files through a program (`{first}` in its configuration)",
        git.git_dir
    ))
    .hint(
        "it belongs to another tool, such as Unraid Connect: give this job one of its own by `gitPath`, or remove \
         the setting with `git config --unset`",
    ))
}

fn ignore_list(config: &Config) -> String {
    let mut text = format!("{MARK}\n");
    for pattern in config.not_tracked() {
        text.push_str(&pattern.ignore_line());
        text.push('\n');
    }
    text
}

/// Replaces a text in the repository that differs, if it may be replaced. It says nothing that another run couldn't
/// say again, so it needs no entry in the journal.
fn write(git: &Git, name: &str, wanted: &str, may_replace: fn(&str) -> bool) -> Result<()> {
    let file = format!("{}/{name}", git.git_dir);
    if stat(&file)?.is_some() {
        let text = ByteStream::file(&file)?.read_text(TEXT_BYTES);
        let is_settled = text.is_ok_and(|text| text == wanted || !may_replace(&text));
        if is_settled {
            return Ok(());
        }
    }
    let store = Store::directory(&git.git_dir)?;
    store.delete(name)?;
    store.put(name, ByteStream::text(wanted)).map(drop)
}
