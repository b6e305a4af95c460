//! The commands of `zfs` that this plugin runs, one function each. `plugin.json` asks for exactly these.

use backstay_sdk::Command;

use crate::config::Config;
use crate::drill::Scratch;
use crate::snapshot::{JOB_PROPERTY, Name};

fn zfs<const N: usize>(args: [&str; N]) -> Command {
    Command::new("zfs").args(args)
}

/// A flag, where it is wanted.
fn flags<const N: usize>(command: Command, flags: [(bool, &str); N]) -> Command {
    command.args(
        flags
            .into_iter()
            .filter(|(wanted, _)| *wanted)
            .map(|(_, flag)| flag),
    )
}

/// Lists all datasets.
pub fn list_datasets() -> Command {
    zfs(["list", "-H", "-o", "name", "-t", "filesystem,volume"])
}

/// Prints the version; zfs-fuse and OpenZFS before 0.8 don't know it.
pub fn version() -> Command {
    zfs(["version"])
}

/// Lists a dataset's own snapshots, or those of the datasets below it too, each with the job that made it.
pub fn list_snapshots(recursive: bool, dataset: &str) -> Command {
    let depth: &[&str] = if recursive { &["-r"] } else { &["-d", "1"] };
    zfs(["list", "-H"])
        .args(depth.iter().copied())
        .args(["-t", "snapshot", "-o"])
        .arg(format!("name,{JOB_PROPERTY}"))
        .arg(dataset)
}

/// Prints the guid of a snapshot. `zfs list` of zfs-fuse can't print it in full.
pub fn guid(snapshot: &str) -> Command {
    zfs(["get", "-Hp", "-o", "value", "guid", snapshot])
}

/// Makes a snapshot that says which job it is of.
pub fn snapshot(recursive: bool, job_id: &str, name: &Name) -> Command {
    flags(zfs(["snapshot"]), [(recursive, "-r")])
        .arg("-o")
        .arg(format!("{JOB_PROPERTY}={job_id}"))
        .arg(name.to_string())
}

/// Puts a hold on a snapshot.
pub fn hold(recursive: bool, tag: &str, name: &Name) -> Command {
    flags(zfs(["hold"]), [(recursive, "-r")])
        .arg(tag)
        .arg(name.to_string())
}

/// Takes a hold away.
pub fn release(recursive: bool, tag: &str, name: &Name) -> Command {
    flags(zfs(["release"]), [(recursive, "-r")])
        .arg(tag)
        .arg(name.to_string())
}

/// Destroys a snapshot. It takes a [`Name`], which always has an `@`: without one it would destroy a dataset.
pub fn destroy(recursive: bool, name: &Name) -> Command {
    flags(zfs(["destroy"]), [(recursive, "-r")]).arg(name.to_string())
}

/// Destroys what a drill restored. It takes a [`Scratch`], whose name only drills give.
pub fn destroy_scratch(scratch: &Scratch) -> Command {
    zfs(["destroy", "-r"]).arg(scratch.to_string())
}

/// Writes a snapshot, or what changed since `base`, to standard output.
pub fn send(config: &Config, base: Option<&str>, name: &Name) -> Command {
    let wanted = [
        (config.recursive, "-R"),
        (config.raw, "-w"),
        (config.compressed, "-c"),
        (config.large_blocks, "-L"),
    ];
    let command = flags(zfs(["send"]), wanted);
    match base {
        Some(base) => command.args(["-i", base]),
        None => command,
    }
    .arg(name.to_string())
}

/// Lists one dataset, or fails if there is none.
pub fn list_one(dataset: &str) -> Command {
    zfs(["list", "-H", "-o", "name", dataset])
}

