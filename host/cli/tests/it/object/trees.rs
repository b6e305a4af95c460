//! Trees of which each file is an object: what is in the store, what comes back, and what never stays behind.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use backstay_testkit::compare;
use backstay_testkit::proxy::Fault;
use backstay_testkit::stores::{Protocol, SECRET};
use backstay_testkit::tree::{self, Size};

use super::lab::{Lab, noise};

const BOTH: [Protocol; 2] = [Protocol::S3, Protocol::WebDav];

#[test]
fn a_tree_of_all_kinds_and_names_comes_back_as_it_was() {
    for protocol in BOTH {
        let lab = Lab::new(protocol);
        fs::create_dir(lab.at("source/tree")).unwrap();
        // The server needs seconds for each list of directories that are nested more deeply.
        let size = Size::default().sparse_bytes(1 << 20).depth(40);
        tree::hostile(&lab.at("source/tree"), size);
        // And hashes all of a file for each piece of it that is read.
        fs::remove_file(lab.at("source/tree/sparse-hole-only")).unwrap();
        lab.write("large", &noise(36 << 20));
        let sparse = fs::File::create(lab.at("source/sparse")).unwrap();
        sparse.set_len(12 << 20).unwrap();
        lab.apply_files("");
        let backup = lab.back_up();
        assert_eq!(backup["manifest"]["artifacts"][0]["form"], "tree");
        for level in ["size", "checksum", "archive", "restore"] {
            lab.backstay
                .run(&["verify", "latest:data", "--level", level])
                .ok();
        }
        compare::trees(&lab.at("source"), &lab.restore("target", &[])).unwrap();
        // The next one takes its place.
        fs::remove_dir_all(lab.at("source/tree")).unwrap();
        lab.apply_files("retention: { keepLast: 1 }");
        lab.back_up();
        let objects = lab.server.objects();
        assert_eq!(objects.len(), 5, "{objects:#?}");
    }
}

#[test]
fn each_file_is_an_object_and_only_those_are_read_that_somebody_wants() {
    let lab = Lab::new(Protocol::S3);
    lab.write("manifest.json", b"of somebody else");
    lab.write("100%", b"a name that must be written in another way");
    fs::create_dir_all(lab.at("source/.git/empty")).unwrap();
    lab.write(".git/config", b"config");
    symlink("file", lab.at("source/link")).unwrap();
    lab.apply_files("");
    let backup = lab.back_up();
    let object = backup["manifest"]["artifacts"][0]["object"].as_str().unwrap();
    let place = format!("nas/one/{object}");
    let (directory, _) = place.rsplit_once('/').unwrap();
    let mut expected: Vec<String> = ["/.git/config", "/100%25", "/file", "/manifest.json", ".index"]
        .iter()
        .map(|name| format!("{place}{name}"))
        .collect();
    expected.push(format!("{directory}/manifest.json"));
    expected.sort();
    assert_eq!(lab.server.objects(), expected);

    let before = lab.proxy.seen().len();
    let target = lab.restore("one", &[".git/config"]);
    assert_eq!(fs::read(target.join(".git/config")).unwrap(), b"config");
    let read = lab.proxy.seen().split_off(before);
    let is_file = |line: &&String| line.starts_with("GET") && line.contains(&format!("/{place}/"));
    assert_eq!(read.iter().filter(is_file).count(), 1, "{read:#?}");

    // Files of trees are no backups, whatever they are called.
    lab.backstay.run(&["catalog", "rebuild"]).ok();
    assert_eq!(lab.backstay.json(&["backups"]).as_array().unwrap().len(), 1);
}

#[test]
fn a_tree_without_files_comes_back() {
    for protocol in BOTH {
        let lab = Lab::new(protocol);
        fs::remove_file(lab.at("source/file")).unwrap();
        fs::create_dir(lab.at("source/empty")).unwrap();
        lab.apply_files("");
        lab.back_up();
        lab.backstay.run(&["verify", "latest:data"]).ok();
        compare::trees(&lab.at("source"), &lab.restore("target", &[])).unwrap();
    }
}

