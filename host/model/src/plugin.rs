//! What a plugin says about itself before any of its code runs.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Code, Error, Result};

/// The version of the contract (`backstay:plugin`) that this host speaks.
pub const API_VERSION: &str = "0.1.0";

/// Name of the custom section of a component that holds its manifest as JSON.
pub const MANIFEST_SECTION: &str = "backstay:plugin";

/// The manifest inside a component.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PluginManifest {
    /// Unique id: lower-case letters, digits and `-`.
    pub id: String,
    /// Semantic version of the plugin.
    pub version: String,
    /// Which end it is.
    pub kind: PluginKind,
    /// Version of the contract it was built for.
    pub api: String,
    /// One line on what it does.
    pub summary: String,
    /// SPDX expression.
    pub license: String,
    /// What a source offers, or a destination takes.
    pub content: Vec<ContentKind>,
    /// Of a destination that keeps file trees: which fields of its configuration say what it keeps of them.
    #[serde(default, skip_serializing_if = "TreeFields::is_empty")]
    pub tree_fields: TreeFields,
    /// Of a source: whether it can restore a stream for a drill, so that nothing of it stays.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub drills: bool,
    /// What it asks for.
    #[serde(default)]
    pub capabilities: Capabilities,
}

/// Names of the fields that say what a destination keeps of a tree, so that the host can tell beforehand what a run would
/// change. A destination without them keeps all of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct TreeFields {
    /// The one with patterns of what is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exclude: Option<String>,
    /// The one that is `false` if what is gone from the source is taken over from the backup before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mirror: Option<String>,
    /// The one that is `false` if each name of a file becomes a file of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hard_links: Option<String>,
}

impl TreeFields {
    fn is_empty(&self) -> bool {
        *self == TreeFields::default()
    }
}

/// Which end a plugin is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PluginKind {
    /// Says what to read.
    Source,
    /// Says where it goes.
    Destination,
}

impl fmt::Display for PluginKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PluginKind::Source => "source",
            PluginKind::Destination => "destination",
        })
    }
}

/// A form of content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContentKind {
    /// A stream of bytes.
    Stream,
    /// A file tree.
    Tree,
}

/// What a plugin asks for. Nothing is the default.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Capabilities {
    /// Programs it may run, with patterns for their arguments.
    pub exec: Vec<ExecRequest>,
    /// Paths it may have read.
    pub read: Vec<PathRequest>,
    /// Paths it may have written.
    pub write: Vec<PathRequest>,
    /// Secrets it may hand to a child's environment.
    pub secret: Vec<SecretRequest>,
    /// Whether it keeps notes between runs.
    pub state: Option<StateRequest>,
    /// Scripts of users that it may have run, confined.
    pub script: Vec<ScriptRequest>,
    /// Object stores that it may use.
    pub storage: Vec<StorageRequest>,
}

/// A program that a plugin asks to run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExecRequest {
    /// A plain name, found on the host's fixed path. Never a path.
    pub program: String,
    /// What its arguments may be, one pattern for each; a list in the list is an optional group.
    pub args: Vec<ArgPattern>,
    /// Variables that the plugin may set for it: `NAME` for any value, or `NAME=VALUE`, with the placeholders of
    /// arguments. Some programs take orders from their environment.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// Whether it is only for programs that copy a tree by themselves (`tree-copy.run`), where they are started in the
    /// tree's directory, so that `./` is the tree. Without it, it is for everything else and never for that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub in_tree: bool,
    /// Why, for a person who decides.
    pub reason: String,
}

/// A pattern for one argument, or an optional group of them.
///
/// In a pattern `*` stands for any characters, except that a pattern which begins with `*` never
/// matches an argument that begins with `-`, and that it never stands for `.` or `..` as a component of a path. Between
/// quotes (`"`, `'` or a backtick) it stays between them: of that quote it stands only for a doubled one, and between
/// `'` for no backslash.
/// `{config.FIELD}` stands for exactly the value in the
/// job's configuration, `{config.OUTER.INNER}` for one in an object there (`{config.FIELD:-TEXT}` for TEXT where the job has none), `{target}` for exactly the
/// target of a restore, and `{scratch}` for the call's scratch directory. Where the
/// value of a field is a list, an optional group may come any number of times, each time with one of its values.
/// `**` alone at the end of the list stands for any further arguments.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ArgPattern {
    /// Exactly one argument.
    One(String),
    /// All of these in this order, or none of them.
    Optional(Vec<String>),
}

/// A path that a plugin asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PathRequest {
    /// An absolute path, `{config.FIELD}` (or `{config.FIELD:-}` for nothing where the job has none) perhaps with
    /// more behind it, alone also for each path of a list, or `{target}` (what a restore names). It covers all
    /// below it.
    pub path: String,
    /// Why.
    pub reason: String,
}

/// A secret that a plugin asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretRequest {
    /// A secret's name, or `{config.FIELD}`; where the field's value is an object, each secret that it names.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// Notes that a plugin keeps between runs of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StateRequest {
    /// Why.
    pub reason: String,
}

/// An object store that a plugin asks to use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StorageRequest {
    /// `{config.FIELD}`: the name of the remote.
    pub remote: String,
    /// `{config.FIELD}` or `{config.FIELD:-TEXT}`: the directory within the remote that it covers, with all below it.
    /// Where it names none, or the job has no value for the field, the whole remote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Why.
    pub reason: String,
}