/// Makes or continues a dataset from standard input, without mounting it.
pub fn receive(replace: bool, dataset: &str) -> Command {
    flags(zfs(["receive", "-u"]), [(replace, "-F")]).arg(dataset)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    const RUN: &str = "0199a5b2-7c00-7000-8000-000000000001";

    fn config(json: &str) -> Config {
        serde_json::from_str(json).expect("a configuration")
    }

    fn name() -> Name {
        Name::parse(&format!("tank/home@backstay-{RUN}")).expect("a name")
    }

    #[test]
    fn a_snapshot_says_whose_it_is() {
        let expected = format!("zfs snapshot -r -o org.backstay:job=J tank/home@backstay-{RUN}");
        assert_eq!(snapshot(true, "J", &name()).to_string(), expected);
    }

    #[test]
    fn only_configured_options_are_used_because_zfs_fuse_knows_none_of_them() {
        let plain = config(r#"{"poolName":"tank/home"}"#);
        assert_eq!(
            send(&plain, None, &name()).to_string(),
            format!("zfs send tank/home@backstay-{RUN}")
        );
        let all = config(
            r#"{"poolName":"tank/home","recursive":true,"raw":true,"compressed":true,"largeBlocks":true}"#,
        );
        assert_eq!(
            send(&all, Some("tank/home@backstay-0"), &name()).to_string(),
            format!("zfs send -R -w -c -L -i tank/home@backstay-0 tank/home@backstay-{RUN}")
        );
    }

    #[test]
    fn a_restore_is_not_mounted() {
        assert_eq!(receive(false, "tank/new").to_string(), "zfs receive -u tank/new");
        assert_eq!(
            receive(true, "tank/new").to_string(),
            "zfs receive -u -F tank/new"
        );
    }

    /// Whether words match patterns as the host matches them; here a word never holds a space.
    fn matches(patterns: &[Value], words: &[&str]) -> bool {
        fn one(pattern: &str, word: &str) -> bool {
            match pattern.split_once('*') {
                Some((start, rest)) => word
                    .strip_prefix(start)
                    .is_some_and(|word| (0..=word.len()).any(|at| one(rest, &word[at..]))),
                None => pattern == word,
            }
        }
        match (patterns.split_first(), words.split_first()) {
            (None, rest) => rest.is_none(),
            (Some((Value::Array(group), rest)), _) => {
                matches(rest, words) || matches(&group.iter().chain(rest).cloned().collect::<Vec<_>>(), words)
            }
            (Some((Value::String(pattern), rest)), Some((word, words))) => {
                one(pattern, word) && matches(rest, words)
            }
            _ => false,
        }
    }

    #[test]
    fn the_manifest_asks_for_every_command_and_for_no_other() {
        let text = include_str!("../plugin.json")
            .replace("{config.poolName}", "tank/home")
            .replace("{target}", "tank/new");
        let manifest: Value = serde_json::from_str(&text).expect("JSON");
        let requests = manifest["capabilities"]["exec"].as_array().expect("a list");
        let all =
            r#"{"poolName":"tank/home","recursive":true,"raw":true,"compressed":true,"largeBlocks":true}"#;
        let (plain, all, base) = (
            config(r#"{"poolName":"tank/home"}"#),
            config(all),
            format!("tank/home@b-{RUN}"),
        );
        let below = Name::parse(&format!("tank/home/a/b@backstay-{RUN}")).expect("a name");
        let drilled = Scratch::below("tank/new", RUN);
        let mut used = vec![false; requests.len()];
        for command in [
            list_datasets(),
            version(),
            list_snapshots(false, "tank/home"),
            list_snapshots(true, "tank/home"),
            guid(&base),
            snapshot(false, RUN, &name()),
            snapshot(true, RUN, &name()),
            hold(false, "backstay-x", &name()),
            hold(true, "backstay-x", &name()),
            release(false, "backstay-x", &name()),
            release(true, "backstay-x", &name()),
            destroy(false, &name()),
            destroy(true, &name()),
            release(false, "backstay-x", &below),
            destroy(false, &below),
            send(&plain, None, &name()),
            send(&all, Some(&base), &name()),
            list_one("tank/new"),
            receive(false, "tank/new"),
            receive(true, "tank/new"),
            list_one(&drilled.to_string()),
            receive(false, &drilled.to_string()),
            destroy_scratch(&drilled),
        ] {
            let line = command.to_string();
            let words: Vec<&str> = line.split(' ').skip(1).collect();
            let found = requests
                .iter()
                .position(|r| matches(r["args"].as_array().expect("a list"), &words));
            used[found.unwrap_or_else(|| panic!("plugin.json doesn't ask for `{line}`"))] = true;
        }
        assert!(
            used.iter().all(|used| *used),
            "plugin.json asks for a command that isn't used"
        );
        for dataset in [
            "tank/home",
            "tank/home/a",
            "tank/homes@b",
            "tank/new",
            "tank/new/a",
        ] {
            let asked = requests.iter().any(|r| {
                let patterns = r["args"].as_array().expect("a list");
                matches(patterns, &["destroy", dataset]) || matches(patterns, &["destroy", "-r", dataset])
            });
            assert!(!asked, "plugin.json asks to destroy {dataset}");
        }
    }
}