#[test]
fn what_passes_next_time_is_tried_again_and_what_does_not_leaves_nothing() {
    let lab = Lab::new(Protocol::S3);
    for n in 0..40 {
        lab.write(&format!("file-{n}"), &noise(1000 + n));
    }
    lab.write("large", &noise(20 << 20));
    lab.apply_files("");
    lab.proxy.fail("PUT", "/data/file-1", 0, 3, Fault::Answer(503));
    lab.proxy
        .fail("PUT", "/data/file-2", 0, 1, Fault::ResetRequest(100));
    lab.back_up();
    assert!(lab.proxy.struck() >= 4);
    compare::trees(&lab.at("source"), &lab.restore("target", &[])).unwrap();
    let before = lab.server.objects();

    lab.proxy
        .fail("PUT", "/data/file-39", 0, usize::MAX, Fault::Answer(403));
    let run = lab.backstay.run(&["run", "data"]);
    assert!(run.code == 7 && run.stderr.contains("file-39"), "{}", run.stderr);
    assert_eq!(lab.server.objects(), before);
    let unfinished = lab.server.unfinished_uploads();
    assert!(!unfinished.contains("UploadId"), "{unfinished}");
}

#[test]
fn the_recovery_kit_brings_the_files() {
    let lab = Lab::new(Protocol::S3);
    fs::create_dir(lab.at("source/sub")).unwrap();
    lab.write("sub/it's", b"content");
    lab.apply_files("");
    lab.back_up();
    let kit = lab.backstay.run(&["recovery-kit", "latest:data"]).ok().stdout;
    let (script, target) = (lab.at("kit.sh"), lab.at("target"));
    fs::write(&script, kit).unwrap();
    let run = Command::new("bash")
        .args([&script, &target])
        .env("SECRET", SECRET)
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    assert_eq!(fs::read(target.join("sub/it's")).unwrap(), b"content");
    assert_eq!(fs::read(target.join("file")).unwrap(), b"content");
}

#[test]
fn what_cannot_be_is_said_when_the_job_is_applied() {
    let lab = Lab::new(Protocol::S3);
    let job = "name: data\nsource: { plugin: path, config: { path: /srv } }\ndestinations: [{ plugin: object, config: { remote: main, trees: files, objectLock: { mode: governance, days: 1 } } }]\n";
    let said = lab.backstay.apply(job).code(2).stderr;
    assert!(said.contains("/destinations/0/config/trees"), "{said}");
}

#[test]
fn a_file_that_is_shorter_or_longer_than_it_was_is_never_restored_as_if_it_were_whole() {
    let lab = Lab::new(Protocol::S3);
    lab.write("empty", b"");
    lab.write("large", &noise(36 << 20));
    lab.apply_files("");
    let backup = lab.back_up();
    let object = backup["manifest"]["artifacts"][0]["object"].as_str().unwrap();
    let stored = lab.server.files().join("nas/one").join(object);
    let target = lab.at("target");
    let restore = ["restore", "latest:data", "--to", target.to_str().unwrap()];
    for (name, bytes) in [("file", &b"con"[..]), ("file", b""), ("large", b"short")] {
        let whole = fs::read(stored.join(name)).unwrap();
        fs::write(stored.join(name), bytes).unwrap();
        lab.backstay
            .run(&["verify", "latest:data", "--level", "size"])
            .code(8);
        let said = lab.backstay.run(&restore).code(8).stderr;
        assert!(said.contains(name), "{said}");
        fs::write(stored.join(name), whole).unwrap();
    }
    // What was appended is seen.
    for name in ["file", "empty", "large"] {
        let whole = fs::read(stored.join(name)).unwrap();
        fs::write(stored.join(name), [&whole[..], b"more"].concat()).unwrap();
        lab.backstay
            .run(&["verify", "latest:data", "--level", "checksum"])
            .code(8);
        fs::write(stored.join(name), whole).unwrap();
    }
    lab.backstay
        .run(&["verify", "latest:data", "--level", "checksum"])
        .ok();
    compare::trees(&lab.at("source"), &lab.restore("whole", &[])).unwrap();
}
