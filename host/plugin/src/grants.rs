//! What one plugin may do in one job: its manifest's requests, narrowed to what the job's configuration names.

mod args;
mod paths;
mod programs;
mod storage;

use std::path::{Path, PathBuf};

use backstay_model::plugin::{Capabilities, PluginManifest};
use backstay_model::{Code, Error, Result};
use serde_json::{Map, Value};

use args::Pattern;
pub use programs::{PATH as SEARCH_PATH, Programs};
use storage::StorageGrant;

/// The grants of one instance.
#[derive(Debug, Clone)]
pub struct Grants {
    plugin: String,
    exec: Vec<ExecGrant>,
    read: Vec<PathBuf>,
    write: Vec<PathBuf>,
    secrets: Vec<String>,
    state: bool,
    scripts: Vec<ScriptGrant>,
    storage: Vec<StorageGrant>,
}

/// A script that may be run, and what it may see.
#[derive(Debug, Clone)]
struct ScriptGrant {
    path: String,
    read: Vec<PathBuf>,
    secrets: Vec<String>,
    network: bool,
}

#[derive(Debug, Clone)]
struct ExecGrant {
    program: String,
    pattern: Pattern,
    env: Vec<String>,
    in_tree: bool,
}

/// Where a program is to be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Within {
    /// In the root directory.
    Root,
    /// In the directory of a tree that it copies by itself.
    Tree,
}

/// A variable for a program's environment.
#[derive(Debug, Clone, Copy)]
pub struct Variable<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its value; nothing if it is a secret.
    pub value: Option<&'a str>,
}

impl Variable<'_> {
    /// A grant is a name, for any value, or `NAME=VALUE`.
    fn is_granted_by(&self, grant: &str) -> bool {
        match grant.split_once('=') {
            Some((name, value)) => self.name == name && self.value == Some(value),
            None => self.name == grant,
        }
    }
}

/// Values for the placeholders in a manifest.
#[derive(Debug, Clone, Copy)]
pub struct Values<'a> {
    /// The plugin's configuration in the job.
    pub config: &'a Map<String, Value>,
    /// What a restore names as its target.
    pub target: Option<&'a str>,
    /// Where the call may have its scratch directory.
    pub scratch: Option<&'a str>,
}

impl Values<'_> {
    /// Replaces placeholders. Nothing if one of them has no value: then the request grants nothing.
    fn fill(&self, text: &str) -> Option<String> {
        let mut filled = String::new();
        let mut rest = text;
        while let Some(start) = rest.find('{') {
            let end = start + rest[start..].find('}')?;
            filled.push_str(&rest[..start]);
            filled.push_str(&self.value(&rest[start + 1..end])?);
            rest = &rest[end + 1..];
        }
        filled.push_str(rest);
        Some(filled)
    }

    /// The paths that a request stands for: one, or each of a list in the configuration.
    fn paths(&self, text: &str) -> Vec<PathBuf> {
        let paths = match self.field(text) {
            Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            _ => self.fill(text).into_iter().collect::<Vec<_>>(),
        };
        paths
            .into_iter()
            .filter(|path| path.starts_with('/'))
            .map(PathBuf::from)
            .collect()
    }

    /// The secrets that a request stands for: one, or each that an object in the configuration names.
    fn secrets(&self, text: &str) -> Vec<String> {
        match self.field(text) {
            Some(Value::Object(_)) => self.names(text),
            _ => self.fill(text).into_iter().collect(),
        }
    }

    /// The texts in the object that a placeholder stands for.
    fn names(&self, text: &str) -> Vec<String> {
        let named = self
            .field(text)
            .and_then(Value::as_object)
            .into_iter()
            .flat_map(Map::values);
        named
            .filter_map(|name| name.as_str().map(str::to_owned))
            .collect()
    }

    fn is_true(&self, text: &str) -> bool {
        self.field(text) == Some(&Value::Bool(true))
    }

    /// The value of a text that is one placeholder for a field.
    fn field(&self, text: &str) -> Option<&Value> {
        self.within(text.strip_prefix("{config.")?.strip_suffix('}')?)
    }

    /// The value of a field, or of one in an object: `outer.inner`.
    fn within(&self, name: &str) -> Option<&Value> {
        let mut names = name.split('.');
        let outer = self.config.get(names.next()?)?;
        names.try_fold(outer, |object, name| object.get(name))
    }

    fn value(&self, name: &str) -> Option<String> {
        match name {
            "target" => return self.target.map(str::to_owned),
            "scratch" => return self.scratch.map(str::to_owned),
            _ => {}
        }
        let field = name.strip_prefix("config.")?;
        let (field, otherwise) = match field.split_once(":-") {
            Some((field, otherwise)) => (field, Some(otherwise.to_owned())),
            None => (field, None),
        };
        match self.within(field) {
            None | Some(Value::Null) => otherwise,
            Some(Value::String(text)) if !text.is_empty() => Some(text.clone()),
            Some(Value::Number(number)) => Some(number.to_string()),
            Some(_) => None,
        }
    }
}

