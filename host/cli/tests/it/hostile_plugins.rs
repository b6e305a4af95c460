//! Whatever a plugin does, only its own run fails: with a clear reason, in bounded time, and nothing else notices.

use std::fs;
use std::time::{Duration, Instant};

use backstay_testkit::cli::{Backstay, Output};
use backstay_testkit::guests;
use serde_json::{Value, json};

fn lab() -> Backstay {
    let backstay = Backstay::with_guests(env!("CARGO_BIN_EXE_backstay"), &["lab-source", "lab-destination"]);
    fs::create_dir(backstay.scratch_dir().join("store")).unwrap();
    backstay
}

fn apply(backstay: &Backstay, name: &str, source: Value, destination: Value) -> Output {
    let store = json!({ "plugin": "local", "config": { "path": backstay.scratch_dir().join("store") } });
    let destination = if destination.is_null() { store } else { destination };
    let job = json!({ "name": name, "source": source, "destinations": [destination] });
    backstay.apply(&job.to_string())
}

fn source(config: Value) -> Value {
    json!({ "plugin": "lab-source", "config": config })
}

/// Runs a job that must fail with this exit code, and returns its reason.
fn reason(backstay: &Backstay, name: &str, code: i32) -> String {
    let start = Instant::now();
    let run = backstay.run_json(&["run", name]).code(code).json();
    assert!(
        start.elapsed() < Duration::from_secs(60),
        "{name} took {:?}",
        start.elapsed()
    );
    assert_eq!(run["status"], "failed", "{name}");
    assert_eq!(run["backups"], json!([]), "{name}");
    run["error"]["message"].as_str().unwrap().to_owned()
}

fn is_clean(backstay: &Backstay) -> bool {
    fs::read_dir(backstay.scratch_dir().join("store"))
        .unwrap()
        .next()
        .is_none()
}

#[test]
fn a_source_that_misbehaves_fails_its_own_run_with_a_clear_reason() {
    let backstay = lab();
    let root = backstay.scratch_dir().join("root");
    fs::create_dir(&root).unwrap();
    std::os::unix::fs::symlink("/etc", root.join("link")).unwrap();
    for (act, code, words) in [
        ("trap", 13, "crashed in `open`"),
        ("allocate", 14, "MiB of memory"),
        // A guest keeps a stack of its own in its memory, and runs out of that one first.
        ("recurse", 13, "crashed in `open`"),
        ("return-huge", 14, "MiB"),
        ("log-flood", 14, "log lines without end"),
        ("exec-ungranted", 14, "no grant"),
        ("exec-ungranted-args", 14, "no grant"),
        ("exec-path", 14, ""),
        ("exec-missing", 3, "is not installed"),
        ("read-ungranted", 14, "no grant"),
        ("read-ungranted-tree", 14, "no grant"),
        ("escape-dotdot", 14, ""),
        ("write-ungranted", 14, "no grant"),
        ("table-flood", 14, "handles"),
        ("journal-flood", 14, "journal entries without end"),
        ("state-flood", 14, ""),
        ("no-artifacts", 4, "0 artifacts"),
        ("many-artifacts", 4, "artifacts"),
        ("duplicate-artifacts", 13, "two artifacts"),
        ("bad-artifact-name", 14, "with the name"),
        ("bad-json", 13, "JSON"),
    ] {
        apply(
            &backstay,
            act,
            source(json!({ "do": act, "root": root })),
            Value::Null,
        )
        .ok();
        let said = reason(&backstay, act, code);
        assert!(said.contains(words), "{act}: {said}");
        assert!(is_clean(&backstay), "{act} left something");
    }
    let escape = json!({ "do": "escape-symlink", "root": root, "inner": "link/passwd" });
    apply(&backstay, "escape-symlink", source(escape), Value::Null).ok();
    assert!(reason(&backstay, "escape-symlink", 14).contains("no grant"));
    let journal: Value = backstay.json(&["doctor"]);
    let left = journal["checks"]
        .as_array()
        .unwrap()
        .iter()
        .find(|c| c["check"] == "journal")
        .unwrap();
    assert_eq!(left["ok"], true, "{left}");
}

