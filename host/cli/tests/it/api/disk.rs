//! The disk under the data directory runs full, or can't be written any more: the service says so, keeps its schedule, and
//! goes on by itself when that is over.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use backstay_testkit::cli::Backstay;
use backstay_testkit::disk::SmallDisk;
use backstay_testkit::process::wait_until;
use backstay_testkit::tools;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::lab::{Lab, PATIENCE};

const EACH_SECOND: &str = "* * * * * *";

impl Lab {
    fn scheduled_job(&self, name: &str, is_enabled: bool) {
        let mut spec = self.spec(name);
        spec["schedule"] = json!({ "cron": EACH_SECOND });
        spec["enabled"] = is_enabled.into();
        self.backstay.apply(&spec.to_string()).ok();
    }

    fn runs(&self) -> Vec<Value> {
        let runs = self.local("GET /api/v1/runs?limit=500").json(200);
        runs["items"].as_array().unwrap().clone()
    }

    fn has_run(&self, job: &str, since: Timestamp) -> bool {
        self.runs().iter().any(|run| {
            let due = run["dueAt"].as_str().and_then(|at| at.parse().ok());
            run["jobName"] == job
                && run["status"] == "succeeded"
                && due.is_some_and(|due: Timestamp| due > since)
        })
    }

    /// The newest time that was dealt with.
    fn newest_due(&self) -> Timestamp {
        let due = self.runs().into_iter();
        due.filter_map(|run| run["dueAt"].as_str()?.parse().ok())
            .max()
            .unwrap_or_default()
    }

    fn ask_for(&self, job: &str, key: u32) -> super::lab::Reply {
        let key = format!("key-{key}");
        let what = format!("POST /api/v1/jobs/{job}/run");
        self.local_with(&what, &[("Idempotency-Key", &key)], "")
    }
}

fn has(said: &str, words: &[&str]) -> bool {
    words.iter().any(|words| said.contains(words))
}

/// While `begin` holds, and after `end`: some of `words` are in what the service says. Returns what holds the data directory.
fn goes_on_when_it_is_over(lab: Lab, begin: impl FnOnce(), end: impl FnOnce(), words: &[&str]) -> Backstay {
    lab.job("asked");
    lab.scheduled_job("often", true);
    wait_until("a first run", PATIENCE, || {
        lab.has_run("often", Timestamp::UNIX_EPOCH)
    });
    lab.local("GET /ready").json(200);

    begin();
    let mut accepted = BTreeSet::new();
    let mut key = 0;
    // There may be a little room left in what the database has already.
    wait_until("a run to be refused", PATIENCE, || {
        let reply = lab.ask_for("asked", key);
        if reply.status != 503 {
            let run: Value = serde_json::from_str(&reply.body).unwrap();
            accepted.insert(run["id"].as_str().unwrap_or_else(|| panic!("{run}")).to_owned());
            key += 1;
            return false;
        }
        let problem = reply.problem(503, "unavailable");
        let said = format!("{} {}", problem["detail"], problem["hint"]);
        assert!(has(&said, words), "{problem}");
        true
    });
    wait_until("the service to say so", PATIENCE, || {
        lab.local("GET /ready").status == 503
    });
    let ready = lab.local("GET /ready").problem(503, "unavailable");
    let status = lab.local("GET /status").json(200);
    for said in [&ready["detail"], &status["problems"]] {
        assert!(has(&said.to_string(), words), "{said}");
    }
    lab.local("GET /health").json(200);
    // Its schedule goes on meanwhile.
    std::thread::sleep(std::time::Duration::from_secs(2));

    end();
    wait_until("the service to go on", PATIENCE, || {
        lab.local("GET /ready").status == 200
    });
    let since = lab.newest_due();
    assert_eq!(lab.local("GET /status").json(200)["problems"], json!([]));
    wait_until("a run that is due", PATIENCE, || lab.has_run("often", since));
    // What was refused can be asked for again by the same key.
    let run = lab.ask_for("asked", key).json(202)["id"]
        .as_str()
        .unwrap()
        .to_owned();
    accepted.insert(run);
    lab.scheduled_job("often", false);
    wait_until("all runs to end", PATIENCE, || {
        lab.runs().iter().all(|run| run["finishedAt"].is_string())
    });

    let runs = lab.runs();
    assert!(runs.len() < 500);
    let gone: Vec<&Value> = runs
        .iter()
        .filter(|run| run.to_string().contains("went away"))
        .collect();
    assert!(gone.is_empty(), "the host was there all the time: {gone:?}");
    let ids: BTreeSet<String> = runs
        .iter()
        .map(|run| run["id"].as_str().unwrap().to_owned())
        .collect();
    assert!(accepted.is_subset(&ids), "a run is lost");
    let due: Vec<&str> = runs.iter().filter_map(|run| run["dueAt"].as_str()).collect();
    assert_eq!(
        due.len(),
        due.iter().collect::<BTreeSet<_>>().len(),
        "a due time has two runs: {due:?}"
    );
    let backups = lab.backstay.json(&["backups", "--limit", "500"]);
    let known: BTreeSet<&str> = backups
        .as_array()
        .unwrap()
        .iter()
        .map(|backup| backup["id"].as_str().unwrap())
        .collect();
    for job in fs::read_dir(lab.file("place")).unwrap() {
        for backup in fs::read_dir(job.unwrap().path()).unwrap() {
            let name = backup.unwrap().file_name().into_string().unwrap();
            assert!(known.contains(&*name), "{name} was left");
        }
    }
    let Lab {
        backstay, service, ..
    } = lab;
    service.terminate();
    let said = service.wait().ok().stderr;
    assert!(has(&said, words) && said.contains("works again"), "{said}");
    backstay.run(&["doctor"]).ok();
    backstay
}

