//! What a fresh machine can do with the backups of one that is gone.

use std::fs;
use std::process::Command;

use backstay_testkit::compare;
use serde_json::{Value, json};

use super::lab::{Lab, backups, fresh, problems, rebuild, rebuilt};
use crate::roundtrip::key;

/// Everything that can be done with a backup works on a fresh machine, with the disk mounted elsewhere.
fn works_at_once(job: Value, identity: Option<&str>) {
    let lab = Lab::new(job);
    lab.back_up();
    fs::write(lab.source.join("new"), "new").unwrap();
    let newest = lab.back_up();
    let moved = lab.old.scratch_dir().join("mounted elsewhere");
    fs::rename(&lab.place, &moved).unwrap();

    let new = fresh();
    let result = rebuilt(&new, &moved, 0);
    assert_eq!(result["found"], 2, "{result:#}");
    assert_eq!(result["added"], 2);
    assert_eq!(result["ofOthers"], 2);
    assert_eq!(result["jobs"], json!({ "j": 2 }));
    let listed = backups(&new);
    assert_eq!(listed.len(), 2);
    assert_eq!(listed[0]["id"], newest["id"]);
    assert_eq!(listed[0]["job"], "j");
    assert_eq!(listed[0]["own"], false);
    assert_eq!(listed[0]["verifiedLevel"], "size");
    let location = listed[0]["location"].as_str().unwrap();
    assert!(location.starts_with(moved.to_str().unwrap()), "{location}");
    let said = new.run(&["backups", "j"]).ok().stdout;
    assert!(said.contains("by another installation, on "), "{said}");

    let key: Vec<&str> = identity.iter().flat_map(|key| ["--identity", key]).collect();
    for level in ["checksum", "archive", "restore"] {
        let verify = [&["verify", "latest:j", "--level", level], key.as_slice()].concat();
        new.run(&verify).ok();
    }
    let target = new.scratch_dir().join("restored");
    let to = target.to_str().unwrap();
    let restored = new
        .run(&[&["restore", "latest:j", "--to", to], key.as_slice()].concat())
        .ok();
    assert!(
        restored.stderr.contains("was made by another installation, on "),
        "{}",
        restored.stderr
    );
    compare::trees(&lab.source, &target).unwrap();

    let kit = new.scratch_dir().join("kit.sh");
    fs::write(&kit, new.run(&["recovery-kit", "latest:j"]).ok().stdout).unwrap();
    let by_hand = new.scratch_dir().join("by hand");
    fs::create_dir(&by_hand).unwrap();
    let bash = Command::new("bash")
        .arg(&kit)
        .arg(&by_hand)
        .args(identity)
        .output()
        .unwrap();
    assert!(bash.status.success(), "{}", String::from_utf8_lossy(&bash.stderr));
    compare::trees(&lab.source, &by_hand).unwrap();

    let again = rebuilt(&new, &moved, 0);
    assert_eq!((&again["added"], &again["known"]), (&json!(0), &json!(2)));
    assert_eq!(
        backups(&new)[0]["verifiedLevel"],
        "restore",
        "what is there must stay"
    );
}

#[test]
fn streams_that_are_compressed_and_encrypted_work_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let key = key(directory.path(), "key.txt");
    let filters = json!({
        "compression": { "algorithm": "zstd" },
        "encryption": { "recipients": [key.public] },
    });
    works_at_once(json!({ "filters": filters }), key.file.to_str());
}

#[test]
fn trees_work_at_once() {
    works_at_once(
        json!({ "source": { "plugin": "path", "config": { "stream": false } } }),
        None,
    );
}

