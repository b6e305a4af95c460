//! Secrets: which jobs name them, and removing one that none needs.

use std::collections::{BTreeMap, BTreeSet};

use backstay_model::job::{Job, JobSpec};
use backstay_model::plugin::PluginKind;
use backstay_model::{Code, Error, Result};
use serde_json::{Map, Value};

use crate::Engine;

impl Engine {
    /// The secrets that jobs name, whether they are there or not, each with the names of these jobs.
    ///
    /// # Errors
    /// The database can't be read.
    pub async fn secrets_in_use(&self) -> Result<BTreeMap<String, Vec<String>>> {
        let mut used: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let known: BTreeSet<String> = self.store.secrets().await?.into_iter().map(|s| s.name).collect();
        for job in self.store.jobs().await? {
            for secret in self.secrets_of(&job, &known).await {
                used.entry(secret).or_default().push(job.spec.name.clone());
            }
        }
        Ok(used)
    }

    /// Removes a secret.
    ///
    /// # Errors
    /// There is none of that name; or jobs name it, and that isn't what was wanted.
    pub async fn remove_secret(&self, name: &str, although_used: bool) -> Result<()> {
        if !although_used && self.store.has_secret(name).await? {
            let used = self.secrets_in_use().await?;
            if let Some(jobs) = used.get(name) {
                let jobs: Vec<String> = jobs.iter().map(|job| format!("`{job}`")).collect();
                let message = format!("the secret `{name}` is used by the jobs {}", jobs.join(", "));
                return Err(Error::new(Code::Configuration, message)
                    .hint("change these jobs first, or pass --force; `secret set` gives it another text"));
            }
        }
        self.store.remove_secret(name).await
    }

    async fn secrets_of(&self, job: &Job, known: &BTreeSet<String>) -> BTreeSet<String> {
        let mut named: BTreeSet<String> = job
            .spec
            .scripts()
            .flat_map(|(_, script)| script.secret_environment.values().cloned())
            .collect();
        named.extend(job.spec.ping.iter().filter_map(|ping| ping.url_secret.clone()));
        for (kind, plugin, config) in ends(&job.spec) {
            match self.plugins.get(plugin, kind).await {
                Ok(plugin) => named.extend(plugin.secrets(config)),
                // One whose plugin is gone uses whatever it says the name of.
                Err(_) => named.extend(texts(config).into_iter().filter(|text| known.contains(text))),
            }
        }
        named
    }
}

/// The ends of a job: the source and the destinations.
pub(crate) fn ends(spec: &JobSpec) -> Vec<(PluginKind, &str, &Map<String, Value>)> {
    let source = (
        PluginKind::Source,
        spec.source.plugin.as_str(),
        &spec.source.config,
    );
    let destinations = spec.destinations.iter();
    let destinations = destinations.map(|to| (PluginKind::Destination, to.plugin.as_str(), &to.config));
    [source].into_iter().chain(destinations).collect()
}

/// All texts in a configuration.
fn texts(config: &Map<String, Value>) -> Vec<String> {
    let mut found = Vec::new();
    let mut left: Vec<&Value> = config.values().collect();
    while let Some(value) = left.pop() {
        match value {
            Value::String(text) => found.push(text.clone()),
            Value::Array(all) => left.extend(all),
            Value::Object(fields) => left.extend(fields.values()),
            _ => {}
        }
    }
    found
}
