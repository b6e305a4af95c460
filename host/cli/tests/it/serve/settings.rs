//! The settings of the service: read again when they are edited, and never lost by a bad edit.

use std::fs;
use std::time::{Duration, Instant};

use super::{Desk, PATIENCE, stop};

impl Desk {
    /// Waits until the log says something, and returns it.
    #[track_caller]
    fn wait_for_log(&self, words: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let files = fs::read_dir(self.file("log")).into_iter().flatten();
            let log: String = files
                .map(|file| fs::read_to_string(file.unwrap().path()).unwrap())
                .collect();
            if log.contains(words) {
                return log;
            }
            assert!(Instant::now() < deadline, "the log doesn't say `{words}`:\n{log}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn log_settings(&self) -> String {
        format!(
            "log: {{ format: json, file: {} }}\n",
            self.file("log/backstay").display()
        )
    }
}

#[test]
fn an_edit_is_followed_and_a_bad_one_is_refused_with_the_reason() {
    let desk = Desk::new();
    fs::create_dir(desk.file("log")).unwrap();
    let log = desk.log_settings();
    let edit = |more: &str| fs::write(desk.file("config.yaml"), format!("{log}{more}")).unwrap();
    desk.slow_job("first", "schedule: { every: 1s }");
    let service = desk.serve(&format!("{log}runs: {{ max: 1 }}"));
    desk.wait_for_status("first", "transferring");
    desk.slow_job("second", "schedule: { every: 1s }");
    desk.wait_for_status("second", "queued");
    edit("runs: { max: 0, shutdownTimout: 1s }");
    let said = desk.wait_for_log("the settings stay as they were");
    for words in [
        "/runs/max",
        "/runs/shutdownTimout",
        "did you mean `shutdownTimeout`?",
    ] {
        assert!(said.contains(words), "{words} is not in\n{said}");
    }
    desk.wait_for_status("second", "queued");
    edit("runs: { max: 2, shutdownTimeout: 0s }");
    desk.wait_for_log("the settings were read again");
    desk.wait_for_status("second", "transferring");
    stop(service);
    for line in desk.wait_for_log("ended").lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(
            line["timestamp"].is_string() && line["level"].is_string(),
            "{line}"
        );
    }
}

#[test]
fn old_logs_are_deleted_and_nothing_else_that_begins_with_their_name() {
    let desk = Desk::new();
    fs::create_dir(desk.file("log")).unwrap();
    let all = [
        "backstay.2026-01-01",
        "backstay.2026-01-02",
        "backstay.2026-01-03",
        "backstay.2026-01-01.gz",
        "backstay.db",
        "backstay.yaml",
    ];
    for name in all {
        fs::write(desk.file("log").join(name), "content\n").unwrap();
    }
    let file = desk.file("log/backstay");
    let service = desk.serve(&format!("log: {{ file: {}, keep: 2 }}", file.display()));
    desk.wait_for_log("is ready");
    stop(service);
    let is_left = |name: &&str| desk.file("log").join(name).exists();
    let left: Vec<&str> = all.into_iter().filter(is_left).collect();
    // And the one of today.
    assert_eq!(left, all[2..]);
}

#[test]
fn a_service_doesnt_start_with_wrong_settings() {
    let desk = Desk::new();
    let said = desk
        .try_to_serve("runs: { max: many }\nlgo: {}")
        .wait()
        .code(2)
        .stderr;
    for words in ["config.yaml", "/runs/max", "/lgo", "--print-config"] {
        assert!(said.contains(words), "{words} is not in\n{said}");
    }
    let missing = desk.backstay.run(&["serve", "--config", "/does/not/exist.yaml"]);
    assert!(
        missing.code != 0 && missing.stderr.contains("/does/not/exist.yaml"),
        "{}",
        missing.stderr
    );
}

#[test]
fn the_printed_settings_are_the_defaults_and_the_unit_names_this_program() {
    let desk = Desk::new();
    let printed = desk.backstay.run(&["serve", "--print-config"]).ok().stdout;
    let service = desk.serve(&printed);
    desk.job("often", "schedule: { every: 1s }");
    desk.wait_for_status("often", "succeeded");
    stop(service);
    let unit = desk.backstay.run(&["serve", "--print-unit"]).ok().stdout;
    assert!(
        unit.contains(&format!("ExecStart={} serve\n", env!("CARGO_BIN_EXE_backstay"))),
        "{unit}"
    );
    for line in ["Type=notify\n", "TimeoutStartSec=infinity\n"] {
        assert!(unit.contains(line), "{unit}");
    }
}
