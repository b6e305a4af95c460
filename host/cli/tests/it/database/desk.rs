//! A job that backs databases up to a directory, or to a destination that waits half-way.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use backstay_testkit::cli::{Backstay, Output};
use backstay_testkit::mariadb::MariaDb;
use backstay_testkit::postgres::Postgres;
use backstay_testkit::process::wait_until;
use serde_json::{Value, json};

use crate::abort::paths;

pub const BINARY: &str = env!("CARGO_BIN_EXE_backstay");

/// What nobody may see anywhere.
pub const PASSWORD: &str = "Pl4nted-pa55word";

pub struct Desk {
    pub backstay: Backstay,
    has_gate: bool,
}

impl Desk {
    pub fn new() -> Self {
        Self::on(Backstay::new(BINARY), false)
    }

    /// The destination reads a little of a stream, and the rest when the gate opens.
    pub fn with_gate() -> Self {
        Self::on(Backstay::with_guests(BINARY, &["lab-destination"]), true)
    }

    fn on(backstay: Backstay, has_gate: bool) -> Self {
        let desk = Desk { backstay, has_gate };
        fs::create_dir(desk.place()).unwrap();
        desk
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.backstay.scratch_dir().join(name)
    }

    /// The directory that backups go to.
    pub fn place(&self) -> PathBuf {
        self.file("place")
    }

    pub fn job(&self, source: &Value) -> Value {
        let destination = if self.has_gate {
            let script = format!(
                "n=$(head -c 70000 | wc -c); : > {0}; until test -e {1}; do sleep 0.02; done; echo $((n + $(wc -c)))",
                self.file("started").display(),
                self.file("go").display()
            );
            json!({ "plugin": "lab-destination", "config": { "do": "process", "path": self.place(), "script": script } })
        } else {
            json!({ "plugin": "local", "config": { "path": self.place() } })
        };
        // Compressed it could get by whole.
        let filters = if self.has_gate {
            json!({})
        } else {
            json!({ "compression": { "algorithm": "zstd", "level": 1 } })
        };
        json!({
            "name": "data",
            "source": { "plugin": "database", "config": source },
            "destinations": [destination],
            "filters": filters,
            "retries": { "attempts": 1 },
            "guards": { "maxShrinkPercent": 100 },
        })
    }

    pub fn apply(&self, source: &Value) {
        self.backstay.apply(&self.job(source).to_string()).ok();
    }

    /// What is said of a job that can't be applied, a line each: where, what, and what to do.
    #[track_caller]
    pub fn refused(&self, source: &Value) -> String {
        let file = self.file("wrong.json");
        fs::write(&file, self.job(source).to_string()).unwrap();
        let output = self
            .backstay
            .run_json(&["apply", "-f", file.to_str().unwrap()])
            .code(2);
        said(&output.json())
    }

    pub fn secret(&self, name: &str, text: &str) {
        self.backstay.secret(name, text);
    }

    /// Runs the job, which must succeed without a warning, and returns the backup that it made.
    #[track_caller]
    pub fn back_up(&self) -> Value {
        let run = self.backstay.json(&["run", "data"]);
        assert_eq!(run["status"], "succeeded", "{run:#}");
        run["backups"][0].clone()
    }

    /// Runs the job, which must end in `code`, and returns the run.
    #[track_caller]
    pub fn run(&self, code: i32) -> Value {
        self.backstay.run_json(&["run", "data"]).code(code).json()
    }

    #[track_caller]
    pub fn restore(&self, args: &[&str]) -> Output {
        self.backstay.run(&[&["restore", "latest:data"], args].concat())
    }

    /// Runs the job, which must fail in this way and leave nothing but what was there.
    #[track_caller]
    pub fn fails(&self, code: i32, sentence: &str) {
        let before = paths(&self.place());
        let run = self.run(code);
        assert_eq!(run["status"], "failed", "{run:#}");
        assert_failed(&run, sentence);
        assert_eq!(paths(&self.place()), before, "something was left");
    }

    /// Starts the job and waits until some of its stream has arrived at the gate.
    pub fn start_until_gate(&self) -> backstay_testkit::cli::Running {
        let running = self.backstay.spawn(&["run", "data", "--json"]);
        wait_until("the first bytes", Duration::from_secs(60), || {
            self.file("started").exists()
        });
        running
    }

    pub fn open_gate(&self) {
        fs::write(self.file("go"), "").unwrap();
    }

    /// Runs the recovery kit by a shell that finds no Backstay.
    #[track_caller]
    pub fn kit(&self, target: &str, environment: &[(&str, String)]) {
        let kit = self.backstay.run(&["recovery-kit", "latest:data"]).ok().stdout;
        let script = self.file("kit.sh");
        fs::write(&script, &kit).unwrap();
        let mut bash = Command::new("bash");
        bash.arg(&script)
            .arg(target)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        bash.envs(environment.iter().map(|(name, value)| (name, value)))
            .current_dir("/");
        let result = bash.output().unwrap();
        let said = String::from_utf8_lossy(&result.stderr);
        assert!(result.status.success(), "{said}\n{kit}");
    }
}

/// Diagnostics, a line each.
fn said(output: &Value) -> String {
    let all = output["checked"][0]["diagnostics"].as_array().unwrap().clone();
    let lines = all.iter().map(|d| {
        let text = |key: &str| d[key].as_str().unwrap_or_default().replace("/source/config", "");
        let hint = text("hint");
        let hint = if hint.is_empty() {
            hint
        } else {
            format!(" ({hint})")
        };
        format!("{} {}: {}{hint}", text("pointer"), text("code"), text("message"))
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[track_caller]
pub fn assert_failed(run: &Value, sentence: &str) {
    let message = run["error"]["message"].as_str().unwrap();
    assert!(message.contains(sentence), "{message}");
    assert!(!message.contains("roken pipe"), "{message}");
    assert!(run["error"]["hint"].is_string(), "no next step: {run:#}");
}

pub fn artifacts(backup: &Value) -> Vec<&str> {
    let all = backup["manifest"]["artifacts"].as_array().unwrap();
    all.iter().map(|a| a["name"].as_str().unwrap()).collect()
}

/// Codes and sentences of a run's warnings.
pub fn warnings(run: &Value) -> Vec<String> {
    let all = run["warnings"].as_array().unwrap().iter();
    let text = |w: &Value, key: &str| w[key].as_str().unwrap().to_owned();
    all.map(|w| format!("{}: {}", text(w, "code"), text(w, "message")))
        .collect()
}

pub fn postgres_source(server: &Postgres) -> Value {
    json!({ "engine": "postgres", "host": server.socket_dir(), "port": server.port(), "username": "postgres" })
}

pub fn mariadb_source(server: &MariaDb) -> Value {
    json!({ "engine": "mariadb", "host": server.socket(), "username": "root" })
}

/// `base` with more settings.
pub fn with(base: &Value, more: Value) -> Value {
    let mut all = base.clone();
    let (Value::Object(into), Value::Object(from)) = (&mut all, more) else {
        panic!("not two objects");
    };
    into.extend(from);
    all
}

/// Command lines of all processes that hold this text, with their environments left out, as `ps` shows them.
pub fn processes(holding: &str) -> Vec<String> {
    let all = fs::read_dir("/proc").unwrap().flatten();
    let lines = all.filter_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let bytes = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        Some(String::from_utf8_lossy(&bytes).replace('\0', " "))
    });
    lines.filter(|line| line.contains(holding)).collect()
}
