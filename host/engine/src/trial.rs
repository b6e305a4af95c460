//! Tries out a destination plugin: does with it what runs do, well and badly, and looks whether it behaves as every
//! destination must. What is stored for it is removed again.
//!
//! It belongs into an installation of its own: what fails stays in the journal there. A new behaviour is a variant of
//! [`Behaviour`] and a function in `well` or `badly`.

mod attempt;
mod badly;
mod recipe;
mod well;

use std::collections::BTreeSet;
use std::time::Instant;

use backstay_model::plugin::{ContentKind, PluginKind};
use backstay_model::run::RunError;
use backstay_model::{Code, Error, Result, diagnostic};
use backstay_plugin::Plugin;
use backstay_stream::Context;
use serde::Serialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::Engine;
use attempt::Attempt;

/// What every destination must do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// It accepts the configuration.
    Configuration,
    /// A stream of unknown length comes back.
    Stream,
    /// So does one of no bytes.
    Empty,
    /// A tree comes back.
    Tree,
    /// What is stored is listed by the end of its name.
    Listing,
    /// What is there is never written over.
    Taken,
    /// What is removed is gone, and nothing else.
    Removal,
    /// A source that fails leaves nothing.
    FailedSource,
    /// A run that is cancelled leaves nothing.
    Cancelled,
    /// A host that is killed leaves nothing after the next start.
    Killed,
    /// At the end the place holds what it held before.
    Clean,
}

impl Behaviour {
    /// All of them, in the order in which they are tried.
    pub const ALL: [Behaviour; 11] = [
        Behaviour::Configuration,
        Behaviour::Stream,
        Behaviour::Empty,
        Behaviour::Tree,
        Behaviour::Listing,
        Behaviour::Taken,
        Behaviour::Removal,
        Behaviour::FailedSource,
        Behaviour::Cancelled,
        Behaviour::Killed,
        Behaviour::Clean,
    ];

    /// Its name, for programs.
    pub fn name(self) -> &'static str {
        match self {
            Behaviour::Configuration => "configuration",
            Behaviour::Stream => "stream",
            Behaviour::Empty => "empty",
            Behaviour::Tree => "tree",
            Behaviour::Listing => "listing",
            Behaviour::Taken => "taken",
            Behaviour::Removal => "removal",
            Behaviour::FailedSource => "failed-source",
            Behaviour::Cancelled => "cancelled",
            Behaviour::Killed => "killed",
            Behaviour::Clean => "clean",
        }
    }

    /// What it means, in one sentence.
    pub fn says(self) -> &'static str {
        match self {
            Behaviour::Configuration => "the configuration is accepted",
            Behaviour::Stream => "a stream of unknown length comes back as it was",
            Behaviour::Empty => "a stream of no bytes comes back, or is refused",
            Behaviour::Tree => "a tree comes back as it was",
            Behaviour::Listing => "what is stored is found by the end of its name, and nothing else",
            Behaviour::Taken => "what is stored under a name that is taken leaves what has it as it is",
            Behaviour::Removal => "what is removed is gone, also if it is removed twice, and nothing else is",
            Behaviour::FailedSource => "a source that fails is the failure that is told, and leaves nothing",
            Behaviour::Cancelled => "a run that is cancelled ends soon, and leaves nothing",
            Behaviour::Killed => "a host that is killed leaves nothing after the next start",
            Behaviour::Clean => "the place holds what it held before",
        }
    }
}

/// How it went.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", tag = "outcome")]
pub enum Outcome {
    /// As it must.
    Passed,
    /// It can't be asked of this plugin.
    Skipped {
        /// Why not.
        why: String,
    },
    /// Otherwise.
    Failed {
        /// What was seen.
        error: RunError,
    },
}

/// A behaviour that was tried.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tried {
    /// Its name.
    pub behaviour: &'static str,
    /// What it means.
    pub says: &'static str,
    /// How it went.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// How long it took, in milliseconds.
    pub milliseconds: u64,
}

/// A trial of one destination with one configuration.
pub struct Trial<'a> {
    engine: &'a Engine,
    plugin: Plugin,
    config: Map<String, Value>,
    context: Context,
    /// What the names of all that it stores begin with.
    id: Uuid,
    /// What was at the place before, as far as the plugin tells.
    before: BTreeSet<String>,
    /// The run in which it is looked at what is there.
    looks: Attempt,
}

/// How far a behaviour could be looked at.
type Seen = Result<Option<String>>;

