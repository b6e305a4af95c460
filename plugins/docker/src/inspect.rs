//! What `inspect` of both engines says about containers, images and volumes, as far as it matters here.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// Label of compose: the project.
pub const PROJECT: &str = "com.docker.compose.project";

/// Label of compose: the service within the project.
pub const SERVICE: &str = "com.docker.compose.service";

/// Label of compose: services that must run before, as `NAME:CONDITION:RESTART,…`.
pub const DEPENDS_ON: &str = "com.docker.compose.depends_on";

/// Label of our own for containers without compose: names of containers that must run before, as `NAME,…`.
pub const OWN_DEPENDS_ON: &str = "org.backstay.depends-on";

/// A container.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Container {
    /// Its id.
    pub id: String,
    /// Its name; Docker puts a `/` before it.
    #[serde(deserialize_with = "without_slash")]
    pub name: String,
    /// Id of its image.
    #[serde(default)]
    pub image: String,
    /// Whether it runs.
    pub state: State,
    /// What it was made with.
    pub config: Settings,
    /// How it lives on this machine.
    #[serde(default)]
    pub host_config: HostConfig,
    /// What is mounted into it.
    #[serde(default, deserialize_with = "or_default")]
    pub mounts: Vec<Mount>,
    /// Ids of containers that must run before it; Podman only.
    #[serde(default, deserialize_with = "or_default")]
    pub dependencies: Vec<String>,
    /// All that was said, for the definition.
    #[serde(skip)]
    pub all: Value,
}

/// The state of a container.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct State {
    /// One word.
    pub status: String,
    /// When it was started the last time, RFC 3339.
    #[serde(default)]
    pub started_at: String,
    /// How it ended the last time.
    #[serde(default)]
    pub exit_code: i64,
}

/// What a container was made with.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Settings {
    /// Name of its image.
    #[serde(default)]
    pub image: String,
    /// Its labels.
    #[serde(default, deserialize_with = "or_default")]
    pub labels: BTreeMap<String, String>,
    /// Seconds that it may take to stop.
    #[serde(default)]
    pub stop_timeout: Option<u64>,
}

/// How a container lives on this machine.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct HostConfig {
    /// It is removed when it stops.
    #[serde(default)]
    pub auto_remove: bool,
    /// `container:ID` if it uses the network of another.
    #[serde(default)]
    pub network_mode: String,
    /// The same for inter-process communication.
    #[serde(default)]
    pub ipc_mode: String,
    /// The same for processes.
    #[serde(default)]
    pub pid_mode: String,
}

/// Something that is mounted into a container.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Mount {
    /// `volume`, `bind`, `tmpfs` or another.
    #[serde(rename = "Type", default)]
    pub kind: String,
    /// Name of a volume.
    #[serde(default)]
    pub name: String,
    /// Where it is on this machine.
    #[serde(default)]
    pub source: String,
    /// Where it is in the container.
    #[serde(default)]
    pub destination: String,
}

/// A volume.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// The driver that keeps it.
    #[serde(default)]
    pub driver: String,
    /// Where it is on this machine.
    #[serde(default)]
    pub mountpoint: String,
    /// What the driver was told.
    #[serde(default, deserialize_with = "or_default")]
    pub options: BTreeMap<String, String>,
    /// Its labels.
    #[serde(default, deserialize_with = "or_default")]
    pub labels: BTreeMap<String, String>,
}

/// An image.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Image {
    /// Names with digests, by which a registry gives it again.
    #[serde(default, deserialize_with = "or_default")]
    pub repo_digests: Vec<String>,
}

impl Container {
    /// Its compose service.
    pub fn service(&self) -> Option<&str> {
        self.config.labels.get(SERVICE).map(String::as_str)
    }

    /// Seconds that the engine gives it to stop, 10 if it doesn't say.
    pub fn stop_seconds(&self) -> u64 {
        self.config.stop_timeout.unwrap_or(10)
    }
}

impl State {
    /// It runs, or would if it didn't crash all the time.
    pub fn is_up(&self) -> bool {
        matches!(self.status.as_str(), "running" | "restarting")
    }

    /// Somebody paused it.
    pub fn is_paused(&self) -> bool {
        self.status == "paused"
    }

    /// Podman says so while it stops.
    pub fn is_stopping(&self) -> bool {
        self.status == "stopping"
    }

    /// When it was started the last time.
    pub fn started(&self) -> Option<Timestamp> {
        self.started_at.parse().ok()
    }
}

fn without_slash<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let name = String::deserialize(from)?;
    Ok(name.strip_prefix('/').map(str::to_owned).unwrap_or(name))
}

/// Engines write `null` for an empty list or map.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(from)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_engines_are_understood() {
        let docker = r#"{"Id":"a","Name":"/web","Image":"sha256:1","State":{"Status":"running","StartedAt":"2026-01-02T03:04:05.000000006Z"},
            "Config":{"Image":"nginx","Labels":null},"HostConfig":{"AutoRemove":true},"Mounts":null}"#;
        let podman = r#"{"Id":"a","Name":"web","Image":"1","State":{"Status":"running","StartedAt":"2026-01-02T05:04:05.000000006+02:00","ExitCode":0},
            "Config":{"Image":"nginx","Labels":{"a":"b"},"StopTimeout":30},"Dependencies":["b"],"HostConfig":{"NetworkMode":"bridge"},
            "Mounts":[{"Type":"volume","Name":"v","Source":"/x","Destination":"/y","Driver":"local"}]}"#;
        let docker: Container = serde_json::from_str(docker).expect("docker");
        let podman: Container = serde_json::from_str(podman).expect("podman");
        assert_eq!((docker.name.as_str(), podman.name.as_str()), ("web", "web"));
        assert!(docker.host_config.auto_remove && !podman.host_config.auto_remove);
        assert_eq!(
            docker.state.started(),
            podman.state.started(),
            "the same instant in two zones"
        );
        assert_eq!((docker.stop_seconds(), podman.stop_seconds()), (10, 30));
        assert_eq!(podman.mounts[0].kind, "volume");
    }
}
