//! Which backup somebody means who doesn't name one: the newest that isn't known to be damaged.

use backstay_model::Result;
use backstay_store::{Backup, BackupFilter};
use uuid::Uuid;

use crate::Engine;

/// How many of the newest backups of a job are looked at.
const LOOK_BACK: u32 = 200;

/// A backup that was chosen.
#[derive(Debug, Clone)]
pub struct Chosen {
    /// The backup.
    pub backup: Backup,
    /// What somebody should know before using it.
    pub warning: Option<String>,
}

impl Engine {
    /// The newest backup of a job, by its id or name, that isn't known to be damaged and doesn't build on one that
    /// is. If there is none, the newest, with a warning.
    ///
    /// # Errors
    /// There is no backup of such a job, or the catalogue can't be read.
    pub async fn newest_good(&self, job: &str) -> Result<Chosen> {
        let (newest, backups) = self.newest_of(job).await?;
        let broken = self.with_broken_chains(&backups).await?;
        let is_good = |backup: &&Backup| !broken.contains(&backup.manifest.id);
        let run = backups.iter().find(is_good).map(|backup| backup.run_id);
        let mut of_run: Vec<&Backup> = backups
            .iter()
            .filter(|backup| Some(backup.run_id) == run)
            .filter(is_good)
            .collect();
        of_run.sort_by_key(|backup| (!backup.critical, backup.destination_index));
        let Some(good) = of_run.first() else {
            let warning = self.damage_of(&newest).await?;
            return Ok(Chosen {
                backup: newest,
                warning,
            });
        };
        let (id, device) = (good.manifest.id, &good.manifest.device);
        let mut warnings = Vec::new();
        if id != newest.manifest.id {
            let damaged = newest.manifest.id;
            warnings.push(format!(
                "the newest backup {damaged} is damaged; this is {id}, made {}",
                good.created_at
            ));
        }
        if good.manifest.instance_id != self.store.instance_id() {
            warnings.push(format!(
                "backup {id} was made by another installation, on {device}"
            ));
        }
        Ok(Chosen {
            backup: Backup::clone(good),
            warning: (!warnings.is_empty()).then(|| warnings.join("; ")),
        })
    }

    /// What to know about a backup before it is used: that it, or one that it builds on, was found damaged.
    ///
    /// # Errors
    /// The catalogue can't be read.
    pub async fn damage_of(&self, backup: &Backup) -> Result<Option<String>> {
        let id = backup.manifest.id;
        let broken = self.with_broken_chains(std::slice::from_ref(backup)).await?;
        if broken.is_empty() {
            return Ok(None);
        }
        let checked = match (backup.verified_ok, backup.verified_at, backup.verified_level) {
            (Some(false), Some(at), Some(level)) => {
                format!("backup {id} was found damaged at {at} (level {})", level.name())
            }
            _ => format!("backup {id} builds on one that is damaged or missing"),
        };
        Ok(Some(format!(
            "{checked}; what is wrong is found again before it does harm, and a check as deep that it passes clears this"
        )))
    }

    /// The newest backup at each destination of a job that isn't known to be damaged; of a destination where all
    /// are, the newest.
    ///
    /// # Errors
    /// There is no backup of such a job, or the catalogue can't be read.
    pub async fn newest_good_of_each_destination(&self, job: &str) -> Result<Vec<Backup>> {
        let (_, backups) = self.newest_of(job).await?;
        let broken = self.with_broken_chains(&backups).await?;
        let mut chosen: Vec<&Backup> = Vec::new();
        let same_place = |a: &Backup, b: &Backup| {
            let (a, b) = (&a.manifest.destination, &b.manifest.destination);
            a.plugin == b.plugin && a.config == b.config
        };
        let is_broken = |backup: &Backup| broken.contains(&backup.manifest.id);
        let (good, bad): (Vec<&Backup>, Vec<&Backup>) = backups.iter().partition(|b| !is_broken(b));
        for backup in good.into_iter().chain(bad) {
            if !chosen.iter().any(|other| same_place(other, backup)) {
                chosen.push(backup);
            }
        }
        chosen.sort_by_key(|backup| backup.destination_index);
        Ok(chosen.into_iter().cloned().collect())
    }

    /// The newest backup of a job, and the newest ones, newest first: all of the same job, if it is one of this host.
    async fn newest_of(&self, job: &str) -> Result<(Backup, Vec<Backup>)> {
        let newest = self.store.latest_backup(job).await?;
        let id = newest.manifest.job.id;
        let is_own = self.store.jobs().await?.iter().any(|own| own.id == id);
        let is_id = is_own || Uuid::parse_str(job).is_ok_and(|given| given == id);
        let filter = BackupFilter {
            job: is_id.then_some(id),
            job_name: (!is_id).then_some(job),
            limit: LOOK_BACK,
        };
        let backups = self.store.backups(filter).await?;
        Ok((newest, backups))
    }
}
