//! Settings of a host that runs as a service. Every one has a default.

mod api;

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::diagnostic::Diagnostic;
use crate::error::{Code, Error, Result};
use crate::job::check::against_schema;
use crate::notify::{NotificationSettings, fault_of_url};
use crate::span::Span;
pub use api::{ApiSettings, Listen, SessionSettings, TlsSettings};

/// Settings of a host that runs as a service.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Settings {
    /// How many runs there may be, and how they end with the service.
    pub runs: RunSettings,
    /// What the service says, and where.
    pub log: LogSettings,
    /// The HTTP interface.
    pub api: ApiSettings,
    /// What is written down of who changed what.
    pub audit: AuditSettings,
    /// Files with age private keys, for `verify.afterRun` on encrypted backups. Absolute.
    pub identities: Vec<PathBuf>,
    /// Where numbers about jobs and runs go.
    pub metrics: MetricsSettings,
    /// Who is told what happens.
    pub notifications: NotificationSettings,
}

/// How many runs there may be, and how they end with the service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RunSettings {
    /// So many at once; the others wait.
    #[schemars(range(min = 1, max = 1_000))]
    pub max: u32,
    /// So many at once that store to the same destination.
    #[schemars(range(min = 1, max = 1_000))]
    pub max_per_destination: u32,
    /// How long runs may go on when the service is stopped, before they are cancelled.
    pub shutdown_timeout: Span,
}

impl Default for RunSettings {
    fn default() -> Self {
        RunSettings {
            max: 4,
            max_per_destination: 2,
            shutdown_timeout: Span::seconds(60),
        }
    }
}

/// What the service says, and where.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LogSettings {
    /// How much is said.
    pub level: LogLevel,
    /// Lines for people or JSON for programs.
    pub format: LogFormat,
    /// A file to write to instead of standard error, absolute. A new one begins each day, and its name gets the date.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// So many such files are kept.
    #[schemars(range(min = 1, max = 1_000))]
    pub keep: u32,
}

impl Default for LogSettings {
    fn default() -> Self {
        LogSettings {
            level: LogLevel::default(),
            format: LogFormat::default(),
            file: None,
            keep: 14,
        }
    }
}

/// What is written down of who changed what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AuditSettings {
    /// How long it is kept, at least a day.
    pub keep: Span,
}

impl Default for AuditSettings {
    fn default() -> Self {
        AuditSettings {
            keep: Span::seconds(400 * DAY),
        }
    }
}

impl AuditSettings {
    fn check(&self, found: &mut Vec<Diagnostic>) {
        if self.keep < Span::seconds(DAY) {
            found.push(
                Diagnostic::error("/audit/keep", "out-of-range", "it is less than a day")
                    .hint("the default is 400d"),
            );
        }
    }
}

/// A day in seconds.
const DAY: u64 = 24 * 3600;

/// Where numbers about jobs and runs go.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct MetricsSettings {
    /// A file for node_exporter's textfile collector, absolute, with a name that ends in `.prom`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub textfile: Option<PathBuf>,
    /// URL of a Pushgateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pushgateway: Option<String>,
    /// How often, at least a second.
    pub every: Span,
}

impl Default for MetricsSettings {
    fn default() -> Self {
        MetricsSettings {
            textfile: None,
            pushgateway: None,
            every: Span::seconds(60),
        }
    }
}

