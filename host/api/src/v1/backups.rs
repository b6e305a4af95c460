//! The catalogue.

use axum::Json;
use backstay_model::Error;

use super::Shared;
use crate::Problem;
use crate::query::{Id, Nothing, PagedOfJob, Params};
use crate::view::{BackupView, Page};

pub async fn list(app: Shared, Params(page): Params<PagedOfJob>) -> Result<Json<Page<BackupView>>, Problem> {
    let store = &app.engine.store;
    let job = match &page.job {
        Some(job) => Some(store.job(job).await.map_err(Problem::absent)?.id),
        None => None,
    };
    let read = |before, limit| async move {
        let backups = match job {
            Some(job) => store.backups_before(job, before, limit).await?,
            None => store.all_backups_before(before, limit).await?,
        };
        let views = backups.iter().map(|backup| BackupView::listed(backup, store));
        Ok::<Vec<BackupView>, Error>(views.collect())
    };
    let page = Page::read(page.limit.0, page.cursor, |backup: &BackupView| backup.id, read);
    Ok(Json(page.await?))
}

pub async fn show(app: Shared, Id(id): Id, _: Params<Nothing>) -> Result<Json<BackupView>, Problem> {
    let store = &app.engine.store;
    let backup = store.backup(id).await.map_err(Problem::absent)?;
    Ok(Json(BackupView::listed(&backup, store)))
}
