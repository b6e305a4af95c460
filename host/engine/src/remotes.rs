//! Remotes: adding, trying and removing the object stores that jobs name.

use backstay_model::plugin::PluginKind;
use backstay_model::remote::{Remote, RemoteKind};
use backstay_model::{Code, Error, Result};
use backstay_storage::Place;
use backstay_storage::object::{Access, Probed};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::Engine;
use crate::secrets::ends;

impl Engine {
    /// Adds a remote with its secret.
    ///
    /// # Errors
    /// All that is wrong with it; or there is one of that name.
    pub async fn add_remote(&self, remote: &Remote, secret: Option<&str>) -> Result<()> {
        remote.refuse_if_wrong()?;
        fits(remote, secret)?;
        self.store.add_remote(remote, secret).await
    }

    /// Gives a remote another secret. Runs that are under way go on with the one that they began with.
    ///
    /// # Errors
    /// It needs one and there is none, or the other way round; or there is no such remote.
    pub async fn change_secret(&self, remote: &Remote, secret: Option<&str>) -> Result<()> {
        fits(remote, secret)?;
        self.store.change_secret(&remote.name, secret).await
    }

    /// Tries a remote: writes, reads, lists and deletes a small object.
    ///
    /// # Errors
    /// The first step that fails, why, and what to do.
    pub async fn test_remote(&self, name: &str) -> Result<Vec<Probed>> {
        let (remote, secret) = self.store.open_remote(name).await?;
        let store = open(remote, secret, 1)?;
        let object = format!("backstay-test-{}", Uuid::now_v7());
        tokio::task::spawn_blocking(move || store.probe(&object))
            .await
            .map_err(|e| Error::internal("a remote could not be tried").because(e))?
    }

    /// Removes a remote with its secret. What is stored in it stays.
    ///
    /// # Errors
    /// There is none of that name, or a job names it.
    pub async fn remove_remote(&self, name: &str) -> Result<()> {
        self.store.remote(name).await?;
        let mut users = Vec::new();
        for job in self.store.jobs().await? {
            for (kind, plugin, config) in ends(&job.spec) {
                if self.names(plugin, kind, config, name).await {
                    users.push(format!("`{}`", job.spec.name));
                    break;
                }
            }
        }
        if !users.is_empty() {
            return Err(Error::new(
                Code::Configuration,
                format!("the remote `{name}` is used by the jobs {}", users.join(", ")),
            )
            .hint("change or remove these jobs first"));
        }
        self.store.remove_remote(name).await?;
        Ok(())
    }

    /// Whether an end of a job may use a remote. One whose plugin is gone does, if it says its name anywhere.
    async fn names(&self, plugin: &str, kind: PluginKind, config: &Map<String, Value>, name: &str) -> bool {
        match self.plugins.get(plugin, kind).await {
            Ok(plugin) => plugin.remotes(config).iter().any(|remote| remote == name),
            Err(_) => config.values().any(|value| value == name),
        }
    }
}

/// Whether the secret is one that the remote can be used with, as far as can be said without asking it.
fn fits(remote: &Remote, secret: Option<&str>) -> Result<()> {
    if secret.is_none_or(str::is_empty) && remote.needs_secret() {
        return Err(Error::new(
            Code::Configuration,
            format!(
                "a remote of type {} needs its {}",
                remote.kind,
                remote.kind.secret_name()
            ),
        )
        .hint("give it by --secret-from-file FILE, by --secret-stdin, or when asked"));
    }
    if secret.is_some() && !remote.needs_secret() {
        return Err(Error::new(
            Code::Configuration,
            match remote.kind {
                RemoteKind::Sftp => "a remote of type sftp with a key file needs no secret".to_owned(),
                kind => format!("a remote of type {kind} without an account needs no secret"),
            },
        )
        .hint(match remote.kind {
            RemoteKind::Sftp => "leave out --identity-file to have the key kept here, encrypted",
            _ => "name the user by --account",
        }));
    }
    // Whatever the libraries find wrong is said now, and not in the night.
    open(remote.clone(), secret.map(str::to_owned), 0).map(drop)
}

fn open(remote: Remote, secret: Option<String>, retries: usize) -> Result<Place> {
    let access = Access {
        remote,
        secret,
        prefix: String::new(),
        storage_class: None,
        lock: None,
        retries,
    };
    Place::remote(access, tokio::runtime::Handle::current())
}
