//! What goes, what stays, and how it is said.

use std::fs;

use serde_json::json;

use super::lab::{Lab, decided};

#[test]
fn a_dry_run_says_of_each_backup_why_it_stays_or_goes_and_a_prune_does_it() {
    let lab = Lab::new();
    lab.history(&[
        "2024-12-31",
        "2025-06-30",
        "2026-09-01",
        "2026-09-02",
        "2026-11-14",
        "2026-11-19",
        "2026-11-20",
    ]);
    lab.back_up("2026-11-21 03:00:00");
    lab.back_up("2026-11-21 09:00:00");
    lab.apply("retention: { keepLast: 1, keepDaily: 2, keepWeekly: 2, keepMonthly: 2, keepYearly: 3, maxAge: 600d }");
    let expected = [
        "2026-11-21 keep: the last, daily 2026-11-21, weekly 2026-W47, monthly 2026-11, yearly 2026",
        "2026-11-21 delete: no rule keeps it",
        "2026-11-20 keep: daily 2026-11-20",
        "2026-11-19 delete: no rule keeps it",
        "2026-11-14 keep: weekly 2026-W46",
        "2026-09-02 keep: monthly 2026-09",
        "2026-09-01 delete: no rule keeps it",
        "2025-06-30 keep: yearly 2025",
        "2024-12-31 delete: older than 600d",
    ];
    let before = lab.backstay.json(&["runs"]).as_array().unwrap().len();
    let plan = lab.backstay.json(&["prune", "j", "--dry-run"]);
    assert_eq!(decided(&plan, 0), expected);
    assert_eq!(lab.days().len(), 9);
    assert_eq!(lab.backstay.json(&["runs"]).as_array().unwrap().len(), before);
    lab.assert_in_step("after a dry run");

    let text = lab.backstay.run(&["prune", "j", "--dry-run"]).ok().stdout;
    let mut settings = insta::Settings::clone_current();
    settings.add_filter("[0-9a-f]{8}-[0-9a-f-]{27}", "ID");
    settings.add_filter(lab.backstay.scratch_dir().to_str().unwrap(), "DIR");
    settings.add_filter(r"\d+(\.\d+)? (B|KiB)\b", "SIZE");
    settings.add_filter(" {2,}", "  ");
    settings.bind(|| insta::assert_snapshot!("dry-run", text));

    let run = lab.backstay.json(&["prune", "j"]);
    assert_eq!(
        (&run["kind"], &run["status"]),
        (&json!("prune"), &json!("succeeded"))
    );
    assert_eq!(decided(&run, 0), expected);
    assert_eq!(run["stats"]["deletedBackups"], 4);
    assert!(run["stats"]["freedBytes"].as_u64().unwrap() > 4 * 17, "{run:#}");
    let kept = [
        "2026-11-21",
        "2026-11-20",
        "2026-11-14",
        "2026-09-02",
        "2025-06-30",
    ];
    assert_eq!(lab.days(), kept);
    lab.assert_in_step("after a prune");
    assert_eq!(lab.backstay.json(&["runs"])[0]["stats"], run["stats"]);
    let log = lab.backstay.run(&["logs", "j"]).ok().stdout;
    assert_eq!(log.matches("deleted backup").count(), 4, "{log}");

    let again = lab.backstay.json(&["prune", "j"]);
    assert_eq!(again["stats"]["deletedBackups"], 0);
    assert_eq!(lab.days(), kept);
    for backup in lab.backstay.json(&["backups"]).as_array().unwrap() {
        lab.backstay
            .run(&["verify", backup["id"].as_str().unwrap(), "--level", "restore"])
            .ok();
    }
}

#[test]
fn each_run_that_ends_well_prunes_at_each_destination() {
    let lab = Lab::new();
    let second = lab.backstay.scratch_dir().join("second");
    fs::create_dir(&second).unwrap();
    let destination = format!(
        "  - {{ plugin: local, config: {{ path: {} }} }}\n",
        second.display()
    );
    let retention = "retention: { keepLast: 2 }\nverify: { afterRun: true }";
    for form in ["stream: true", "stream: false"] {
        lab.backstay.apply(&lab.job(form, &destination, retention)).ok();
        let days: &[&str] = if form == "stream: true" {
            &["2026-11-01", "2026-11-02", "2026-11-03"]
        } else {
            &["2026-11-04", "2026-11-05", "2026-11-06"]
        };
        lab.history(days);
    }
    assert_eq!(
        lab.days(),
        ["2026-11-06", "2026-11-06", "2026-11-05", "2026-11-05"]
    );
    lab.assert_in_step("after six runs");
    assert_eq!(super::lab::directories(&second.join("j")).len(), 2);
    let run = &lab.backstay.json(&["runs"])[0];
    assert_eq!(run["stats"]["deletedBackups"], 2, "{run:#}");
    let log = lab.backstay.run(&["logs", "j"]).ok().stdout;
    let order = ["verifying", "pruning", "deleted backup", "done"].map(|word| log.find(word).unwrap());
    assert!(order.is_sorted(), "{log}");
    lab.clock.set("2026-11-07 12:00:00");
    let shown = lab.backstay.run(&["run", "j"]).ok().stdout;
    assert!(shown.contains("deleted      2 old backups"), "{shown}");
}

