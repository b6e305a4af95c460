//! Numbers for Prometheus: right, in its own format, and where the settings say.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use backstay_testkit::cli::Backstay;
use backstay_testkit::clock::Clock;
use backstay_testkit::receiver::Receiver;
use backstay_testkit::tools;

/// A data directory with settings, and a job with a backup, a check and a drill.
struct Desk {
    backstay: Backstay,
}

impl Desk {
    fn new(settings: &str) -> Self {
        let desk = Self::of(Backstay::new(env!("CARGO_BIN_EXE_backstay")), settings);
        desk.apply("flash");
        desk
    }

    fn of(backstay: Backstay, settings: &str) -> Self {
        let scratch = backstay.scratch_dir().to_owned();
        let config = scratch.join("config.yaml");
        fs::write(&config, settings.replace("DIR", scratch.to_str().unwrap())).unwrap();
        let desk = Desk {
            backstay: backstay.env("BACKSTAY_CONFIG", config.to_str().unwrap()),
        };
        fs::create_dir(scratch.join("source")).unwrap();
        fs::create_dir(scratch.join("place")).unwrap();
        fs::write(scratch.join("source/file"), "12345").unwrap();
        desk
    }

    fn apply(&self, name: &str) {
        self.apply_with(name, "every: 6h");
    }

    fn apply_with(&self, name: &str, schedule: &str) {
        let dir = self.backstay.scratch_dir().display();
        let job = format!(
            "name: {name}\nschedule: {{ {schedule} }}\nsource: {{ plugin: path, config: {{ path: {dir}/source }} }}\ndestinations: [{{ plugin: local, config: {{ path: {dir}/place }} }}]\n"
        );
        self.backstay.apply(&job).ok();
    }

    fn metrics(&self) -> String {
        self.backstay.run(&["metrics"]).ok().stdout
    }
}

