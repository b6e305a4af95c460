//! The second stage: a snapshot copied on from this machine to an object store, by rclone.
//!
//! It is a mirror of what the files hold, not a backup of its own: the snapshot counts whether it is there or not. What the
//! directory of the run before has already is copied within the store, so a new date doesn't upload all of it again.

use std::time::Instant;

use backstay_sdk::{
    Code, Command, Diagnostic, Failure, Output, Result, RunInfo, log, progress, secrets, state,
};
use serde::{Deserialize, Serialize};

use crate::config::{Config, SyncToS3};

/// Variable by which rclone gets the password of its configuration.
const PASSWORD: &str = "RCLONE_CONFIG_PASS";

/// What is kept with the run.
#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Statistics {
    /// Files whose content was uploaded.
    pub files_uploaded: u64,
    /// Bytes that were sent, with those of attempts that failed.
    pub bytes_uploaded: u64,
    /// Files that were copied within the store, from the directory of the run before.
    pub files_copied_there: u64,
    /// Files that were deleted there because they are gone.
    pub files_deleted: u64,
    /// Where it is.
    pub s3_path: String,
    /// Milliseconds, with the comparison.
    pub duration_ms: u64,
    /// Whether a comparison afterwards found it to be the same.
    pub verified: bool,
}

/// Copies a snapshot on if the job says so. Whatever goes wrong is a warning of the run: the snapshot itself is whole.
///
/// # Errors
/// Only what the host itself fails at.
pub fn sync(config: &Config, run: &RunInfo, name: &str, snapshot: &str) -> Result<Option<Statistics>> {
    let Some(to) = config.sync_to_s3.as_ref().filter(|to| to.enabled) else {
        return Ok(None);
    };
    let started = Instant::now();
    let place = place(to, run, name);
    progress::stage("copying on");
    let done = copy(to, name, snapshot, &place).and_then(|copied| {
        progress::stage("comparing what was copied on");
        settled(
            &format!("{place} is not what the snapshot is"),
            &check(to, snapshot, &place).run()?,
        )?;
        state::set(&note(to, name), &place)?;
        Ok(copied)
    });
    match done {
        Ok(copied) => {
            log::info(format!(
                "{} bytes in {} files were uploaded to {place}",
                copied.bytes_uploaded(),
                copied.uploaded()
            ));
            Ok(Some(Statistics {
                files_uploaded: copied.uploaded(),
                bytes_uploaded: copied.bytes_uploaded(),
                files_copied_there: copied.server_side_copies,
                files_deleted: copied.deletes,
                s3_path: place,
                duration_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
                verified: true,
            }))
        }
        Err(failure) if failure.code == Code::Cancelled => Err(failure),
        Err(failure) => {
            let hint = failure.hint.map_or_else(String::new, |hint| format!(" ({hint})"));
            log::warning(
                "not-copied-on",
                format!(
                    "the snapshot is stored, but not copied on to {place}: {}{hint}",
                    failure.message
                ),
                None,
            );
            Ok(None)
        }
    }
}

fn copy(to: &SyncToS3, name: &str, snapshot: &str, place: &str) -> Result<Copied> {
    reach(to)?;
    let before = state::get(&note(to, name))?;
    let before = before.filter(|before| before != place && !to.is_frozen());
    let output = transfer(to, before.as_deref(), snapshot, place).run()?;
    settled(&format!("cannot copy to {place}"), &output)?;
    Ok(Copied::parse(&output.stderr))
}

/// Fails at once if the store doesn't answer, which a copy would find out after minutes. What isn't there yet is made.
///
/// # Errors
/// It doesn't answer, or doesn't let the account in.
fn reach(to: &SyncToS3) -> Result<()> {
    /// rclone's exit status for a directory that isn't there.
    const NOT_FOUND: i32 = 3;
    let output = list(to).run()?;
    if output.status == NOT_FOUND {
        return Ok(());
    }
    settled(&format!("cannot list {}", to.remote), &output)
}

/// The name of the note that says where the snapshot before was copied to.
fn note(to: &SyncToS3, name: &str) -> String {
    format!("copied-on:{}:{name}", to.remote)
}

