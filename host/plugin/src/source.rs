//! The verbs of a source plugin.

use backstay_model::job::Metadata;
use backstay_model::{Code, Diagnostic, Error, Result};
use serde_json::{Map, Value};
use uuid::Uuid;
use wasmtime::Store;

use crate::bindings::source::exports::backstay::plugin::source_plugin as wit;
use crate::bindings::source::{Source, SourcePre};
use crate::bindings::wit::data;
use crate::bindings::wit::types::{Failure, RunInfo};
use crate::call;
use crate::guest_error;
use crate::host::{ByteStream, Host, Tree};
use crate::plugins::Plugin;
use crate::scope::{Content, Scope};

/// An artifact that a source offers, checked.
#[derive(Debug, Clone)]
pub struct Offered {
    /// Unique within the run, fit for a file name.
    pub name: String,
    /// The source's own media type.
    pub media_type: String,
    /// The data.
    pub content: Content,
    /// Facts for the manifest.
    pub metadata: Metadata,
    /// The backup that it is an increment to.
    pub base: Option<Uuid>,
}

/// An artifact of an earlier backup, for a source that builds on it.
#[derive(Debug, Clone)]
pub struct Previous {
    /// The backup.
    pub backup_id: Uuid,
    /// When it was made.
    pub created_at: jiff::Timestamp,
    /// The artifact's name.
    pub artifact: String,
    /// What the source said about it.
    pub metadata: Metadata,
    /// Whether it was itself an increment.
    pub is_increment: bool,
}

/// Where a restore goes.
#[derive(Debug, Clone, Default)]
pub struct Target {
    /// What the person named; nothing for the original place.
    pub place: Option<String>,
    /// Only these paths.
    pub paths: Vec<String>,
    /// Write over what is there.
    pub overwrite: bool,
    /// Only say what would be done.
    pub dry_run: bool,
    /// It is not the first link of a chain.
    pub continues: bool,
    /// Nothing of it is to stay.
    pub drill: bool,
}

/// What a restore did.
#[derive(Debug, Clone)]
pub struct Restored {
    /// Where the data is now; empty if a drill can't try it out.
    pub place: String,
    /// Files and other entries.
    pub entries: u64,
    /// Bytes.
    pub bytes: u64,
}

struct Call {
    store: Store<Host>,
    guest: Source,
}

impl Plugin {
    async fn source(&self, scope: &Scope) -> Result<Call> {
        let mut store = call::store(self, scope);
        let pre = SourcePre::new(self.instance.clone()).map_err(|e| self.other_world("source", &e))?;
        let busy = store.data().busy.clone();
        // A module may compute as it starts.
        let started = call::watch(self, "start", scope, busy, pre.instantiate_async(&mut store)).await?;
        match started {
            Ok(guest) => Ok(Call { store, guest }),
            Err(e) => Err(call::trapped(self, "start", &e, &store)),
        }
    }

    pub(crate) fn other_world(&self, world: &str, error: &wasmtime::Error) -> Error {
        let id = &self.manifest().id;
        Error::new(
            Code::Configuration,
            format!("plugin `{id}` does not export the world `{world}`"),
        )
        .because(guest_error::printable(&format!("{error:#}")))
    }

    /// The JSON Schema of a source's configuration.
    ///
    /// # Errors
    /// The plugin fails or gives something else.
    pub async fn source_schema(&self, scope: &Scope) -> Result<Value> {
        let mut call = self.source(scope).await?;
        let busy = call.store.data().busy.clone();
        let exports = call.guest.backstay_plugin_source_plugin();
        let result = call::watch(
            self,
            "describe",
            scope,
            busy,
            exports.call_describe(&mut call.store),
        )
        .await?;
        let descriptor = result.map_err(|e| call::trapped(self, "describe", &e, &call.store))?;
        self.schema(&descriptor.config_schema)
    }

    pub(crate) fn schema(&self, text: &str) -> Result<Value> {
        serde_json::from_str(text).map_err(|e| {
            Error::new(
                Code::Internal,
                format!(
                    "plugin {} describes its configuration by something that isn't JSON",
                    self.manifest().id
                ),
            )
            .because(e)
        })
    }