impl MetricsSettings {
    fn check(&self, found: &mut Vec<Diagnostic>) {
        let is_prom = |path: &PathBuf| path.extension().is_some_and(|end| end == "prom");
        if self.textfile.as_ref().is_some_and(|path| !is_prom(path)) {
            found.push(
                Diagnostic::error(
                    "/metrics/textfile",
                    "bad-name",
                    "node_exporter reads only files whose name ends in `.prom`",
                )
                .hint("such as /var/lib/prometheus/node-exporter/backstay.prom"),
            );
        }
        if let Some(fault) = self.pushgateway.as_deref().and_then(fault_of_url) {
            found.push(Diagnostic::error(
                "/metrics/pushgateway",
                "bad-url",
                format!("`pushgateway` {fault}"),
            ));
        }
        if self.every < Span::seconds(1) {
            found.push(
                Diagnostic::error("/metrics/every", "out-of-range", "it is less than a second")
                    .hint("the default is 60s"),
            );
        }
    }
}

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// What went wrong.
    Error,
    /// And what somebody should look at.
    Warn,
    /// And what is done.
    #[default]
    Info,
    /// And what helps to find a fault.
    Debug,
}

impl LogLevel {
    /// The word used in settings.
    pub const fn name(self) -> &'static str {
        match self {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
        }
    }
}

/// How it is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// A line for people.
    #[default]
    Text,
    /// A JSON object in each line.
    Json,
}

impl Settings {
    /// Reads settings from the value of a settings file; an empty file has nothing but defaults.
    ///
    /// # Errors
    /// [`Code::Configuration`] with all that is wrong, each with its place and what to do.
    pub fn read(value: &Value) -> Result<Settings> {
        if value.is_null() {
            return Ok(Settings::default());
        }
        let schema = schemars::schema_for!(Settings).to_value();
        let mut found = against_schema(&schema, value, "")?;
        let read: std::result::Result<Settings, _> = serde_json::from_value(value.clone());
        match read {
            Ok(settings) => {
                settings.check(&mut found);
                if found.is_empty() {
                    return Ok(settings);
                }
            }
            Err(error) if found.is_empty() => {
                found.push(Diagnostic::error("", "invalid", error.to_string()));
            }
            Err(_) => {}
        }
        let lines: Vec<String> = found
            .iter()
            .map(|d| d.to_string().replacen("(job)", "(settings)", 1))
            .collect();
        let text = format!("the settings can't be used\n  {}", lines.join("\n  "));
        Err(Error::new(Code::Configuration, text))
    }

    fn check(&self, found: &mut Vec<Diagnostic>) {
        self.api.check(found);
        self.audit.check(found);
        self.metrics.check(found);
        self.notifications.check("/notifications", found);
        let files = self.identities.iter().enumerate();
        let files = files
            .map(|(index, path)| (format!("/identities/{index}"), path))
            .chain(self.log.file.iter().map(|path| ("/log/file".to_owned(), path)))
            .chain(self.api.files().map(|(pointer, path)| (pointer.to_owned(), path)))
            .chain(
                self.metrics
                    .textfile
                    .iter()
                    .map(|path| ("/metrics/textfile".to_owned(), path)),
            );
        for (pointer, path) in files {
            if !path.is_absolute() {
                found.push(
                    Diagnostic::error(
                        pointer,
                        "not-absolute",
                        format!("`{}` is not an absolute path", path.display()),
                    )
                    .hint("a service has no working directory: begin with /"),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nothing_given_means_the_defaults() {
        for value in [Value::Null, json!({}), json!({ "runs": {} })] {
            assert_eq!(Settings::read(&value).unwrap(), Settings::default());
        }
    }

    #[test]
    fn all_that_is_wrong_is_said_at_once() {
        let value = json!({
            "audit": { "keeep": "1d" },
            "runs": { "max": 0, "maxPerDestinaton": 1, "shutdownTimeout": "soon" },
            "log": { "level": "wran", "file": "backstay.log" },
            "identities": ["key.txt"],
        });
        let wrong_shape = Settings::read(&value).unwrap_err().report();
        let paths = json!({ "audit": { "keep": "12h" }, "log": { "file": "backstay.log" }, "identities": ["key.txt"] });
        let wrong_paths = Settings::read(&paths).unwrap_err().report();
        let wrong_kind = Settings::read(&json!([1])).unwrap_err().report();
        insta::assert_snapshot!([wrong_shape, wrong_paths, wrong_kind].join("\n\n"));
    }
}
