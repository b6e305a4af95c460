//! When nothing is deleted, and what is said instead.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use backstay_testkit::cli::Moment;
use backstay_testkit::process::wait_until;
use backstay_testkit::tools;
use serde_json::Value;

use super::lab::{Lab, decided};
use crate::abort::files;

/// The prune must not happen, for this reason, and leave all as it is.
#[track_caller]
fn refuses(lab: &Lab, code: i32, sentence: &str, hint: &str) -> Value {
    let (days, before) = (lab.days(), files(&lab.place));
    let run = lab.backstay.run_json(&["prune", "j"]).code(code).json();
    let error = &run["error"];
    assert!(error["message"].as_str().unwrap().contains(sentence), "{error:#}");
    assert!(
        error["hint"].as_str().unwrap_or_default().contains(hint),
        "{error:#}"
    );
    assert_eq!(lab.days(), days);
    assert_eq!(files(&lab.place), before);
    run
}

#[test]
fn nothing_is_deleted_after_a_run_that_failed_unless_somebody_says_so() {
    let lab = Lab::new();
    lab.history(&["2026-11-18", "2026-11-19", "2026-11-20"]);
    lab.apply("retention: { keepLast: 1 }");
    let hidden = lab.source.with_extension("hidden");
    fs::rename(&lab.source, &hidden).unwrap();
    let run = lab.backstay.run_json(&["run", "j"]);
    assert_eq!(run.json()["status"], "failed");
    assert_eq!(lab.days().len(), 3);
    let skipped = refuses(&lab, 16, "the last run failed", "--after-failure");
    assert_eq!(skipped["status"], "skipped");
    let plan = lab.backstay.json(&["prune", "j", "--dry-run"]);
    assert_eq!(decided(&plan, 0)[2], "2026-11-18 keep: the last run failed");
    assert!(plan["held"].as_str().unwrap().contains("the last run failed"));
    let plan = lab.backstay.json(&["prune", "j", "--dry-run", "--after-failure"]);
    assert_eq!(decided(&plan, 0)[2], "2026-11-18 delete: no rule keeps it");
    lab.backstay.run(&["prune", "j", "--after-failure"]).ok();
    assert_eq!(lab.days(), ["2026-11-20"]);

    // A run that ends well decides again; a skipped or cancelled one decides nothing.
    fs::rename(&hidden, &lab.source).unwrap();
    lab.back_up("2026-11-21 12:00:00");
    assert_eq!(lab.days(), ["2026-11-21"]);
}

#[test]
fn nothing_is_deleted_while_retention_is_frozen() {
    let lab = Lab::new();
    fs::write(lab.source.join("large"), vec![b'x'; 100_000]).unwrap();
    lab.history(&["2026-11-18", "2026-11-19"]);
    lab.apply("retention: { keepLast: 1 }");
    fs::write(lab.source.join("large"), "small").unwrap();
    lab.backstay.run(&["run", "j"]).code(4);
    refuses(&lab, 16, "retention is frozen", "--accept-shrink");
    // It came back, but nobody has said go on.
    fs::write(lab.source.join("large"), vec![b'x'; 100_000]).unwrap();
    lab.clock.set("2026-11-20 12:00:00");
    let run = lab.backstay.run_json(&["run", "j"]).code(1).json();
    assert_eq!(run["warnings"][0]["code"], "retention-frozen", "{run:#}");
    assert_eq!(lab.days().len(), 3);
    refuses(&lab, 16, "shrank from", "--accept-shrink");
    lab.clock.set("2026-11-21 12:00:00");
    lab.backstay.run(&["run", "j", "--accept-shrink"]).ok();
    assert_eq!(lab.days(), ["2026-11-21"]);
}

/// A tmpfs at a directory.
struct Mount(PathBuf);

impl Mount {
    fn new(at: &Path) -> Self {
        tools::require(&["mount", "umount"]);
        tools::require_root("to mount a file system");
        mount(&["-t", "tmpfs", "backstay-test", at.to_str().unwrap()]);
        Mount(at.to_owned())
    }

    fn move_to(&mut self, to: &Path) {
        mount(&["--move", self.0.to_str().unwrap(), to.to_str().unwrap()]);
        self.0 = to.to_owned();
    }

    fn remount(&self, how: &str) {
        mount(&["-o", &format!("remount,{how}"), self.0.to_str().unwrap()]);
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let status = Command::new("umount").arg("--lazy").arg(&self.0).status();
        assert!(
            status.is_ok_and(|s| s.success()),
            "can't unmount {}",
            self.0.display()
        );
    }
}

#[track_caller]
fn mount(args: &[&str]) {
    assert!(
        Command::new("mount").args(args).status().unwrap().success(),
        "{args:?}"
    );
}

