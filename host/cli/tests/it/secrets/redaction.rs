//! A secret is planted wherever it could slip out, and looked for in all that is kept, printed or shown by the system.

use std::fs;
use std::time::Duration;

use backstay_testkit::cli::Output;
use backstay_testkit::process::wait_until;
use serde_json::json;

use super::lab::{Lab, said};
use crate::abort::paths;

/// Also no name of a secret, so that it can be told from one.
const PLANTED: &str = "pl4nted s3cret!";

fn cmdlines() -> String {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    lines
        .map(|line| String::from_utf8_lossy(&line).into_owned())
        .collect()
}

#[test]
fn it_is_in_nothing_that_is_kept_printed_or_shown() {
    let lab = Lab::new();
    let mut outputs: Vec<Output> = Vec::new();
    // On the command line, where it must not be: it is refused, and not repeated.
    for args in [
        &["secret", "set", "token", PLANTED][..],
        &["secret", "set", "token", PLANTED, "--json"],
        &["secret", "set", PLANTED],
        &["secret", "rm", PLANTED],
    ] {
        outputs.push(lab.backstay.run(args).code(2));
    }
    lab.backstay.secret("token", PLANTED);

    // In the place of its own name.
    let source = |secret: &str| json!({ "plugin": "lab-source", "config": { "do": "secret", "secret": secret, "script": "true" } });
    let hook = json!({ "scriptPath": "/bin/x.sh", "secretEnvironment": { "A": PLANTED } });
    let database = json!({ "engine": "postgres", "host": "127.0.0.1", "passwordSecret": PLANTED });
    for more in [
        json!({ "source": source(PLANTED) }),
        json!({ "before": hook }),
        json!({ "source": { "plugin": "database", "config": database } }),
        json!({ "destinations": [{ "plugin": "rclone", "config": { "remote": "nas:x", "configPasswordSecret": PLANTED } }] }),
    ] {
        let job = lab.job("wrong", "true", &more).to_string();
        let refused = lab.backstay.apply(&job).code(2);
        assert!(
            said(&refused).contains("never the secret itself"),
            "{}",
            said(&refused)
        );
        outputs.push(refused);
        fs::remove_file(lab.at("job.yaml")).unwrap();
    }

    // While a program has it, and in what that says of it.
    let (started, go) = (lab.at("started"), lab.at("go"));
    let script = format!(
        "grep 'core file' /proc/self/limits; : > {}; until test -e {}; do sleep 0.02; done; echo \"no $LAB_SECRET\" >&2; test -e {}",
        started.display(),
        go.display(),
        lab.at("well").display(),
    );
    lab.apply("j", &script);
    let run = lab.backstay.spawn(&["run", "j", "--json"]);
    wait_until("the program to start", Duration::from_secs(60), || {
        started.exists()
    });
    let shown = cmdlines();
    assert!(shown.contains("core file"), "{shown}");
    assert!(!shown.contains(PLANTED));
    fs::write(&go, "").unwrap();
    let failed = run.wait().code(4);
    assert!(failed.stdout.contains("no ***"), "{}", failed.stdout);
    outputs.push(failed);
    fs::write(lab.at("well"), "").unwrap();
    outputs.push(lab.backstay.run_json(&["run", "j"]).ok());
    let limits = lab.content("j");
    let limits: Vec<&str> = limits.split_whitespace().collect();
    assert_eq!(limits, ["Max", "core", "file", "size", "0", "0", "bytes"]);

    // In the words of a plugin.
    let teller = json!({ "plugin": "lab-source", "config": { "do": "tell-secret", "secret": "token", "script": "printf %s \"$LAB_SECRET\"" } });
    let job = lab.job("teller", "", &json!({ "source": teller })).to_string();
    lab.backstay.apply(&job).ok();
    outputs.push(lab.backstay.run_json(&["run", "teller"]).code(4));

    for args in [
        &["secret", "list"][..],
        &["job", "list"],
        &["job", "show", "j"],
        &["logs", "j"],
        &["logs", "teller"],
        &["runs"],
        &["backups"],
        &["doctor"],
        &["secret", "rotate-key"],
    ] {
        outputs.push(lab.backstay.run(args).ok());
        outputs.push(lab.backstay.run_json(args).ok());
    }
    for output in outputs {
        assert!(!said(&output).contains(PLANTED), "{}", said(&output));
    }
    let files: Vec<_> = paths(lab.backstay.scratch_dir())
        .into_iter()
        .filter(|path| path.is_file())
        .collect();
    assert!(files.iter().any(|path| path.ends_with("backstay.db")));
    for path in files {
        let bytes = fs::read(&path).unwrap();
        let is_there = bytes
            .windows(PLANTED.len())
            .any(|part| part == PLANTED.as_bytes());
        assert!(!is_there, "{}", path.display());
    }
}
