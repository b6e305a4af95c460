//! `backstay plugin test`: a plugin that does what a destination must passes, and each wrong one fails where it is wrong.

use std::fs;
use std::path::PathBuf;

use backstay_testkit::cli::{Backstay, Output};
use backstay_testkit::guests;
use serde_json::{Value, json};

struct Desk {
    backstay: Backstay,
    component: PathBuf,
}

impl Desk {
    fn new() -> Self {
        let desk = Desk {
            backstay: Backstay::new(env!("CARGO_BIN_EXE_backstay")),
            component: guests::path("lab-destination"),
        };
        fs::create_dir(desk.place()).unwrap();
        desk
    }

    fn place(&self) -> PathBuf {
        self.backstay.scratch_dir().join("place")
    }

    /// Tries the component out with a configuration of the place and this.
    fn test(&self, mut config: Value, more: &[&str]) -> Output {
        config["path"] = json!(self.place());
        let file = self.backstay.scratch_dir().join("config.json");
        fs::write(&file, config.to_string()).unwrap();
        let component = self.component.to_str().unwrap();
        let fixed = ["plugin", "test", component, "--config", file.to_str().unwrap()];
        self.backstay.run(&[&fixed[..], more].concat())
    }

    /// Behaviours that fail, each with what is said of it.
    #[track_caller]
    fn failures(&self, config: Value) -> Vec<(String, String)> {
        let tried = self.test(config, &["--yes", "--json"]).code(8).json();
        assert_eq!(tried["passed"], false);
        let behaviours = tried["behaviours"].as_array().unwrap().iter();
        let failed = behaviours.filter(|behaviour| behaviour["outcome"] == "failed");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        failed
            .map(|failed| (text(&failed["behaviour"]), text(&failed["error"]["message"])))
            .collect()
    }
}

#[test]
fn one_that_does_what_it_must_passes_and_leaves_nothing() {
    let desk = Desk::new();
    let output = desk.test(json!({}), &["--yes"]).ok();
    let said = output.stdout;
    assert!(
        said.contains("lab-destination 0.1.0: 11 passed, 0 failed, 0 skipped"),
        "{said}"
    );
    assert_eq!(
        said.lines().filter(|line| line.starts_with("ok ")).count(),
        11,
        "{said}"
    );
    let left = fs::read_dir(desk.backstay.data_dir()).unwrap().flatten();
    let left: Vec<_> = left.map(|entry| entry.file_name()).collect();
    let is_left = left
        .iter()
        .any(|name| name.to_string_lossy().starts_with("plugin-test"));
    assert!(!is_left, "{left:?}");
    assert_eq!(desk.backstay.json(&["runs"]), json!([]));
    let plugins = desk.backstay.run(&["plugin", "list"]).ok().stdout;
    assert!(!plugins.contains("lab-destination"), "{plugins}");
}

#[test]
fn a_wrong_one_fails_where_it_is_wrong() {
    let desk = Desk::new();
    let place = desk.place().display().to_string();
    // It writes in place, and takes the end of its input for the end of the stream.
    let in_place = format!("cat > {place}/x; wc -c < {place}/x");
    for (config, behaviour, says) in [
        (
            json!({ "do": "lie-size" }),
            "stream",
            "bytes were stored, and `check` says",
        ),
        (json!({ "do": "lie-content" }), "stream", "is damaged"),
        (
            json!({ "do": "store-nothing" }),
            "stream",
            "was not moved exactly once",
        ),
        (
            json!({ "do": "fail", "when": "find" }),
            "configuration",
            "failed, as the test wished",
        ),
        (
            json!({ "do": "fail", "when": "remove" }),
            "removal",
            "failed, as the test wished",
        ),
        (
            json!({ "do": "fail", "when": "undo" }),
            "failed-source",
            "failed, as the test wished",
        ),
        (
            json!({ "do": "process", "script": in_place, "openScript": format!("cat {place}/x") }),
            "failed-source",
            "`x` is at the place, and should not be",
        ),
    ] {
        let failures = desk.failures(config.clone());
        let found = failures.iter().find(|(name, _)| name == behaviour);
        let is_right = found.is_some_and(|(_, message)| message.contains(says));
        assert!(is_right, "{config}: {failures:#?}");
        // Nothing wrong is said of what is right.
        let is_broken = |(name, _): &(String, String)| name == "configuration";
        assert!(
            behaviour == "configuration" || !failures.iter().any(is_broken),
            "{failures:#?}"
        );
        fs::remove_dir_all(desk.place()).unwrap();
        fs::create_dir(desk.place()).unwrap();
    }
}

#[test]
fn what_keeps_it_from_being_tried_is_said() {
    let desk = Desk::new();
    // Nobody is there who could grant what it asks for.
    let output = desk.test(json!({}), &[]).code(14);
    assert!(output.stderr.contains("--yes"), "{}", output.stderr);
    assert!(output.stderr.contains("to store there"), "{}", output.stderr);
    let refused = desk.failures(json!({ "do": "nothing-that-there-is" }));
    assert_eq!(refused.len(), 1, "{refused:#?}");
    assert!(refused[0].1.contains("/config/do"), "{refused:#?}");
    let file = desk.backstay.scratch_dir().join("list.yaml");
    fs::write(&file, "- 1\n- 2\n").unwrap();
    let file = file.to_str().unwrap();
    for (plugin, code, says) in [
        ("local", 2, "is no configuration of a plugin"),
        ("path", 2, "is no configuration of a plugin"),
    ] {
        let output = desk
            .backstay
            .run(&["plugin", "test", plugin, "--config", file])
            .code(code);
        assert!(output.stderr.contains(says), "{}", output.stderr);
    }
    fs::write(file, "path: /srv\n").unwrap();
    let output = desk
        .backstay
        .run(&["plugin", "test", "path", "--config", file])
        .code(2);
    assert!(output.stderr.contains("is a source plugin"), "{}", output.stderr);
}
