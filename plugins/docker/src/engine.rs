//! The commands of `docker` and `podman` that this plugin runs, one function each. `plugin.json` asks for
//! exactly these.

use backstay_sdk::{Code, Command, Failure, Output, Result, log};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::config::{Config, Engine};
use crate::inspect::{Container, Image, Volume};

/// At most this many containers in one command: `plugin.json` has a place for each.
pub const MOST_AT_ONCE: usize = 16;

/// At most this many labels of a volume are made again: `plugin.json` has a place for each.
const MOST_LABELS: usize = 32;

/// An engine, and where it listens.
#[derive(Debug, Clone)]
pub struct Cli {
    engine: Engine,
    host: Option<String>,
    stop_timeout: Option<u32>,
}

impl Cli {
    /// This engine, with the settings of a job.
    pub fn new(engine: Engine, config: &Config) -> Self {
        Cli {
            engine,
            host: config.host.clone(),
            stop_timeout: config.stop_timeout,
        }
    }

    /// The job's engine, or the first that answers.
    ///
    /// # Errors
    /// None is installed, or none answers.
    pub fn find(config: &Config) -> Result<Self> {
        if let Some(engine) = config.engine {
            return Ok(Cli::new(engine, config));
        }
        let mut refusal = None;
        for engine in [Engine::Docker, Engine::Podman] {
            let cli = Cli::new(engine, config);
            let Err(failure) = cli.list(&[]).run().and_then(answered) else {
                return Ok(cli);
            };
            log::debug(format!("{}: {}", engine.program(), failure.message));
            // One that is there and doesn't answer says more than one that isn't there.
            if refusal.as_ref().is_none_or(is_missing) {
                refusal = Some(failure);
            }
        }
        Err(match refusal {
            Some(failure) if !is_missing(&failure) => failure,
            _ => Failure::environment("neither `docker` nor `podman` is installed")
                .hint("install one of them, or run the job on the machine that has the containers"),
        })
    }

    /// Which engine it is.
    pub const fn engine(&self) -> Engine {
        self.engine
    }

    fn command<const N: usize>(&self, args: [&str; N]) -> Command {
        let command = Command::new(self.engine.program());
        let command = match (&self.host, self.engine) {
            (Some(host), Engine::Docker) => command.args(["--host", host]),
            (Some(host), Engine::Podman) => command.args(["--remote", "--url", host]),
            (None, _) => command,
        };
        command.args(args)
    }

    /// Prints the version of the program.
    pub fn version(&self) -> Command {
        self.command(["--version"])
    }

    /// Lists the ids of all containers that have all of these labels.
    pub fn list(&self, labels: &[String]) -> Command {
        let filters = labels.iter().map(|label| format!("--filter=label={label}"));
        self.command(["ps", "--all", "--no-trunc", "--quiet"])
            .args(filters)
    }

    /// Lists the ids of the running containers that use a volume.
    pub fn users(&self, volume: &str) -> Command {
        self.command(["ps", "--no-trunc", "--quiet"])
            .arg(format!("--filter=volume={volume}"))
    }

    /// Describes a container.
    pub fn inspect_container(&self, id: &str) -> Command {
        self.command(["container", "inspect", id])
    }

    /// Describes an image.
    pub fn inspect_image(&self, id: &str) -> Command {
        self.command(["image", "inspect", id])
    }

    /// Describes a volume.
    pub fn inspect_volume(&self, name: &str) -> Command {
        self.command(["volume", "inspect", name])
    }

