//! The directory at another machine, reached by ssh: what is there, what is put there, and what has to go.

use backstay_sdk::directory::Receipt;
use backstay_sdk::{
    ByteStream, Code, Command, Content, Diagnostic, Failure, Object, Output, Result, Room, Scratch,
    TreeOptions,
};

use crate::answer::missing;
use crate::complaint::{connection, explain};
use crate::config::Config;
use crate::{command, ssh};

/// The most that the host keeps of what a program prints, in bytes.
const PRINTED_BYTES: usize = 1 << 20;

/// A directory at another machine.
#[derive(Debug, Clone, Copy)]
pub struct Remote<'a> {
    config: &'a Config,
}

/// What a look at the directory says.
#[derive(Debug, PartialEq)]
struct Seen {
    /// Number of the account there.
    uid: u32,
    /// Bytes of the filesystem.
    total: u64,
    /// Bytes of it that are to be had.
    available: u64,
    /// Where the filesystem is mounted.
    mounted_on: String,
    /// Whether rsync is there.
    has_rsync: bool,
    /// Whether there is something under the key that was asked for.
    is_taken: bool,
}

impl Seen {
    /// Reads what [`ssh::look_for`] makes the other machine say.
    fn parse(said: &str) -> Option<Self> {
        let mut lines = said.lines();
        let uid = lines.next()?.trim().parse().ok()?;
        // The head of the table, and its only line; a long name of a device may have one of its own.
        let rest: Vec<&str> = lines.skip(1).collect();
        let end = rest.iter().position(|line| line.contains('%'))?;
        let (row, after) = (rest.get(..=end)?.join(" "), rest.get(end + 1..)?);
        let (numbers, mounted_on) = row.split_once("% ")?;
        let mut numbers = numbers.split_whitespace().rev().skip(1);
        let available: u64 = numbers.next()?.parse().ok()?;
        let total: u64 = numbers.nth(1)?.parse().ok()?;
        Some(Seen {
            uid,
            total: total.saturating_mul(1024),
            available: available.saturating_mul(1024),
            mounted_on: mounted_on.trim().to_owned(),
            has_rsync: after.iter().any(|line| line.starts_with('/')),
            is_taken: after.contains(&"taken"),
        })
    }
}

impl<'a> Remote<'a> {
    /// The one that the job names; nothing if it names a directory of this machine.
    pub fn of(config: &'a Config) -> Option<Self> {
        config.host.as_ref().map(|_| Remote { config })
    }

    /// Where an object is, for a person and for rsync.
    pub fn location(&self, key: &str) -> String {
        format!("{}:{}/{key}", ssh::host(self.config), ssh::path(self.config))
    }

    fn name(&self) -> String {
        format!("{}:{}", ssh::host(self.config), ssh::path(self.config))
    }

    /// What is wrong there now. A machine that doesn't answer is only a warning: it may when the job runs.
    pub fn inspect(&self) -> Vec<Diagnostic> {
        let seen = self.look(None).and_then(|seen| {
            self.config.directory().check_expected(&seen.mounted_on)?;
            Ok(seen)
        });
        let seen = match seen {
            Ok(seen) => seen,
            Err(failure) if matches!(failure.code, Code::Network | Code::Environment) => {
                let at = if failure.code == Code::Network {
                    "/host"
                } else {
                    "/remotePath"
                };
                return vec![Diagnostic {
                    hint: failure.hint,
                    ..Diagnostic::warning(at, "not-there", failure.message)
                }];
            }
            Err(failure) => return vec![Diagnostic::from_failure("/host", "unusable-host", failure)],
        };
        let trees = self.refuse_trees(seen.uid);
        let found = trees.err().map(|failure| Diagnostic {
            hint: failure.hint,
            ..Diagnostic::warning("/user", "no-owners", failure.message)
        });
        found.into_iter().collect()
    }

    /// Makes sure of everything that must hold before something is stored under a key that is free.
    ///
    /// # Errors
    /// It can't be reached, isn't the right one, is full, or has something there already.
    pub fn ready(&self, key: &str, is_tree: bool) -> Result<()> {
        let directory = self.config.directory();
        let seen = self.look(Some(key))?;
        self.right(directory.check_expected(&seen.mounted_on))?;
        self.right(directory.remember_mount(ssh::host(self.config), &seen.mounted_on))?;
        self.right(directory.refuse_too_little(seen.available, 0))?;
        if is_tree {
            self.refuse_trees(seen.uid)?;
        }
        if seen.is_taken {
            return Err(Failure::storage(format!("{} exists already", self.location(key))));
        }
        Ok(())
    }

