//! Every compression through the whole program, back by it and by the plain commands that it prints.

use std::fs;
use std::process::Command;

use backstay_testkit::tools;
use serde_json::{Value, json};

use super::{AGE, Desk};

/// What the manifest of a job's last backup says of its one piece.
fn piece(desk: &Desk, job: &str) -> Value {
    desk.backstay.json(&["backups", job])[0]["manifest"]["artifacts"][0].clone()
}

/// Changes a byte in the middle of what a job has stored: each way to read it must say so, and none may give it back.
fn damage(desk: &Desk, job: &str) {
    let path = desk
        .at("place")
        .join(piece(desk, job)["object"].as_str().unwrap());
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    for level in ["checksum", "archive"] {
        let found = desk.with_key("verify", job, &["--level", level]).code(8);
        assert!(found.stdout.contains("is damaged"), "{}", found.stdout);
    }
    let target = desk.at("of damaged data");
    desk.restore(job, &["--to", target.to_str().unwrap()]).code(8);
    assert!(!target.exists());
    let kit = desk
        .backstay
        .run(&["recovery-kit", &format!("latest:{job}")])
        .ok();
    let shell = Command::new("bash")
        .args(["-c", &kit.stdout, "kit", target.to_str().unwrap()])
        .output()
        .unwrap();
    assert_eq!(shell.status.code(), Some(8), "{shell:?}");
    assert!(!target.exists());
}

#[test]
fn each_format_comes_back_by_the_program_and_by_its_own_tool() {
    tools::require(&["gzip", "zstd", "xz", "bzip2", "lz4"]);
    let desk = Desk::new();
    let source = desk.directory("source");
    for number in 0..40u32 {
        let text = format!("line {number} of many\n").repeat(number as usize * 500);
        fs::write(source.join(format!("file-{number}")), text).unwrap();
    }
    for (job, asked, suffix, used) in [
        (
            "gzip",
            "algorithm: gzip, threads: 2",
            ".tar.gz",
            json!({ "algorithm": "gzip", "level": 6, "threads": 2 }),
        ),
        (
            "zstd",
            "algorithm: zstd, mode: maximum, long: true, threads: 2",
            ".tar.zst",
            json!({ "algorithm": "zstd", "level": 19, "mode": "maximum", "long": true, "threads": 2 }),
        ),
        (
            "xz",
            "algorithm: xz, level: 2, extreme: true, threads: 2",
            ".tar.xz",
            json!({ "algorithm": "xz", "level": 2, "extreme": true, "threads": 2 }),
        ),
        (
            "bzip2",
            "algorithm: bzip2, mode: fast, threads: 3",
            ".tar.bz2",
            json!({ "algorithm": "bzip2", "level": 1, "mode": "fast", "threads": 3 }),
        ),
        (
            "lz4",
            "algorithm: lz4, threads: 1",
            ".tar.lz4",
            json!({ "algorithm": "lz4", "level": 1, "threads": 1 }),
        ),
    ] {
        let filters = format!("compression: {{ {asked} }}");
        desk.round_trip(job, &source, "", &filters);
        let stored = piece(&desk, job);
        assert_eq!(stored["compression"], used);
        let object = stored["object"].as_str().unwrap();
        assert!(object.ends_with(suffix), "{object}");
        let bytes = |name: &str| stored[name]["bytes"].as_u64().unwrap();
        assert!(bytes("stored") < bytes("raw") / 2, "{stored}");
        desk.verify(job, &["checksum", "archive", "restore"]);
        damage(&desk, job);
    }
    desk.round_trip(
        "both",
        &source,
        "",
        &format!("compression: {{ algorithm: xz, mode: fast }}, {AGE}"),
    );
    let object = piece(&desk, "both")["object"].clone();
    assert!(object.as_str().unwrap().ends_with(".tar.xz.age"), "{object}");
}

#[test]
fn a_compression_that_contradicts_itself_is_refused_with_its_place() {
    let desk = Desk::new();
    let mut said = String::new();
    for asked in [
        "algorithm: gzip, level: 0",
        "algorithm: zstd, level: 23",
        "algorithm: xz, level: 10",
        "algorithm: bzip2, level: 0",
        "algorithm: lz4, level: 9",
        "algorithm: none, level: 1, mode: fast",
        "algorithm: zstd, mode: ultra, level: 3",
        "algorithm: zstd, mode: best",
        "algorithm: gzip, extreme: true, long: true",
        "algorithm: xz, mode: fast, extreme: true",
        "algorithm: lzma",
    ] {
        let refused = desk
            .backstay
            .apply(&format!(
                "{{ name: x, source: {{ plugin: path, config: {{ path: {0} }} }}, destinations: [{{ plugin: local, config: {{ path: {0} }} }}], filters: {{ compression: {{ {asked} }} }} }}",
                desk.at("place").display()
            ))
            .code(2);
        said += &format!(
            "compression: {{ {asked} }}\n{}{}\n",
            refused.stdout, refused.stderr
        );
    }
    assert_eq!(desk.backstay.json(&["job", "list"]), json!([]));
    insta::assert_snapshot!(said);
}
