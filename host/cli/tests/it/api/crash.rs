//! The service is killed again and again under load: what it has said yes to is done, once, and nothing is left behind.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use backstay_testkit::process::wait_until;
use serde_json::{Value, json};

use super::lab::{Lab, PATIENCE, read_reply, request};

/// So often it is killed.
const KILLS: u32 = 12;

/// Jobs that clients ask for, each a client of its own.
const ASKED: [&str; 3] = ["first", "second", "third"];

const SETTINGS: &str = "runs: { max: 3, maxPerDestination: 3 }";

/// Which job a key was for, and the run that it got, once there was an answer.
type Asked = BTreeMap<String, (&'static str, Option<String>)>;

impl Lab {
    /// A job whose backup takes about a third of a second, half of it with bytes on their way.
    fn brief_job(&self, name: &str, more: &Value) {
        let mut spec = self.spec(name);
        spec["source"]["config"]["path"] = self.file("brief").to_str().unwrap().into();
        spec["filters"] = json!({ "throttle": { "bytesPerSecond": "2M" } });
        let fields = more.as_object().unwrap().clone();
        spec.as_object_mut().unwrap().extend(fields);
        self.backstay.apply(&spec.to_string()).ok();
    }

    /// All of a list of the command line, the newest first.
    fn all(&self, what: &str) -> Vec<Value> {
        let all = self.backstay.json(&[what, "--limit", "500"]);
        all.as_array().unwrap().clone()
    }
}

/// Asks for a run, and returns its id; nothing if the service went away before it had answered.
fn ask(socket: &Path, job: &str, key: &str) -> Option<String> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let what = format!("POST /api/v1/jobs/{job}/run");
    let headers = [("Idempotency-Key", key)];
    stream
        .write_all(request(&what, "localhost", &headers, "").as_bytes())
        .ok()?;
    let reply = read_reply(stream)?;
    let run: Value = serde_json::from_str(&reply.body).ok()?;
    assert!([200, 202].contains(&reply.status), "{} {run}", reply.status);
    Some(run["id"].as_str().unwrap().to_owned())
}

/// Asks again and again until told to stop.
fn keep_asking(
    socket: &Path,
    job: &'static str,
    number: &AtomicU32,
    asked: &Mutex<Asked>,
    stop: &AtomicBool,
) {
    while !stop.load(Ordering::Relaxed) {
        let key = format!("key-{}", number.fetch_add(1, Ordering::Relaxed));
        let run = ask(socket, job, &key);
        asked.lock().unwrap().insert(key, (job, run));
        thread::sleep(Duration::from_millis(15));
    }
}

/// Each key gets the run that it got before; one that got no answer gets one now.
fn ask_again(socket: &Path, asked: &mut Asked, which: impl Fn(&Option<String>) -> bool) {
    for (key, (job, run)) in asked.iter_mut().filter(|(_, (_, run))| which(run)) {
        let again = ask(socket, job, key).expect("there is no answer");
        if let Some(run) = run {
            assert_eq!(*run, again, "{key} got another run");
        }
        *run = Some(again);
    }
}

#[test]
fn killed_under_load_it_loses_and_doubles_no_run_that_it_accepted() {
    let mut lab = Lab::with(SETTINGS);
    fs::create_dir(lab.file("brief")).unwrap();
    fs::write(lab.file("brief/file"), vec![7; 300_000]).unwrap();
    for job in ASKED {
        lab.brief_job(job, &json!({}));
    }
    lab.brief_job("often", &json!({ "schedule": { "cron": "* * * * * *" } }));
    let socket = lab.backstay.data_dir().join("api.sock");
    let (number, asked) = (AtomicU32::new(0), Mutex::new(Asked::new()));
    // The same moments each time; xorshift.
    let mut random = 0x9E37_79B9_u32;
    for _ in 0..KILLS {
        for shift in [13_i32, -17, 5] {
            random ^= if shift > 0 {
                random << shift
            } else {
                random >> -shift
            };
        }
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            for job in ASKED {
                let (socket, number, asked, stop) = (&socket, &number, &asked, &stop);
                scope.spawn(move || keep_asking(socket, job, number, asked, stop));
            }
            thread::sleep(Duration::from_millis(u64::from(40 + random % 400)));
            lab.service.kill();
            stop.store(true, Ordering::Relaxed);
        });
        lab.start_again(SETTINGS);
        ask_again(&socket, &mut asked.lock().unwrap(), Option::is_none);
    }
    lab.brief_job(
        "often",
        &json!({ "enabled": false, "schedule": { "cron": "* * * * * *" } }),
    );
    let mut asked = asked.into_inner().unwrap();
    ask_again(&socket, &mut asked, Option::is_some);
    wait_until("all runs to end", PATIENCE, || {
        lab.all("runs").iter().all(|run| run["finishedAt"].is_string())
    });
    let (runs, backups) = (lab.all("runs"), lab.all("backups"));
    assert!(
        runs.len() < 500 && asked.len() > 20,
        "{} {}",
        runs.len(),
        asked.len()
    );

    let statuses: BTreeMap<&str, &str> = runs
        .iter()
        .map(|run| (run["id"].as_str().unwrap(), run["status"].as_str().unwrap()))
        .collect();
    for (key, (job, run)) in &asked {
        let status = statuses[run.as_deref().unwrap()];
        assert!(
            ["succeeded", "interrupted"].contains(&status),
            "{key} of {job}: {status}"
        );
    }
    assert!(
        statuses.values().any(|status| *status == "interrupted"),
        "no kill hit a run"
    );
    // Each due time once, and each run has one backup at most; one that went well has one.
    let due: Vec<&str> = runs.iter().filter_map(|run| run["dueAt"].as_str()).collect();
    assert_eq!(due.len(), due.iter().collect::<BTreeSet<_>>().len(), "{due:?}");
    let of_runs: Vec<&str> = backups
        .iter()
        .map(|backup| backup["runId"].as_str().unwrap())
        .collect();
    let with_backup: BTreeSet<&str> = of_runs.iter().copied().collect();
    assert_eq!(of_runs.len(), with_backup.len(), "a run has two backups");
    for (run, status) in &statuses {
        assert!(
            *status != "succeeded" || with_backup.contains(run),
            "{run} has no backup"
        );
    }

    // At the destination is what the catalogue knows, and nothing else.
    let known: BTreeSet<String> = backups
        .iter()
        .map(|backup| backup["id"].as_str().unwrap().to_owned())
        .collect();
    let mut there = BTreeSet::new();
    for job in fs::read_dir(lab.file("place")).unwrap() {
        for backup in fs::read_dir(job.unwrap().path()).unwrap() {
            there.insert(backup.unwrap().file_name().into_string().unwrap());
        }
    }
    assert_eq!(there, known);
    lab.backstay.run(&["doctor"]).ok();
    for job in ASKED {
        lab.backstay
            .run(&["verify", &format!("latest:{job}"), "--level", "archive"])
            .ok();
    }
}