    /// Fails unless there is room for so many bytes.
    ///
    /// # Errors
    /// There isn't, or it can't be reached.
    pub fn refuse_without_room(&self, bytes: u64) -> Result<()> {
        let available = self.look(None)?.available;
        self.right(self.config.directory().refuse_too_little(available, bytes))
    }

    /// Why a copy of so many bytes, or fewer, ended in the middle: rsync removes what it could not write to its end, so a
    /// full disk has some room again.
    pub fn explain_trouble(&self, failure: Failure, bytes: u64) -> Failure {
        match self.look(None) {
            Ok(seen) if seen.available < bytes => {
                let message = format!(
                    "{}; {} has {} bytes left, and up to {bytes} were to be stored",
                    failure.message,
                    self.name(),
                    seen.available
                );
                Failure::disk_space(message)
                    .hint("make room there or shorten the retention; earlier snapshots are untouched")
            }
            _ => failure,
        }
    }

    /// Refuses to say anything about what is missing while the disk of earlier runs is not mounted there.
    ///
    /// # Errors
    /// It isn't, or the machine can't be reached.
    pub fn refuse_if_unmounted(&self) -> Result<()> {
        let seen = self.look(None)?;
        let directory = self.config.directory();
        self.right(directory.check_expected(&seen.mounted_on))?;
        self.right(directory.compare_mount(ssh::host(self.config), &seen.mounted_on))
            .map(drop)
    }

    /// The room there.
    ///
    /// # Errors
    /// It can't be reached.
    pub fn room(&self) -> Result<Room> {
        let seen = self.look(None)?;
        Ok(Room {
            total: Some(seen.total),
            available: Some(seen.available),
        })
    }

    /// Stores a stream under a key that is free.
    ///
    /// # Errors
    /// It isn't stored.
    pub fn put(&self, key: &str, stream: ByteStream) -> Result<()> {
        let doing = format!("cannot store {}", self.location(key));
        let (partial, directory) = (partial(key), parent(key));
        let output = ssh::write(self.config, directory, &partial)
            .run_with(stream)
            .map_err(of_stream)?;
        self.done(&doing, output)?;
        self.publish(key)
    }

    /// Makes the directory into which a tree is copied, and returns its key. What an interrupted attempt left in it is gone:
    /// its files are those of earlier snapshots.
    ///
    /// # Errors
    /// It can't be made.
    pub fn begin_tree(&self, key: &str) -> Result<String> {
        let partial = partial(key);
        let doing = format!("cannot make {}", self.location(&partial));
        self.done(&doing, ssh::make(self.config, &partial).run()?)?;
        Ok(partial)
    }

    /// What a snapshot does not have any more of what was to be carried over from it, as rsync said.
    ///
    /// # Errors
    /// It complained of something else, or of more than can be listed.
    pub fn missing(&self, before: &str, output: &Output) -> Result<Vec<String>> {
        let base = format!("{}/{before}", ssh::path(self.config));
        missing(output, &base).ok_or_else(|| {
            let from = self.location(before);
            Failure::storage(format!(
                "cannot carry over what {from} has: {}",
                output.complaint()
            ))
            .hint("verify that backup; if it is damaged, delete it and the next run builds on the one before")
        })
    }

    /// Gives what was stored its name, once all of it is on disk.
    ///
    /// # Errors
    /// It has none yet.
    pub fn publish(&self, key: &str) -> Result<()> {
        let doing = format!("cannot store {}", self.location(key));
        let output = ssh::publish(self.config, &partial(key), key).run()?;
        self.done(&doing, output).map(drop)
    }