#[test]
fn days_are_those_of_the_time_zone_of_the_schedule() {
    let lab = Lab::new();
    lab.back_up("2026-11-20 22:30:00");
    lab.back_up("2026-11-20 23:30:00");
    lab.apply("retention: { keepDaily: 5 }");
    let utc = lab.backstay.json(&["prune", "j", "--dry-run"]);
    assert_eq!(
        decided(&utc, 0),
        [
            "2026-11-20 keep: daily 2026-11-20",
            "2026-11-20 delete: no rule keeps it"
        ]
    );
    lab.apply("retention: { keepDaily: 5 }\nschedule: { cron: \"@daily\", timezone: Europe/Berlin }");
    let berlin = lab.backstay.json(&["prune", "j", "--dry-run"]);
    assert_eq!(
        decided(&berlin, 0),
        [
            "2026-11-20 keep: daily 2026-11-21",
            "2026-11-20 keep: daily 2026-11-20"
        ]
    );
}

#[test]
fn a_clock_that_went_back_makes_nothing_old() {
    let lab = Lab::new();
    lab.history(&["2026-11-18", "2026-11-19", "2026-11-20"]);
    lab.apply("retention: { keepLast: 1, maxAge: 30d }");
    lab.back_up("2001-01-01 00:00:30");
    assert_eq!(
        lab.days(),
        ["2026-11-20", "2026-11-19", "2026-11-18", "2001-01-01"]
    );
    // It is right again.
    lab.back_up("2026-11-21 12:00:00");
    assert_eq!(lab.days(), ["2026-11-21", "2001-01-01"]);
    lab.backstay.run(&["prune", "j", "--after-gap"]).ok();
    assert_eq!(lab.days(), ["2026-11-21"]);
    lab.assert_in_step("after the clock was right again");
}

#[test]
fn a_damaged_backup_and_one_that_was_not_verified_take_nobodys_place() {
    let lab = Lab::new();
    let ids = lab.history(&["2026-11-17", "2026-11-18", "2026-11-19", "2026-11-20"]);
    lab.backstay.run(&["verify", &ids[0]]).ok();
    lab.backstay.run(&["verify", &ids[1]]).ok();
    let stored = lab.place.join(format!("j/{}", ids[3]));
    let data = fs::read_dir(&stored)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| !path.ends_with("manifest.json"))
        .unwrap();
    let mut bytes = fs::read(&data).unwrap();
    bytes[600] ^= 1;
    fs::write(&data, bytes).unwrap();
    lab.backstay.run(&["verify", &ids[3]]).code(8);
    lab.apply("retention: { keepLast: 1 }");
    let plan = lab.backstay.json(&["prune", "j", "--dry-run"]);
    assert_eq!(
        decided(&plan, 0),
        [
            "2026-11-20 keep: the last, damaged, so not counted",
            "2026-11-19 keep: the last",
            "2026-11-18 delete: no rule keeps it",
            "2026-11-17 delete: no rule keeps it",
        ]
    );
    lab.apply("retention: { keepLast: 1 }\nverify: { afterRun: true }");
    let run = lab.backstay.json(&["prune", "j"]);
    assert_eq!(
        decided(&run, 0),
        [
            "2026-11-20 keep: the last, damaged, so not counted",
            "2026-11-19 keep: the last, not verified, so not counted",
            "2026-11-18 keep: the last",
            "2026-11-17 delete: no rule keeps it",
        ]
    );
    lab.back_up("2026-11-21 12:00:00");
    assert_eq!(lab.days(), ["2026-11-21"]);
}

#[test]
fn what_a_wrong_policy_is_told() {
    let lab = Lab::new();
    let mut said = String::new();
    for policy in [
        "retention: {}",
        "retention: { keepLast: 0 }",
        "retention: { maxAge: 400 }",
        "retention: { maxAge: 3y, keepLast: -1, keepDaly: 3, keepWeekly: often }",
        "retention: { keepLast: 3 }\nverify: { every: 7d }",
    ] {
        let file = lab.backstay.scratch_dir().join("wrong.yaml");
        fs::write(&file, lab.job("stream: true", "", policy)).unwrap();
        let output = lab
            .backstay
            .run(&["job", "validate", "-f", file.to_str().unwrap()]);
        said += &format!("{policy}\n{}[{}]\n\n", output.stdout, output.code);
    }
    insta::assert_snapshot!("wrong-policies", said);
}
