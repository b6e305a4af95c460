//! Passwords of a place are in nothing that is printed, stored or listed among processes.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use backstay_testkit::process::wait_until;

use super::desk::Desk;
use super::places::Place;

pub fn no_secret_is_seen<P: Place>() {
    let mut desk = Desk::<P>::new();
    let (started, go) = (desk.at("started"), desk.at("go"));
    desk.script(&format!(
        "head -c 4M /dev/zero; : > {}; until test -e {}; do sleep 0.02; done",
        started.display(),
        go.display()
    ));
    desk.stream_job("");
    let run = desk.backstay.spawn(&["run", "j"]);
    wait_until("the source", Duration::from_secs(60), || started.exists());
    let mut said = command_lines();
    fs::write(&go, "").unwrap();
    let run = run.wait().ok();
    said += &(run.stdout + &run.stderr);
    desk.verify("checksum").ok();
    let commands: [&[&str]; 6] = [
        &["job", "show", "j", "--json"],
        &["runs", "--json"],
        &["logs", "j"],
        &["backups", "--json"],
        &["recovery-kit", "latest:j"],
        &["doctor"],
    ];
    for command in commands {
        said += &desk.backstay.run(command).ok().stdout;
    }
    desk.place.leave();
    for command in [&["run", "j"][..], &["verify", "latest:j"], &["logs", "j"]] {
        let output = desk.backstay.run(command);
        said += &(output.stdout + &output.stderr);
    }
    desk.place.come_back();
    let mut files = files(&desk.place.files());
    files.extend(self::files(&desk.backstay.data_dir()));
    for hidden in desk.place.hidden() {
        assert!(!said.contains(&hidden), "a secret was printed: {said}");
        for file in &files {
            let bytes = fs::read(file).unwrap();
            let is_there = bytes.windows(hidden.len()).any(|part| part == hidden.as_bytes());
            assert!(!is_there, "a secret is in {}", file.display());
        }
    }
    assert!(!files.is_empty());
}

/// What every process of this machine was started with.
fn command_lines() -> String {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    lines
        .map(|line| String::from_utf8_lossy(&line).into_owned() + "\n")
        .collect()
}

fn files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.is_file() {
            found.push(path);
        }
    }
    found
}
