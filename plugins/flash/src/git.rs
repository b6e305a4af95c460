//! The commands of git that this plugin runs, one function each. `plugin.json` asks for exactly these.
//!
//! Neither the drive nor a repository on it is trusted. Nobody's configuration but the repository's own is read, and
//! what could run a program in it is switched off here or refused in [`repository`](crate::repository): hooks, the
//! file system monitor, filters. Only plumbing is used where a porcelain command would ask for more (an editor,
//! signatures, maintenance, the state of submodules). Names of files are never arguments: they go through standard
//! input, separated by NUL.

use backstay_sdk::{ByteStream, Command, Output, Result};

use crate::fault;

/// What each command sets, over what the repository's configuration says.
///
/// A FAT drive has no modes and gives its files new inode numbers each time it is mounted; its files are kept byte for
/// byte; and after a power loss objects must be whole.
const SETTINGS: [&str; 6] = [
    "core.fsmonitor=false",
    "core.hooksPath=/dev/null",
    "core.fsync=all",
    "core.fileMode=false",
    "core.checkStat=minimal",
    "core.autocrlf=false",
];

/// The environment of each command.
const ENVIRONMENT: [(&str, &str); 8] = [
    ("GIT_CONFIG_NOSYSTEM", "1"),
    ("GIT_CONFIG_GLOBAL", "/dev/null"),
    ("GIT_ATTR_NOSYSTEM", "1"),
    ("GIT_TERMINAL_PROMPT", "0"),
    ("GIT_OPTIONAL_LOCKS", "0"),
    ("GIT_ALLOW_PROTOCOL", "none"),
    ("GIT_NO_LAZY_FETCH", "1"),
    ("GIT_NO_REPLACE_OBJECTS", "1"),
];

/// Git's tree without entries: attributes are read from it instead of from files on the drive.
const EMPTY_TREE: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

/// Two directories that belong together: the git data and the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Git {
    /// The git data.
    pub git_dir: String,
    /// The files.
    pub work_tree: String,
    /// Whether the files' names differ by more than case.
    pub ignore_case: bool,
}

/// Who commits.
#[derive(Debug, Clone, Copy)]
pub struct Author<'a> {
    /// The name.
    pub name: &'a str,
    /// The e-mail address.
    pub email: &'a str,
}

impl Git {
    fn command(&self) -> Command {
        let case = self.ignore_case.then_some("core.ignoreCase=true");
        let mut command = Command::new("git");
        for setting in SETTINGS.into_iter().chain(case) {
            command = command.args(["-c", setting]);
        }
        for (name, value) in ENVIRONMENT {
            command = command.env(name, value);
        }
        command
            .arg(format!("--git-dir={}", self.git_dir))
            .arg(format!("--work-tree={}", self.work_tree))
    }

    fn sub<const N: usize>(&self, args: [&str; N]) -> Command {
        self.command().args(args)
    }

    /// Makes a repository, or what is missing of one.
    pub fn init(&self) -> Command {
        self.sub(["init", "--quiet", "--template=", "--initial-branch=main"])
    }

    /// Prints the names of filter programs; ends with 1 if there is none.
    pub fn filters(&self) -> Command {
        self.sub(["config", "--name-only", "--get-regexp", r"^filter\."])
    }

    /// Prints the id of what a name means; ends with 1 and says nothing if there is none.
    pub fn id_of(&self, name: &str) -> Command {
        self.sub(["rev-parse", "--verify", "--quiet", name])
    }

    /// Prints the branch that the next commit goes to.
    pub fn branch(&self) -> Command {
        self.sub(["symbolic-ref", "--quiet", "HEAD"])
    }

    /// Drops the files that pathspecs on standard input match from the index, and names them.
    pub fn untrack(&self) -> Command {
        self.sub([
            "rm",
            "-r",
            "--force",
            "--cached",
            "--ignore-unmatch",
            "--pathspec-from-file=-",
            "--pathspec-file-nul",
        ])
    }

    /// Writes the names of files in the index that the repository's ignore-lists name.
    pub fn list_ignored(&self) -> Command {
        self.sub(["ls-files", "-z", "--cached", "--ignored", "--exclude-standard"])
    }

    /// Drops the files whose names are on standard input from the index.
    pub fn forget(&self) -> Command {
        self.sub(["update-index", "-z", "--force-remove", "--stdin"])
    }

