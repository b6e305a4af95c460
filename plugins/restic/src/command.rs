//! The commands of `restic` that this plugin runs, one function each. `plugin.json` asks for exactly these.
//!
//! What only reads takes no lock: it works on what may not be written to, and leaves nothing behind when it is killed.

use backstay_sdk::{Command, CopySize, RunInfo, shell};

use crate::answer::{OF_BYTES, OF_TREE};
use crate::config::Config;
use crate::receipt::Receipt;

/// Variable with the password of the repository.
const PASSWORD: &str = "RESTIC_PASSWORD";

/// The tag that every snapshot of this plugin has.
pub const OWN: &str = "backstay";

/// Prints the version. It opens no repository.
pub fn version() -> Command {
    Command::new("restic").arg("version")
}

/// Prints the repository's own configuration, as JSON. A place that doesn't answer newer versions ask again and again for 15
/// minutes, so they are ended before, with the status [`TIMED_OUT`].
pub fn cat_config(config: &Config) -> Command {
    let words = ["--kill-after=5", "30", "restic", "cat", "config", "--no-lock"];
    opened(Command::new("timeout").args(words), config)
}

/// The status of `timeout` for a program that it has ended.
pub const TIMED_OUT: i32 = 124;

/// Makes the repository. Fails if there is one.
pub fn init(config: &Config) -> Command {
    restic(config, &["init"])
}

/// Lists this plugin's snapshots that have all these tags, as JSON.
pub fn snapshots(config: &Config, tags: &[String]) -> Command {
    let tags: Vec<&str> = [OWN].into_iter().chain(tags.iter().map(String::as_str)).collect();
    restic(config, &["snapshots", "--json", "--no-lock"]).arg(format!("--tag={}", tags.join(",")))
}

/// Lists those of these snapshots that there are, as JSON.
pub fn snapshots_by_id(config: &Config, ids: &[String]) -> Command {
    restic(config, &["snapshots", "--json", "--no-lock"])
        .arg("--")
        .args(ids)
}

/// Lists what is in a snapshot, one JSON object a line.
pub fn ls(config: &Config, id: &str) -> Command {
    restic(config, &["ls", "--json", "--no-lock"]).args(["--", id])
}

/// Stores its input as the only file of a new snapshot, as soon as its input ends.
pub fn backup(config: &Config, run: &RunInfo, key: &str) -> Command {
    let command = restic(config, &["backup", "--stdin", "--json", "--quiet"]);
    described(command, config, run, key).arg(format!("--stdin-filename={key}"))
}

/// Stores the tree in which it is started as a new snapshot, without what its input has patterns for; of a single file,
/// what its input names. `limit` is in bytes a second.
pub fn backup_tree(
    config: &Config,
    run: &RunInfo,
    key: &str,
    size: &CopySize,
    limit: Option<u64>,
) -> Command {
    let which: &[&str] = if size.is_directory {
        &["--exclude-file=/dev/stdin", "."]
    } else {
        &["--files-from-raw=-"]
    };
    described(restic(config, &["backup", "--json"]), config, run, key)
        .env("RESTIC_PROGRESS_FPS", "1")
        .arg(of_tree(key))
        .arg(format!("--tag={OF_BYTES}{}", size.bytes))
        .args(limit.map(|bytes| format!("--limit-upload={}", (bytes >> 10).max(1))))
        .args(which.iter().copied())
}

/// A command that makes a snapshot, with what is said of it.
fn described(command: Command, config: &Config, run: &RunInfo, key: &str) -> Command {
    let compression = config
        .compression
        .map(|how| format!("--compression={}", how.name()));
    let host = config.host.as_ref().unwrap_or(&run.device);
    let origin = config.origin.as_ref().unwrap_or(&run.device);
    command
        .env("TZ", "UTC")
        .args(compression)
        .arg(format!("--host={host}"))
        .arg(format!("--time={}", time(&run.started_at)))
        .arg(format!("--tag={OWN}"))
        .arg(format!("--tag={}", of_run(&run.run_id)))
        .arg(format!("--tag={}", of_object(key)))
        .arg(format!("--tag=backup:{}", run.job_id))
        .arg(format!("--tag=backup_name={}", as_tag(&run.job_name)))
        .arg(format!("--tag=origin={}", as_tag(origin)))
        .args(
            config
                .account_id
                .as_ref()
                .map(|id| format!("--tag=account_id={id}")),
        )
        .args(config.tags.iter().map(|tag| format!("--tag={tag}")))
}

/// The tag of the snapshot of a tree, as an argument.
fn of_tree(key: &str) -> String {
    format!("--tag={OF_TREE}{}", as_tag(key))
}

/// The tag of all snapshots of a run.
pub fn of_run(run_id: &str) -> String {
    format!("run:{run_id}")
}

