//! The commands of `rclone` that this plugin runs, one function each. `plugin.json` asks for exactly these.
//!
//! But for the copy of a tree, none of them retries as a whole: the host does that, from the start of a stream. What only looks is not tried again
//! at all, so that a server that is down is known at once; parts of an upload or a download are.

use backstay_sdk::Command;

use crate::config::{Check, Config};

/// Variable with the password of an encrypted configuration.
const PASSWORD: &str = "RCLONE_CONFIG_PASS";

/// Prints the version. It reads no configuration.
pub fn version() -> Command {
    Command::new("rclone").arg("version")
}

/// Lists the remotes of the configuration with their types.
pub fn list_remotes(config: &Config) -> Command {
    quick(config, &["listremotes", "--long"])
}

/// Prints what the remote can do, as JSON.
pub fn features(config: &Config) -> Command {
    quick(config, &["backend", "features"]).arg(&config.remote)
}

/// Lists the directories at the place.
pub fn list_directories(config: &Config) -> Command {
    quick(config, &["lsf", "--dirs-only"]).arg(&config.remote)
}

/// Lists all objects below the place whose names match a pattern, one path a line.
pub fn list_matching(config: &Config, pattern: &str) -> Command {
    let include = format!("--include={pattern}");
    // Objects are at `JOB/BACKUP/NAME`; what is below that is in somebody's trees.
    let all = ["lsf", "--recursive", "--files-only", "--max-depth=3", &include];
    quick(config, &all).arg(&config.remote)
}

/// Prints what is under a key, as JSON.
pub fn stat(config: &Config, key: &str) -> Command {
    quick(config, &["lsjson", "--stat", "--no-modtime", "--no-mimetype"]).arg(config.location(key))
}

/// Stores its input under a key, as soon as its input ends. For a remote that takes no streams rclone first writes all of
/// it to `scratch`, which the host removes if rclone can't.
pub fn rcat(config: &Config, key: &str, scratch: &str) -> Command {
    patient(config, &["rcat"])
        .args(chunk(config))
        .arg(config.location(key))
        .env("TMPDIR", scratch)
}

/// Writes what is under a key to its output.
pub fn cat(config: &Config, key: &str) -> Command {
    patient(config, &["cat"]).arg(config.location(key))
}

/// As [`cat`], for a person: short, and free to ask for the password.
pub fn cat_by_hand(config: &Config, key: &str) -> Command {
    Command::new("rclone")
        .arg("cat")
        .args(config_file(config))
        .arg(config.location(key))
}

/// Copies the files and links of a tree that are in the list on its input to a key, with at most so many bytes a second.
/// What could not be copied is tried twice more, and nothing else is.
pub fn copy_tree(config: &Config, key: &str, limit: Option<u64>) -> Command {
    const LISTED: [&str; 4] = [
        "--files-from-raw=-",
        "--links",
        "--no-unicode-normalization",
        "--local-no-check-updated",
    ];
    basic(config, &["copy"])
        .arg("--retries=3")
        .args(LISTED)
        .args(LOGGED)
        .args(config.metadata.then_some("--metadata"))
        .args(config.transfers.map(|many| format!("--transfers={many}")))
        .args(chunk(config))
        .args(limit.map(|bytes| format!("--bwlimit={}B", bytes.max(1))))
        .args([".", &config.location(key)])
}

/// Has the remote copy the files that are in the list on its input from one key to another, where nothing is yet.
///
/// It sends what it can't have copied there after all, with at most so many bytes a second.
pub fn copy_there(config: &Config, from: &str, to: &str, limit: Option<u64>) -> Command {
    patient(config, &["copy"])
        .args([
            "--files-from-raw=-",
            "--no-check-dest",
            "--no-unicode-normalization",
        ])
        .args(LOGGED)
        .args(config.transfers.map(|many| format!("--transfers={many}")))
        .args(limit.map(|bytes| format!("--bwlimit={}B", bytes.max(1))))
        .args([&config.location(from), &config.location(to)])
}