/// The value of the sample of this name with all of these labels.
#[track_caller]
fn value(text: &str, name: &str, labels: &[&str]) -> f64 {
    let sample = text.lines().find(|line| {
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{'))
            && labels.iter().all(|label| line.contains(label))
    });
    let sample = sample.unwrap_or_else(|| panic!("there is no {name} {labels:?} in\n{text}"));
    sample.rsplit_once(' ').unwrap().1.parse().unwrap()
}

#[test]
fn what_happened_is_counted_and_written_and_pushed() {
    tools::require(&["promtool"]);
    let gateway = Receiver::start();
    let desk = Desk::new(&format!(
        "metrics: {{ textfile: DIR/backstay.prom, pushgateway: \"{}/\" }}\nnotifications: {{ channels: {{ ops: {{ type: webhook, url: \"{}\", on: [success] }} }} }}",
        gateway.url(),
        gateway.url()
    ));
    for _ in 0..2 {
        desk.backstay.run(&["run", "flash"]).ok();
    }
    desk.backstay.run(&["verify", "latest:flash"]).ok();
    desk.backstay.run(&["drill", "flash"]).ok();
    fs::remove_dir_all(desk.backstay.scratch_dir().join("source")).unwrap();
    assert!(desk.backstay.run(&["run", "flash"]).code != 0);
    let text = desk.metrics();
    let flash = "job=\"flash\"";
    for (name, labels, expected) in [
        ("backup_runs_total", &[flash, "status=\"succeeded\""][..], 2.0),
        ("backup_runs_total", &[flash, "status=\"failed\""], 1.0),
        ("backup_last_run_status", &[flash, "status=\"failed\""], 1.0),
        ("backup_last_run_status", &[flash, "status=\"succeeded\""], 0.0),
        ("backup_trouble", &[flash], 1.0),
        ("backup_source_bytes", &[flash], 5.0),
        ("backup_duration_seconds_count", &[flash], 2.0),
        ("backup_duration_seconds_bucket", &[flash, "le=\"+Inf\""], 2.0),
        ("backup_backups", &[flash], 2.0),
        ("backup_unverified_backups", &[flash], 1.0),
        ("backup_interval_seconds", &[flash], 21_600.0),
        ("backup_overdue_seconds", &[flash], 0.0),
        (
            "backup_checks_total",
            &[flash, "kind=\"drill\"", "status=\"succeeded\""],
            1.0,
        ),
        ("backstay_queue_runs", &[], 0.0),
    ] {
        assert!(
            (value(&text, name, labels) - expected).abs() < 1e-9,
            "{name} {labels:?} in\n{text}"
        );
    }
    let at = value(&text, "backup_last_success_timestamp", &[flash]);
    assert!(at > 1.7e9 && at <= value(&text, "backup_last_run_timestamp", &[flash]));
    check_with_promtool(&text);
    names_that_are_told_exist(&text);

    let written = fs::read_to_string(desk.backstay.scratch_dir().join("backstay.prom")).unwrap();
    let without = |text: &str| {
        text.lines()
            .filter(|line| !line.contains("next_run"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(without(&written), without(&text));
    let received = gateway.received();
    let pushed: Vec<_> = received
        .iter()
        .filter(|request| request.method == "PUT")
        .collect();
    let last = pushed
        .iter()
        .rev()
        .find(|request| request.path.starts_with("/metrics/job/flash/device/"));
    assert!(last.unwrap().body.contains("backup_trouble"));
    let host = pushed
        .iter()
        .find(|request| request.path.starts_with("/metrics/job/_backstay/device/"));
    let host = &host.unwrap().body;
    assert!(
        host.contains("backstay_build_info") && !host.contains("job="),
        "{host}"
    );
}

/// It reads all of it, and minds nothing but a name that is the field's since long.
fn check_with_promtool(text: &str) {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).unwrap();
    let minded: Vec<&str> = said
        .lines()
        .filter(|line| !line.starts_with("backup_files_total "))
        .collect();
    assert!(minded.is_empty(), "{said}");
}

/// Each metric that the rules, the dashboard and the page name is there.
fn names_that_are_told_exist(text: &str) {
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs");
    let names = |text: &str| -> BTreeSet<String> {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let is_name = |word: &&str| {
            word.strip_prefix("backup_")
                .or_else(|| word.strip_prefix("backstay_"))
                .is_some_and(|rest| !rest.is_empty())
        };
        words.filter(is_name).map(str::to_owned).collect()
    };
    let there = names(text);
    for file in ["metrics/alerts.yaml", "metrics/grafana.json", "metrics.md"] {
        let told = names(&fs::read_to_string(format!("{docs}/{file}")).unwrap());
        assert!(told.len() > 5);
        let missing: Vec<_> = told.difference(&there).collect();
        assert!(
            missing.is_empty(),
            "{file} names {missing:?}, which are not among\n{there:#?}"
        );
    }
    let page = names(&fs::read_to_string(format!("{docs}/metrics.md")).unwrap());
    let part = |name: &&String| {
        ["_bucket", "_sum", "_count"]
            .iter()
            .any(|part| name.ends_with(part))
    };
    let untold: Vec<_> = there.difference(&page).filter(|name| !part(name)).collect();
    assert!(untold.is_empty(), "metrics.md doesn't name {untold:?}");
    let rules = format!("{docs}/metrics/alerts.yaml");
    let checked = Command::new("promtool")
        .args(["check", "rules", &rules])
        .output()
        .unwrap();
    assert!(
        checked.status.success(),
        "{}",
        String::from_utf8_lossy(&checked.stderr)
    );
    let dashboard = fs::read_to_string(format!("{docs}/metrics/grafana.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
    assert!(dashboard["panels"].as_array().unwrap().len() > 10);
}

#[test]
fn a_backup_is_overdue_by_the_schedule_of_its_job() {
    let (backstay, clock) = Clock::of(Backstay::new(env!("CARGO_BIN_EXE_backstay")));
    let desk = Desk::of(backstay, "");
    let overdue = |now: &str| {
        clock.set(now);
        value(&desk.metrics(), "backup_overdue_seconds", &["job=\"office\""])
    };
    clock.set("2026-05-06 12:00:00");
    desk.apply_with("office", "cron: \"0 3 * * 1-5\", timezone: UTC");
    // It is new: what was due this morning is none of its business.
    assert!(overdue("2026-05-06 13:00:00").abs() < 1.0);
    clock.set("2026-05-08 03:00:10");
    desk.backstay.run(&["run", "office"]).ok();
    for (now, expected) in [
        ("2026-05-10 20:00:00", 0.0),
        ("2026-05-11 05:00:00", 7_200.0),
        ("2026-05-12 05:00:00", 93_600.0),
    ] {
        let found = overdue(now);
        assert!((found - expected).abs() < 5.0, "{found} at {now}");
    }
    desk.apply_with("office", "cron: \"30 3 * * 1-5\", timezone: UTC");
    assert!(
        overdue("2026-05-12 06:00:00").abs() < 1.0,
        "nothing was due since its change"
    );
}

#[test]
fn who_is_alerted_of_a_backup_that_is_overdue() {
    tools::require(&["promtool"]);
    let directory = tempfile::tempdir().unwrap();
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics/alerts.yaml");
    // By the hour: a daily job, an hourly one, and a weekly one, each with a start that led to nothing.
    let series = |job: &str, interval: u32, overdue: &str| {
        format!(
            "{{ series: 'backup_interval_seconds{{device=\"d\",job=\"{job}\"}}', values: '{interval}x40' }}, \
             {{ series: 'backup_overdue_seconds{{device=\"d\",job=\"{job}\"}}', values: '{overdue}' }}, "
        )
    };
    let late = [("daily", 86_400), ("hourly", 3_600), ("weekly", 604_800)]
        .map(|(job, interval)| series(job, interval, "0+3600x40"));
    let well = series("well", 86_400, "0x40");
    let alert = |job: &str, since: &str| {
        format!(
            "{{ exp_labels: {{ severity: critical, device: d, job: {job} }}, exp_annotations: {{ summary: 'The backup {job} on d was due {since} ago, and there is none since' }} }}"
        )
    };
    let at = |hours: u32, alerts: &[String]| {
        format!(
            "{{ eval_time: {hours}h, alertname: BackupTooOld, exp_alerts: [{}] }}",
            alerts.join(", ")
        )
    };
    let tests = [
        at(2, &[]),
        at(3, &[alert("hourly", "3h 0m 0s")]),
        at(25, &[alert("hourly", "1d 1h 0m 0s")]),
        at(
            26,
            &["daily", "hourly", "weekly"].map(|job| alert(job, "1d 2h 0m 0s")),
        ),
    ];
    let file = directory.path().join("test.yaml");
    let text = format!(
        "rule_files: [{rules}]\nevaluation_interval: 1h\ntests:\n  - interval: 1h\n    input_series: [{}{well}]\n    alert_rule_test:\n      - {}\n",
        late.concat(),
        tests.join("\n      - ")
    );
    fs::write(&file, text).unwrap();
    let tested = Command::new("promtool")
        .args(["test", "rules"])
        .arg(&file)
        .output()
        .unwrap();
    assert!(
        tested.status.success(),
        "{}{}",
        String::from_utf8_lossy(&tested.stdout),
        String::from_utf8_lossy(&tested.stderr)
    );
}

#[test]
fn the_service_reports_too_and_takes_back_a_job_that_is_gone() {
    let gateway = Receiver::start();
    let desk = Desk::new(&format!(
        "metrics: {{ pushgateway: \"{}\", every: 1s }}",
        gateway.url()
    ));
    desk.apply("other");
    let service = desk.backstay.spawn(&["serve"]);
    let seen = |method: &str, job: &str| {
        let path = format!("/metrics/job/{job}/device/");
        gateway
            .received()
            .iter()
            .any(|r| r.method == method && r.path.starts_with(&path))
    };
    let patience = std::time::Duration::from_secs(60);
    backstay_testkit::process::wait_until("a push", patience, || seen("PUT", "other"));
    desk.backstay.run(&["job", "rm", "other"]).ok();
    backstay_testkit::process::wait_until("a deletion", patience, || seen("DELETE", "other"));
    assert!(!seen("DELETE", "flash"));
    service.terminate();
    service.wait().ok();
}

#[test]
fn a_place_that_cant_be_reached_is_a_warning() {
    let desk =
        Desk::new("metrics: { textfile: DIR/nowhere/backstay.prom, pushgateway: \"http://127.0.0.1:1\" }");
    let said = desk.backstay.run(&["run", "flash"]).ok().stderr;
    assert!(
        said.contains("nowhere") && said.contains("can't be pushed"),
        "{said}"
    );
    let config = desk.backstay.scratch_dir().join("config.yaml");
    fs::write(
        &config,
        "metrics: { textfile: backstay.txt, pushgateway: \"gateway:9091\", every: 0 }",
    )
    .unwrap();
    let refused = desk.backstay.run(&["serve"]).code(2).stderr;
    for words in ["/metrics/textfile", "/metrics/pushgateway", "/metrics/every"] {
        assert!(refused.contains(words), "{words} is not in\n{refused}");
    }
}