/// The tag of all snapshots of objects whose key ends like this one.
pub fn of_object(key: &str) -> String {
    let (_, name) = key.rsplit_once('/').unwrap_or(("", key));
    format!("object:{}", as_tag(name))
}

/// A comma ends a tag.
pub fn as_tag(text: &str) -> String {
    text.replace(',', " ")
}

/// `2026-11-21T10:00:00.123Z` as restic reads it: `2026-11-21 10:00:00`, in the time zone of `TZ`.
fn time(rfc3339: &str) -> String {
    rfc3339.chars().take(19).collect::<String>().replace('T', " ")
}

/// Writes what is stored to its output, a tree as a tar stream.
pub fn dump(config: &Config, receipt: &Receipt) -> Command {
    restic(config, &["dump", "--no-lock"]).args(["--", &receipt.id, &receipt.path()])
}

/// What writes an object to its output or restores a tree to `$TARGET`, for a person: without what only a program needs,
/// and free to ask for the password.
pub fn by_hand(config: &Config, receipt: &Receipt) -> String {
    let command = Command::new("restic").arg(format!("--repo={}", config.repository));
    let command = if receipt.is_tree {
        let restore = command.args(["restore", "--no-lock", &receipt.id]);
        format!("{restore} --target \"$TARGET\"")
    } else {
        let dump = command.args(["dump", "--no-lock", &receipt.id, &receipt.path()]);
        dump.to_string()
    };
    let variables = config.environment.iter();
    variables
        .map(|(name, value)| format!("{name}={} ", shell::quote(value)))
        .chain([command])
        .collect()
}

/// Removes these snapshots and no others; and then, if asked, the data that no snapshot needs any more.
pub fn forget(config: &Config, ids: &[String], prune: bool) -> Command {
    restic(config, &["forget", "--quiet"])
        .args(prune.then_some("--prune"))
        .arg("--")
        .args(ids)
}

/// Looks whether all is there and fits together that the repository says it has, without reading the data itself.
pub fn check(config: &Config) -> Command {
    restic(config, &["check", "--quiet"])
}

/// Lists the ids of all locks, one a line.
pub fn list_locks(config: &Config) -> Command {
    restic(config, &["list", "locks", "--no-lock"])
}

/// Prints a lock, as JSON.
pub fn cat_lock(config: &Config, id: &str) -> Command {
    restic(config, &["cat", "lock", "--no-lock"]).args(["--", id])
}

/// Removes locks whose process on this machine is gone, and those that nobody has renewed for 30 minutes.
pub fn unlock(config: &Config) -> Command {
    restic(config, &["unlock"])
}

/// Prints the name of this machine, as it is in its locks.
pub fn machine() -> Command {
    Command::new("uname").arg("-n")
}

/// Ends with 0 if there is such a process on this machine, and with 1 if there is none.
pub fn process_exists(pid: u32) -> Command {
    Command::new("test").args(["-e".to_owned(), format!("/proc/{pid}")])
}

fn restic(config: &Config, words: &[&str]) -> Command {
    opened(Command::new("restic").args(words.iter().copied()), config)
}