#[test]
fn plain_wasi_shows_a_plugin_no_file_no_network_and_no_environment() {
    let backstay = lab().env("LAB_VISIBLE", "secret");
    for act in ["wasi-open", "wasi-net", "wasi-env"] {
        apply(&backstay, act, source(json!({ "do": act })), Value::Null).ok();
        let run = backstay.run_json(&["run", act]);
        assert!(!run.stdout.contains("root:x:0"), "{act}: {}", run.stdout);
        assert!(!run.stdout.contains("LAB_VISIBLE"), "{act}: {}", run.stdout);
    }
}

#[test]
fn a_run_beside_one_that_loops_does_not_notice() {
    let backstay = lab();
    for (name, act) in [("loop", "loop"), ("sleep", "sleep")] {
        apply(&backstay, name, source(json!({ "do": act })), Value::Null).ok();
    }
    apply(&backstay, "good", source(json!({ "do": "text" })), Value::Null).ok();
    let looping = backstay.spawn(&["run", "loop", "--json"]);
    let sleeping = backstay.spawn(&["run", "sleep", "--json"]);
    let start = Instant::now();
    backstay.run_json(&["run", "good"]).ok();
    assert!(start.elapsed() < Duration::from_secs(30));
    let said = looping.wait().code(14).json();
    assert!(
        said["error"]["message"]
            .as_str()
            .unwrap()
            .contains("computed for more than"),
        "{said}"
    );
    let said = sleeping.wait().code(14).json();
    assert!(
        said["error"]["message"].as_str().unwrap().contains("did nothing"),
        "{said}"
    );
}

#[test]
fn a_plugin_that_misbehaves_while_it_validates_is_an_error_in_its_place() {
    let backstay = lab();
    for act in ["trap", "allocate", "return-huge", "exec-ungranted"] {
        let job = source(json!({ "do": act, "when": "validate" }));
        let said = apply(&backstay, act, job, Value::Null).code(2);
        assert!(said.stderr.contains("/source/config"), "{act}: {}", said.stderr);
    }
}

#[test]
fn a_destination_that_lies_about_storing_has_failed() {
    let backstay = lab();
    let place = backstay.scratch_dir().join("store");
    for (act, code) in [
        ("store-nothing", 5),
        ("bad-key", 14),
        ("absolute-key", 14),
        ("write-ungranted", 14),
        ("huge-receipt", 14),
        ("trap-after-put", 13),
        ("fail-after-put", 5),
        ("store-twice", 14),
        ("lie-size", 8),
        ("lie-missing", 8),
    ] {
        let destination = json!({ "plugin": "lab-destination", "config": { "do": act, "path": place } });
        apply(&backstay, act, source(json!({ "do": "text" })), destination).ok();
        reason(&backstay, act, code);
        assert!(is_clean(&backstay), "{act} left something");
    }
    assert_eq!(backstay.json(&["backups"]), json!([]));
}

#[test]
fn what_a_crashed_plugin_had_journalled_is_undone() {
    let backstay = lab();
    let mark = backstay.scratch_dir().join("mark");
    fs::write(&mark, "").unwrap();
    let undo = format!("rm -f {}", mark.display());
    apply(
        &backstay,
        "undo",
        source(json!({ "do": "journal-then-trap", "script": "true", "undoScript": undo })),
        Value::Null,
    )
    .ok();
    reason(&backstay, "undo", 13);
    assert!(!mark.exists());
}