/// Compares the regular files of a tree that are in the list on its input with what is at a key.
pub fn check_tree(config: &Config, key: &str) -> Command {
    let how = match config.check {
        Check::Size => Some("--size-only"),
        Check::Hash => None,
        Check::Download => Some("--download"),
    };
    let listed = [
        "--files-from-raw=-",
        "--skip-links",
        "--one-way",
        "--no-unicode-normalization",
    ];
    patient(config, &["check"])
        .args(listed)
        .args(LOGGED)
        .args(how)
        .args([".", &config.location(key)])
}

/// Prints how many files are below a key, and how large they are, as JSON.
pub fn size(config: &Config, key: &str) -> Command {
    quick(config, &["size", "--json", "--links"]).arg(config.location(key))
}

/// Copies the files of a stored tree that are in the list on its input to a directory.
pub fn fetch(config: &Config, key: &str, into: &str) -> Command {
    patient(config, &["copy"])
        .args(["--files-from-raw=-", "--skip-links", "--no-unicode-normalization"])
        .args(config.transfers.map(|many| format!("--transfers={many}")))
        .args([&config.location(key), into])
}

/// Writes the one file of a stored tree that is in the list on its input to its output.
pub fn cat_listed(config: &Config, key: &str) -> Command {
    patient(config, &["cat"])
        .args(["--files-from-raw=-", "--skip-links", "--no-unicode-normalization"])
        .arg(config.location(key))
}

/// What a person types to get a stored tree into the directory `$TARGET`.
pub fn copy_by_hand(config: &Config, key: &str) -> String {
    let copy = Command::new("rclone")
        .args(["copy", "--links", "--metadata"])
        .args(config_file(config))
        .arg(config.location(key));
    format!("{copy} \"$TARGET\"")
}

/// Removes a directory with all that is in it.
pub fn purge(config: &Config, key: &str) -> Command {
    // Without `--links` rclone passes over symbolic links in a directory of this machine, and leaves it.
    quick(config, &["purge", "--links"]).arg(config.location(key))
}

/// Removes the object under a key, and never anything else.
pub fn delete_file(config: &Config, key: &str) -> Command {
    quick(config, &["deletefile"]).arg(config.location(key))
}

/// Removes an empty directory, and none with something in it.
pub fn remove_directory(config: &Config, directory: &str) -> Command {
    quick(config, &["rmdir"]).arg(config.location(directory))
}

/// Ends uploads in parts below a directory that nobody has finished.
pub fn end_uploads(config: &Config, directory: &str) -> Command {
    quick(config, &["backend", "cleanup", "--option=max-age=0s"]).arg(config.location(directory))
}

/// Prints how much room there is, as JSON.
pub fn about(config: &Config) -> Command {
    quick(config, &["about", "--json"]).arg(&config.remote)
}

/// What only looks or removes: it fails at once if the remote doesn't answer.
fn quick(config: &Config, words: &[&str]) -> Command {
    patient(config, words).args(["--low-level-retries=1", "--contimeout=15s"])
}

/// What moves data: parts of it are tried again.
fn patient(config: &Config, words: &[&str]) -> Command {
    basic(config, words).args(["--log-format=", "--retries=1"])
}

fn basic(config: &Config, words: &[&str]) -> Command {
    let command = Command::new("rclone")
        .args(words.iter().copied())
        .args(config_file(config))
        .arg("--ask-password=false");
    match &config.config_password_secret {
        Some(secret) => command.env_secret(PASSWORD, secret),
        None => command,
    }
}

/// The log goes to the output, as JSON, and says each second how far it is.
const LOGGED: [&str; 5] = [
    "--use-json-log",
    "--log-file=/dev/stdout",
    "--stats=1s",
    "--stats-one-line",
    "--stats-log-level=NOTICE",
];

