//! What is gone from the source.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use serde_json::json;

use super::lab::Lab;

#[test]
fn what_is_gone_is_not_in_the_next_snapshot() {
    let lab = Lab::new();
    lab.write("stays", "1");
    lab.write("goes", "2");
    lab.apply(json!({}), json!({}));
    let first = lab.snapshot();
    fs::remove_file(lab.at("source/goes")).unwrap();
    let second = lab.snapshot();
    assert!(first.join("goes").exists() && !second.join("goes").exists());
    lab.verify().ok();
}

#[test]
fn what_is_gone_is_carried_over_if_the_job_says_so() {
    let lab = Lab::new();
    for name in [
        "stays",
        "goes",
        "d/stays",
        "d/goes",
        "gone/deep/file",
        "becomes/file",
        "file",
        "one",
    ] {
        lab.write(name, name);
    }
    fs::hard_link(lab.at("source/one"), lab.at("source/two")).unwrap();
    lab.apply(json!({ "deleteExtraneous": false }), json!({}));
    let first = lab.snapshot();
    for name in ["goes", "d/goes", "one"] {
        fs::remove_file(lab.at("source").join(name)).unwrap();
    }
    fs::remove_dir_all(lab.at("source/gone")).unwrap();
    fs::remove_dir_all(lab.at("source/becomes")).unwrap();
    lab.write("becomes", "a file");
    fs::remove_file(lab.at("source/file")).unwrap();
    lab.write("file/becomes", "a directory");
    for round in 0..2 {
        let run = lab.run().ok().json();
        let artifact = &run["backups"][0]["manifest"]["artifacts"][0];
        let second = std::path::PathBuf::from(artifact["location"].as_str().unwrap());
        for name in ["goes", "d/goes", "gone/deep/file", "one"] {
            let inodes = [&first, &second].map(|at| fs::metadata(at.join(name)).unwrap().ino());
            assert_eq!(inodes[0], inodes[1], "{name} in round {round}");
        }
        assert_eq!(fs::read(second.join("becomes")).unwrap(), b"a file");
        assert_eq!(fs::read(second.join("file/becomes")).unwrap(), b"a directory");
        assert_eq!(
            artifact["statistics"]["stage1"]["entriesCarried"], 6,
            "{artifact}"
        );
        lab.verify().ok();
        let index = fs::read_to_string(second.with_file_name("data.index"))
            .unwrap_or_else(|_| fs::read_to_string(format!("{}.index", second.display())).unwrap());
        let carried = index
            .lines()
            .filter(|line| line.contains("\"carried\":true"))
            .count();
        assert_eq!(carried, 6, "{index}");
    }
    // Exactly the source again.
    lab.apply(json!({ "deleteExtraneous": true }), json!({}));
    lab.snapshot();
    lab.comes_back("target");
}

#[test]
fn an_emptied_source_is_refused_however_much_could_be_carried_over() {
    for delete in [true, false] {
        let lab = Lab::new();
        lab.write("file", vec![b'x'; 10_000]);
        lab.apply(json!({ "deleteExtraneous": delete }), json!({}));
        let first = lab.snapshot();
        let stored = lab.stored();
        fs::remove_file(lab.at("source/file")).unwrap();
        let run = lab.run().code(4).json();
        assert!(run["error"]["hint"].is_string(), "{run}");
        assert_eq!(lab.stored(), stored);
        lab.write("file", "10 bytes !");
        let message = lab.run().code(4).json()["error"]["message"]
            .as_str()
            .unwrap()
            .to_owned();
        assert!(message.contains("shrank from 10000 to 10 bytes"), "{message}");
        assert_eq!(fs::metadata(first.join("file")).unwrap().len(), 10_000);
    }
}
