//! `backstay run JOB --dry-run`: what a run would change is said, and nothing is changed.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use backstay_testkit::cli::Backstay;
use serde_json::{Value, json};

/// Everything below a directory, with its content.
fn all_of(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut left = vec![root.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.display().to_string();
            if path.is_dir() && !path.is_symlink() {
                found.insert(name, Vec::new());
                left.push(path);
            } else {
                found.insert(name, fs::read(&path).unwrap_or_default());
            }
        }
    }
    found
}

struct Desk {
    backstay: Backstay,
}

impl Desk {
    fn new() -> Self {
        let backstay = Backstay::new(env!("CARGO_BIN_EXE_backstay"));
        let desk = Desk { backstay };
        for name in ["source/sub", "disk", "usb"] {
            fs::create_dir_all(desk.backstay.scratch_dir().join(name)).unwrap();
        }
        for (name, content) in [
            ("same", "same"),
            ("grows", "small"),
            ("mode", "m"),
            ("goes", "gone soon"),
            ("sub/x.tmp", "left out at one"),
        ] {
            desk.write(name, content);
        }
        desk
    }

    fn at(&self, name: &str) -> std::path::PathBuf {
        self.backstay.scratch_dir().join(name)
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.at("source").join(name), content).unwrap();
    }

    fn apply(&self, source: Value, destinations: Value) {
        let job = json!({ "name": "j", "source": source, "destinations": destinations });
        self.backstay.apply(&job.to_string()).ok();
    }

    fn files(&self) -> Value {
        json!({ "plugin": "path", "config": { "path": self.at("source"), "stream": false } })
    }

    fn local(&self) -> Value {
        json!({ "plugin": "local", "config": { "path": self.at("disk"), "minFreeBytes": 0 } })
    }
}

#[test]
fn what_would_change_is_said_for_each_destination_and_nothing_is_changed() {
    let desk = Desk::new();
    let rsync = json!({ "plugin": "rsync", "config": {
        "localDestination": desk.at("usb"), "minFreeBytes": 0,
        "excludePatterns": ["*.tmp"], "deleteExtraneous": false,
    } });
    desk.apply(desk.files(), json!([desk.local(), rsync]));
    let first = desk.backstay.run(&["run", "j", "--dry-run"]).ok();
    assert!(
        first.stdout.contains("there is no backup to compare with"),
        "{}",
        first.stdout
    );
    assert_eq!(fs::read_dir(desk.at("disk")).unwrap().count(), 0);
    desk.backstay.run(&["run", "j"]).ok();
    desk.write("grows", "larger now");
    desk.write("new", "12345");
    desk.write("sub/y.tmp", "left out at one");
    fs::set_permissions(desk.at("source/mode"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::remove_file(desk.at("source/goes")).unwrap();
    let before = (all_of(&desk.at("disk")), all_of(&desk.at("usb")));
    let runs = desk.backstay.json(&["runs"]);
    let preview = desk.backstay.json(&["run", "j", "--dry-run"]);
    assert_eq!(runs, desk.backstay.json(&["runs"]));
    assert_eq!(before, (all_of(&desk.at("disk")), all_of(&desk.at("usb"))));
    let backups = desk.backstay.json(&["backups"]);
    let [local, rsync] = [&preview["destinations"][0], &preview["destinations"][1]];
    for (kept, plugin) in [(local, "local"), (rsync, "rsync")] {
        let of_plugin = |b: &&Value| b["destination"] == plugin;
        let backup = backups.as_array().unwrap().iter().find(of_plugin).unwrap();
        assert_eq!(kept["comparedWith"], backup["id"]);
    }
    let said = |kept: &Value| -> Vec<String> {
        let changes = kept["changes"].as_array().unwrap().iter();
        changes
            .map(|c| {
                format!(
                    "{} {} {}{}",
                    c["change"].as_str().unwrap(),
                    c["path"].as_str().unwrap(),
                    c["bytes"],
                    c.get("what").map_or_else(String::new, |what| format!(" {what}"))
                )
            })
            .collect()
    };
    assert_eq!(
        said(local),
        [
            "deleted goes 9",
            "changed grows 10 [\"content\",\"time\"]",
            "changed mode 1 [\"mode\"]",
            "new new 5",
            "changed sub 0 [\"time\"]",
            "new sub/y.tmp 15",
        ]
    );
    assert_eq!(
        said(rsync),
        [
            "carried goes 9",
            "changed grows 10 [\"content\",\"time\"]",
            "changed mode 1 [\"mode\"]",
            "new new 5",
            "changed sub 0 [\"time\"]",
        ]
    );
    assert_eq!(local["new"], json!({ "entries": 2, "bytes": 20 }));
    assert_eq!(local["unchanged"], json!({ "entries": 2, "bytes": 19 }));
    // The run does what was said: then nothing is left to change.
    desk.backstay.run(&["run", "j"]).ok();
    let after = desk.backstay.json(&["run", "j", "--dry-run"]);
    for kept in after["destinations"].as_array().unwrap() {
        let left: Vec<String> = said(kept)
            .into_iter()
            .filter(|c| !c.starts_with("carried"))
            .collect();
        assert_eq!(left, Vec::<String>::new());
    }
}

#[test]
fn a_preview_reads_as_a_person_would_want_it() {
    let desk = Desk::new();
    desk.apply(desk.files(), json!([desk.local()]));
    desk.backstay.run(&["run", "j"]).ok();
    desk.write("grows", "larger now");
    desk.write("new", "12345");
    fs::remove_file(desk.at("source/goes")).unwrap();
    let said = desk.backstay.run(&["run", "j", "--dry-run"]).ok().stdout;
    let id = desk.backstay.json(&["backups"])[0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    insta::assert_snapshot!(said.replace(&id, "ID"));
}

#[test]
fn what_is_stored_as_a_stream_is_told_apart() {
    let desk = Desk::new();
    let mut source = desk.files();
    source["config"]["stream"] = json!(true);
    desk.apply(source, json!([desk.local()]));
    desk.backstay.run(&["run", "j"]).ok();
    let kept = desk.backstay.json(&["run", "j", "--dry-run"])["destinations"][0].clone();
    assert_eq!(
        (&kept["form"], &kept["comparedWith"]),
        (&json!("tar"), &Value::Null)
    );
}

#[test]
fn a_source_that_would_have_to_do_something_is_refused() {
    let desk = Desk::new();
    let source = json!({ "plugin": "flash", "config": { "gitPath": desk.at("source/.git") } });
    let job = json!({ "name": "j", "source": source, "destinations": [desk.local()] });
    let applied = desk.backstay.apply(&job.to_string());
    applied.ok();
    let refused = desk.backstay.run(&["run", "j", "--dry-run"]).code(2);
    assert!(
        refused.stderr.contains("can't be previewed"),
        "{}",
        refused.stderr
    );
    assert!(!desk.at("source/.git").exists());
}