/// What is wrong on this machine and with the store now. A store that doesn't answer is only a warning: it may when the job
/// runs.
pub fn look(to: &SyncToS3) -> Vec<Diagnostic> {
    if let Err(failure) = Command::new("rclone").arg("version").run_ok() {
        let hint = "install it; https://rclone.org/install says how";
        return vec![Diagnostic::from_failure(
            "/syncToS3",
            "no-rclone",
            failure.hint(hint),
        )];
    }
    let secret = to.config_password_secret.as_ref();
    let missing = secret.and_then(|name| secrets::missing("/syncToS3/configPasswordSecret", name));
    if let Some(missing) = missing {
        return vec![missing];
    }
    let unreachable = reach(to).err().map(|failure| Diagnostic {
        hint: failure.hint,
        ..Diagnostic::warning("/syncToS3/remote", "unreachable", failure.message)
    });
    unreachable.into_iter().collect()
}

/// Where a snapshot of a run is copied to.
fn place(to: &SyncToS3, run: &RunInfo, name: &str) -> String {
    let prefix = dated(&to.s3_prefix, &run.started_at);
    let parts = [to.remote.trim_end_matches('/'), prefix.trim_matches('/'), name];
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    format!("{}/", parts.join("/"))
}

/// A text with the words `YYYY`, `MM`, `DD`, `hh`, `mm` and `ss` replaced by what they stand for in an instant in RFC 3339.
/// A word that has other letters beside it stands for itself.
fn dated(text: &str, at: &str) -> String {
    let mut done = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let letters = rest
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(rest.len());
        let (word, after) = rest.split_at(letters);
        done.push_str(&numbers(word, at).unwrap_or_else(|| word.to_owned()));
        let others = after
            .find(|c: char| c.is_ascii_alphabetic())
            .unwrap_or(after.len());
        done.push_str(&after[..others]);
        rest = &after[others..];
    }
    done
}

/// What words without anything between them stand for; nothing if one of them is no such word.
fn numbers(mut words: &str, at: &str) -> Option<String> {
    let known = [
        ("YYYY", 0..4),
        ("MM", 5..7),
        ("DD", 8..10),
        ("hh", 11..13),
        ("mm", 14..16),
        ("ss", 17..19),
    ];
    let mut done = String::new();
    while !words.is_empty() {
        let (word, range) = known.iter().find(|(word, _)| words.starts_with(word))?;
        done.push_str(at.get(range.clone())?);
        words = &words[word.len()..];
    }
    Some(done)
}

/// Lists the directories in the place that the job names.
fn list(to: &SyncToS3) -> Command {
    rclone(to)
        .args(["lsf", "--dirs-only"])
        .args(config_file(to))
        .args([
            "--ask-password=false",
            "--log-format=",
            "--retries=1",
            "--low-level-retries=1",
            "--contimeout=15s",
        ])
        .args(["--", &to.remote])
}

/// Copies a directory to a place. What is the same at `before` is copied from there.
fn transfer(to: &SyncToS3, before: Option<&str>, from: &str, place: &str) -> Command {
    let verb = if to.delete_from_s3 { "sync" } else { "copy" };
    rclone(to)
        .arg(verb)
        .args(config_file(to))
        .args([
            "--ask-password=false",
            "--links",
            "--metadata",
            "--use-json-log",
            "--stats=1h",
            "--stats-log-level=NOTICE",
            "--contimeout=15s",
            "--retries=2",
            "--low-level-retries=3",
        ])
        .args(
            to.storage_class
                .map(|class| format!("--s3-storage-class={}", class.name())),
        )
        .args(before.map(|before| format!("--copy-dest={before}")))
        .args(["--", from, place])
}

/// Compares them.
fn check(to: &SyncToS3, from: &str, place: &str) -> Command {
    rclone(to)
        .arg("check")
        .args(config_file(to))
        .args([
            "--ask-password=false",
            "--links",
            "--log-format=",
            "--contimeout=15s",
            "--retries=2",
            "--low-level-retries=3",
        ])
        .args((!to.delete_from_s3).then_some("--one-way"))
        .args(["--", from, place])
}

fn config_file(to: &SyncToS3) -> Option<String> {
    to.config_file.as_ref().map(|file| format!("--config={file}"))
}

fn rclone(to: &SyncToS3) -> Command {
    let command = Command::new("rclone");
    match &to.config_password_secret {
        Some(secret) => command.env_secret(PASSWORD, secret),
        None => command,
    }
}

