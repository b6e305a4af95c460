//! Plugins that an administrator installed. The ones that come with the host are not here.

use backstay_model::Result;
use jiff::Timestamp;
use sqlx::FromRow;

use crate::Store;
use crate::columns::{Unreadable, read_time, time};
use crate::transaction::Durability;

/// A plugin that an administrator installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstalledPlugin {
    /// Its id, from its manifest.
    pub id: String,
    /// Its version, from its manifest.
    pub version: String,
    /// BLAKE3 of the component, hexadecimal: only this very file may run.
    pub digest: String,
    /// Its manifest as it was agreed to.
    pub manifest_json: String,
    /// The component's file, below the data directory's plugins.
    pub file_name: String,
    /// When this version was installed.
    pub installed_at: Timestamp,
}

#[derive(FromRow)]
struct Row {
    id: String,
    version: String,
    digest: String,
    manifest_json: String,
    file_name: String,
    installed_at: String,
}

impl TryFrom<Row> for InstalledPlugin {
    type Error = Unreadable;

    fn try_from(row: Row) -> Result<Self, Unreadable> {
        Ok(InstalledPlugin {
            id: row.id,
            version: row.version,
            digest: row.digest,
            manifest_json: row.manifest_json,
            file_name: row.file_name,
            installed_at: read_time(&row.installed_at)?,
        })
    }
}

impl Store {
    /// Adds a plugin, or replaces the one of that id.
    ///
    /// # Errors
    /// The database can't be written.
    pub async fn install_plugin(&self, plugin: &InstalledPlugin) -> Result<()> {
        let doing = &format!("save the plugin `{}`", plugin.id);
        let mut transaction = self.begin(Durability::Now, doing).await?;
        sqlx::query(
            "INSERT INTO plugins (id, version, digest, manifest_json, file_name, installed_at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (id) DO UPDATE SET version = excluded.version, \
             digest = excluded.digest, manifest_json = excluded.manifest_json, file_name = excluded.file_name, \
             installed_at = excluded.installed_at",
        )
        .bind(&plugin.id)
        .bind(&plugin.version)
        .bind(&plugin.digest)
        .bind(&plugin.manifest_json)
        .bind(&plugin.file_name)
        .bind(time(plugin.installed_at))
        .execute(&mut *transaction)
        .await
        .map_err(self.failed(doing))?;
        self.commit(transaction, doing).await
    }

    /// All installed plugins, by id.
    ///
    /// # Errors
    /// The database can't be read.
    pub async fn plugins(&self) -> Result<Vec<InstalledPlugin>> {
        let rows: Vec<Row> = sqlx::query_as("SELECT * FROM plugins ORDER BY id")
            .fetch_all(&self.inner.readers)
            .await
            .map_err(self.failed("read the installed plugins"))?;
        rows.into_iter()
            .map(InstalledPlugin::try_from)
            .collect::<Result<_, _>>()
            .map_err(self.unreadable("a plugin"))
    }

    /// The installed plugin of an id, if there is one.
    ///
    /// # Errors
    /// The database can't be read.
    pub async fn plugin(&self, id: &str) -> Result<Option<InstalledPlugin>> {
        let row: Option<Row> = sqlx::query_as("SELECT * FROM plugins WHERE id = ?1")
            .bind(id)
            .fetch_optional(&self.inner.readers)
            .await
            .map_err(self.failed("read an installed plugin"))?;
        row.map(InstalledPlugin::try_from)
            .transpose()
            .map_err(self.unreadable("a plugin"))
    }

    /// Removes a plugin. Whether it was there.
    ///
    /// # Errors
    /// The database can't be written.
    pub async fn remove_plugin(&self, id: &str) -> Result<bool> {
        let doing = &format!("remove the plugin `{id}`");
        let mut transaction = self.begin(Durability::Now, doing).await?;
        let removed = sqlx::query("DELETE FROM plugins WHERE id = ?1")
            .bind(id)
            .execute(&mut *transaction)
            .await
            .map_err(self.failed(doing))?
            .rows_affected();
        self.commit(transaction, doing).await?;
        Ok(removed > 0)
    }
}
