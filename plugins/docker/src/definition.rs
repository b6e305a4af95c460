//! What a container was made of, for people who must make it again, without what looks like a secret.

use backstay_sdk::{Artifact, ByteStream, Failure, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::config::{Action, Config, Engine};
use crate::engine::{Cli, answered};
use crate::inspect::Container;

/// The artifact with the definitions.
pub const ARTIFACT: &str = "containers";

/// The file in it.
pub const FILE: &str = "containers.json";

/// Stands where a secret was.
const REDACTED: &str = "(redacted)";

/// Words in the name of a variable, an option or a label whose value is a secret.
const SECRET_WORDS: [&str; 17] = [
    "pass",
    "pwd",
    "secret",
    "token",
    "key",
    "credential",
    "auth",
    "private",
    "salt",
    "cookie",
    "dsn",
    "cert",
    "signature",
    "login",
    "webhook",
    "session",
    "jwt",
];

/// What engines say that is of no use for making a container, or repeats its command line.
const LEFT_OUT: [&str; 12] = [
    "CreateCommand",
    "GraphDriver",
    "Health",
    "LogPath",
    "ResolvConfPath",
    "HostnamePath",
    "HostsPath",
    "StaticDir",
    "OCIConfigPath",
    "ConmonPidFile",
    "PidFile",
    "State",
];

/// What a backup keeps about its containers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Definitions {
    /// The engine.
    pub engine: Engine,
    /// Its version, as it says it.
    pub engine_version: String,
    /// The containers, in the order in which they are to be started.
    pub containers: Vec<Definition>,
}

/// What a backup keeps about a container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Definition {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: String,
    /// Name of its image.
    pub image: String,
    /// Id of its image.
    pub image_id: String,
    /// Names with digests, by which a registry gives the image again.
    pub image_digests: Vec<String>,
    /// Its state before the backup.
    pub state: String,
    /// What was done to it.
    pub action: Action,
    /// When it was made quiet, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiet_since: Option<String>,
    /// What `inspect` says.
    pub inspect: Value,
}

impl Definitions {
    /// Gathers what there is to know, before anything is stopped. `groups` are in the order of stopping.
    ///
    /// # Errors
    /// The engine doesn't answer.
    pub fn gather(cli: &Cli, config: &Config, groups: &[Vec<Container>]) -> Result<Self> {
        let version = answered(cli.version().run()?)?;
        let mut containers = Vec::new();
        for container in groups.iter().rev().flatten() {
            let image = cli.image(&container.image)?.unwrap_or_default();
            let is_up = container.state.is_up();
            let action = config.action_for(&container.name, container.service());
            containers.push(Definition {
                name: container.name.clone(),
                id: container.id.clone(),
                image: container.config.image.clone(),
                image_id: container.image.clone(),
                image_digests: image.repo_digests,
                state: container.state.status.clone(),
                action: if is_up { action } else { Action::None },
                quiet_since: None,
                inspect: redacted(&container.all),
            });
        }
        Ok(Definitions {
            engine: cli.engine(),
            engine_version: version.stdout.trim().to_owned(),
            containers,
        })
    }

    /// Notes when the containers were made quiet.
    ///
    /// # Errors
    /// The clock is out of all bounds.
    pub fn note_quiet(&mut self, since_millis: i64) -> Result<()> {
        let since = jiff::Timestamp::from_millisecond(since_millis)
            .map_err(|e| Failure::environment(format!("the clock of this machine is wrong: {e}")))?;
        for one in self
            .containers
            .iter_mut()
            .filter(|one| one.action != Action::None)
        {
            one.quiet_since = Some(since.to_string());
        }
        Ok(())
    }

    /// A tar stream with one file, so that it is restored and checked like the rest.
    ///
    /// # Errors
    /// It can't be written.
    pub fn artifact(&self) -> Result<Artifact> {
        let mut json = serde_json::to_string_pretty(self)?;
        json.push('\n');
        let failed =
            |e: &dyn std::fmt::Display| Failure::internal(format!("the definitions can't be packed: {e}"));
        let mut header = tar::Header::new_ustar();
        header.set_size(json.len() as u64);
        header.set_mode(0o600);
        header.set_cksum();
        let mut archive = tar::Builder::new(Vec::new());
        archive
            .append_data(&mut header, FILE, json.as_bytes())
            .map_err(|e| failed(&e))?;
        let bytes = archive.into_inner().map_err(|e| failed(&e))?;
        let text = String::from_utf8(bytes).map_err(|e| failed(&e))?;
        let stream = ByteStream::text(&text);
        Artifact::stream(ARTIFACT, backstay_sdk::content::TAR, stream).with_metadata(self)
    }
}