impl Engine {
    /// Copies the remotes and the secrets that a plugin may use with a configuration to another installation.
    ///
    /// # Errors
    /// One of them isn't there.
    pub async fn lend(&self, to: &Engine, plugin: &Plugin, config: &Map<String, Value>) -> Result<()> {
        for name in plugin.remotes(config) {
            let (remote, secret) = self.store.open_remote(&name).await?;
            to.store.add_remote(&remote, secret.as_deref()).await?;
        }
        for name in plugin.secrets(config) {
            let secret = self.store.secret(&name).await?;
            to.store.set_secret(&name, &secret).await?;
        }
        Ok(())
    }
}

impl<'a> Trial<'a> {
    /// A trial of the plugin with this id.
    ///
    /// # Errors
    /// There is none, or it is no destination.
    pub async fn new(
        engine: &'a Engine,
        id: &str,
        config: Map<String, Value>,
        context: Context,
    ) -> Result<Self> {
        Ok(Trial {
            plugin: engine.plugins.get(id, PluginKind::Destination).await?,
            engine,
            config,
            context,
            id: Uuid::now_v7(),
            before: BTreeSet::new(),
            looks: Attempt::begin(engine).await?,
        })
    }

    /// Tries all behaviours and tells of each when it is known. `kill` has another process store something
    /// ([`Trial::store_until_killed`]) and kills it in the middle.
    ///
    /// # Errors
    /// The trial was cancelled, or its installation fails. What the plugin does wrong is told.
    pub async fn all(
        &mut self,
        kill: impl AsyncFn() -> Result<()>,
        mut tell: impl FnMut(&Tried),
    ) -> Result<bool> {
        let mut is_good = true;
        for behaviour in Behaviour::ALL {
            self.context.cancel.check()?;
            let started = Instant::now();
            let seen = Box::pin(self.one(behaviour, &kill)).await;
            self.context.cancel.check()?;
            let outcome = match seen {
                Ok(None) => Outcome::Passed,
                Ok(Some(why)) => Outcome::Skipped { why },
                Err(error) => Outcome::Failed {
                    error: RunError::from(&error),
                },
            };
            let has_failed = matches!(outcome, Outcome::Failed { .. });
            is_good &= !has_failed;
            tell(&Tried {
                behaviour: behaviour.name(),
                says: behaviour.says(),
                outcome,
                milliseconds: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            });
            // Nothing else makes sense then.
            if has_failed && behaviour == Behaviour::Configuration {
                break;
            }
        }
        Ok(is_good)
    }

    async fn one(&mut self, behaviour: Behaviour, kill: &impl AsyncFn() -> Result<()>) -> Seen {
        match behaviour {
            Behaviour::Configuration => self.configuration().await,
            Behaviour::Stream => self.stream().await,
            Behaviour::Empty => self.empty().await,
            Behaviour::Tree => self.tree().await,
            Behaviour::Listing => self.listing().await,
            Behaviour::Taken => self.taken().await,
            Behaviour::Removal => self.removal().await,
            Behaviour::FailedSource => self.failed_source().await,
            Behaviour::Cancelled => self.cancelled().await,
            Behaviour::Killed => self.killed(kill).await,
            Behaviour::Clean => self.clean().await,
        }
    }

    async fn configuration(&mut self) -> Seen {
        let end = json!({ "plugin": self.plugin.manifest().id, "config": self.config });
        let mut found = Vec::new();
        self.engine
            .check_end(Some(&end), "", PluginKind::Destination, &mut found)
            .await?;
        if let Some(error) = diagnostic::into_error(&found) {
            return Err(error);
        }
        self.before = self.listed("").await?;
        Ok(None)
    }

    async fn clean(&self) -> Seen {
        self.expect_listed(&self.before).await?;
        Ok(None)
    }

    /// Receipts of what is at the place, by the end of its name.
    async fn listed(&self, suffix: &str) -> Result<BTreeSet<String>> {
        let scope = self.looking();
        Ok(self.plugin.find(&scope, suffix).await?.into_iter().collect())
    }

    /// Fails unless the place holds this.
    async fn expect_listed(&self, expected: &BTreeSet<String>) -> Result<()> {
        let found = self.listed("").await?;
        if let Some(more) = found.difference(expected).next() {
            return Err(wrong(format!("`{more}` is at the place, and should not be")));
        }
        match expected.difference(&found).next() {
            Some(gone) => Err(wrong(format!("`{gone}` is not at the place any more"))),
            None => Ok(()),
        }
    }

    fn takes(&self, kind: ContentKind) -> bool {
        self.plugin.manifest().content.contains(&kind)
    }
}

/// What was seen and must not be.
fn wrong(what: impl Into<String>) -> Error {
    Error::new(Code::Verification, what)
}