    /// Brings the index up to date with the files that pathspecs on standard input match.
    pub fn add(&self) -> Command {
        self.sub([
            "add",
            "--all",
            "--ignore-errors",
            "--pathspec-from-file=-",
            "--pathspec-file-nul",
        ])
        .env("GIT_ATTR_SOURCE", EMPTY_TREE)
    }

    /// Writes the index as a tree and prints its id.
    pub fn write_tree(&self) -> Command {
        self.sub(["write-tree"])
    }

    /// Makes a commit, its message on standard input, and prints its id.
    pub fn commit_tree(&self, tree: &str, parent: Option<&str>, author: Author<'_>) -> Command {
        let command = self.sub(["commit-tree", tree]);
        let command = match parent {
            Some(parent) => command.args(["-p", parent]),
            None => command,
        };
        command
            .args(["-F", "-"])
            .env("GIT_AUTHOR_NAME", author.name)
            .env("GIT_AUTHOR_EMAIL", author.email)
            .env("GIT_COMMITTER_NAME", author.name)
            .env("GIT_COMMITTER_EMAIL", author.email)
    }

    /// Moves the branch to a commit, if it is still at `parent`, or not there without one.
    pub fn move_head(&self, commit: &str, parent: Option<&str>) -> Command {
        self.sub([
            "update-ref",
            "-m",
            "backstay",
            "HEAD",
            commit,
            parent.unwrap_or(""),
        ])
    }

    /// Writes names, ids and sizes of all files of a tree.
    pub fn list_tree(&self, tree: &str) -> Command {
        self.sub(["ls-tree", "-r", "-l", "-z", tree])
    }

    /// Writes the names of files in any commit that pathspecs on standard input match.
    pub fn search_history(&self) -> Command {
        self.sub([
            "log",
            "--all",
            "--stdin",
            "-m",
            "-z",
            "--name-only",
            "--no-renames",
            "--no-show-signature",
            "--format=",
        ])
    }

    /// Writes all that branches and tags reach.
    pub fn bundle(&self) -> Command {
        self.sub(["bundle", "create", "--quiet", "-", "--all"])
    }

    /// Takes what a bundle on standard input holds, and prints its branches and tags.
    pub fn unbundle(&self) -> Command {
        self.sub(["bundle", "unbundle", "/dev/stdin"])
    }

    /// Sets branches and tags as standard input says.
    pub fn set_refs(&self) -> Command {
        self.sub(["update-ref", "--stdin"])
    }

    /// Chooses the branch.
    pub fn set_branch(&self, branch: &str) -> Command {
        self.sub(["symbolic-ref", "HEAD", branch])
    }

    /// Makes the index that of the newest commit, without touching files.
    pub fn read_tree(&self) -> Command {
        self.sub(["read-tree", "HEAD"])
    }

    /// Runs a command that must end well.
    ///
    /// # Errors
    /// What git complains of, with what to do about it.
    pub fn run(&self, command: &Command) -> Result<Output> {
        self.check(command.run()?)
    }

    /// Runs a command that gets text and must end well.
    ///
    /// # Errors
    /// As [`Git::run`].
    pub fn run_with(&self, command: &Command, text: &str) -> Result<Output> {
        self.check(command.run_with(ByteStream::text(text))?)
    }

    /// Fails unless a command ended well.
    ///
    /// # Errors
    /// As [`Git::run`].
    pub fn check(&self, output: Output) -> Result<Output> {
        if output.is_success() {
            Ok(output)
        } else {
            Err(fault::explain(&output, &self.git_dir))
        }
    }

    /// The id of what a name means; nothing if there is none.
    ///
    /// # Errors
    /// Git fails in another way.
    pub fn look_up(&self, name: &str) -> Result<Option<String>> {
        one_word(self, &self.id_of(name))
    }

    /// The branch that the next commit goes to, such as `refs/heads/main`; nothing if there is none.
    ///
    /// # Errors
    /// Git fails in another way.
    pub fn current_branch(&self) -> Result<Option<String>> {
        one_word(self, &self.branch())
    }
}

