//! The catalogue.

use axum::Json;

use super::Shared;
use crate::Problem;
use crate::query::{Id, Nothing, PagedOfJob, Params};
use crate::view::{BackupView, Page};

pub async fn list(app: Shared, Params(page): Params<PagedOfJob>) -> Result<Json<Page<BackupView>>, Problem> {
    let store = &app.engine.store;
    let limit = page.limit.0;
    let backups = match &page.job {
        Some(job) => {
            let job = store.job(job).await.map_err(Problem::absent)?;
            store.backups_before(job.id, page.cursor, limit + 1).await?
        }
        None => store.all_backups_before(page.cursor, limit + 1).await?,
    };
    let backups = backups
        .iter()
        .map(|backup| BackupView::listed(backup, store))
        .collect();
    Ok(Json(Page::of(backups, limit, |backup: &BackupView| {
        backup.id.to_string()
    })))
}

pub async fn show(app: Shared, Id(id): Id, _: Params<Nothing>) -> Result<Json<BackupView>, Problem> {
    let store = &app.engine.store;
    let backup = store.backup(id).await.map_err(Problem::absent)?;
    Ok(Json(BackupView::listed(&backup, store)))
}