/// Puts the data directory on a disk of its own.
fn on_small_disk(backstay: &Backstay) -> SmallDisk {
    let (data, before) = (backstay.data_dir(), backstay.scratch_dir().join("before"));
    fs::rename(&data, &before).unwrap();
    fs::create_dir(&data).unwrap();
    let disk = SmallDisk::mount_at(&data, 128 << 20);
    let copied = Command::new("cp")
        .arg("-a")
        .arg(before.join("."))
        .arg(&data)
        .status();
    assert!(copied.unwrap().success());
    disk
}

#[test]
fn a_full_disk_stops_it_for_as_long_as_it_is_full() {
    let (lab, disk) = Lab::prepared("", on_small_disk);
    let filler = disk.path().join("filler");
    let fill = || {
        let mut file = fs::File::create(&filler).unwrap();
        for size in [1 << 20, 4096, 1] {
            let block = vec![7; size];
            while file.write_all(&block).is_ok() {}
        }
    };
    let free = || fs::remove_file(&filler).unwrap();
    let backstay = goes_on_when_it_is_over(lab, fill, free, &["no room left for the database"]);
    // The directory goes after what is mounted in it.
    drop((disk, backstay));
}

/// Files that nobody can write, root neither, until this is dropped.
struct Immutable(Vec<PathBuf>);

impl Immutable {
    fn make(directory: &Path) -> Self {
        tools::require(&["chattr"]);
        let names = ["backstay.db", "backstay.db-wal"];
        let files = Immutable(names.map(|name| directory.join(name)).to_vec());
        files.change("+i");
        files
    }

    fn change(&self, how: &str) {
        let changed = Command::new("chattr").arg(how).args(&self.0).status().unwrap();
        assert!(
            changed.success(),
            "chattr doesn't work on the file system of {:?}",
            self.0
        );
    }
}

impl Drop for Immutable {
    fn drop(&mut self) {
        self.change("-i");
    }
}

#[test]
fn a_database_that_cant_be_written_stops_it_for_as_long_as_that_is_so() {
    let lab = Lab::new();
    let data = lab.backstay.data_dir();
    let held = std::cell::RefCell::new(None);
    goes_on_when_it_is_over(
        lab,
        || *held.borrow_mut() = Some(Immutable::make(&data)),
        || drop(held.borrow_mut().take()),
        // At first it is taken for an error of the disk.
        &["reading or writing the database", "can't be written"],
    );
}
