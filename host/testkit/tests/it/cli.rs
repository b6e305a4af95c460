//! A binary is run with its data directory, its exit code and its output; a shell script stands in its place.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use backstay_testkit::cli::Backstay;
use backstay_testkit::process;

fn speaking(script: &str) -> (tempfile::TempDir, Backstay) {
    let directory = tempfile::tempdir().unwrap();
    let binary = directory.path().join("backstay");
    std::fs::write(&binary, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&binary, std::fs::Permissions::from_mode(0o755)).unwrap();
    let backstay = Backstay::new(binary);
    (directory, backstay)
}

#[test]
fn exit_code_and_output_come_back() {
    let (_keep, backstay) = speaking("echo \"$@\"; echo problem >&2; printf '\\377'; exit 4");
    let output = backstay.run(&["run", "flash"]);
    assert_eq!(output.code, 4);
    assert_eq!(output.stdout_bytes, b"run flash\n\xff");
    assert_eq!(output.stderr, "problem\n");
}

#[test]
fn commands_see_the_data_directory_and_answer_in_json() {
    let (_keep, backstay) = speaking(r#"printf '{"dir":"%s","args":"%s"}' "$BACKSTAY_DATA_DIR" "$*""#);
    let answer = backstay.json(&["runs"]);
    assert_eq!(answer["dir"], backstay.data_dir().to_str().unwrap());
    assert_eq!(answer["args"], "runs --json");
}

#[test]
fn a_job_is_applied_from_a_file() {
    let (_keep, backstay) = speaking("[ \"$1 $2\" = 'apply -f' ] && cat \"$3\"");
    assert_eq!(backstay.apply("name: demo\n").ok().stdout, "name: demo\n");
}

#[test]
fn a_command_under_way_can_be_killed() {
    let (_keep, backstay) = speaking("exec sleep 300");
    let mut running = backstay.spawn(&["serve"]);
    assert!(running.is_running());
    running.kill();
    assert!(!running.is_running());
    assert_eq!(running.wait().code, 137);

    let (_keep, backstay) = speaking("sleep 300 & wait");
    let running = backstay.spawn(&["serve"]);
    process::wait_until("its child", Duration::from_secs(10), || {
        process::with_descendants(running.pid()).len() == 2
    });
    let tree = process::with_descendants(running.pid());
    drop(running);
    process::wait_until("both to end", Duration::from_secs(10), || {
        tree.iter().all(|pid| !process::is_alive(*pid))
    });
}