impl Grants {
    /// Narrows a manifest's requests to one job.
    pub fn new(manifest: &PluginManifest, values: Values<'_>) -> Self {
        let Capabilities {
            exec,
            read,
            write,
            secret,
            state,
            script,
            storage,
        } = &manifest.capabilities;
        Grants {
            plugin: manifest.id.clone(),
            exec: exec
                .iter()
                .map(|request| ExecGrant {
                    program: request.program.clone(),
                    pattern: Pattern::new(&request.args, values),
                    env: request
                        .env
                        .iter()
                        .filter_map(|variable| values.fill(variable))
                        .collect(),
                    in_tree: request.in_tree,
                })
                .collect(),
            read: read.iter().flat_map(|r| values.paths(&r.path)).collect(),
            write: write.iter().flat_map(|r| values.paths(&r.path)).collect(),
            secrets: secret.iter().flat_map(|r| values.secrets(&r.name)).collect(),
            state: state.is_some(),
            storage: storage
                .iter()
                .filter_map(|request| StorageGrant::new(request, values))
                .collect(),
            scripts: script
                .iter()
                .filter_map(|request| {
                    Some(ScriptGrant {
                        path: values.fill(&request.path)?,
                        read: request.read.iter().flat_map(|text| values.paths(text)).collect(),
                        secrets: request
                            .secrets
                            .iter()
                            .flat_map(|text| values.names(text))
                            .collect(),
                        network: request.network.as_ref().is_some_and(|text| values.is_true(text)),
                    })
                })
                .collect(),
        }
    }

    /// A program that may be run there with these arguments and variables.
    ///
    /// # Errors
    /// [`Code::Security`] if there is no grant for it.
    pub fn exec(&self, within: Within, program: &str, args: &[String], env: &[Variable<'_>]) -> Result<()> {
        let mut granted = self
            .exec
            .iter()
            .filter(|grant| grant.program == program && grant.in_tree == (within == Within::Tree));
        let Some(grant) = granted.find(|grant| grant.pattern.matches(args)) else {
            let command = format!("{program} {}", args.join(" "));
            let shown = backstay_model::error::show_bytes(command.trim().as_bytes());
            let place = match within {
                Within::Root => "",
                Within::Tree => " in a tree",
            };
            return Err(self.refuse(&format!("run `{}`{place}", shorten(&shown)), "exec"));
        };
        if let Some(variable) = env.iter().find(|v| !grant.env.iter().any(|g| v.is_granted_by(g))) {
            return Err(self.refuse(&format!("set {} for `{program}`", variable.name), "exec"));
        }
        Ok(())
    }

    /// The real path behind a path that may be read.
    ///
    /// # Errors
    /// [`Code::Security`] if there is no grant for it, also if a link leads out of what is granted.
    pub fn read(&self, path: &str) -> Result<PathBuf> {
        paths::resolve(path, self.read.iter().chain(&self.write))?
            .ok_or_else(|| self.refuse(&format!("read {}", shown(path)), "read"))
    }

    /// The real path behind a path that may be written, which need not exist.
    ///
    /// # Errors
    /// As for [`Grants::read`].
    pub fn write(&self, path: &str) -> Result<PathBuf> {
        paths::resolve(path, self.write.iter())?
            .ok_or_else(|| self.refuse(&format!("write to {}", shown(path)), "write"))
    }

    /// Whether a secret may be used.
    ///
    /// # Errors
    /// [`Code::Security`] if there is no grant for it.
    pub fn secret(&self, name: &str) -> Result<()> {
        if self.secrets.iter().any(|s| s == name) {
            Ok(())
        } else {
            Err(self.refuse(&format!("use the secret `{}`", shown(name)), "secret"))
        }
    }

    /// The secrets that may be used, also by scripts, for showing them.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        let of_scripts = self.scripts.iter().flat_map(|script| &script.secrets);
        self.secrets.iter().chain(of_scripts).map(String::as_str)
    }

