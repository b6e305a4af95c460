//! When jobs run by themselves, as far as people can ask about it beforehand.

use backstay_testkit::cli::Backstay;
use serde_json::{Value, json};

fn backstay() -> Backstay {
    Backstay::new(env!("CARGO_BIN_EXE_backstay"))
}

fn next(backstay: &Backstay, cron: &str, zone: &str, from: &str, count: &str) -> Value {
    backstay.json(&[
        "schedule",
        "next",
        "--cron",
        cron,
        "--timezone",
        zone,
        "--from",
        from,
        "--count",
        count,
    ])
}

/// A job with this schedule.
fn job(name: &str, more: &str) -> String {
    format!(
        "name: {name}\nsource: {{ plugin: path, config: {{ path: /etc }} }}\ndestinations: [{{ plugin: local, config: {{ path: /tmp }} }}]\n{more}\n"
    )
}

#[test]
fn a_daily_job_runs_once_on_the_days_when_clocks_change() {
    let backstay = backstay();
    assert_eq!(
        next(
            &backstay,
            "30 2 * * *",
            "Europe/Berlin",
            "2026-03-28T00:00:00Z",
            "3"
        ),
        json!([
            "2026-03-28T01:30:00Z",
            "2026-03-29T01:00:00Z",
            "2026-03-30T00:30:00Z"
        ])
    );
    assert_eq!(
        next(
            &backstay,
            "30 2 * * *",
            "Europe/Berlin",
            "2026-10-24T12:00:00Z",
            "2"
        ),
        json!(["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"])
    );
    assert_eq!(
        next(
            &backstay,
            "*/30 * * * *",
            "Europe/Berlin",
            "2026-10-25T00:15:00Z",
            "4"
        ),
        json!([
            "2026-10-25T00:30:00Z",
            "2026-10-25T01:00:00Z",
            "2026-10-25T01:30:00Z",
            "2026-10-25T02:00:00Z"
        ])
    );
}

#[test]
fn times_are_shown_by_the_clock_of_their_zone() {
    let shown = backstay()
        .run(&[
            "schedule",
            "next",
            "--cron",
            "0 3 * * sun",
            "--timezone",
            "Europe/Berlin",
            "--from",
            "2026-03-20T00:00:00Z",
            "--count",
            "3",
        ])
        .ok();
    insta::assert_snapshot!(shown.stdout);
}

#[test]
fn a_wrong_expression_or_zone_is_refused_with_what_to_do() {
    let backstay = backstay();
    let mut said = String::new();
    for args in [
        ["--cron", "0 0 30 2 *", "--timezone", "UTC"],
        ["--cron", "0 25 * * *", "--timezone", "UTC"],
        ["--cron", "0 3 * * *", "--timezone", "Mars/Olympus"],
    ] {
        let command = [&["schedule", "next"], &args[..]].concat();
        said += &backstay.run(&command).code(2).stderr;
    }
    insta::assert_snapshot!(said);
}

#[test]
fn jobs_tell_when_they_run_next() {
    let backstay = backstay();
    for (name, more) in [
        (
            "nightly",
            "schedule: { cron: \"0 3 * * *\", timezone: Asia/Tokyo }",
        ),
        ("often", "schedule: { every: 6h }"),
        ("paused", "enabled: false\nschedule: { cron: \"@daily\" }"),
        ("by-hand", ""),
    ] {
        backstay.apply(&job(name, more)).ok();
    }
    let of_all = backstay.json(&[
        "schedule",
        "next",
        "--count",
        "2",
        "--from",
        "2030-01-01T00:00:00Z",
    ]);
    assert_eq!(of_all[0]["job"], "nightly");
    assert_eq!(
        of_all[0]["next"],
        json!(["2030-01-01T18:00:00Z", "2030-01-02T18:00:00Z"])
    );
    assert_eq!(of_all[1]["next"].as_array().unwrap().len(), 2);
    assert_eq!(of_all[2]["next"], json!([]), "it is disabled");
    assert_eq!(of_all.as_array().unwrap().len(), 3, "one has no schedule");

    let shown = backstay.json(&["job", "show", "nightly"]);
    let due = shown["nextRunAt"].as_str().unwrap();
    assert!(due.ends_with("T18:00:00Z"), "{due}");
    for job in backstay.json(&["job", "list"]).as_array().unwrap() {
        let runs_by_itself = ["nightly", "often"].contains(&job["name"].as_str().unwrap());
        assert_eq!(job["nextRunAt"].is_string(), runs_by_itself, "{job}");
    }
    let text = backstay
        .run(&["schedule", "next", "paused", "by-hand"])
        .ok()
        .stdout;
    assert_eq!(
        text,
        "paused:\n  not by itself: it is disabled\nby-hand:\n  only by hand\n"
    );
    backstay.run(&["schedule", "next", "nigthly"]).code(2);
}

#[test]
fn all_that_is_wrong_with_a_schedule_stops_the_job() {
    let said = backstay()
        .apply(&job(
            "x",
            "schedule: { cron: \"0 0 31 4 *\", timezone: Mars/Olympus, missed: window, grace: 0s, jitter: 2d }",
        ))
        .code(2);
    insta::assert_snapshot!(said.stderr);
    let said = backstay()
        .apply(&job(
            "x",
            "schedule: { every: 1h, missed: sometimes, window: { from: \"25:00\", to: 6 } }",
        ))
        .code(2);
    insta::assert_snapshot!(said.stderr);
}
