//! A key that is missing or wrong is no damage: it is said, and nothing is restored.

use std::fs;

use serde_json::Value;

use super::lab::{Lab, SEALED};
use crate::destinations::places::Local;
use crate::roundtrip::key;

#[test]
fn a_wrong_or_missing_key_is_said_and_nothing_is_restored() {
    let lab = Lab::<Local>::new();
    lab.plant(1);
    let backup = lab.store(&SEALED, 1).remove(0);
    let id = backup["id"].as_str().unwrap();
    let scratch = lab.backstay.scratch_dir();
    let wrong = key(scratch, "wrong.txt");
    let target = scratch.join("target");
    let to = target.to_str().unwrap();
    let mut commands = vec![
        vec!["restore", id, "--to", to],
        vec!["restore", id, "--to", to, "--dry-run"],
        vec!["restore", id, "--to", "-"],
        vec!["verify", id, "--level", "archive"],
        vec!["verify", id, "--level", "restore"],
    ];
    for command in &mut commands {
        let output = lab.backstay.run(command).code(15);
        let said = format!("{}{}", output.stdout, output.stderr);
        assert!(
            said.contains(" is encrypted and no key was given"),
            "{command:?}: {said}"
        );
        assert!(said.contains("--identity KEYFILE"), "{command:?}: {said}");
        command.extend(["--identity", wrong.file.to_str().unwrap()]);
        let output = lab.backstay.run(command).code(15);
        let said = format!("{}{}", output.stdout, output.stderr);
        let artifact = &backup["manifest"]["artifacts"][0]["location"];
        let sentence = format!("none of the given keys opens {}", artifact.as_str().unwrap());
        assert!(said.contains(&sentence), "{command:?}: {said}");
        assert!(!target.exists(), "{command:?}: something was restored");
    }
    // That says nothing about the backup, and what needs no key works without one.
    assert_eq!(lab.backstay.json(&["backups"])[0]["verifiedOk"], Value::Null);
    lab.backstay.run(&["verify", id, "--level", "checksum"]).ok();
    let several = ["--level", "archive", "--identity", wrong.file.to_str().unwrap()];
    lab.run("verify", &[&[id][..], &several].concat()).ok();
}

#[test]
fn a_key_file_that_holds_no_key_is_named() {
    let lab = Lab::<Local>::new();
    lab.plant(1);
    let backup = lab.store(&SEALED, 1).remove(0);
    let file = lab.backstay.scratch_dir().join("empty.txt");
    for content in [None, Some("# no key\n"), Some("AGE-SECRET-KEY-1NOT\n")] {
        if let Some(content) = content {
            fs::write(&file, content).unwrap();
        }
        let (id, file) = (backup["id"].as_str().unwrap(), file.to_str().unwrap());
        let restored = lab
            .backstay
            .run(&["restore", id, "--to", "-", "--identity", file]);
        let said = restored.code(15).stderr;
        assert!(said.contains(file), "{said}");
        assert!(!said.contains("1NOT"), "{said}");
    }
}
