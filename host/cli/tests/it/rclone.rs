//! The destination `rclone` beyond what every destination does: what it refuses and warns of, what the failures of real
//! servers and disks become, and the example of its documentation.

mod trees;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use backstay_testkit::cli::{Backstay, Output};
use backstay_testkit::compare;
use backstay_testkit::disk::SmallDisk;
use backstay_testkit::process::wait_until;
use backstay_testkit::rclone::{self, Protocol, Server};
use serde_json::{Value, json};

/// A program, and a configuration of rclone.
struct Desk {
    backstay: Backstay,
}

impl Desk {
    fn new() -> Self {
        let backstay = Backstay::new(env!("CARGO_BIN_EXE_backstay"));
        let desk = Desk { backstay };
        fs::create_dir(desk.at("source")).unwrap();
        fs::write(desk.at("source/file"), vec![b'x'; 100_000]).unwrap();
        fs::write(desk.at("rclone.conf"), "[My Disk]\ntype = local\n").unwrap();
        desk
    }

    fn at(&self, name: &str) -> PathBuf {
        self.backstay.scratch_dir().join(name)
    }

    fn add(&self, section: &str) {
        let text = fs::read_to_string(self.at("rclone.conf")).unwrap();
        fs::write(self.at("rclone.conf"), text + section).unwrap();
    }

    fn job(&self, config: &Value) -> PathBuf {
        let job = json!({
            "name": "j",
            "source": { "plugin": "path", "config": { "path": self.at("source") } },
            "destinations": [{ "plugin": "rclone", "config": config }],
            "retries": { "attempts": 1 },
        });
        fs::write(self.at("job.json"), job.to_string()).unwrap();
        self.at("job.json")
    }

    /// What is said of a configuration.
    fn says(&self, config: &Value) -> String {
        let job = self.job(config);
        let output = self
            .backstay
            .run(&["job", "validate", "-f", job.to_str().unwrap()]);
        let said = format!("{}{}[{}]\n", output.stdout, output.stderr, output.code);
        said.replace(self.backstay.scratch_dir().to_str().unwrap(), "DIR")
    }

    /// A remote of the desk's own configuration.
    fn config(&self, remote: &str) -> Value {
        json!({ "remote": remote, "configFile": self.at("rclone.conf") })
    }

    /// How a run of a job to this remote ends, and what it says.
    fn run(&self, remote: &str) -> Output {
        let job = self.job(&self.config(remote));
        self.backstay.run(&["apply", "-f", job.to_str().unwrap()]).ok();
        self.backstay.run_json(&["run", "j"])
    }
}

#[test]
fn wrong_fields_are_named_with_what_to_do() {
    let desk = Desk::new();
    let cases = [
        json!({}),
        json!({ "remote": "/mnt/backup" }),
        json!({ "remote": ":s3,secret_access_key=hidden:bucket" }),
        json!({ "remote": "s3:" }),
        json!({ "remote": "s3:bucket/../other", "configFile": "rclone.conf" }),
        json!({ "remote": "s3:bucket/x/", "s3ChunkMebibytes": 1, "bandwidth": 5 }),
        json!({ "remote": "s3:bucket", "configPasswordSecret": "../x" }),
        json!({ "remote": "s3:bucket", "configPasswordSecret": "absent" }),
    ];
    let said: Vec<String> = cases
        .iter()
        .map(|case| format!("{case}\n{}", desk.says(case)))
        .collect();
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn what_is_not_there_is_said_before_the_first_run() {
    let desk = Desk::new();
    let mut server = Server::start(Protocol::S3, &desk.at("served"), "right-key");
    desk.add(&server.remote("store"));
    desk.add(&server.remote("locked").replace("right-key", "wrong-key"));
    let sealed = desk.at("sealed.conf");
    fs::copy(desk.at("rclone.conf"), &sealed).unwrap();
    rclone::encrypt(&sealed, "right-password");
    desk.backstay.secret("password", "wrong-password");
    let mut said = vec![
        desk.says(&desk.config("My Disk:/nowhere/yet")),
        desk.says(&desk.config("store:bucket/backups")),
        desk.says(&desk.config("stor:bucket/backups")),
        desk.says(&desk.config("locked:bucket/backups")),
        desk.says(&json!({ "remote": "store:bucket", "configFile": desk.at("absent.conf") })),
        desk.says(&json!({ "remote": "store:bucket", "configFile": sealed })),
        desk.says(
            &json!({ "remote": "store:bucket", "configFile": sealed, "configPasswordSecret": "password" }),
        ),
    ];
    server.stop();
    said.push(desk.says(&desk.config("store:bucket/backups")));
    let said = said.join("\n").replace(&server.port().to_string(), "PORT");
    insta::assert_snapshot!(said);
}

/// Asserts how a run ended, that its words hold `sentence`, and that the next step is said.
#[track_caller]
fn ends(output: Output, code: i32, sentence: &str) {
    let error = &output.code(code).json()["error"];
    assert!(error["message"].as_str().unwrap().contains(sentence), "{error}");
    assert!(error["hint"].is_string(), "{error}");
}

fn is_empty(directory: &Path) -> bool {
    let mut all = vec![directory.to_owned()];
    while let Some(directory) = all.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten() {
            let path = entry.unwrap().path();
            if !path.is_dir() {
                return false;
            }
            all.push(path);
        }
    }
    true
}

