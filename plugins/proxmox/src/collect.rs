//! Collects what is to be backed up in a scratch directory: copies of files, and what commands say.
//!
//! Whatever is missing is a warning that names it, and the rest goes on. Only what would spoil everything else, such
//! as a full disk, ends the run.

use std::collections::BTreeMap;
use std::time::Instant;

use backstay_sdk::content::stat;
use backstay_sdk::scratch::{Bounds, Recorded};
use backstay_sdk::{
    ByteStream, Code, Command, Failure, Result, RunInfo, Scratch, TreeOptions, log, progress,
};

use crate::config::{Collect, Config};
use crate::items::{Collector, Files, ITEMS, Item, Need, Run};
use crate::plan::{self, Copy};
use crate::report::{CollectionError, Facts, Operation, Statistics};

/// Where the output of commands is in a backup.
pub const COMMANDS: &str = "commands";

/// The file with the facts in a backup.
pub const REPORT: &str = "collection.json";

/// Whether something is at a path.
///
/// # Errors
/// It can't be looked at.
pub fn exists(config: &Config, path: &str) -> Result<bool> {
    Ok(stat(&config.at(path))?.is_some())
}

/// The collectors that have something to do here.
///
/// # Errors
/// The machine can't be looked at.
pub fn active(config: &Config) -> Result<Vec<Collector>> {
    let mut active = Vec::new();
    for collector in Collector::ALL {
        let is_active = match (collector.wanted(config), collector.sign()) {
            (Collect::Never, _) => false,
            (Collect::Always, _) | (Collect::Auto, None) => true,
            (Collect::Auto, Some(sign)) => exists(config, sign)?,
        };
        if is_active {
            active.push(collector);
        }
    }
    Ok(active)
}

/// Collects everything.
///
/// # Errors
/// Nothing at all could be collected, or the scratch directory can't be used.
pub fn collect(config: &Config, run: &RunInfo, scratch: &Scratch) -> Result<Facts> {
    let started = Instant::now();
    let collectors = active(config)?;
    let mut collection = Collection {
        config,
        scratch,
        hung: BTreeMap::new(),
        facts: Facts {
            root: config.root.clone().unwrap_or_else(|| "/".to_owned()),
            node: node(config, run),
            collectors: collectors.iter().map(|c| c.name().to_owned()).collect(),
            clustered: exists(config, "/etc/pve/corosync.conf").unwrap_or(false),
            private_keys: config.private_keys,
            ..Facts::default()
        },
    };
    for copy in plan::copies(config, &collectors) {
        progress::stage(&format!("collecting {}", copy.place));
        collection.copy(&copy)?;
    }
    for item in ITEMS.iter().filter(|item| collectors.contains(&item.collector)) {
        if !(item.is_on)(config) {
            collection
                .facts
                .off
                .push(format!("{}.{}", item.collector.name(), item.name));
            continue;
        }
        for files in item.files {
            collection.look_for(item, files)?;
        }
        for command in item.commands {
            progress::stage(&format!(
                "{}.{} {}",
                item.collector.name(),
                item.name,
                command.reason
            ));
            collection.command(item, command)?;
        }
    }
    let mut facts = collection.facts;
    let statistics = facts.statistics;
    if statistics.files_processed == 0 && statistics.commands_failed == statistics.commands_run {
        return Err(
            Failure::new(Code::Collection, "nothing at all could be collected")
                .hint("the warnings of the run say what is missing; is `root` right?"),
        );
    }
    facts.duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(facts)
}

/// The name of the node: the first part of the host's name.
fn node(config: &Config, run: &RunInfo) -> String {
    /// More than Linux allows.
    const NAME_BYTES: u32 = 256;
    let file = ByteStream::file(&config.at("/etc/hostname")).and_then(|file| file.read_text(NAME_BYTES));
    let name = file.unwrap_or_else(|_| run.device.clone());
    let first = name.trim().split('.').next().unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !first.is_empty() && first.chars().all(plain) {
        first.to_owned()
    } else {
        "localhost".to_owned()
    }
}

struct Collection<'a> {
    config: &'a Config,
    scratch: &'a Scratch,
    /// Programs that had to be killed, each with the command that hung.
    hung: BTreeMap<&'static str, String>,
    facts: Facts,
}