/// The same command with the repository and what opens it.
fn opened(command: Command, config: &Config) -> Command {
    let command = command
        .arg(format!("--repo={}", config.repository))
        .arg(match &config.cache_directory {
            Some(path) => format!("--cache-dir={path}"),
            None => "--no-cache".to_owned(),
        })
        .env_secret(PASSWORD, &config.password_secret);
    let plain = config.environment.iter();
    let command = plain.fold(command, |command, (name, value)| command.env(name, value));
    let secret = config.environment_secrets.iter();
    secret.fold(command, |command, (name, secret)| {
        command.env_secret(name, secret)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::config::VARIABLES;

    fn config() -> Config {
        serde_json::from_str(
            r#"{"repository":"s3:https://h/b/x y","passwordSecret":"p","tags":["nightly","two"],"accountId":"7",
                "compression":"max","cacheDirectory":"/var/cache/r","environment":{"AWS_DEFAULT_REGION":"a b"}}"#,
        )
        .expect("a configuration")
    }

    fn run() -> RunInfo {
        RunInfo {
            run_id: "r1".to_owned(),
            job_id: "j1".to_owned(),
            job_name: "docs, all".to_owned(),
            device: "nas".to_owned(),
            instance_id: "i1".to_owned(),
            started_at: "2026-11-21T10:00:00.123456Z".to_owned(),
            damaged: Vec::new(),
        }
    }

    fn receipt() -> Receipt {
        Receipt::new(&"a".repeat(64), "j/1/data.tar", false).expect("a receipt")
    }

    fn size(is_directory: bool) -> CopySize {
        CopySize {
            entries: 3,
            bytes: 42,
            allocated: 4096,
            carried: 0,
            unchanged: 0,
            is_directory,
            beyond_pax: false,
        }
    }

    fn commands(config: &Config) -> [Command; 19] {
        let ids = ["a".repeat(64), "b".repeat(64)];
        [
            version(),
            cat_config(config),
            init(config),
            snapshots(config, &[of_run("r1")]),
            snapshots(config, &[]),
            snapshots_by_id(config, &ids),
            ls(config, &ids[0]),
            backup(config, &run(), "j/1/data.tar"),
            backup_tree(config, &run(), "j/1/data", &size(true), Some(5_000_000)),
            backup_tree(config, &run(), "j/1/data", &size(false), None),
            dump(config, &receipt()),
            forget(config, &ids, true),
            forget(config, &ids, false),
            check(config),
            list_locks(config),
            cat_lock(config, &ids[0]),
            unlock(config),
            machine(),
            process_exists(7),
        ]
    }

    #[test]
    fn a_snapshot_has_the_tags_that_other_tools_look_for() {
        let command = backup(&config(), &run(), "j/1/data.tar");
        let tags: Vec<&str> = command
            .arguments()
            .iter()
            .filter_map(|arg| arg.strip_prefix("--tag="))
            .collect();
        assert_eq!(
            tags,
            [
                "backstay",
                "run:r1",
                "object:data.tar",
                "backup:j1",
                "backup_name=docs  all",
                "origin=nas",
                "account_id=7",
                "nightly",
                "two"
            ]
        );
        assert!(
            command
                .arguments()
                .contains(&"--time=2026-11-21 10:00:00".to_owned())
        );
        assert!(
            command
                .environment()
                .contains(&("TZ".to_owned(), "UTC".to_owned()))
        );
    }

    #[test]
    fn a_person_types_the_command_that_reads_an_object() {
        assert_eq!(
            by_hand(&config(), &receipt()),
            format!(
                "AWS_DEFAULT_REGION='a b' restic '--repo=s3:https://h/b/x y' dump --no-lock {} /j/1/data.tar",
                "a".repeat(64)
            )
        );
        let tree = Receipt::new(&"a".repeat(64), "j/1/data", true).expect("a receipt");
        assert_eq!(
            by_hand(&config(), &tree),
            format!(
                "AWS_DEFAULT_REGION='a b' restic '--repo=s3:https://h/b/x y' restore --no-lock {} --target \"$TARGET\"",
                "a".repeat(64)
            )
        );
    }

    #[test]
    fn a_tree_is_taken_as_a_whole_and_never_without_a_limit_by_rounding() {
        let line = |size, limit| backup_tree(&config(), &run(), "j,1/2/data", &size, limit).to_string();
        let directory = line(size(true), Some(100));
        assert!(
            directory.ends_with(
                "'--tag=tree:j 1/2/data' --tag=bytes:42 --limit-upload=1 --exclude-file=/dev/stdin ."
            ),
            "{directory}"
        );
        assert!(line(size(false), None).ends_with("--tag=bytes:42 --files-from-raw=-"));
    }

    /// Whether arguments match patterns as the host matches them, where a group may come more than once.
    fn matches(patterns: &[Value], args: &[String]) -> bool {
        match (patterns.split_first(), args.split_first()) {
            (Some((Value::String(open), [])), _) if open == "**" => true,
            (None, rest) => rest.is_none(),
            (Some((Value::Array(group), rest)), _) => {
                let again = args.split_first().is_some_and(|(arg, args)| {
                    group
                        .iter()
                        .all(|one| matches(std::slice::from_ref(one), std::slice::from_ref(arg)))
                        && matches(patterns, args)
                });
                again || matches(rest, args)
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
    fn the_manifest_asks_for_exactly_these_commands() {
        let text = include_str!("../plugin.json")
            .replace("{config.repository}", "s3:https://h/b/x y")
            .replace("{config.cacheDirectory}", "/var/cache/r")
            .replace("{config.compression}", "max")
            .replace("{config.accountId}", "7")
            .replace("\"--tag={config.tags}\"", "\"--tag=*\"");
        let manifest: Value = serde_json::from_str(&text).expect("JSON");
        let grants = manifest["capabilities"]["exec"].as_array().expect("grants");
        let commands = commands(&config());
        let granted = |grant: &Value, command: &Command| {
            let line = command.to_string();
            line.starts_with(grant["program"].as_str().unwrap_or("?"))
                && matches(grant["args"].as_array().expect("arguments"), command.arguments())
        };
        for command in &commands {
            assert!(grants.iter().any(|grant| granted(grant, command)), "{command}");
        }
        for grant in grants {
            assert!(commands.iter().any(|command| granted(grant, command)), "{grant}");
            let is_restic = grant["args"][0] != "version" && grant.to_string().contains("--repo=");
            for variable in VARIABLES.iter().chain([&PASSWORD]) {
                let names = grant["env"].as_array();
                let is_named = names.is_some_and(|names| names.iter().any(|name| name == variable));
                assert_eq!(is_named, is_restic, "{variable} of {grant}");
            }
        }
    }
}