/// Scripts of users that a plugin asks to have run, confined.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScriptRequest {
    /// `{config.FIELD}`: the path of the script.
    pub path: String,
    /// Each `{config.FIELD}`: a path that the script may read, or a list of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub read: Vec<String>,
    /// `{config.FIELD}`: an object whose values are the names of secrets for the script's environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets: Option<String>,
    /// `{config.FIELD}`: whether the script has the host's network. Without it, it never has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// Why.
    pub reason: String,
}

impl PluginManifest {
    /// Reads the manifest of a component.
    ///
    /// # Errors
    /// [`Code::Configuration`] if it isn't one, or is for a version of the contract that this host doesn't speak.
    pub fn parse(json: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        struct Version {
            id: Option<String>,
            version: Option<String>,
            api: Option<String>,
        }
        let bad = |e: serde_json::Error| {
            Error::new(Code::Configuration, "the plugin's manifest can't be read").because(e)
        };
        let head: Version = serde_json::from_slice(json).map_err(bad)?;
        if let Some(api) = head.api.filter(|api| api != API_VERSION) {
            let (id, version) = (head.id.unwrap_or_default(), head.version.unwrap_or_default());
            return Err(Error::new(
                Code::Configuration,
                format!("plugin {id} {version} was built for backstay:plugin@{api}; this host speaks backstay:plugin@{API_VERSION}"),
            )
            .hint("install a version of the plugin for this host, or update Backstay"));
        }
        let manifest: PluginManifest = serde_json::from_slice(json).map_err(bad)?;
        manifest.check()?;
        Ok(manifest)
    }

    fn check(&self) -> Result<()> {
        let fault = |what: String| {
            Err(Error::new(
                Code::Configuration,
                format!("the manifest of plugin `{}`: {what}", self.id),
            ))
        };
        let valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if self.id.is_empty() || self.id.len() > 64 || !self.id.chars().all(valid) {
            return fault("`id` must be 1 to 64 lower-case letters, digits or `-`".to_owned());
        }
        if self.content.is_empty() {
            return fault("`content` must name `stream`, `tree` or both".to_owned());
        }
        for exec in &self.capabilities.exec {
            if exec.program.is_empty() || exec.program.contains('/') {
                return fault(format!("`{}` must be a plain program name", exec.program));
            }
        }
        for path in self.capabilities.read.iter().chain(&self.capabilities.write) {
            let placeholder = path.path.starts_with("{config.") || path.path == "{target}";
            if !placeholder && !path.path.starts_with('/') {
                return fault(format!(
                    "`{}` must be an absolute path, `{{config.FIELD}}` or `{{target}}`",
                    path.path
                ));
            }
        }
        for script in &self.capabilities.script {
            let all = [&script.path]
                .into_iter()
                .chain(&script.read)
                .chain(&script.secrets)
                .chain(&script.network);
            for text in all {
                // A script that a plugin's author chose would be a program without a grant to run it.
                if !(text.starts_with("{config.") && text.ends_with('}')) {
                    return fault(format!(
                        "`{text}` must be `{{config.FIELD}}`: only the job names scripts"
                    ));
                }
            }
        }
        for storage in &self.capabilities.storage {
            let text = &storage.remote;
            if !(text.starts_with("{config.") && text.ends_with('}')) {
                return fault(format!(
                    "`{text}` must be `{{config.FIELD}}`: only the job names remotes"
                ));
            }
            let prefix = storage.prefix.as_ref();
            if let Some(text) = prefix.filter(|text| config_field(text).is_none()) {
                return fault(format!(
                    "`{text}` must be `{{config.FIELD}}`: the job names the directory within a remote"
                ));
            }
        }
        let reasons = (self.capabilities.exec.iter().map(|r| &r.reason))
            .chain(self.capabilities.read.iter().map(|r| &r.reason))
            .chain(self.capabilities.write.iter().map(|r| &r.reason))
            .chain(self.capabilities.secret.iter().map(|r| &r.reason))
            .chain(self.capabilities.state.iter().map(|r| &r.reason))
            .chain(self.capabilities.script.iter().map(|r| &r.reason))
            .chain(self.capabilities.storage.iter().map(|r| &r.reason));
        if reasons.into_iter().any(|r| r.trim().is_empty()) {
            return fault("every capability needs a reason that a person can judge".to_owned());
        }
        Ok(())
    }
}

/// Name and default of the field that a text stands for which is one placeholder and nothing else.
pub fn config_field(text: &str) -> Option<(&str, Option<&str>)> {
    let name = text.strip_prefix("{config.")?.strip_suffix('}')?;
    let (field, otherwise) = match name.split_once(":-") {
        Some((field, otherwise)) => (field, Some(otherwise)),
        None => (name, None),
    };
    (!field.is_empty() && !name.contains(['{', '}'])).then_some((field, otherwise))
}

impl fmt::Display for ExecRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.program)?;
        for arg in &self.args {
            match arg {
                ArgPattern::One(one) => write!(f, " {one}")?,
                ArgPattern::Optional(group) => write!(f, " [{}]", group.join(" "))?,
            }
        }
        if self.in_tree {
            f.write_str("  (only in the tree that is copied)")?;
        }
        Ok(())
    }
}