/// What a command prints that ends with 1 if there is nothing.
fn one_word(git: &Git, command: &Command) -> Result<Option<String>> {
    let output = command.run()?;
    if output.status == 1 && output.stderr.trim().is_empty() {
        return Ok(None);
    }
    Ok(Some(git.check(output)?.stdout.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::cache;

    fn git(git_dir: &str, work_tree: &str, ignore_case: bool) -> Git {
        Git {
            git_dir: git_dir.to_owned(),
            work_tree: work_tree.to_owned(),
            ignore_case,
        }
    }

    /// Whether words match patterns as the host matches them.
    fn matches(patterns: &[Value], words: &[&str]) -> bool {
        match (patterns.split_first(), words.split_first()) {
            (None, rest) => rest.is_none(),
            (Some((Value::Array(group), rest)), _) => {
                matches(rest, words) || matches(&group.iter().chain(rest).cloned().collect::<Vec<_>>(), words)
            }
            (Some((Value::String(pattern), rest)), Some((word, words))) => {
                let is_match = match pattern.strip_suffix('*') {
                    Some("") => !word.starts_with('-'),
                    Some(start) => word.starts_with(start),
                    None => pattern == word,
                };
                is_match && matches(rest, words)
            }
            _ => false,
        }
    }

    fn manifest() -> Vec<Value> {
        let text = include_str!("../plugin.json")
            .replace("{config.path:-/boot}", "/boot")
            .replace("{config.gitPath:-/boot/.git}", "/git/.git")
            .replace("{config.localCachePath}", "/cache/x.tar")
            .replace("{target}", "/new");
        let manifest: Value = serde_json::from_str(&text).expect("JSON");
        manifest["capabilities"]["exec"]
            .as_array()
            .expect("a list")
            .clone()
    }

    #[test]
    fn the_manifest_asks_for_every_command_and_for_no_other() {
        let requests = manifest();
        let mut used = vec![false; requests.len()];
        let mut check = |command: &Command| {
            let (line, words) = (command.to_string(), command.arguments());
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let found = requests.iter().position(|r| {
                line.starts_with(&format!("{} ", r["program"].as_str().unwrap_or_default()))
                    && matches(r["args"].as_array().expect("a list"), &words)
            });
            let found = found.unwrap_or_else(|| panic!("plugin.json doesn't ask for `{line}`"));
            used[found] = true;
            let granted: Vec<&str> = requests[found]["env"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            for (name, value) in command.environment() {
                let exact = format!("{name}={value}");
                let is_granted = granted.contains(&exact.as_str()) || granted.contains(&name.as_str());
                assert!(is_granted, "plugin.json doesn't let `{line}` set {exact}");
            }
        };
        for ignore_case in [false, true] {
            let source = git("/git/.git", "/boot", ignore_case);
            let author = Author {
                name: "a",
                email: "b",
            };
            for command in [
                source.init(),
                source.filters(),
                source.id_of("HEAD^{tree}"),
                source.branch(),
                source.untrack(),
                source.list_ignored(),
                source.forget(),
                source.add(),
                source.write_tree(),
                source.commit_tree("1", None, author),
                source.commit_tree("1", Some("2"), author),
                source.move_head("1", None),
                source.move_head("1", Some("2")),
                source.list_tree("1"),
                source.search_history(),
                source.bundle(),
            ] {
                check(&command);
            }
        }
        for target in [git("/new/.git", "/new", false), git("/git/.git", "/boot", false)] {
            for command in [
                target.init(),
                target.id_of("HEAD"),
                target.unbundle(),
                target.set_refs(),
                target.set_branch("refs/heads/main"),
                target.read_tree(),
            ] {
                check(&command);
            }
        }
        check(&cache::write("/cache/x.tar"));
        check(&cache::remove("/cache/x.tar"));
        check(&crate::validate::version());
        let unused: Vec<&Value> = requests
            .iter()
            .zip(&used)
            .filter(|(_, used)| !**used)
            .map(|(r, _)| r)
            .collect();
        assert!(
            unused.is_empty(),
            "plugin.json asks for what is never run: {unused:?}"
        );
    }

    #[test]
    fn the_defaults_of_the_manifest_are_those_of_the_configuration() {
        let text = include_str!("../plugin.json");
        for (field, default) in [
            ("path", crate::config::DEFAULT_PATH),
            ("gitPath", crate::config::DEFAULT_GIT_PATH),
        ] {
            assert!(text.contains(&format!("{{config.{field}:-{default}}}")));
            assert!(!text.contains(&format!("{{config.{field}}}")));
        }
    }
}