#[test]
fn a_job_file_or_stored_jobs_say_where_to_look() {
    let lab = Lab::new(json!({}));
    let second = lab.old.scratch_dir().join("second");
    fs::create_dir(&second).unwrap();
    let job = json!({
        "name": "j",
        "source": { "plugin": "path", "config": { "path": lab.source } },
        "destinations": [
            { "plugin": "local", "config": { "path": lab.place } },
            { "plugin": "local", "config": { "path": second }, "optional": true },
        ],
    });
    lab.old.apply(&job.to_string()).ok();
    let made = lab.old.json(&["run", "j"]);
    let file = lab.old.scratch_dir().join("job.yaml");
    let file = file.to_str().unwrap();

    let new = fresh();
    let tried = new.json(&["catalog", "rebuild", "-f", file, "--dry-run"]);
    assert_eq!(tried["destinations"][1]["added"], 1, "{tried:#}");
    assert!(backups(&new).is_empty(), "a dry run must change nothing");
    new.run(&["catalog", "rebuild"]).code(2);

    let result = new.json(&["catalog", "rebuild", "-f", file]);
    assert_eq!(result["destinations"].as_array().unwrap().len(), 2);
    let listed = backups(&new);
    for backup in made["backups"].as_array().unwrap() {
        let found = listed.iter().find(|b| b["id"] == backup["id"]).unwrap();
        assert_eq!(found["critical"], backup["critical"]);
        assert_eq!(
            found["manifest"], backup["manifest"],
            "at the same place nothing is another"
        );
        assert_eq!(found["location"], backup["location"]);
    }
    // The machine that made them has nothing to add, and a job that was applied is looked up by its name.
    let known = lab.old.json(&["catalog", "rebuild", "j"]);
    for place in known["destinations"].as_array().unwrap() {
        assert_eq!((&place["added"], &place["known"]), (&json!(0), &json!(1)));
    }
    assert_eq!(lab.old.json(&["backups"])[0]["own"], true);
}

#[test]
fn what_is_missing_or_cut_short_is_marked_and_not_restored_as_latest() {
    let lab = Lab::new(json!({}));
    let good = lab.back_up();
    let [missing, short] = [lab.back_up(), lab.back_up()];
    let payload = |backup: &Value| {
        backup["manifest"]["artifacts"][0]["location"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let whole = fs::read(payload(&short)).unwrap();
    fs::remove_file(payload(&missing)).unwrap();
    fs::write(payload(&short), &whole[..1000]).unwrap();

    let new = fresh();
    let result = rebuilt(&new, &lab.place, 1);
    assert_eq!(result["added"], 3);
    assert_eq!(result["damaged"], 2);
    let kinds: Vec<String> = problems(&result).into_iter().map(|(_, kind)| kind).collect();
    assert_eq!(kinds, ["incomplete", "incomplete"]);
    let ok: Vec<Value> = backups(&new).iter().map(|b| b["verifiedOk"].clone()).collect();
    assert_eq!(ok, [json!(false), json!(false), json!(true)]);
    let target = new.scratch_dir().join("restored");
    let output = new
        .run(&["restore", "latest:j", "--to", target.to_str().unwrap(), "--json"])
        .ok();
    assert_eq!(output.json()["backups"][0]["id"], good["id"]);
    assert!(output.stderr.contains("is damaged; this is"), "{}", output.stderr);
    compare::trees(&lab.source, &target).unwrap();

    // What turns out well is not marked any more.
    fs::write(payload(&short), whole).unwrap();
    new.run(&["verify", short["id"].as_str().unwrap()]).ok();
    let target = new.scratch_dir().join("again");
    let output = new
        .run(&["restore", "latest:j", "--to", target.to_str().unwrap(), "--json"])
        .ok();
    assert_eq!(output.json()["backups"][0]["id"], short["id"]);
}

#[test]
fn a_place_that_is_not_there_is_said_and_the_others_are_read() {
    let lab = Lab::new(json!({}));
    lab.back_up();
    let job = |path: &std::path::Path| json!({ "plugin": "local", "config": { "path": path } });
    let file = lab.old.scratch_dir().join("jobs.json");
    let gone = lab.old.scratch_dir().join("gone");
    let jobs = json!({ "destinations": [job(&gone), job(&lab.place), job(&lab.place)] });
    fs::write(&file, jobs.to_string()).unwrap();
    let new = fresh();
    let output = new
        .run_json(&["catalog", "rebuild", "-f", file.to_str().unwrap()])
        .code(3)
        .json();
    let message = output["destinations"][0]["error"]["message"].as_str().unwrap();
    assert!(message.contains("does not exist"), "{message}");
    assert_eq!(output["destinations"][1]["added"], 1);
    assert_eq!(output["destinations"].as_array().unwrap().len(), 2);
    for (config, said) in [
        ("[]", "--config is not a JSON object"),
        (r#"{"paht": "/x"}"#, "paht"),
        (r#"{"path": "relative"}"#, "/config/path"),
    ] {
        let output = new
            .run(&["catalog", "rebuild", "--plugin", "local", "--config", config])
            .code(2);
        let all = format!("{}{}", output.stdout, output.stderr);
        assert!(all.contains(said), "{config}: {all}");
    }
    // For people as well.
    let text = rebuild(&new, &lab.place, &[]).ok().stdout;
    assert!(
        text.contains("known        1 (in the catalogue before)"),
        "{text}"
    );
}