#[test]
fn only_a_whole_plugin_for_this_host_can_be_installed() {
    let backstay = Backstay::new(env!("CARGO_BIN_EXE_backstay"));
    let good = fs::read(guests::path("lab-source")).unwrap();
    let directory = backstay.scratch_dir();
    let replaced = |from: &str, to: &str| {
        // The manifest's section comes after the code, which holds the same text.
        let at = good
            .windows(from.len())
            .rposition(|w| w == from.as_bytes())
            .unwrap();
        let mut changed = good.clone();
        changed[at..at + from.len()].copy_from_slice(to.as_bytes());
        changed
    };
    for (name, bytes, words) in [
        ("page.wasm", b"<html></html>".to_vec(), "not valid WebAssembly"),
        ("half.wasm", good[..good.len() / 2].to_vec(), "not"),
        ("module.wasm", b"\0asm\x01\0\0\0".to_vec(), "core module"),
        ("empty.wasm", b"\0asm\x0d\0\x01\0".to_vec(), "no manifest"),
        (
            "new.wasm",
            replaced("\"api\": \"0.1.0\"", "\"api\": \"9.1.0\""),
            "lab-source 0.1.0 was built for backstay:plugin@9.1.0",
        ),
        (
            "path.wasm",
            replaced("\"id\": \"lab-source\"", "\"id\":       \"path\""),
            "a plugin of the host",
        ),
    ] {
        let file = directory.join(name);
        fs::write(&file, bytes).unwrap();
        let said = backstay
            .run(&["plugin", "install", file.to_str().unwrap(), "--yes"])
            .code(2);
        assert!(said.stderr.contains(words), "{name}: {}", said.stderr);
    }
    let file = directory.join("good.wasm");
    fs::write(&file, &good).unwrap();
    // Without somebody who agrees, nothing is granted.
    backstay
        .run(&["plugin", "install", file.to_str().unwrap()])
        .code(14);
    backstay
        .run(&["plugin", "install", file.to_str().unwrap(), "--yes"])
        .ok();
    assert!(
        backstay
            .run(&["plugin", "list"])
            .ok()
            .stdout
            .contains("lab-source")
    );
}

#[test]
fn a_plugin_whose_file_was_changed_is_refused() {
    let backstay = lab();
    apply(&backstay, "job", source(json!({ "do": "text" })), Value::Null).ok();
    for file in fs::read_dir(backstay.data_dir().join("plugins")).unwrap() {
        let path = file.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(&path, bytes).unwrap();
    }
    assert!(reason(&backstay, "job", 14).contains("is not the one that was installed"));
}

#[test]
fn a_secret_reaches_a_child_only_if_its_key_is_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let backstay = lab();
    backstay.secret("token", "s3cret-value\n");
    let key = backstay.data_dir().join("secrets.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let config = json!({ "do": "secret", "secret": "token", "script": "printf %s \"$LAB_SECRET\" | wc -c" });
    apply(&backstay, "secret", source(config), Value::Null).ok();
    assert!(reason(&backstay, "secret", 7).contains("can be read by others"));
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let said = backstay.run_json(&["run", "secret"]).ok();
    assert!(!said.stdout.contains("s3cret-value") && !said.stderr.contains("s3cret-value"));
    assert_eq!(
        backstay
            .run(&["restore", "latest:secret", "--to", "-"])
            .ok()
            .stdout
            .trim(),
        "12"
    );
}

#[test]
fn a_plugin_that_tells_a_secret_everywhere_is_shown_without_it() {
    let backstay = lab();
    backstay.secret("token", "s3cret-value\n");
    let config = json!({ "do": "tell-secret", "secret": "token", "script": "printf %s \"$LAB_SECRET\"" });
    apply(&backstay, "teller", source(config), Value::Null).ok();
    let run = backstay.run_json(&["run", "teller"]).code(4);
    let said = run.stdout.clone() + &run.stderr;
    // What the program printed is data, which the plugin got whole.
    let message = run.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("***, 12 characters"), "{message}");
    let logs = backstay.run(&["logs", "teller", "--json"]).ok().stdout;
    assert!(logs.contains("***"), "{logs}");
    let kept = fs::read(backstay.data_dir().join("backstay.db")).unwrap();
    let journal = fs::read(backstay.data_dir().join("backstay.db-wal")).unwrap_or_default();
    for text in [said.as_bytes(), logs.as_bytes(), &kept, &journal] {
        let is_told = text.windows(12).any(|part| part == b"s3cret-value");
        assert!(!is_told, "{said}{logs}");
    }
}
