//! The source is read once, and every place holds the same.

use std::fs;

use super::desk::{Desk, artifact, noise, object};
use crate::destinations::places::{ObjectS3, Place as _, RcloneDisk};
use crate::roundtrip::key;

#[test]
fn every_place_holds_the_same_object_from_one_reading() {
    let desk = Desk::new();
    let key = key(desk.backstay.scratch_dir(), "key.txt");
    desk.source(&noise(&desk, 20));
    fs::create_dir(desk.at("rclone")).unwrap();
    let rclone = RcloneDisk::start(&desk.at("rclone"));
    let places = [
        desk.local("first"),
        desk.local("second"),
        format!(
            "optional: true, {}",
            rclone.destination().trim_matches(['{', '}'])
        ),
    ];
    for filters in [
        String::new(),
        format!(
            "filters: {{ compression: {{ algorithm: zstd, level: 1 }}, encryption: {{ recipients: [{}] }} }}",
            key.public
        ),
    ] {
        desk.apply(&places, &filters);
        let run = desk.run().ok().json();
        assert_eq!(run["status"], "succeeded", "{run:#}");
        let first = artifact(&run, 0);
        for destination in 1..3 {
            let other = artifact(&run, destination);
            for of in [
                "raw",
                "stored",
                "contentBytes",
                "compression",
                "encryption",
                "form",
            ] {
                assert_eq!(other[of], first[of], "{of}");
            }
        }
        assert_eq!(run["stats"]["sourceBytes"], 20 << 20);
        let stored = object(&desk.at("first"));
        assert_eq!(stored.len() as u64, first["stored"]["bytes"].as_u64().unwrap());
        assert!(object(&desk.at("second")) == stored);
        assert!(object(&rclone.files()) == stored);
        for backup in run["backups"].as_array().unwrap() {
            let (id, identity) = (backup["id"].as_str().unwrap(), key.file.to_str().unwrap());
            desk.backstay
                .run(&["verify", id, "--level", "checksum", "--identity", identity])
                .ok();
        }
        assert_eq!(desk.reads(), 1, "the source was read more than once");
        for place in [desk.at("first"), desk.at("second"), rclone.files()] {
            fs::remove_dir_all(place.join("j")).unwrap();
        }
        fs::remove_file(desk.at("reads")).unwrap();
    }
    desk.has_nothing_to_undo();
}

#[test]
fn several_artifacts_are_each_read_once_for_all() {
    let desk = Desk::new();
    let places = [
        desk.local("first"),
        format!("optional: true, {}", desk.local("second")),
    ];
    let source = "{ plugin: lab-source, config: { do: many-artifacts, count: 3 } }";
    desk.apply_source(source, &places, "");
    let run = desk.run().ok().json();
    let names = |of: usize| {
        let artifacts = run["backups"][of]["manifest"]["artifacts"].as_array().unwrap();
        let names = artifacts.iter().map(|a| (a["name"].clone(), a["raw"].clone()));
        names.collect::<Vec<_>>()
    };
    assert_eq!(names(0).len(), 3);
    assert_eq!(names(0), names(1));
    assert!(!desk.events().contains("afterwards"), "{}", desk.events());
}

#[test]
fn a_tree_that_one_place_keeps_as_files_and_another_as_tar_is_whole_at_both() {
    let desk = Desk::new();
    let source = desk.at("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), "content").unwrap();
    let store = ObjectS3::start(&desk.at("store"));
    store.introduce(&desk.backstay);
    let places = [
        desk.local("first"),
        store.destination().trim_matches(['{', '}']).to_owned(),
    ];
    let source = format!(
        "{{ plugin: path, config: {{ path: {}, stream: false }} }}",
        source.display()
    );
    desk.apply_source(&source, &places, "");
    let run = desk.run().ok().json();
    assert_eq!(artifact(&run, 0)["form"], "tree");
    assert_eq!(artifact(&run, 1)["form"], "tar");
    for backup in run["backups"].as_array().unwrap() {
        desk.backstay
            .run(&["verify", backup["id"].as_str().unwrap(), "--level", "restore"])
            .ok();
    }
}
