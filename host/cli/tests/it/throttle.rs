//! How fast backups may be stored: said by a job or for the host, and changed while they run.

use std::fs;

use backstay_testkit::cli::{Backstay, Running};
use serde_json::{Value, json};

/// At this rate the runs of these tests would take hours.
const SLOW: &str = "1k";

struct Desk(Backstay);

impl Desk {
    /// A program with a few megabytes to back up.
    fn new() -> Self {
        let desk = Desk(Backstay::new(env!("CARGO_BIN_EXE_backstay")));
        for name in ["source", "place"] {
            fs::create_dir(desk.0.scratch_dir().join(name)).unwrap();
        }
        for name in ["a", "b", "c"] {
            let content = (0..3_000_000u32).map(|n| (n % 251) as u8).collect::<Vec<_>>();
            fs::write(desk.0.scratch_dir().join("source").join(name), content).unwrap();
        }
        desk
    }

    fn apply(&self, job: &str, stream: bool, filters: &str) {
        let scratch = self.0.scratch_dir().display();
        self.0
            .apply(&format!(
                "name: {job}\nsource: {{ plugin: path, config: {{ path: {scratch}/source, stream: {stream} }} }}\ndestinations: [{{ plugin: local, config: {{ path: {scratch}/place }} }}]\nfilters: {{ {filters} }}\n"
            ))
            .ok();
    }

    /// Waits until a run of the job has said that it may store only so much.
    fn wait_for(&self, running: &mut Running, job: &str, words: &str) {
        loop {
            assert!(running.is_running(), "the run ended before it said `{words}`");
            let said = self.0.run(&["logs", job]);
            if said.stdout.contains(words) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }

    fn limits(&self) -> Value {
        let mut limits = self.0.json(&["throttle"]);
        for job in limits["jobs"].as_array_mut().unwrap() {
            job.as_object_mut().unwrap().remove("id");
        }
        limits
    }
}

#[test]
fn a_limit_that_would_take_hours_is_lifted_while_streams_and_files_are_on_their_way() {
    let desk = Desk::new();
    for (job, stream, filters) in [
        ("stream", true, ""),
        ("zipped", true, "compression: { algorithm: lz4 }, "),
        ("files", false, ""),
    ] {
        desk.apply(
            job,
            stream,
            &format!("{filters}throttle: {{ bytesPerSecond: {SLOW} }}"),
        );
        let mut running = desk.0.spawn(&["run", job]);
        desk.wait_for(&mut running, job, "this job may store at most 1kB/s");
        desk.0.run(&["throttle", job, "off"]).ok();
        running.wait().ok();
        let logs = desk.0.run(&["logs", job]).ok().stdout;
        assert!(logs.contains("this job may store as fast as it can"), "{logs}");
        desk.0
            .run(&["verify", &format!("latest:{job}"), "--level", "archive"])
            .ok();
    }
}

#[test]
fn the_hosts_limit_holds_every_run_of_every_process() {
    let desk = Desk::new();
    desk.0.run(&["throttle", SLOW]).ok();
    let mut running = ["one", "two"].map(|job| {
        desk.apply(job, true, "");
        (job, desk.0.spawn(&["run", job]))
    });
    for (job, running) in &mut running {
        desk.wait_for(running, job, "this host may store at most 1kB/s");
    }
    // One that is held up ends at once when it is asked to.
    let [(_, first), (_, second)] = running;
    first.terminate();
    first.wait().code(4);
    desk.0.run(&["throttle", "off"]).ok();
    second.wait().ok();
    assert_eq!(desk.0.json(&["backups"]).as_array().unwrap().len(), 1);
}

#[test]
fn limits_are_shown_and_kept_with_their_jobs() {
    let desk = Desk::new();
    desk.apply("plain", true, "");
    desk.apply("slow", true, "throttle: { bytesPerSecond: 10MiB }");
    let limits = |host: Value, plain: Value, slow: Value| {
        json!({ "host": { "bytesPerSecond": host }, "jobs": [
            { "name": "plain", "bytesPerSecond": plain }, { "name": "slow", "bytesPerSecond": slow } ] })
    };
    assert_eq!(desk.limits(), limits(Value::Null, Value::Null, json!(10_485_760)));
    desk.0.run(&["throttle", "100M"]).ok();
    desk.0.run(&["throttle", "plain", "1.5M"]).ok();
    desk.0.run(&["throttle", "slow", "off"]).ok();
    assert_eq!(
        desk.limits(),
        limits(json!(100_000_000), json!(1_500_000), Value::Null)
    );
    let spec = desk.0.json(&["job", "show", "plain"])["filters"].clone();
    assert_eq!(spec, json!({ "throttle": { "bytesPerSecond": "1500kB" } }));
    let mut said = desk.0.run(&["throttle"]).ok().stdout;
    said += &desk.0.run(&["throttle", "plain"]).ok().stdout;
    for wrong in [
        &["throttle", "10X"][..],
        &["throttle", "0"],
        &["throttle", "plain", "fast"],
        &["throttle", "nobody", "10M"],
    ] {
        said += &format!(
            "$ backstay {}\n{}",
            wrong.join(" "),
            desk.0.run(wrong).code(2).stderr
        );
    }
    for wrong in ["fast", "999", "-1", "10"] {
        let refused = desk
            .0
            .apply(&format!(
                "{{ name: x, source: {{ plugin: path, config: {{ path: /etc }} }}, destinations: [{{ plugin: local, config: {{ path: {} }} }}], filters: {{ throttle: {{ bytesPerSecond: {wrong} }} }} }}",
                desk.0.scratch_dir().join("place").display()
            ))
            .code(2);
        said += &format!("bytesPerSecond: {wrong}\n{}{}", refused.stdout, refused.stderr);
    }
    insta::assert_snapshot!(said);
}