    /// What a source has to say about a configuration of the right shape. Pointers start with `at`.
    ///
    /// # Errors
    /// The plugin fails.
    pub async fn validate_source(&self, scope: &Scope, at: &str) -> Result<Vec<Diagnostic>> {
        let mut call = self.source(scope).await?;
        let busy = call.store.data().busy.clone();
        let exports = call.guest.backstay_plugin_source_plugin();
        let config = text(&scope.config);
        let result = call::watch(
            self,
            "validate",
            scope,
            busy,
            exports.call_validate(&mut call.store, &config),
        )
        .await?;
        let found = result.map_err(|e| call::trapped(self, "validate", &e, &call.store))?;
        Ok(guest_error::diagnostics(
            found,
            at,
            scope.limits.diagnostics,
            &call.store.data().secrets,
        ))
    }

    /// What a source offers now.
    ///
    /// # Errors
    /// The source isn't ready, or the plugin fails or offers nonsense.
    pub async fn open(&self, scope: &Scope, previous: &[Previous]) -> Result<Vec<Offered>> {
        let mut call = self.source(scope).await?;
        let run = run_info(scope).await?;
        let previous: Vec<wit::Previous> = previous
            .iter()
            .map(|p| wit::Previous {
                backup_id: p.backup_id.to_string(),
                created_at: p.created_at.to_string(),
                artifact: p.artifact.clone(),
                metadata: text(&p.metadata),
                is_increment: p.is_increment,
            })
            .collect();
        let busy = call.store.data().busy.clone();
        let exports = call.guest.backstay_plugin_source_plugin();
        let config = text(&scope.config);
        let result = call::watch(
            self,
            "open",
            scope,
            busy,
            exports.call_open(&mut call.store, &config, &run, &previous),
        )
        .await?;
        let artifacts = self.settle(result, "open", &call.store)?;
        if artifacts.is_empty() || artifacts.len() > scope.limits.artifacts {
            let id = &self.manifest().id;
            return Err(Error::new(
                Code::BackupFailed,
                format!("plugin {id} offered {} artifacts", artifacts.len()),
            )
            .hint(format!("a source offers 1 to {}", scope.limits.artifacts)));
        }
        let host = call.store.data_mut();
        let mut offered: Vec<Offered> = Vec::new();
        for artifact in artifacts {
            let artifact = take(host, artifact)?;
            if offered.iter().any(|o| o.name == artifact.name) {
                return Err(Error::new(
                    Code::Internal,
                    format!(
                        "plugin {} offered two artifacts named `{}`",
                        self.manifest().id,
                        artifact.name
                    ),
                ));
            }
            offered.push(artifact);
        }
        Ok(offered)
    }

    /// Gives a source an artifact back.
    ///
    /// # Errors
    /// The data is damaged, the target refuses it, or the plugin fails.
    pub async fn restore(&self, scope: &Scope, artifact: Offered, target: &Target) -> Result<Restored> {
        let mut call = self.source(scope).await?;
        let run = run_info(scope).await?;
        let host = call.store.data_mut();
        let content = give(host, artifact.content)?;
        let artifact = data::Artifact {
            name: artifact.name,
            media_type: artifact.media_type,
            content,
            metadata: text(&artifact.metadata),
            base: artifact.base.map(|b| b.to_string()),
        };
        let target = wit::Target {
            place: target.place.clone(),
            paths: target.paths.clone(),
            overwrite: target.overwrite,
            dry_run: target.dry_run,
            continues: target.continues,
            drill: target.drill,
        };
        let busy = call.store.data().busy.clone();
        let exports = call.guest.backstay_plugin_source_plugin();
        let config = text(&scope.config);
        let work = exports.call_restore(&mut call.store, &config, &run, &artifact, &target);
        let result = call::watch(self, "restore", scope, busy, work).await?;
        let restored = self.settle(result, "restore", &call.store)?;
        Ok(Restored {
            place: call.store.data().words(&restored.place),
            entries: restored.entries,
            bytes: restored.bytes,
        })
    }

    /// The shell command that restores an artifact without Backstay.
    ///
    /// # Errors
    /// The plugin fails.
    pub async fn source_recovery(
        &self,
        scope: &Scope,
        artifact: &str,
        metadata: &Metadata,
    ) -> Result<String> {
        let mut call = self.source(scope).await?;
        let busy = call.store.data().busy.clone();
        let exports = call.guest.backstay_plugin_source_plugin();
        let (config, metadata) = (text(&scope.config), text(metadata));
        let work = exports.call_recovery_command(&mut call.store, &config, artifact, &metadata);
        let result = call::watch(self, "recovery-command", scope, busy, work).await?;
        self.settle(result, "recovery-command", &call.store)
    }