/// Whether the rest can go on after a failure.
fn is_local(failure: &Failure) -> bool {
    !matches!(
        failure.code,
        Code::DiskSpace | Code::Cancelled | Code::Internal | Code::Configuration
    )
}

impl Collection<'_> {
    fn warn(&mut self, code: &str, operation: Operation, item: &str, path: &str, message: String) {
        let doing = match operation {
            Operation::Find => format!("looking for {path}"),
            Operation::Copy => format!("copying {path}"),
            Operation::Command => format!("running `{path}`"),
        };
        log::warning(
            code,
            format!("collection of {item}: {doing}: {message}"),
            Some(path),
        );
        self.facts.errors.push(CollectionError {
            phase: "collection".to_owned(),
            operation,
            item: item.to_owned(),
            path: path.to_owned(),
            message,
        });
        let collector = item.split('.').next().unwrap_or(item);
        self.facts.count(
            collector,
            Statistics {
                warnings: 1,
                ..Statistics::default()
            },
        );
    }

    fn copy(&mut self, copy: &Copy) -> Result<()> {
        let collector = copy.collector.name();
        let path = self.config.at(copy.place);
        match stat(&path) {
            Ok(Some(_)) => {}
            // Whether it has to be there is a matter of each item.
            Ok(None) => return Ok(()),
            Err(failure) if is_local(&failure) => {
                self.not_copied(collector, &path, failure);
                return Ok(());
            }
            Err(failure) => return Err(failure),
        }
        let options = TreeOptions {
            include: copy.include.clone(),
            exclude: copy.exclude.clone(),
            one_file_system: false,
        };
        let name = copy.place.trim_start_matches('/');
        let copied = match self.scratch.copy(&path, name, &options) {
            Ok(copied) => copied,
            Err(failure) if is_local(&failure) => {
                self.not_copied(collector, &path, failure);
                return Ok(());
            }
            Err(failure) => return Err(failure),
        };
        let counted = Statistics {
            files_processed: copied.files,
            files_failed: copied.failed,
            dirs_created: copied.directories,
            bytes_collected: copied.bytes,
            warnings: copied.failed,
            ..Statistics::default()
        };
        self.facts.count(collector, counted);
        if copied.failed > 0 {
            self.facts.errors.push(CollectionError {
                phase: "collection".to_owned(),
                operation: Operation::Copy,
                item: collector.to_owned(),
                path: path.clone(),
                message: format!(
                    "{} of it could not be copied as they are; the warnings name them",
                    copied.failed
                ),
            });
        }
        if copied.files + copied.directories > 0 {
            self.facts.places.push(name.to_owned());
        }
        if copied.files == 0
            && copied.directories > 0
            && copy.collector.sign() == Some(copy.place)
            && copy.include.is_empty()
        {
            let message = "it is empty: is its service running, and the file system mounted?".to_owned();
            self.warn("empty-place", Operation::Copy, collector, &path, message);
        }
        Ok(())
    }

    fn not_copied(&mut self, collector: &str, path: &str, failure: Failure) {
        self.warn("copy-failed", Operation::Copy, collector, path, failure.message);
        self.facts.count(
            collector,
            Statistics {
                files_failed: 1,
                ..Statistics::default()
            },
        );
    }

    /// Says what of an item isn't there.
    fn look_for(&mut self, item: &Item, files: &Files) -> Result<()> {
        if files.path.contains('*') {
            return Ok(());
        }
        // What can't be looked at was said when it was copied.
        if exists(self.config, files.path).unwrap_or(true) {
            return Ok(());
        }
        let path = self.config.at(files.path);
        if self.is_needed(files.need) && files.need != Need::IfThere {
            let name = format!("{}.{}", item.collector.name(), item.name);
            self.warn(
                "missing-file",
                Operation::Find,
                &name,
                &path,
                "it does not exist".to_owned(),
            );
            let failed = Statistics {
                files_failed: 1,
                ..Statistics::default()
            };
            self.facts.count(item.collector.name(), failed);
        } else if !self.facts.absent.contains(&path) {
            self.facts.absent.push(path);
        }
        Ok(())
    }

    /// Whether this machine has a reason to have something.
    fn is_needed(&self, need: Need) -> bool {
        match need {
            Need::Always | Need::IfThere => true,
            Need::IfClustered => self.facts.clustered,
            Need::IfPve => self.facts.collectors.iter().any(|c| c == Collector::Pve.name()),
        }
    }

    fn command(&mut self, item: &Item, run: &Run) -> Result<()> {
        let collector = item.collector.name();
        let args = run.args.iter().map(|arg| {
            let root = self.config.root.as_deref().unwrap_or_default();
            arg.replace("{node}", &self.facts.node).replace("{root}", root)
        });
        let command = Command::new(run.program).args(args);
        let line = command.to_string();
        if !self.is_needed(run.need) {
            self.facts.absent.push(line);
            return Ok(());
        }
        let name = format!("{COMMANDS}/{collector}/{}.txt", run.name);
        let bounds = Bounds {
            seconds: self.config.command_timeout_seconds,
            bytes: self.config.max_output_bytes,
        };
        let ended = match self.hung.get(run.program) {
            // A second one would most likely hang as well, and all the time that there is would be gone.
            Some(other) => Err((
                "command-skipped",
                format!("it was left out because `{other}` hung"),
            )),
            None => match self.scratch.record(&name, &command, bounds) {
                Ok(recorded) => {
                    let counted = Statistics {
                        commands_run: 1,
                        bytes_collected: recorded.bytes,
                        ..Statistics::default()
                    };
                    self.facts.count(collector, counted);
                    judge(&recorded, bounds)
                }
                Err(failure) if failure.code == Code::Environment && run.need == Need::IfThere => {
                    self.facts.absent.push(line);
                    return Ok(());
                }
                Err(failure) if failure.code == Code::Environment => {
                    Err(("command-missing", failure.message))
                }
                Err(failure) if failure.code == Code::Permission => Err(("command-failed", failure.message)),
                Err(failure) => return Err(failure),
            },
        };
        if let Err((code, message)) = ended {
            if code == "command-timeout" {
                self.hung.insert(run.program, line.clone());
            }
            let item = format!("{collector}.{}", item.name);
            self.warn(code, Operation::Command, &item, &line, message);
            if code != "command-truncated" {
                self.facts.count(
                    collector,
                    Statistics {
                        commands_failed: 1,
                        ..Statistics::default()
                    },
                );
            }
        }
        Ok(())
    }
}

