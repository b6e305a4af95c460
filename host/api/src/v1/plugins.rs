//! Plugins, and what they ask for.

use axum::Json;
use backstay_model::plugin::PluginKind;
use serde_json::Map;

use super::Shared;
use crate::Problem;
use crate::query::{Name, Nothing, Params};
use crate::view::{PluginDetails, PluginView};

pub async fn list(app: Shared, _: Params<Nothing>) -> Result<Json<Vec<PluginView>>, Problem> {
    let plugins = app.engine.plugins.list().await?;
    let view = |(manifest, bundled)| PluginView { manifest, bundled };
    Ok(Json(plugins.into_iter().map(view).collect()))
}

pub async fn show(app: Shared, Name(id): Name, _: Params<Nothing>) -> Result<Json<PluginDetails>, Problem> {
    let listed = app.engine.plugins.list().await?;
    if !listed.iter().any(|(manifest, _)| manifest.id == id) {
        return Err(
            Problem::not_found(format!("there is no plugin `{id}`")).hint("/api/v1/plugins lists them")
        );
    }
    let plugin = app.engine.plugins.load(&id).await?;
    let scope = app.engine.looking(Map::new());
    let config_schema = match plugin.manifest().kind {
        PluginKind::Source => plugin.source_schema(&scope).await?,
        PluginKind::Destination => plugin.destination_schema(&scope).await?,
    };
    Ok(Json(PluginDetails {
        manifest: plugin.manifest().clone(),
        digest: plugin.digest().to_owned(),
        bundled: plugin.is_bundled(),
        config_schema,
    }))
}