    /// Stops containers, all at the same time.
    pub fn stop<'a>(&self, ids: impl IntoIterator<Item = &'a str>) -> Command {
        let command = self.command(["stop"]);
        let command = match self.stop_timeout {
            Some(seconds) => command.arg("-t").arg(seconds.to_string()),
            None => command,
        };
        command.args(ids)
    }

    /// Starts containers.
    pub fn start<'a>(&self, ids: impl IntoIterator<Item = &'a str>) -> Command {
        self.command(["start"]).args(ids)
    }

    /// Pauses containers.
    pub fn pause<'a>(&self, ids: impl IntoIterator<Item = &'a str>) -> Command {
        self.command(["pause"]).args(ids)
    }

    /// Lets paused containers go on.
    pub fn unpause<'a>(&self, ids: impl IntoIterator<Item = &'a str>) -> Command {
        self.command(["unpause"]).args(ids)
    }

    /// Runs a command of the job in a container.
    pub fn exec(&self, id: &str, command: &str) -> Command {
        self.command(["exec", id, "sh", "-c", command])
    }

    /// Makes a volume.
    pub fn create_volume<'a>(
        &self,
        name: &str,
        labels: impl IntoIterator<Item = (&'a String, &'a String)>,
    ) -> Command {
        let labels = labels.into_iter().take(MOST_LABELS);
        self.command(["volume", "create"])
            .args(labels.map(|(key, value)| format!("--label={key}={value}")))
            .arg(name)
    }

    /// A container, by id or name; nothing if there is none.
    ///
    /// # Errors
    /// The engine doesn't answer, or says something else.
    pub fn container(&self, id: &str) -> Result<Option<Container>> {
        let Some(all) = self.look::<Value>(&self.inspect_container(id))? else {
            return Ok(None);
        };
        let mut container: Container = serde_json::from_value(all.clone()).map_err(|e| {
            Failure::backup_failed(format!(
                "`{}` describes the container {id} in an unknown way: {e}",
                self.engine.program()
            ))
        })?;
        container.all = all;
        Ok(Some(container))
    }

    /// A volume; nothing if there is none.
    ///
    /// # Errors
    /// As for [`Cli::container`].
    pub fn volume(&self, name: &str) -> Result<Option<Volume>> {
        self.look(&self.inspect_volume(name))
    }

    /// An image; nothing if it was removed.
    ///
    /// # Errors
    /// As for [`Cli::container`].
    pub fn image(&self, id: &str) -> Result<Option<Image>> {
        self.look(&self.inspect_image(id))
    }

    /// The ids that a list prints.
    ///
    /// # Errors
    /// The engine doesn't answer.
    pub fn ids(&self, list: &Command) -> Result<Vec<String>> {
        let output = answered(list.run()?)?;
        let lines = output.stdout.lines().map(str::trim);
        Ok(lines.filter(|line| !line.is_empty()).map(str::to_owned).collect())
    }

    fn look<T: DeserializeOwned>(&self, command: &Command) -> Result<Option<T>> {
        let output = command.run()?;
        if !output.is_success() && is_gone(&output.stderr) {
            return Ok(None);
        }
        let output = answered(output)?;
        let found: Vec<T> = serde_json::from_str(&output.stdout).map_err(|e| {
            Failure::backup_failed(format!("`{}` printed something unexpected: {e}", output.command))
        })?;
        Ok(found.into_iter().next())
    }
}

fn is_missing(failure: &Failure) -> bool {
    failure.code == Code::Environment && failure.message.contains("is not installed")
}

/// Whether an engine complains that what was named isn't there.
pub fn is_gone(complaint: &str) -> bool {
    let complaint = complaint.to_ascii_lowercase();
    complaint.contains("no such ") && !complaint.contains("no such file")
        || complaint.contains("no container with name or id")
        || complaint.contains("image not known")
}

/// The output, if the command ended well. An engine that doesn't answer is a matter of the machine, and may
/// answer the next time.
///
/// # Errors
/// It ended badly.
pub fn answered(output: Output) -> Result<Output> {
    if output.is_success() {
        return Ok(output);
    }
    Err(explain(&output))
}

/// Why a command ended badly.
pub fn explain(output: &Output) -> Failure {
    let failure = output.failure();
    let complaint = output.stderr.to_ascii_lowercase();
    let unreachable = [
        "cannot connect to the docker daemon",
        "cannot connect to podman",
        "unable to connect to podman",
        "connection refused",
        "failed to connect to the docker api",
        "dial unix",
    ];
    if complaint.contains("permission denied") && complaint.contains("sock") {
        failure
            .with_code(Code::Permission)
            .hint("run Backstay as root or as a member of the engine's group")
    } else if unreachable.iter().any(|words| complaint.contains(words)) {
        failure
            .with_code(Code::Environment)
            .hint("start the container engine, or correct `host` in the job")
            .retry()
    } else {
        failure
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(stderr: &str) -> Output {
        Output {
            command: "docker ps".to_owned(),
            is_fed: false,
            status: 1,
            stdout: String::new(),
            stderr: stderr.to_owned(),
        }
    }

    #[test]
    fn both_engines_say_that_something_is_gone() {
        assert!(is_gone("Error response from daemon: No such container: x"));
        assert!(is_gone("Error: no such container \"x\""));
        assert!(is_gone("Error: inspecting object: no such volume x"));
        assert!(is_gone(
            "Error: no container with name or ID \"x\" found: no such container"
        ));
        assert!(!is_gone(
            "dial unix /run/x.sock: connect: no such file or directory"
        ));
        assert!(!is_gone("permission denied"));
    }

    #[test]
    fn an_engine_that_is_away_may_come_back() {
        let away = explain(&output(
            "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
        ));
        assert_eq!((away.code, away.retry), (Code::Environment, true));
        let away = explain(&output(
            "Error: unable to connect to Podman socket: Get \"http://d/v4.3.1/_ping\": dial unix /x: connect: no such file or directory",
        ));
        assert_eq!((away.code, away.retry), (Code::Environment, true));
        let other = explain(&output("Error: OCI runtime error"));
        assert_eq!((other.code, other.retry), (Code::BackupFailed, false));
    }
}
