//! `backstay serve`: jobs run when they are due, once each, whatever happens to the service in between.

mod crash;
mod due;
mod settings;
mod stop;
mod systemd;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use backstay_testkit::cli::{Backstay, Running};
use backstay_testkit::process::wait_until;
use serde_json::Value;

/// Longer than anything here should take, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(60);

/// A schedule by which nothing is due as long as a test runs.
const LEAP_DAY: &str = "schedule: { cron: \"0 0 29 2 *\" }";

/// A data directory with a small source, a large one, and a place for backups.
struct Desk {
    backstay: Backstay,
}

impl Desk {
    fn new() -> Self {
        Self::of(Backstay::new(env!("CARGO_BIN_EXE_backstay")))
    }

    fn of(backstay: Backstay) -> Self {
        let desk = Desk { backstay };
        for name in ["small", "large", "place"] {
            fs::create_dir(desk.file(name)).unwrap();
        }
        fs::write(desk.file("small/file"), "content").unwrap();
        fs::write(desk.file("large/file"), vec![7; 4_000_000]).unwrap();
        desk
    }

    fn file(&self, name: &str) -> PathBuf {
        self.backstay.scratch_dir().join(name)
    }

    /// A job over the small source.
    fn job(&self, name: &str, more: &str) {
        self.apply(name, "small", more);
    }

    /// A job that would take an hour.
    fn slow_job(&self, name: &str, more: &str) {
        self.apply(
            name,
            "large",
            &format!("filters: {{ throttle: {{ bytesPerSecond: 1k }} }}\n{more}"),
        );
    }

    fn apply(&self, name: &str, source: &str, more: &str) {
        let (source, place) = (self.file(source), self.file("place"));
        self.backstay
            .apply(&format!(
                "name: {name}\nsource: {{ plugin: path, config: {{ path: {}, stream: true }} }}\ndestinations: [{{ plugin: local, config: {{ path: {} }} }}]\n{more}\n",
                source.display(),
                place.display()
            ))
            .ok();
    }

    /// The service with these settings, once it has begun.
    #[track_caller]
    fn serve(&self, settings: &str) -> Running {
        let service = self.try_to_serve(settings);
        let id = format!("{}\n", service.pid());
        wait_until("the service to begin", PATIENCE, || {
            fs::read_to_string(self.backstay.data_dir().join("daemon.lock")).is_ok_and(|text| text == id)
        });
        service
    }

    fn try_to_serve(&self, settings: &str) -> Running {
        let file = self.file("config.yaml");
        fs::write(&file, settings).unwrap();
        self.backstay
            .spawn(&["serve", "--config", file.to_str().unwrap()])
    }

    /// Runs, the oldest first.
    fn runs(&self) -> Vec<Value> {
        let mut runs = self
            .backstay
            .json(&["runs", "--limit", "500"])
            .as_array()
            .unwrap()
            .clone();
        runs.reverse();
        runs
    }

    /// Waits until the runs are as they should be, and returns them.
    #[track_caller]
    fn wait_for(&self, what: &str, is_so: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let runs = self.runs();
            if is_so(&runs) {
                return runs;
            }
            assert!(Instant::now() < deadline, "waited in vain for {what}: {runs:#?}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Runs that have this status.
    #[track_caller]
    fn wait_for_status(&self, job: &str, status: &str) -> Vec<Value> {
        let what = format!("a run of {job} that is {status}");
        self.wait_for(&what, |runs| {
            runs.iter()
                .any(|run| run["jobName"] == job && run["status"] == status)
        })
    }
}

/// Stops a service politely. It must end well.
#[track_caller]
fn stop(service: Running) -> String {
    service.terminate();
    service.wait().ok().stderr
}

/// Each due time has one run.
#[track_caller]
fn assert_none_doubled(runs: &[Value]) -> BTreeSet<(String, String)> {
    let of = |run: &Value| {
        let text = |key: &str| Some(run[key].as_str()?.to_owned());
        Some((text("jobId")?, text("dueAt")?))
    };
    let due: Vec<_> = runs.iter().filter_map(of).collect();
    let once: BTreeSet<_> = due.iter().cloned().collect();
    assert_eq!(due.len(), once.len(), "a due time has two runs: {runs:#?}");
    once
}
