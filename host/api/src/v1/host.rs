//! What this host is set up for.

use std::collections::BTreeMap;
use std::path::PathBuf;

use axum::Json;
use backstay_model::plugin::PluginKind;
use backstay_model::run::Run;
use backstay_model::settings::Settings;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::Shared;
use crate::Problem;
use crate::query::{Nothing, Params};

/// What this host can do.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Capabilities {
    /// Version of the host.
    version: &'static str,
    /// Version of this interface.
    api: &'static str,
    /// Version of the contract that its plugins keep.
    plugin_api: &'static str,
    /// Ids of the plugins that read.
    sources: Vec<String>,
    /// Ids of the plugins that store.
    destinations: Vec<String>,
    /// The programs that plugins ask for, by name.
    programs: BTreeMap<String, Program>,
}

/// A program that plugins ask for.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Program {
    /// Whether it is there.
    available: bool,
    /// Where it is.
    path: Option<PathBuf>,
    /// Ids of the plugins that ask for it.
    plugins: Vec<String>,
}

/// What runs and what waits.
#[derive(Debug, Serialize, JsonSchema)]
pub struct QueueView {
    /// Ids of the runs under way in the service.
    running: Vec<Uuid>,
    /// Runs that wait for their turn, the first one first.
    waiting: Vec<Run>,
}

pub async fn document(app: Shared, _: Params<Nothing>) -> Json<Value> {
    Json(app.document.clone())
}

pub async fn capabilities(app: Shared, _: Params<Nothing>) -> Result<Json<Capabilities>, Problem> {
    let plugins = app.engine.plugins.list().await?;
    let of = |kind: PluginKind| {
        let of_kind = plugins.iter().filter(|(manifest, _)| manifest.kind == kind);
        of_kind.map(|(manifest, _)| manifest.id.clone()).collect()
    };
    let mut programs: BTreeMap<String, Program> = BTreeMap::new();
    for (manifest, _) in &plugins {
        for asked in &manifest.capabilities.exec {
            let program = programs.entry(asked.program.clone()).or_insert_with(|| {
                let path = app.engine.plugins.programs().find(&asked.program).ok();
                Program {
                    available: path.is_some(),
                    path,
                    plugins: Vec::new(),
                }
            });
            if program.plugins.last() != Some(&manifest.id) {
                program.plugins.push(manifest.id.clone());
            }
        }
    }
    Ok(Json(Capabilities {
        version: app.engine.version,
        api: "v1",
        plugin_api: backstay_model::plugin::API_VERSION,
        sources: of(PluginKind::Source),
        destinations: of(PluginKind::Destination),
        programs,
    }))
}

pub async fn config(app: Shared, _: Params<Nothing>) -> Json<Settings> {
    Json(app.settings().as_ref().clone())
}

pub async fn queue(app: Shared, _: Params<Nothing>) -> Result<Json<QueueView>, Problem> {
    let queue = app.daemon.queue().await?;
    Ok(Json(QueueView {
        running: queue.running,
        waiting: queue.waiting,
    }))
}