    /// Gives a stored object back, a tree as a tar stream.
    ///
    /// # Errors
    /// It isn't there, or can't be read.
    pub fn content(&self, receipt: &str) -> Result<Content> {
        let (receipt, _) = parse(receipt)?;
        let (key, location) = (receipt.key(), self.location(receipt.key()));
        if self.size(key)?.is_none() {
            self.refuse_if_unmounted()?;
            return Err(
                Failure::new(Code::Verification, format!("{location} is not there"))
                    .hint("was it moved or deleted by hand, or is another disk mounted there?"),
            );
        }
        if !receipt.is_tree() || !self.config.fake_super {
            let doing = format!("cannot read {location}");
            let command = if receipt.is_tree() {
                ssh::read_tree(self.config, key)
            } else {
                ssh::read(self.config, key)
            };
            return Ok(Content::Bytes(command.pipe_explained(connection(&doing))?));
        }
        // Only rsync makes links and devices of what it has put in their place there.
        let scratch = Scratch::make()?;
        let output = command::fetch(self.config, key, &scratch.path()).run()?;
        self.done(&format!("cannot fetch {location}"), output)
            .map_err(|failure| match failure.code {
                Code::DiskSpace => {
                    failure.hint("a tree is fetched to the host's data directory to be read: make room there")
                }
                _ => failure,
            })?;
        Ok(Content::Files(scratch.tree(&TreeOptions::default())?))
    }

    /// Keys of all stored objects that end with `suffix`.
    ///
    /// # Errors
    /// They can't be listed.
    pub fn find(&self, suffix: &str) -> Result<Vec<Receipt>> {
        let listed = self.list(&ssh::list(self.config, &pattern(suffix)))?;
        Ok(receipts(&listed, "", suffix))
    }

    /// Those of one job. What is beside its directory there is no business of a run, and may be closed to the account.
    ///
    /// # Errors
    /// They can't be listed.
    pub fn find_of(&self, job: &str, suffix: &str) -> Result<Vec<Receipt>> {
        let listed = self.list(&ssh::list_of(self.config, job, &pattern(suffix)))?;
        Ok(receipts(&listed, &format!("{job}/"), suffix))
    }

    fn list(&self, command: &Command) -> Result<String> {
        let output = self.done(&format!("cannot list {}", self.name()), command.run()?)?;
        if output.stdout.len() >= PRINTED_BYTES {
            let message = format!("the list of what is at {} is longer than 1 MiB", self.name());
            return Err(Failure::storage(message)
                .hint("use a directory of its own for each machine or each group of jobs"));
        }
        Ok(output.stdout)
    }

    /// A small object as text.
    ///
    /// # Errors
    /// It can't be read.
    pub fn text(&self, key: &str, most_bytes: u32) -> Result<String> {
        let doing = format!("cannot read {}", self.location(key));
        ssh::read(self.config, key)
            .pipe_explained(connection(&doing))?
            .read_text(most_bytes)
    }

    /// The size of a stored object; nothing if it isn't there.
    ///
    /// # Errors
    /// It can't be asked for.
    pub fn size(&self, key: &str) -> Result<Option<u64>> {
        let doing = format!("cannot look at {}", self.location(key));
        let output = ssh::facts(self.config, key).run()?;
        // Nothing is said where the directory itself is missing.
        let output = self.done(&doing, output)?;
        match output.stdout.trim() {
            "none" => Ok(None),
            size => size
                .parse()
                .map(Some)
                .map_err(|_| Failure::storage(format!("{doing}: it said `{size}`")).hint(SHELL)),
        }
    }

    /// What is known of a stored object without reading it.
    ///
    /// # Errors
    /// It can't be asked for.
    pub fn facts(&self, receipt: &str) -> Result<Object> {
        let (receipt, sizes) = parse(receipt)?;
        let size = self.size(receipt.key())?;
        if size.is_none() {
            self.refuse_if_unmounted()?;
        }
        Ok(Object {
            found: size.is_some(),
            size: match (size, sizes) {
                (Some(here), Some((there, host))) if here == there => host,
                (size, _) => size.unwrap_or(0),
            },
        })
    }

    /// Gives a copied tree its name, and returns its receipt. `host_bytes` is what the host says it has: files that changed
    /// meanwhile and what was carried over make it more or less, which the receipt remembers.
    ///
    /// # Errors
    /// It has none yet.
    pub fn publish_tree(&self, key: &str, host_bytes: u64) -> Result<String> {
        self.publish(key)?;
        let receipt = Receipt::tree(key.to_owned());
        Ok(match self.size(key)? {
            Some(there) if there != host_bytes => format!("{receipt} {there}={host_bytes}"),
            _ => receipt.to_string(),
        })
    }

