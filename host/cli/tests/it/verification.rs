//! What checks leave in the catalogue, and what that changes for those who use it.

use std::fs;
use std::path::PathBuf;

use backstay_testkit::cli::Backstay;
use serde_json::{Value, json};

struct Desk {
    backstay: Backstay,
    source: PathBuf,
}

impl Desk {
    fn new() -> Self {
        let backstay = Backstay::new(env!("CARGO_BIN_EXE_backstay"));
        let source = backstay.scratch_dir().join("source");
        fs::create_dir(&source).unwrap();
        fs::write(source.join("file"), "content").unwrap();
        fs::create_dir(backstay.scratch_dir().join("place")).unwrap();
        Desk { backstay, source }
    }

    fn apply(&self, name: &str, verify: Value) {
        let job = json!({
            "name": name,
            "source": { "plugin": "path", "config": { "path": self.source } },
            "destinations": [{ "plugin": "local", "config": { "path": self.backstay.scratch_dir().join("place") } }],
            "verify": verify,
        });
        self.backstay.apply(&job.to_string()).ok();
    }

    fn back_up(&self, name: &str) -> Value {
        self.backstay.json(&["run", name])["backups"][0].clone()
    }

    fn listed(&self, backup: &Value) -> Value {
        let all = self.backstay.json(&["backups"]);
        all.as_array()
            .unwrap()
            .iter()
            .find(|b| b["id"] == backup["id"])
            .unwrap()
            .clone()
    }
}

fn payload(backup: &Value) -> PathBuf {
    backup["manifest"]["artifacts"][0]["location"]
        .as_str()
        .unwrap()
        .into()
}

/// The ids of the backups that a command checked, in its order.
fn checked(reports: &Value) -> Vec<&Value> {
    reports
        .as_array()
        .unwrap()
        .iter()
        .map(|run| &run["backups"][0]["id"])
        .collect()
}

#[test]
fn all_backups_are_checked_whatever_is_found() {
    let desk = Desk::new();
    desk.apply("one", json!({}));
    desk.apply("two", json!({}));
    let made = ["one", "one", "two"].map(|job| desk.back_up(job));
    let whole = fs::read(payload(&made[1])).unwrap();
    fs::write(payload(&made[1]), "damaged").unwrap();
    let output = desk.backstay.run_json(&["verify", "--all"]).code(8).json();
    assert_eq!(checked(&output), [&made[2]["id"], &made[1]["id"], &made[0]["id"]]);
    for (backup, ok) in made.iter().zip([true, false, true]) {
        let listed = desk.listed(backup);
        assert_eq!(
            (&listed["verifiedOk"], &listed["verifiedLevel"]),
            (&json!(ok), &json!("checksum"))
        );
        assert!(listed["verifiedAt"].is_string());
    }
    let text = desk.backstay.run(&["backups"]).ok().stdout;
    assert!(
        text.contains("DAMAGED 20") && text.contains("checksum 20"),
        "{text}"
    );
    // Only those of a job, and no more than asked for.
    let output = desk
        .backstay
        .run_json(&["verify", "--all", "two", "--level", "archive"])
        .ok()
        .json();
    assert_eq!(checked(&output), [&made[2]["id"]]);
    let output = desk
        .backstay
        .run_json(&["verify", "--all", "--limit", "1"])
        .ok()
        .json();
    assert_eq!(checked(&output), [&made[2]["id"]]);
    desk.backstay.run(&["verify", "--all", "tow"]).code(2);
    desk.backstay.run(&["verify"]).code(2);

    // A damaged backup isn't used without a word, and is as good as any other once it passes a check.
    let id = made[1]["id"].as_str().unwrap();
    let to = |name: &str| {
        desk.backstay
            .scratch_dir()
            .join(name)
            .to_str()
            .unwrap()
            .to_owned()
    };
    let output = desk
        .backstay
        .run_json(&["restore", "latest:one", "--to", &to("a")])
        .ok();
    assert_eq!(output.json()["backups"][0]["id"], made[0]["id"]);
    assert!(output.stderr.contains("the newest backup"), "{}", output.stderr);
    let output = desk.backstay.run(&["restore", id, "--to", &to("b")]).code(8);
    assert!(
        output
            .stderr
            .contains(&format!("warning: backup {id} was found damaged")),
        "{}",
        output.stderr
    );
    // Its size alone doesn't clear it.
    let mut changed = whole.clone();
    changed[0] ^= 1;
    fs::write(payload(&made[1]), changed).unwrap();
    let output = desk.backstay.run(&["verify", id, "--level", "size"]).ok();
    assert!(
        output.stderr.contains("stays marked as damaged"),
        "{}",
        output.stderr
    );
    assert_eq!(desk.listed(&made[1])["verifiedOk"], false);
    fs::write(payload(&made[1]), whole).unwrap();
    desk.backstay.run(&["verify", "latest:one"]).ok();
    let output = desk
        .backstay
        .run_json(&["restore", "latest:one", "--to", &to("c")])
        .ok();
    assert_eq!(output.json()["backups"][0]["id"], made[1]["id"]);
    assert!(!output.stderr.contains("damaged"), "{}", output.stderr);
}

#[test]
fn the_longest_unchecked_comes_first_when_it_is_due() {
    let desk = Desk::new();
    desk.apply("often", json!({ "level": "archive", "every": "1ms" }));
    desk.apply("seldom", json!({ "every": "7d" }));
    desk.apply("never", json!({}));
    let often = [(); 3].map(|()| desk.back_up("often"));
    desk.back_up("seldom");
    desk.back_up("never");
    desk.backstay
        .run(&["verify", often[0]["id"].as_str().unwrap(), "--level", "archive"])
        .ok();
    // It doesn't count: it isn't as deep as the job asks for.
    desk.backstay
        .run(&["verify", often[1]["id"].as_str().unwrap(), "--level", "size"])
        .ok();
    let output = desk.backstay.run_json(&["verify", "--due"]).ok().json();
    assert_eq!(
        checked(&output),
        [&often[1]["id"], &often[2]["id"], &often[0]["id"]]
    );
    assert_eq!(desk.listed(&often[0])["verifiedLevel"], "archive");
    // So that a timer that runs every hour gets round in the end.
    let next = desk
        .backstay
        .run_json(&["verify", "--due", "often", "--limit", "1"])
        .ok()
        .json();
    assert_eq!(checked(&next), [&often[1]["id"]]);
    // Also if the one whose turn it is can't be checked.
    let place = desk.backstay.scratch_dir().join("place");
    let away = desk.backstay.scratch_dir().join("away");
    fs::rename(&place, &away).unwrap();
    let vain = desk
        .backstay
        .run_json(&["verify", "--due", "often", "--limit", "1"]);
    assert!(![0, 8].contains(&vain.code), "{}", vain.stdout);
    assert_eq!(vain.json()[0]["status"], "failed");
    fs::rename(&away, &place).unwrap();
    let next = desk
        .backstay
        .run_json(&["verify", "--due", "often", "--limit", "2"])
        .ok()
        .json();
    assert_eq!(checked(&next), [&often[0]["id"], &often[1]["id"]]);
    assert_eq!(
        desk.backstay.run_json(&["verify", "--due", "seldom"]).ok().json(),
        json!([])
    );
    assert_eq!(
        desk.backstay.run_json(&["verify", "--due", "never"]).ok().json(),
        json!([])
    );
}