#[test]
fn a_destination_that_is_not_mounted_loses_nothing() {
    let lab = Lab::new();
    let elsewhere = lab.backstay.scratch_dir().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    // A move needs a parent that isn't shared.
    mount(&[
        "--bind",
        lab.backstay.scratch_dir().to_str().unwrap(),
        lab.backstay.scratch_dir().to_str().unwrap(),
    ]);
    let parent = Mount(lab.backstay.scratch_dir().to_owned());
    mount(&["--make-private", lab.backstay.scratch_dir().to_str().unwrap()]);
    let mut disk = Mount::new(&lab.place);
    lab.history(&["2026-11-18", "2026-11-19", "2026-11-20"]);
    lab.apply("retention: { keepLast: 1 }");
    disk.move_to(&elsewhere);
    let run = refuses(&lab, 3, "nothing was deleted", "mount");
    assert_eq!(run["status"], "failed");
    // An empty disk in its place is another one.
    let other = Mount::new(&lab.place);
    refuses(&lab, 5, "is not there", "another disk");
    drop(other);
    disk.move_to(&lab.place);
    lab.backstay.run(&["prune", "j"]).ok();
    assert_eq!(lab.days(), ["2026-11-20"]);
    lab.assert_in_step("mounted again");
    drop(disk);
    drop(parent);
}

#[test]
fn a_destination_that_refuses_to_delete_keeps_whole_backups() {
    let lab = Lab::new();
    let disk = Mount::new(&lab.place);
    lab.history(&["2026-11-18", "2026-11-19", "2026-11-20"]);
    lab.apply("retention: { keepLast: 1 }");
    disk.remount("ro");
    let run = refuses(&lab, 7, "it is still whole", "");
    assert_eq!(
        run["warnings"].as_array().unwrap().len(),
        1,
        "the other one, too: {run:#}"
    );
    disk.remount("rw");
    lab.backstay.run(&["prune", "j"]).ok();
    assert_eq!(lab.days(), ["2026-11-20"]);
    lab.assert_in_step("writable again");
}

#[test]
fn a_destination_that_the_last_run_did_not_reach_is_left_alone() {
    let lab = Lab::new();
    let second = lab.backstay.scratch_dir().join("second");
    fs::create_dir(&second).unwrap();
    let optional = format!(
        "  - {{ plugin: local, config: {{ path: {}, minFreeBytes: 0 }}, optional: true }}\n",
        second.display()
    );
    lab.backstay.apply(&lab.job("stream: true", &optional, "")).ok();
    lab.history(&["2026-11-18", "2026-11-19", "2026-11-20"]);
    let policy = "retention: { keepLast: 1 }";
    lab.backstay
        .apply(&lab.job("stream: true", &optional, policy))
        .ok();
    let hidden = second.with_extension("hidden");
    fs::rename(&second, &hidden).unwrap();
    lab.clock.set("2026-11-21 12:00:00");
    lab.backstay.run(&["run", "j"]).code(1);
    fs::rename(&hidden, &second).unwrap();
    assert_eq!(
        lab.days(),
        ["2026-11-21", "2026-11-20", "2026-11-19", "2026-11-18"]
    );
    let run = lab.backstay.json(&["prune", "j"]);
    assert_eq!(
        decided(&run, 1),
        [
            "2026-11-20 keep: the last run left nothing at this destination",
            "2026-11-19 keep: the last run left nothing at this destination",
            "2026-11-18 keep: the last run left nothing at this destination",
        ]
    );
    lab.back_up("2026-11-22 12:00:00");
    assert_eq!(lab.days(), ["2026-11-22", "2026-11-22"]);
}

#[test]
fn a_destination_that_the_job_does_not_name_any_more_is_left_alone() {
    let mut lab = Lab::new();
    lab.history(&["2026-11-18", "2026-11-19"]);
    let old = std::mem::replace(&mut lab.place, lab.backstay.scratch_dir().join("new"));
    fs::create_dir(&lab.place).unwrap();
    lab.apply("retention: { keepLast: 1 }");
    lab.history(&["2026-11-20", "2026-11-21"]);
    assert_eq!(lab.days(), ["2026-11-21", "2026-11-19", "2026-11-18"]);
    let plan = lab.backstay.json(&["prune", "j", "--dry-run"]);
    assert_eq!(decided(&plan, 0), ["2026-11-21 keep: the last"]);
    assert_eq!(
        decided(&plan, 1)[0],
        "2026-11-19 keep: the job doesn't name this destination now"
    );
    assert_eq!(super::lab::directories(&old.join("j")).len(), 2);
    // Another setting of the same place makes it no other place.
    let job = lab.job("stream: true", "", "retention: { keepLast: 1 }");
    lab.backstay
        .apply(&job.replace("minFreeBytes: 0", "minFreeBytes: 1"))
        .ok();
    lab.back_up("2026-11-22 12:00:00");
    assert_eq!(lab.days(), ["2026-11-22", "2026-11-19", "2026-11-18"]);
}