    /// Removes an object, what an interrupted copy of it left, and the directories that are empty then.
    ///
    /// # Errors
    /// Some of it may be there still.
    pub fn delete(&self, key: &str) -> Result<()> {
        let doing = format!("cannot remove {}", self.location(key));
        let (job, backup) = (key.split('/').next().unwrap_or(key), parent(key));
        let output = ssh::remove(self.config, key, &partial(key), backup, job).run()?;
        self.done(&doing, output).map(drop)
    }

    /// Has the link of a job lead to a backup.
    ///
    /// # Errors
    /// Something else has its name, or it can't be made.
    pub fn link(&self, job: &str, backup: &str) -> Result<()> {
        let doing = format!("cannot link {}", self.location(&format!("{job}/latest")));
        self.done(&doing, ssh::link(self.config, job, backup).run()?)
            .map(drop)
    }

    /// Whether the link of a job leads to no backup.
    ///
    /// # Errors
    /// The machine can't be reached.
    pub fn is_link_broken(&self, job: &str) -> Result<bool> {
        let output = ssh::is_broken(self.config, job).run()?;
        match output.status {
            BROKEN_CONNECTION => Err(explain("cannot look at the link of a job", &output)),
            status => Ok(status == 0),
        }
    }

    fn look(&self, key: Option<&str>) -> Result<Seen> {
        let output = match key {
            Some(key) => ssh::look_for(self.config, key),
            None => ssh::look(self.config),
        };
        let output = output.run()?;
        let (name, host) = (self.name(), ssh::host(self.config));
        if output.status == BROKEN_CONNECTION {
            return Err(explain(&format!("cannot look at {name}"), &output));
        }
        let Some(seen) = Seen::parse(&output.stdout) else {
            let said = output.complaint();
            if !output.stdout.is_empty() || output.is_success() {
                let said = if said.is_empty() {
                    output.stdout.trim().to_owned()
                } else {
                    said
                };
                return Err(
                    Failure::environment(format!("{host} gave no answer that makes sense: {said}"))
                        .hint(SHELL),
                );
            }
            return Err(Failure::environment(format!("{name} is not there: {said}"))
                .hint("mount the disk that holds it, or make the directory there"));
        };
        if !seen.has_rsync {
            return Err(Failure::environment(format!("rsync is not installed at {host}"))
                .hint("install it there, for example with `apt-get install rsync`"));
        }
        if !output.is_success() {
            return Err(explain(&format!("cannot look at {name}"), &output));
        }
        Ok(seen)
    }

    /// Only root may give files to others.
    fn refuse_trees(&self, uid: u32) -> Result<()> {
        if uid == 0 || self.config.fake_super {
            return Ok(());
        }
        let (user, host) = (ssh::user(self.config), ssh::host(self.config));
        Err(Failure::environment(format!(
            "{user} is not root at {host}, so rsync can't keep the owners of files there"
        ))
        .hint("set `fakeSuper: true`, with which rsync keeps them in extended attributes, or log in as root"))
    }

    /// What is wrong with the directory, with the machine that it is on.
    fn right<T>(&self, result: Result<T>) -> Result<T> {
        result.map_err(|failure| failure.context(format!("at {}", ssh::host(self.config))))
    }

    fn done(&self, doing: &str, output: Output) -> Result<Output> {
        if output.is_success() {
            Ok(output)
        } else {
            Err(explain(doing, &output))
        }
    }
}

/// What ssh itself ends with.
const BROKEN_CONNECTION: i32 = 255;

/// What to do about an answer of the wrong form.
const SHELL: &str = "the account needs a shell such as sh, bash or zsh that prints nothing by itself, and GNU's findutils and coreutils";

/// The failure of a stream on its way to the other machine. One of the stream's own source stays as it is.
fn of_stream(failure: Failure) -> Failure {
    if failure.code != Code::Storage || !failure.message.starts_with("`ssh ") {
        return failure;
    }
    let known = connection("cannot store")
        .into_iter()
        .find(|(sign, _)| failure.message.contains(sign.as_str()));
    match known {
        Some((_, known)) => Failure {
            message: failure.message,
            ..known
        },
        None => failure,
    }
}

/// A receipt, with the bytes that a tree has there and those that the host says it has, if they are different.
pub fn parse(text: &str) -> Result<(Receipt, Option<(u64, u64)>)> {
    let Some((receipt, sizes)) = text.split_once("/ ") else {
        return Ok((Receipt::parse(text)?, None));
    };
    let sizes = sizes
        .split_once('=')
        .and_then(|(there, host)| Some((there.parse().ok()?, host.parse().ok()?)))
        .ok_or_else(|| Failure::storage(format!("`{text}` is not a receipt of this destination")))?;
    Ok((Receipt::parse(&format!("{receipt}/"))?, Some(sizes)))
}