fn chunk(config: &Config) -> Option<String> {
    let size = config.s3_chunk_mebibytes?;
    Some(format!("--s3-chunk-size={size}Mi"))
}

fn config_file(config: &Config) -> Option<String> {
    config.config_file.as_ref().map(|file| format!("--config={file}"))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn config(json: &str) -> Config {
        serde_json::from_str(json).expect("a configuration")
    }

    const ALL: &str = r#"{"remote":"b2:bucket/x y","configFile":"/etc/rclone.conf","configPasswordSecret":"s","s3ChunkMebibytes":64,"transfers":9,"metadata":true,"check":"download"}"#;

    fn commands(config: &Config) -> [Command; 19] {
        [
            version(),
            list_remotes(config),
            features(config),
            list_directories(config),
            list_matching(config, "manifest.json"),
            stat(config, "j/1/data.tar"),
            rcat(config, "j/1/data.tar", "/scratch/1"),
            cat(config, "j/1/data.tar"),
            copy_there(config, "j/0/data", "j/1/data", Some(7)),
            copy_tree(config, "j/1/data", Some(7)),
            check_tree(config, "j/1/data"),
            size(config, "j/1/data"),
            fetch(config, "j/1/data", "/scratch/1"),
            cat_listed(config, "j/1/data"),
            purge(config, "j/1/data"),
            delete_file(config, "j/1/data.tar"),
            remove_directory(config, "j/1"),
            end_uploads(config, "j/1"),
            about(config),
        ]
    }

    #[test]
    fn a_person_types_the_command_that_reads_an_object() {
        let plain = config(r#"{"remote":"drive:backups"}"#);
        assert_eq!(
            cat_by_hand(&plain, "j/1/data.tar").to_string(),
            "rclone cat drive:backups/j/1/data.tar"
        );
        assert_eq!(
            cat_by_hand(&config(ALL), "j/1/data.tar").to_string(),
            "rclone cat --config=/etc/rclone.conf 'b2:bucket/x y/j/1/data.tar'"
        );
        assert_eq!(
            copy_by_hand(&plain, "j/1/data"),
            "rclone copy --links --metadata drive:backups/j/1/data \"$TARGET\""
        );
    }

    /// Whether arguments match patterns as the host matches them.
    fn matches(patterns: &[Value], args: &[String]) -> bool {
        match (patterns.split_first(), args.split_first()) {
            (None, rest) => rest.is_none(),
            (Some((Value::Array(group), rest)), _) => {
                matches(rest, args) || matches(&[group.clone(), rest.to_vec()].concat(), args)
            }
            (Some((Value::String(pattern), rest)), Some((arg, args))) => {
                let is_match = match pattern.split_once('*') {
                    Some((start, end)) => arg.starts_with(start) && arg.ends_with(end),
                    None => pattern == arg,
                };
                is_match && matches(rest, args)
            }
            _ => false,
        }
    }

    #[test]
    fn the_manifest_asks_for_every_command_and_for_no_other() {
        let plain = r#"{"remote":"b2:bucket/x y"}"#;
        for json in [plain, ALL] {
            let text = include_str!("../plugin.json")
                .replace("{config.remote}", "b2:bucket/x y")
                .replace("{config.configFile}", "/etc/rclone.conf")
                .replace("{config.s3ChunkMebibytes}", "64")
                .replace("{config.transfers}", "9")
                .replace("{scratch}", "/scratch/1");
            let manifest: Value = serde_json::from_str(&text).expect("JSON");
            let requests = manifest["capabilities"]["exec"].as_array().expect("a list");
            let commands = commands(&config(json));
            assert_eq!(requests.len(), commands.len());
            for (request, command) in requests.iter().zip(commands) {
                let patterns = request["args"].as_array().expect("a list");
                assert!(
                    matches(patterns, command.arguments()),
                    "{command} is not {patterns:?}"
                );
            }
        }
    }
}