#[test]
fn nothing_is_deleted_while_a_backup_of_the_job_is_read() {
    let lab = Lab::new();
    let ids = lab.history(&["2026-11-18", "2026-11-19"]);
    lab.apply("retention: { keepLast: 1 }");
    // A check that stands still as it reads the data, as long as the test likes.
    let backup = lab.backstay.json(&["backups"])[1].clone();
    let data = lab
        .place
        .join(backup["manifest"]["artifacts"][0]["object"].as_str().unwrap());
    let check = lab
        .backstay
        .held_at(&["verify", &ids[0]], Moment::of("pread64", 1).on(&data));
    wait_until("the check to begin", Duration::from_secs(20), || {
        let runs = lab.backstay.json(&["runs"]);
        runs[0]["kind"] == "verify" && runs[0]["status"] == "verifying"
    });
    let run = lab.backstay.run_json(&["prune", "j"]).code(16).json();
    let said = run["error"]["message"].as_str().unwrap();
    assert!(said.contains("reads backups of job j"), "{run:#}");
    lab.back_up("2026-11-20 12:00:00");
    assert_eq!(lab.days().len(), 3);
    drop(check);
    lab.backstay.run(&["prune", "j"]).ok();
    assert_eq!(lab.days(), ["2026-11-20"]);
}

#[test]
fn two_destinations_that_are_called_alike_are_not_one() {
    let lab = Lab::new();
    // The same words mean another place in each of these files.
    let destination = |name: &str| {
        let (place, config) = (
            lab.backstay.scratch_dir().join(name),
            lab.backstay.scratch_dir().join(format!("{name}.conf")),
        );
        fs::create_dir_all(place.join("backups")).unwrap();
        fs::write(
            &config,
            format!("[nas]\ntype = alias\nremote = {}\n", place.display()),
        )
        .unwrap();
        format!(
            "  - {{ plugin: rclone, config: {{ remote: 'nas:backups', configFile: {} }} }}\n",
            config.display()
        )
    };
    let both = format!("{}{}", destination("home"), destination("away"));
    let job = format!(
        "name: j\nsource: {{ plugin: path, config: {{ path: {} }} }}\ndestinations:\n{both}retention: {{ keepDaily: 2 }}\n",
        lab.source.display()
    );
    lab.backstay.apply(&job).ok();
    lab.history(&["2026-11-18", "2026-11-19", "2026-11-20"]);
    assert_eq!(
        lab.days(),
        ["2026-11-20", "2026-11-20", "2026-11-19", "2026-11-19"]
    );
    for name in ["home", "away"] {
        let kept = super::lab::directories(&lab.backstay.scratch_dir().join(name).join("backups/j"));
        assert_eq!(kept.len(), 2, "{name}");
    }
}

#[test]
fn what_is_not_where_it_was_stays_in_the_catalogue_until_somebody_says_that_it_is_gone() {
    let lab = Lab::new();
    let ids = lab.history(&["2026-11-18", "2026-11-19", "2026-11-20"]);
    let gone = lab.place.join("j").join(&ids[0]);
    let elsewhere = lab.backstay.scratch_dir().join("elsewhere");
    fs::rename(&gone, &elsewhere).unwrap();
    lab.apply("retention: { keepLast: 2 }");
    refuses(&lab, 5, "is not there", "--forget-missing");
    lab.backstay.run(&["prune", "j", "--forget-missing"]).ok();
    assert_eq!(lab.days(), ["2026-11-20", "2026-11-19"]);
}

#[test]
fn a_pause_longer_than_the_age_makes_nothing_too_old_until_somebody_looks_at_it() {
    let lab = Lab::new();
    lab.history(&["2026-11-18", "2026-11-19"]);
    lab.apply("retention: { keepDaily: 7, maxAge: 30d }");
    lab.back_up("2027-06-01 12:00:00");
    assert_eq!(lab.days(), ["2027-06-01", "2026-11-19", "2026-11-18"]);
    lab.back_up("2027-06-02 12:00:00");
    assert_eq!(lab.days().len(), 4);
    let plan = lab.backstay.json(&["prune", "j", "--dry-run"]);
    let kept = &decided(&plan, 0)[3];
    assert!(
        kept.contains("keep: older than 30d, but only since a gap"),
        "{kept}"
    );
    // That a timer started it doesn't mean that somebody looked.
    lab.backstay.run(&["prune", "j"]).ok();
    assert_eq!(lab.days().len(), 4);
    let plan = lab.backstay.json(&["prune", "j", "--after-gap", "--dry-run"]);
    assert_eq!(decided(&plan, 0)[3], "2026-11-18 delete: older than 30d");
    lab.backstay.run(&["prune", "j", "--after-gap"]).ok();
    assert_eq!(lab.days(), ["2027-06-02", "2027-06-01"]);
}