    /// Whether an object store may be used from a directory in it downwards; empty for all of it.
    ///
    /// # Errors
    /// [`Code::Security`] if there is no grant for it.
    pub fn remote(&self, name: &str, prefix: &str) -> Result<()> {
        if self.storage.iter().any(|grant| grant.covers(name, prefix)) {
            return Ok(());
        }
        let what = if self.remotes().any(|remote| remote == name) {
            format!(
                "use the directory `{}` of the remote `{}`",
                shown(prefix),
                shown(name)
            )
        } else {
            format!("use the remote `{}`", shown(name))
        };
        Err(self.refuse(&what, "storage"))
    }

    /// The object stores that may be used, for showing them.
    pub fn remotes(&self) -> impl Iterator<Item = &str> {
        self.storage.iter().map(|grant| grant.remote.as_str())
    }

    /// Whether notes may be kept.
    ///
    /// # Errors
    /// [`Code::Security`] if there is no grant for it.
    pub fn state(&self) -> Result<()> {
        if self.state {
            Ok(())
        } else {
            Err(self.refuse("keep notes", "state"))
        }
    }

    /// Whether a script may be run, with these paths to read and these secrets.
    ///
    /// # Errors
    /// [`Code::Security`] if there is no grant for it, for one of the paths or secrets, or for the network.
    pub fn script(&self, path: &str, read: &[PathBuf], secrets: &[&str], network: bool) -> Result<()> {
        let Some(grant) = self.scripts.iter().find(|grant| grant.path == path) else {
            return Err(self.refuse(&format!("run the script {}", shown(path)), "script"));
        };
        if let Some(path) = read.iter().find(|path| !grant.read.contains(path)) {
            let what = format!("let a script read {}", shown(&path.to_string_lossy()));
            return Err(self.refuse(&what, "script"));
        }
        if let Some(name) = secrets
            .iter()
            .find(|name| !grant.secrets.iter().any(|granted| granted == *name))
        {
            return Err(self.refuse(&format!("give a script the secret `{}`", shown(name)), "script"));
        }
        if network && !grant.network {
            return Err(self.refuse("give a script the network", "script"));
        }
        Ok(())
    }

    /// The paths that may be read, for showing them.
    pub fn readable(&self) -> impl Iterator<Item = &Path> {
        self.read.iter().map(PathBuf::as_path)
    }

    fn refuse(&self, what: &str, capability: &str) -> Error {
        Error::new(Code::Security, format!("plugin {} asked to {what}, which it has no grant for", self.plugin))
            .hint(format!("`backstay plugin info {}` lists its grants for `{capability}`; a plugin that asks for more should not be trusted", self.plugin))
    }
}

fn shown(text: &str) -> String {
    shorten(&backstay_model::error::show_bytes(text.as_bytes()))
}