/// What is wrong with how a command ended.
fn judge(recorded: &Recorded, bounds: Bounds) -> Result<(), (&'static str, String)> {
    if recorded.timed_out {
        let message = format!("it did not end within {} s and was killed", bounds.seconds);
        return Err(("command-timeout", message));
    }
    if recorded.status != 0 {
        let complaint = recorded
            .stderr
            .lines()
            .rev()
            .map(str::trim)
            .find(|line| !line.is_empty());
        let complaint = complaint.unwrap_or("it said nothing");
        return Err((
            "command-failed",
            format!("it ended with status {}: {complaint}", recorded.status),
        ));
    }
    if recorded.truncated {
        let message = format!("only the first {} bytes of its output are kept", bounds.bytes);
        return Err(("command-truncated", message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(status: i32, stderr: &str, timed_out: bool, truncated: bool, expected: Option<(&str, &str)>) {
        let recorded = Recorded {
            status,
            bytes: 5,
            stderr: stderr.to_owned(),
            timed_out,
            truncated,
        };
        let found = judge(
            &recorded,
            Bounds {
                seconds: 20,
                bytes: 5,
            },
        )
        .err();
        assert_eq!(
            found.as_ref().map(|(code, message)| (*code, message.as_str())),
            expected
        );
    }

    #[test]
    fn each_bad_end_is_named() {
        check(0, "noise", false, false, None);
        check(
            2,
            "usage\nno such node\n\n",
            false,
            false,
            Some(("command-failed", "it ended with status 2: no such node")),
        );
        check(
            1,
            "",
            false,
            false,
            Some(("command-failed", "it ended with status 1: it said nothing")),
        );
        check(
            137,
            "",
            true,
            true,
            Some(("command-timeout", "it did not end within 20 s and was killed")),
        );
        check(
            0,
            "",
            false,
            true,
            Some((
                "command-truncated",
                "only the first 5 bytes of its output are kept",
            )),
        );
    }
}