/// What the last name of a key with this end looks like.
fn pattern(suffix: &str) -> String {
    match suffix.rsplit_once('/') {
        Some((_, name)) => name.to_owned(),
        None => format!("*{suffix}"),
    }
}

/// The objects in a list of kinds and keys. They are three names deep; what isn't is none.
fn receipts(listed: &str, prefix: &str, suffix: &str) -> Vec<Receipt> {
    let lines = listed.lines().filter_map(|line| line.split_once(' '));
    lines
        .map(|(kind, key)| (kind, format!("{prefix}{key}")))
        .filter(|(_, key)| key.split('/').count() == 3 && format!("/{key}").ends_with(suffix))
        .filter(|(_, key)| Receipt::parse(key).is_ok())
        .filter_map(|(kind, key)| match kind {
            "f" => Some(Receipt::file(key)),
            "d" => Some(Receipt::tree(key)),
            _ => None,
        })
        .collect()
}

/// The name of an object that isn't whole yet.
fn partial(key: &str) -> String {
    match key.rsplit_once('/') {
        Some((directory, name)) => format!("{directory}/.{name}.partial"),
        None => format!(".{key}.partial"),
    }
}

/// The directory that an object is in.
fn parent(key: &str) -> &str {
    key.rsplit_once('/').map_or(".", |(directory, _)| directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/sda1 1000 400 600 40% /mnt/my disk\n";

    #[test]
    fn what_the_other_machine_says_is_read() {
        let said = format!("0\n{TABLE}/usr/bin/rsync\ntaken\n");
        let seen = Seen::parse(&said).expect("an answer");
        assert_eq!((seen.total, seen.available), (1_024_000, 614_400));
        assert_eq!(seen.mounted_on, "/mnt/my disk");
        assert!(seen.uid == 0 && seen.has_rsync && seen.is_taken);
        let bare = Seen::parse(&format!("1000\n{TABLE}")).expect("an answer");
        assert!(bare.uid == 1000 && !bare.has_rsync && !bare.is_taken);
    }

    #[test]
    fn a_long_name_of_a_device_may_have_a_line_of_its_own() {
        let said = "0\nFilesystem 1024-blocks Used Available Capacity Mounted on\nserver:/very/long\n 1000 400 600 40% /mnt\n";
        assert_eq!(Seen::parse(said).map(|seen| seen.available), Some(614_400));
    }

    #[test]
    fn what_is_no_answer_is_none() {
        for said in ["", "Welcome!\n0\n", "0\n", "0\nFilesystem\n", "x\ny\nz% q\n"] {
            assert_eq!(Seen::parse(said), None, "{said:?}");
        }
    }

    #[test]
    fn a_receipt_remembers_what_the_host_counts_otherwise() {
        let (receipt, sizes) = parse("j/1/data/ 12=10").expect("a receipt");
        assert_eq!(
            (receipt, sizes),
            (Receipt::tree("j/1/data".to_owned()), Some((12, 10)))
        );
        let (receipt, sizes) = parse("j/1/manifest.json").expect("a receipt");
        assert_eq!((receipt.key(), sizes), ("j/1/manifest.json", None));
        for text in ["j/1/data/ x", "j/1/data/ 1=", "../ 1=2"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_listed_is_three_names_deep() {
        let listed =
            "f j/1/manifest.json\nf manifest.json\nd j/1/data\nl j/latest/manifest.json\nf j/1/x y\n";
        let keys = |prefix: &str, listed: &str, suffix: &str| -> Vec<String> {
            receipts(listed, prefix, suffix)
                .iter()
                .map(Receipt::to_string)
                .collect()
        };
        assert_eq!(keys("", listed, "/manifest.json"), ["j/1/manifest.json"]);
        assert_eq!(keys("", listed, "/j/1/data"), ["j/1/data/"]);
        assert_eq!(
            keys("j/", "f 1/manifest.json\n", "/manifest.json"),
            ["j/1/manifest.json"]
        );
    }

    #[test]
    fn what_is_not_whole_has_another_name() {
        assert_eq!(partial("j/1/data"), "j/1/.data.partial");
        assert_eq!(parent("j/1/data"), "j/1");
    }
}
