//! How fast runs may store: the host's limit, and those of jobs, which may change while they run.

use backstay_model::filters::Throttle;
use backstay_model::job::JobSpec;
use backstay_model::rate::Rate;
use backstay_model::{Code, Error, Result};
use uuid::Uuid;

use crate::Store;
use crate::columns::{json, maybe, read_json, time};
use crate::transaction::Durability;

impl Store {
    /// The limit that all runs of this host share.
    ///
    /// # Errors
    /// The database can't be read.
    pub async fn host_throttle(&self) -> Result<Option<Rate>> {
        let stored: Option<String> = sqlx::query_scalar("SELECT value FROM meta WHERE key = 'throttle'")
            .fetch_optional(&self.inner.readers)
            .await
            .map_err(self.failed("read the limit of the host"))?;
        maybe(stored, |text| Ok(text.parse()?)).map_err(self.unreadable("the limit of the host"))
    }

    /// Changes the limit that all runs of this host share; those under way see it within a second.
    ///
    /// # Errors
    /// The database can't be written.
    pub async fn set_host_throttle(&self, rate: Option<Rate>) -> Result<()> {
        const DOING: &str = "save the limit of the host";
        let mut transaction = self.begin(Durability::Now, DOING).await?;
        let change = match rate {
            Some(rate) => sqlx::query(
                "INSERT INTO meta (key, value) VALUES ('throttle', ?1) \
                 ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            )
            .bind(rate.to_string()),
            None => sqlx::query("DELETE FROM meta WHERE key = 'throttle'"),
        };
        change
            .execute(&mut *transaction)
            .await
            .map_err(self.failed(DOING))?;
        self.commit(transaction, DOING).await
    }

    /// The limit of a job as it is stored now; nothing too if there is no such job any more.
    ///
    /// # Errors
    /// The database can't be read.
    pub async fn job_throttle(&self, job: Uuid) -> Result<Option<Rate>> {
        let spec: Option<String> = sqlx::query_scalar("SELECT spec FROM jobs WHERE id = ?1")
            .bind(job.to_string())
            .fetch_optional(&self.inner.readers)
            .await
            .map_err(self.failed("read the limit of a job"))?;
        let spec: Option<JobSpec> = maybe(spec, |text| read_json(&text)).map_err(self.unreadable("a job"))?;
        Ok(spec
            .and_then(|spec| spec.filters.throttle)
            .map(|t| t.bytes_per_second))
    }

    /// Changes `filters.throttle` of a job and nothing else of it; a run under way sees it within a second.
    ///
    /// # Errors
    /// [`Code::Configuration`] if there is no such job; or the database can't be written.
    pub async fn set_job_throttle(&self, job: Uuid, rate: Option<Rate>) -> Result<()> {
        const DOING: &str = "save the limit of a job";
        let mut transaction = self.begin(Durability::Now, DOING).await?;
        let text: Option<String> = sqlx::query_scalar("SELECT spec FROM jobs WHERE id = ?1")
            .bind(job.to_string())
            .fetch_optional(&mut *transaction)
            .await
            .map_err(self.failed(DOING))?;
        let text = text.ok_or_else(|| Error::new(Code::Configuration, format!("there is no job {job}")))?;
        let mut spec: JobSpec = read_json(&text).map_err(self.unreadable("a job"))?;
        let throttle = rate.map(|bytes_per_second| Throttle { bytes_per_second });
        if spec.filters.throttle == throttle {
            return Ok(());
        }
        spec.filters.throttle = throttle;
        sqlx::query("UPDATE jobs SET spec = ?2, updated_at = ?3 WHERE id = ?1")
            .bind(job.to_string())
            .bind(json(&spec)?)
            .bind(time(self.inner.clock.now()))
            .execute(&mut *transaction)
            .await
            .map_err(self.failed(DOING))?;
        self.commit(transaction, DOING).await
    }
}
