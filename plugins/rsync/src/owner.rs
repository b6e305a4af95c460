//! Whose backups those below a job's name are: a disk may hold the ones of other machines, and of an earlier job that had the
//! same name.

use backstay_sdk::{Failure, Result, RunInfo, log};
use serde::{Deserialize, Serialize};

use crate::latest::LATEST;
use crate::place::Place;

/// What a backup has once it is complete.
pub const MANIFEST: &str = "/manifest.json";

/// The most that is read of a manifest, in bytes.
const MANIFEST_BYTES: u32 = 1 << 20;

/// A job of an installation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Owner {
    instance: String,
    job: String,
}

/// The part of a manifest that says whose it is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    instance_id: String,
    job: Job,
}

#[derive(Deserialize)]
struct Job {
    id: String,
}

impl Owner {
    /// The one that runs.
    pub fn of_run(run: &RunInfo) -> Self {
        Owner {
            instance: run.instance_id.clone(),
            job: run.job_id.clone(),
        }
    }

    /// The one of a complete backup; nothing, and a line in the log, if its manifest can't be read.
    pub fn of_backup(place: &Place<'_>, manifest: &str) -> Option<Self> {
        let text = place.text(manifest, MANIFEST_BYTES);
        match text.and_then(|text| Owner::of_manifest(&text)) {
            Ok(owner) => Some(owner),
            Err(failure) => {
                log::warn(format!(
                    "whose backup {manifest} belongs to is unknown, so nothing is linked to it: {}",
                    failure.message
                ));
                None
            }
        }
    }

    fn of_manifest(text: &str) -> Result<Self> {
        let manifest: Manifest = serde_json::from_str(text)
            .map_err(|e| Failure::storage(format!("it is not the manifest of a backup: {e}")))?;
        Ok(Owner {
            instance: manifest.instance_id,
            job: manifest.job.id,
        })
    }

    /// Whether a complete backup is its own.
    pub fn has(&self, place: &Place<'_>, backup: &str) -> bool {
        Owner::of_backup(place, &format!("{backup}{MANIFEST}")).as_ref() == Some(self)
    }
}

/// The directories of the complete backups below a job's name, the oldest first: their ids begin with the time at which
/// they were made.
pub fn complete(place: &Place<'_>, job: &str) -> Result<Vec<String>> {
    let of_job = format!("{job}/");
    let found = place.find_of(job, MANIFEST)?.into_iter();
    let mut backups: Vec<String> = found
        .filter_map(|object| object.key().strip_suffix(MANIFEST).map(str::to_owned))
        .filter(|backup| {
            backup
                .strip_prefix(&of_job)
                .is_some_and(|id| !id.contains('/') && id != LATEST)
        })
        .collect();
    backups.sort_unstable();
    Ok(backups)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_says_whose_backup_it_is() {
        let text =
            r#"{ "manifestVersion": 1, "id": "b", "instanceId": "i", "job": { "id": "j", "name": "n" } }"#;
        let owner = Owner::of_manifest(text).expect("a manifest");
        assert_eq!((owner.instance.as_str(), owner.job.as_str()), ("i", "j"));
        for other in ["", "{}", r#"{ "instanceId": "i" }"#, "[1]"] {
            assert!(Owner::of_manifest(other).is_err(), "{other:?}");
        }
    }
}
