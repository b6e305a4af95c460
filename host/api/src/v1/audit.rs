//! Who changed what.

use axum::Json;
use backstay_model::access::AuditEntry;
use schemars::JsonSchema;
use serde::Deserialize;

use super::Shared;
use crate::Problem;
use crate::query::{Limit, Params};
use crate::view::Page;

/// A page of the list.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Paged {
    /// At most so many.
    #[serde(default)]
    limit: Limit<500, 50>,
    /// `next` of the page before.
    cursor: Option<i64>,
}

pub async fn list(app: Shared, Params(page): Params<Paged>) -> Result<Json<Page<AuditEntry>>, Problem> {
    let limit = page.limit.0;
    let entries = app.engine.store.audit(page.cursor, limit + 1).await?;
    Ok(Json(Page::of(entries, limit, |entry| entry.id.to_string())))
}