/// The same without secrets, as far as they can be told by their names.
pub fn redacted(value: &Value) -> Value {
    match value {
        Value::Object(all) => Value::Object(redacted_object(all)),
        Value::Array(all) => Value::Array(redacted_list(all)),
        Value::String(text) if has_login(text) => Value::String(REDACTED.to_owned()),
        other => other.clone(),
    }
}

fn redacted_object(all: &Map<String, Value>) -> Map<String, Value> {
    let kept = all.iter().filter(|(key, _)| !LEFT_OUT.contains(&key.as_str()));
    kept.map(|(key, value)| {
        let value = match value {
            Value::String(text) if !text.is_empty() && is_secret(key) => Value::String(REDACTED.to_owned()),
            other => redacted(other),
        };
        (key.clone(), value)
    })
    .collect()
}

/// Words of a command line, or variables: what follows a secret option is one, too.
fn redacted_list(all: &[Value]) -> Vec<Value> {
    let mut follows = false;
    all.iter()
        .map(|value| {
            let Value::String(text) = value else {
                follows = false;
                return redacted(value);
            };
            if std::mem::take(&mut follows) && !text.starts_with('-') {
                return Value::String(REDACTED.to_owned());
            }
            let one = redacted_word(text);
            follows = text.starts_with('-') && !text.contains('=') && is_secret(text);
            Value::String(one)
        })
        .collect()
}

fn redacted_word(text: &str) -> String {
    // A shell's whole command may hold a secret anywhere.
    let is_line = text.contains(char::is_whitespace);
    match text.split_once('=') {
        Some((name, value)) if !value.is_empty() && (is_secret(name) || has_login(value)) => {
            format!(
                "{}={REDACTED}",
                name.split_whitespace().next().unwrap_or_default()
            )
        }
        _ if has_login(text) || (is_line && is_secret(text)) => REDACTED.to_owned(),
        _ => text.to_owned(),
    }
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name != "pwd" && SECRET_WORDS.iter().any(|word| name.contains(word))
}

/// Whether it is a URL with a password in it.
fn has_login(text: &str) -> bool {
    text.split("://").skip(1).any(|rest| {
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        authority.contains('@')
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_do_not_get_into_a_manifest() {
        let inspect = json!({
            "Name": "/web",
            "Config": {
                "Env": ["PATH=/bin", "POSTGRES_PASSWORD=hunter2", "api_key=hunter2", "URL=postgres://me:hunter2@db/x",
                    "EMPTY_TOKEN=", "TZ=Europe/Berlin"],
                "Cmd": ["server", "--password", "hunter2", "--port", "80", "--token=hunter2", "redis://:hunter2@cache"],
                "Entrypoint": ["sh", "-c", "export DB_PASS=hunter2; exec x"],
                "Labels": { "traefik.basicauth.users": "hunter2", "a": "b" },
                "CreateCommand": ["podman", "run", "-e", "X=hunter2"],
            },
            "State": { "Health": { "Log": [{ "Output": "hunter2" }] } },
            "HostConfig": { "LogConfig": { "Config": { "splunk-token": "hunter2" } }, "Memory": 5 },
        });
        let clean = redacted(&inspect);
        let text = clean.to_string();
        assert!(!text.contains("hunter2"), "{text}");
        let env = &clean["Config"]["Env"];
        assert_eq!(
            env,
            &json!([
                "PATH=/bin",
                "POSTGRES_PASSWORD=(redacted)",
                "api_key=(redacted)",
                "URL=(redacted)",
                "EMPTY_TOKEN=",
                "TZ=Europe/Berlin"
            ])
        );
        assert_eq!(
            clean["Config"]["Cmd"],
            json!([
                "server",
                "--password",
                "(redacted)",
                "--port",
                "80",
                "--token=(redacted)",
                "(redacted)"
            ])
        );
        assert_eq!(clean["HostConfig"]["Memory"], 5);
        assert_eq!(clean["Config"]["Labels"]["a"], "b");
    }

    proptest::proptest! {
        #[test]
        fn a_variable_with_a_secret_name_never_keeps_its_value(
            name in "[A-Z_]{0,5}(PASSWORD|TOKEN|SECRET|API_KEY)[A-Z_]{0,5}", value in "[ -~]{1,20}"
        ) {
            let clean = redacted(&json!([format!("{name}={value}")]));
            proptest::prop_assert_eq!(clean, json!([format!("{name}=(redacted)")]));
        }
    }
}