    /// Has a source undo a journal entry of its own.
    ///
    /// # Errors
    /// It can't; the entry must stay.
    pub async fn undo_source(&self, scope: &Scope, entry: &str) -> Result<()> {
        let mut call = self.source(scope).await?;
        // Undoing makes nothing new that would have to be undone.
        call.store.data_mut().scratch_place = None;
        let busy = call.store.data().busy.clone();
        let exports = call.guest.backstay_plugin_source_plugin();
        let config = text(&scope.config);
        let result = call::watch(
            self,
            "undo",
            scope,
            busy,
            exports.call_undo(&mut call.store, &config, entry),
        )
        .await?;
        self.settle(result, "undo", &call.store)
    }

    /// Tells a trap from a failure.
    pub(crate) fn settle<T>(
        &self,
        result: wasmtime::Result<Result<T, Failure>>,
        verb: &str,
        store: &Store<Host>,
    ) -> Result<T> {
        match result {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(failure)) => Err(guest_error::error(failure, &store.data().secrets)),
            Err(trap) => Err(call::trapped(self, verb, &trap, store)),
        }
    }
}

/// The artifact behind a guest's handles.
fn take(host: &mut Host, artifact: data::Artifact) -> Result<Offered> {
    let plugin = host.plugin.clone();
    let fault = |what: String| {
        Error::new(
            Code::Internal,
            format!("plugin {plugin} offered an artifact {what}"),
        )
    };
    let name = artifact.name;
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if name.is_empty() || name.len() > 128 || name.starts_with(['.', '-']) || !name.chars().all(plain) {
        return Err(fault(format!(
            "with the name `{}`, which has other characters than letters, digits, `.`, `_` and `-`",
            guest_error::printable(&name)
        ))
        .with_code(Code::Security));
    }
    let metadata = serde_json::from_str::<Metadata>(&artifact.metadata)
        .map_err(|e| fault(format!("`{name}` whose metadata isn't a JSON object")).because(e))?;
    let base = artifact
        .base
        .map(|base| {
            base.parse::<Uuid>()
                .map_err(|e| fault(format!("`{name}` whose base isn't a backup's id")).because(e))
        })
        .transpose()?;
    let gone =
        |e: wasmtime::component::ResourceTableError| fault(format!("`{name}` without content")).because(e);
    let content = match artifact.content {
        data::Content::Bytes(stream) => Content::Stream(host.table.delete(stream).map_err(gone)?.recipe),
        data::Content::Files(tree) => Content::Tree(host.table.delete(tree).map_err(gone)?.spec),
    };
    Ok(Offered {
        name,
        media_type: guest_error::printable(&artifact.media_type),
        content,
        metadata,
        base,
    })
}

/// Handles for a guest that may read what is behind them.
fn give(host: &mut Host, content: Content) -> Result<data::Content> {
    let full = |e: wasmtime::Error| Error::internal("cannot hand data to a plugin").because(e.to_string());
    Ok(match content {
        Content::Stream(recipe) => {
            data::Content::Bytes(host.push_stream(ByteStream::plain(recipe)).map_err(full)?)
        }
        Content::Tree(spec) => {
            let tree = Tree {
                spec,
                is_payload: false,
            };
            data::Content::Files(
                host.table
                    .push(tree)
                    .map_err(|e| Error::internal("cannot hand data to a plugin").because(e))?,
            )
        }
    })
}

pub(crate) async fn run_info(scope: &Scope) -> Result<RunInfo> {
    let run = scope
        .run
        .as_ref()
        .ok_or_else(|| Error::internal("a plugin was called without a run"))?;
    let damaged = run.store.damaged_backups(run.job_id).await?;
    Ok(RunInfo {
        run_id: run.run_id.to_string(),
        job_id: run.job_id.to_string(),
        job_name: run.job_name.clone(),
        device: run.device.clone(),
        instance_id: run.store.instance_id().to_string(),
        started_at: run.started_at.to_string(),
        damaged: damaged.iter().map(Uuid::to_string).collect(),
    })
}

/// JSON text of a configuration or of metadata.
pub(crate) fn text<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| Value::Object(Map::new()).to_string())
}