fn shorten(text: &str) -> String {
    const MOST_CHARS: usize = 200;
    if text.chars().count() > MOST_CHARS {
        text.chars().take(MOST_CHARS).chain(['…']).collect()
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn grants(capabilities: Value, config: Value) -> Grants {
        let manifest = serde_json::from_value(json!({
            "id": "x", "version": "1.0.0", "kind": "source", "api": "0.1.0", "summary": "x", "license": "MIT",
            "content": ["stream"], "capabilities": capabilities,
        }))
        .unwrap();
        let config: Map<String, Value> = serde_json::from_value(config).unwrap();
        Grants::new(
            &manifest,
            Values {
                config: &config,
                target: None,
                scratch: None,
            },
        )
    }

    #[test]
    fn a_placeholder_may_have_a_default_for_a_field_that_is_not_set() {
        let read = json!({ "read": [{ "path": "{config.path:-/boot}", "reason": "x" }] });
        let readable = |config| {
            grants(read.clone(), config)
                .readable()
                .map(Path::to_path_buf)
                .collect::<Vec<_>>()
        };
        assert_eq!(readable(json!({})), [PathBuf::from("/boot")]);
        assert_eq!(readable(json!({ "path": "/mnt/x" })), [PathBuf::from("/mnt/x")]);
        assert!(readable(json!({ "path": "" })).is_empty());
    }

    #[test]
    fn a_variable_may_be_granted_with_one_value_only() {
        let exec = json!({ "exec": [{ "program": "p", "args": [], "env": ["A", "B=1"], "reason": "x" }] });
        let grants = grants(exec, json!({}));
        let may = |name, value| {
            let variables = [Variable { name, value }];
            grants.exec(Within::Root, "p", &[], &variables).is_ok()
        };
        assert!(may("A", Some("any")) && may("A", None) && may("B", Some("1")));
        assert!(!may("B", Some("2")) && !may("B", None) && !may("B=1", Some("1")) && !may("C", Some("1")));
    }

    #[test]
    fn a_program_for_trees_may_only_be_run_in_one_and_no_other_may() {
        let exec = json!({ "exec": [
            { "program": "p", "args": ["--", "./", "/to"], "inTree": true, "reason": "x" },
            { "program": "p", "args": ["--version"], "reason": "x" },
        ] });
        let grants = grants(exec, json!({}));
        let may = |within, args: &[&str]| {
            let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
            grants.exec(within, "p", &args, &[])
        };
        let copy = ["--", "./", "/to"];
        assert!(may(Within::Tree, &copy).is_ok() && may(Within::Root, &["--version"]).is_ok());
        assert_eq!(may(Within::Root, &copy).unwrap_err().code(), Code::Security);
        let refused = may(Within::Tree, &["--version"]).unwrap_err();
        assert_eq!(refused.code(), Code::Security);
        assert!(
            refused.to_string().contains("run `p --version` in a tree"),
            "{refused}"
        );
    }

    #[test]
    fn only_the_remote_that_the_job_names_may_be_used() {
        let storage = json!({ "storage": [{ "remote": "{config.remote}", "reason": "x" }] });
        let grants = |config| grants(storage.clone(), config);
        assert!(grants(json!({ "remote": "main" })).remote("main", "").is_ok());
        for config in [
            json!({ "remote": "main" }),
            json!({}),
            json!({ "remote": ["other"] }),
        ] {
            let refused = grants(config).remote("other", "").unwrap_err();
            assert_eq!(refused.code(), Code::Security);
        }
    }

    #[test]
    fn an_object_in_the_configuration_stands_for_each_secret_that_it_names() {
        let secret = json!({ "secret": [
            { "name": "{config.one}", "reason": "x" },
            { "name": "{config.some}", "reason": "x" },
        ] });
        let grants = grants(
            secret,
            json!({ "one": "a", "some": { "VARIABLE": "b", "OTHER": 1 } }),
        );
        assert!(grants.secret("a").is_ok() && grants.secret("b").is_ok());
        for other in ["VARIABLE", "1", "", "c"] {
            assert_eq!(grants.secret(other).unwrap_err().code(), Code::Security);
        }
    }

    #[test]
    fn a_plugin_never_leaves_the_directory_of_its_job_in_a_remote() {
        let storage = json!({ "storage": [{ "remote": "{config.remote}", "prefix": "{config.prefix}", "reason": "x" }] });
        let grants = grants(storage, json!({ "remote": "main", "prefix": "nas/a" }));
        assert!(grants.remote("main", "nas/a/b").is_ok());
        let refused = grants.remote("main", "").unwrap_err();
        assert_eq!(refused.code(), Code::Security);
        let said = refused.to_string();
        assert!(said.contains("the directory `` of the remote `main`"), "{said}");
    }

    #[test]
    fn a_list_in_the_configuration_stands_for_each_of_its_paths() {
        let config = json!({ "one": "/a", "some": ["/b", "c", 1, "/d e"], "none": [] });
        let Value::Object(config) = config else {
            panic!("an object");
        };
        let values = Values {
            config: &config,
            target: None,
            scratch: None,
        };
        let paths = |text: &str| {
            let paths = values.paths(text).into_iter();
            paths
                .map(|p| p.to_string_lossy().into_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(paths("{config.one}"), ["/a"]);
        assert_eq!(paths("{config.some}"), ["/b", "/d e"]);
        assert_eq!(paths("/fixed"), ["/fixed"]);
        for nothing in ["{config.none}", "{config.absent}", "{target}", "/x/{config.some}"] {
            assert!(paths(nothing).is_empty(), "{nothing}");
        }
    }
}
