//! Whether `plugin.json` asks for the commands that are run, and for no others.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::config::{Config, Engine};
use crate::engine::{Cli, MOST_AT_ONCE};

/// Whether a word matches a pattern as the host matches it.
fn one(pattern: &Value, word: &str) -> bool {
    let pattern = pattern.as_str().expect("a pattern");
    let is_option = pattern.starts_with('*') && word.starts_with('-');
    !is_option && crate::pattern::matches(pattern, word)
}

/// Whether words match patterns as the host matches them.
fn matches(patterns: &[Value], words: &[String]) -> bool {
    let mut ends = BTreeSet::from([0]);
    for pattern in patterns {
        ends = ends
            .into_iter()
            .flat_map(|at: usize| {
                let group = pattern.as_array();
                let all = group.map_or(std::slice::from_ref(pattern), Vec::as_slice);
                let rest = &words[at..];
                let taken = rest.len() >= all.len() && all.iter().zip(rest).all(|(p, w)| one(p, w));
                [group.map(|_| at), taken.then_some(at + all.len())]
            })
            .flatten()
            .collect();
    }
    ends.contains(&words.len())
}

fn requests(engine: Engine) -> Vec<Vec<Value>> {
    let text = include_str!("../plugin.json")
        .replace("{config.host}", "unix:///x.sock")
        .replace("{config.stopTimeout}", "30")
        .replace("{config.quiesce}", "sync")
        .replace("{config.resume}", "true");
    let manifest: Value = serde_json::from_str(&text).expect("JSON");
    let all = manifest["capabilities"]["exec"].as_array().expect("a list");
    let own = all.iter().filter(|r| r["program"] == engine.program());
    own.map(|r| r["args"].as_array().expect("a list").clone())
        .collect()
}

#[test]
fn the_manifest_asks_for_every_command_and_for_no_other() {
    let labels: Vec<String> = (0..9).map(|n| format!("key{n}=-value")).collect();
    let many = vec!["0a1b"; MOST_AT_ONCE];
    let marks: BTreeMap<String, String> = (0..40).map(|n| (format!("k{n}"), String::new())).collect();
    for engine in [Engine::Docker, Engine::Podman] {
        let requests = requests(engine);
        let mut used = vec![false; requests.len()];
        for config in [r#"{}"#, r#"{"host":"unix:///x.sock","stopTimeout":30}"#] {
            let config: Config = serde_json::from_str(config).expect("a configuration");
            let cli = Cli::new(engine, &config);
            for command in [
                cli.version(),
                cli.list(&[]),
                cli.list(&labels),
                cli.users("data"),
                cli.inspect_container("0a1b"),
                cli.inspect_image("sha256:0a1b"),
                cli.inspect_volume("data"),
                cli.stop(["0a1b"]),
                cli.stop(many.clone()),
                cli.start(["0a1b"]),
                cli.start(many.clone()),
                cli.pause(many.clone()),
                cli.unpause(many.clone()),
                cli.exec("0a1b", "sync"),
                cli.exec("0a1b", "true"),
                cli.create_volume("data", &marks),
            ] {
                // Nothing in these words is quoted.
                let line = command.to_string();
                let words: Vec<String> = line.split(' ').skip(1).map(str::to_owned).collect();
                let found = requests.iter().position(|r| matches(r, &words));
                used[found.unwrap_or_else(|| panic!("plugin.json doesn't ask for `{line}`"))] = true;
            }
        }
        assert!(
            used.iter().all(|used| *used),
            "plugin.json asks for a command of {engine:?} that isn't used"
        );
    }
}

#[test]
fn nothing_is_removed_made_or_run_that_the_job_does_not_name() {
    for engine in [Engine::Docker, Engine::Podman] {
        for line in [
            "rm 0a1b",
            "volume rm data",
            "volume prune",
            "run image",
            "exec 0a1b sh -c reboot",
            "exec --privileged 0a1b sh -c sync",
            "stop --all",
            "--host unix:///other.sock ps --all --no-trunc --quiet",
            "--remote --url unix:///other.sock ps --all --no-trunc --quiet",
            "container inspect --format x",
        ] {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            assert!(!requests(engine).iter().any(|r| matches(r, &words)), "{line}");
        }
    }
}