#[test]
fn failures_of_servers_and_disks_have_their_class() {
    let desk = Desk::new();
    let server = Server::start(Protocol::WebDav, &desk.at("served"), "right-key");
    desk.add(&server.remote("nas"));
    let locked = server.remote("locked");
    let wrong = rclone::obscure("wrong-key");
    let pass = locked.lines().find(|line| line.starts_with("pass")).unwrap();
    desk.add(&locked.replace(pass, &format!("pass = {wrong}")));
    ends(desk.run("locked:backups"), 7, "401 Unauthorized");
    fs::write(desk.at("file"), "").unwrap();
    ends(
        desk.run(&format!("My Disk:{}", desk.at("file/below").display())),
        5,
        "not a directory",
    );
    let disk = SmallDisk::mount(8 << 20);
    fs::write(desk.at("source/large"), vec![b'x'; 12 << 20]).unwrap();
    ends(
        desk.run(&format!("My Disk:{}/backups", disk.path().display())),
        12,
        "no space left on device",
    );
    assert!(is_empty(disk.path()), "something is left of what had no room");
    desk.run("nas:backups").ok();
}

/// The first block of the documentation that is marked with this language.
fn block(page: &str, language: &str) -> String {
    let (_, rest) = page.split_once(&format!("```{language}\n")).unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

#[test]
fn the_example_of_the_documentation_runs_as_printed() {
    let desk = Desk::new();
    let page = include_str!("../../../docs/destinations/rclone.md");
    let command = block(page, "console");
    let words: Vec<&str> = command.trim().split(' ').skip(2).collect();
    let config = desk.at("own.conf");
    let made = Command::new(rclone::program())
        .args(words)
        .arg("--config")
        .arg(&config)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let job = block(page, "yaml")
        .replace("/srv/documents", desk.at("source").to_str().unwrap())
        .replace("/mnt/nas", desk.at("nas").to_str().unwrap())
        .replace(
            "{ remote:",
            &format!("{{ configFile: {}, remote:", config.display()),
        );
    desk.backstay.apply(&job).ok();
    desk.backstay.run(&["run", "documents"]).ok();
    let target = desk.at("target");
    desk.backstay
        .run(&["restore", "latest:documents", "--to", target.to_str().unwrap()])
        .ok();
    compare::trees(&desk.at("source"), &target).unwrap();
}

#[test]
fn what_rclone_spools_is_in_a_place_of_the_run_and_goes_with_it() {
    let desk = Desk::new();
    let backstay = Backstay::with_guests(env!("CARGO_BIN_EXE_backstay"), &["lab-source"]);
    let (started, go) = (desk.at("started"), desk.at("go"));
    let script = format!(
        "head -c 2M /dev/zero; : > {}; until test -e {}; do sleep 0.02; done",
        started.display(),
        go.display()
    );
    let job = json!({
        "name": "j",
        "source": { "plugin": "lab-source", "config": { "do": "command", "script": script } },
        "destinations": [{ "plugin": "rclone", "config": desk.config(&format!("My Disk:{}", desk.at("kept").display())) }],
    });
    backstay.apply(&job.to_string()).ok();
    let mut running = backstay.spawn(&["run", "j"]);
    wait_until("the source", Duration::from_secs(60), || started.exists());
    let scratch = backstay.data_dir().join("scratch");
    let spools: Vec<PathBuf> = temporary_directories_of("rcat")
        .into_iter()
        .filter(|place| place.starts_with(&scratch))
        .collect();
    assert_eq!(spools.len(), 1, "{spools:?}");
    fs::create_dir(spools[0].join("rclone-spool1")).unwrap();
    fs::write(spools[0].join("rclone-spool1/half"), "a half").unwrap();
    running.kill();
    assert!(spools[0].join("rclone-spool1/half").exists());
    fs::write(&go, "").unwrap();
    backstay.run(&["runs"]).ok();
    assert!(!spools[0].exists());
    backstay.run(&["run", "j"]).ok();
    assert_eq!(fs::read_dir(scratch).unwrap().count(), 0);
}

/// The `TMPDIR` of each process that has this among its arguments.
fn temporary_directories_of(argument: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for process in fs::read_dir("/proc").unwrap().flatten() {
        let read = |name: &str| fs::read_to_string(process.path().join(name)).unwrap_or_default();
        if read("cmdline").split('\0').any(|one| one == argument) {
            let environment = read("environ");
            let variables = environment.split('\0');
            found.extend(
                variables
                    .filter_map(|one| one.strip_prefix("TMPDIR="))
                    .map(PathBuf::from),
            );
        }
    }
    found
}
