//! A service of the release binary with its interface on a free port of the loopback address, and a token for it.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::client::{self, Target};
use crate::bench::host::Host;
use crate::shell;

/// How long it may take to begin, and to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// The service; it is killed when dropped.
pub(super) struct Service {
    child: Child,
    target: Target,
}

impl Service {
    /// Starts it and waits until it answers.
    pub(super) fn start(host: &Host) -> Result<Self> {
        let port = std::net::TcpListener::bind(("127.0.0.1", 0))?
            .local_addr()?
            .port();
        let name = format!("bench-{port}");
        let made = shell::output(&mut host.command(["token", "add", &name, "--role", "viewer", "--json"]))?;
        let made: Value = serde_json::from_slice(&made.stdout).context("no token was made")?;
        let token = made["token"].as_str().context("no token was made")?.to_owned();
        let config = host.job_file("settings");
        std::fs::write(
            &config,
            format!("{{\"api\":{{\"listen\":\"127.0.0.1:{port}\"}},\"log\":{{\"level\":\"warn\"}}}}"),
        )?;
        let mut command = host.command(["serve", "--config"]);
        command.arg(&config).stdout(Stdio::null());
        let child = command.spawn().context("can't start the service")?;
        let mut service = Service {
            child,
            target: Target { port, token },
        };
        let deadline = Instant::now() + PATIENCE;
        while service.get("/ready").is_err() {
            if let Some(status) = service.child.try_wait()? {
                bail!("the service ended: {status}");
            }
            if Instant::now() > deadline {
                bail!("the service doesn't answer");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(service)
    }

    pub(super) fn target(&self) -> Target {
        self.target.clone()
    }

    /// Has each plugin asked for its schema, and says how many there are.
    pub(super) fn load_plugins(&self) -> Result<usize> {
        let plugins = self.get("/api/v1/plugins")?;
        let plugins = plugins.as_array().context("no plugins")?;
        for plugin in plugins {
            let id = plugin["manifest"]["id"]
                .as_str()
                .context("a plugin without an id")?;
            self.get(&format!("/api/v1/plugins/{id}"))?;
        }
        Ok(plugins.len())
    }

    /// A figure of the kernel about its memory, in bytes.
    pub(super) fn memory(&self, name: &str) -> Result<u64> {
        let file = format!("/proc/{}/status", self.child.id());
        let text = std::fs::read_to_string(&file).with_context(|| format!("can't read {file}"))?;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kibibytes: u64 = line
            .and_then(|line| line.split_whitespace().next()?.parse().ok())
            .with_context(|| format!("{file} has no {name}"))?;
        Ok(kibibytes << 10)
    }

    /// The newest runs, up to 500.
    pub(super) fn run_ids(&self) -> Result<Vec<String>> {
        let page = self.get("/api/v1/runs?limit=500")?;
        let runs = page["items"].as_array().context("no runs")?.iter();
        Ok(runs
            .filter_map(|run| Some(run["id"].as_str()?.to_owned()))
            .collect())
    }

    /// The events of a run, up to 500.
    pub(super) fn event_ids(&self, run: &str) -> Result<Vec<i64>> {
        let page = self.get(&format!("/api/v1/runs/{run}/logs?limit=500"))?;
        let events = page["items"].as_array().context("no events")?.iter();
        Ok(events.filter_map(|event| event["id"].as_i64()).collect())
    }

    fn get(&self, path: &str) -> Result<Value> {
        let (status, body) = client::get(&self.target, path)?;
        if status != 200 {
            bail!("{path} answers {status}: {}", String::from_utf8_lossy(&body));
        }
        serde_json::from_slice(&body).with_context(|| format!("{path} doesn't answer in JSON"))
    }

    /// Stops it politely. It must end well.
    pub(super) fn stop(mut self) -> Result<()> {
        let id = i32::try_from(self.child.id())?;
        let pid = rustix::process::Pid::from_raw(id).context("a process without an id")?;
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => bail!("the service ended badly: {status}"),
                None if Instant::now() > deadline => bail!("the service doesn't end"),
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It has ended before, or it is killed now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