/// What rclone counted.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Copied {
    bytes: u64,
    transfers: u64,
    deletes: u64,
    server_side_copies: u64,
    server_side_copy_bytes: u64,
}

impl Copied {
    /// Reads the last numbers in its log.
    fn parse(said: &str) -> Self {
        #[derive(Deserialize)]
        struct Line {
            stats: Option<Copied>,
        }
        let lines = said.lines().rev();
        lines
            .filter_map(|line| serde_json::from_str::<Line>(line).ok()?.stats)
            .next()
            .unwrap_or_default()
    }

    fn bytes_uploaded(&self) -> u64 {
        self.bytes.saturating_sub(self.server_side_copy_bytes)
    }

    fn uploaded(&self) -> u64 {
        self.transfers.saturating_sub(self.server_side_copies)
    }
}

/// Fails unless rclone ended well, with the last thing that it complained of.
fn settled(doing: &str, output: &Output) -> Result<()> {
    #[derive(Deserialize)]
    struct Line {
        level: String,
        msg: String,
    }
    if output.is_success() {
        return Ok(());
    }
    let mut lines = output
        .stderr
        .lines()
        .filter_map(|line| serde_json::from_str::<Line>(line).ok());
    let said = lines.rfind(|line| line.level == "error" || line.level == "critical");
    let said = said.map_or_else(|| output.complaint(), |line| line.msg);
    Err(Failure::storage(format!("{doing}: {}", said.trim()))
        .hint("the next run tries again; check the remote with `rclone lsd`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_put_where_its_words_stand_alone() {
        let at = "2026-03-07T04:05:06Z";
        for (text, expected) in [
            ("rsync/YYYY-MM-DD/", "rsync/2026-03-07/"),
            ("YYYYMMDD-hhmmss", "20260307-040506"),
            ("ADDONS/MMX/comm", "ADDONS/MMX/comm"),
            ("", ""),
            ("YYYY/ü/MM", "2026/ü/03"),
        ] {
            assert_eq!(dated(text, at), expected);
        }
    }

    #[test]
    fn the_manifest_asks_for_every_command() {
        let json =
            r#"{"remote":"s3:b/x y","storageClass":"GLACIER_IR","deleteFromS3":true,"configFile":"/c"}"#;
        let mirror: SyncToS3 = serde_json::from_str(json).expect("a configuration");
        let copy = SyncToS3 {
            delete_from_s3: false,
            ..mirror.clone()
        };
        let text = include_str!("../plugin.json")
            .replace("{config.localDestination}", "/mnt/usb")
            .replace("{config.syncToS3.remote}", "s3:b/x y")
            .replace("{config.syncToS3.storageClass}", "GLACIER_IR")
            .replace("{config.syncToS3.configFile}", "/c");
        let manifest: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let requests = manifest["capabilities"]["exec"].as_array().expect("a list");
        for to in [copy, mirror] {
            for command in [
                list(&to),
                transfer(
                    &to,
                    Some("s3:b/x y/0/data/"),
                    "/mnt/usb/j/1/data",
                    "s3:b/x y/1/data/",
                ),
                check(&to, "/mnt/usb/j/1/data", "s3:b/x y/1/data/"),
            ] {
                let is_asked_for = requests.iter().any(|request| {
                    crate::ssh::tests::matches(
                        request["args"].as_array().expect("a list"),
                        command.arguments(),
                    )
                });
                assert!(is_asked_for, "{command}");
            }
        }
    }

    #[test]
    fn the_last_numbers_count() {
        let said = "{\"level\":\"notice\",\"msg\":\"x\",\"stats\":{\"bytes\":1}}\nnoise\n{\"level\":\"notice\",\"msg\":\"y\",\"stats\":{\"bytes\":9,\"transfers\":3,\"deletes\":1,\"serverSideCopies\":2,\"serverSideCopyBytes\":4,\"speed\":1.5}}\n";
        let copied = Copied::parse(said);
        assert_eq!(
            (copied.bytes_uploaded(), copied.uploaded(), copied.deletes),
            (5, 1, 1)
        );
        assert_eq!(Copied::parse("nothing"), Copied::default());
    }
}
