//! Relica: how it keeps its own settings isn't published. But each snapshot that it makes with restic says by its tags which of
//! its backups it belongs to, so `restic snapshots --json` of its repository tells what it backed up.

use std::collections::{BTreeMap, BTreeSet};

use backstay_model::{Code, Error, Result};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::jobs_of_paths;
use super::report::Report;

/// The tag of snapshots that Backstay has made.
const OWN: &str = "backstay";

/// What restic says of a snapshot.
#[derive(Deserialize)]
struct Snapshot {
    time: Timestamp,
    paths: Option<Vec<String>>,
    hostname: Option<String>,
    excludes: Option<Vec<String>>,
    tags: Option<Vec<String>>,
}

/// A job for each path of the newest snapshot of each backup, to these destinations.
///
/// # Errors
/// The document is no list of snapshots, or nobody said where to: a list of snapshots doesn't say which repository it is of.
pub fn import(document: &Value, destinations: Option<&Value>, report: &mut Report) -> Result<Vec<Value>> {
    let Some(destinations) = destinations else {
        let message =
            "a list of snapshots doesn't say which repository it is of, so the jobs need a destination";
        return Err(Error::new(Code::Configuration, message).hint(
            "name that repository or another place: --destination '{ plugin: restic, config: { repository: /mnt/restic, passwordSecret: restic } }'",
        ));
    };
    // What its error says could repeat a password of another file.
    let snapshots = Vec::<Snapshot>::deserialize(document).map_err(|_| {
        Error::new(Code::Configuration, "the file is no list of restic's snapshots")
            .hint("make it by `restic --repo REPOSITORY snapshots --json > FILE`")
    })?;
    let mut newest: BTreeMap<&str, (usize, &Snapshot)> = BTreeMap::new();
    let mut foreign = 0;
    for (index, snapshot) in snapshots.iter().enumerate() {
        let is_ours = snapshot.tags.iter().flatten().any(|tag| tag == OWN);
        let Some(backup) = snapshot.after("backup:").filter(|_| !is_ours) else {
            foreign += 1;
            continue;
        };
        let known = newest.entry(backup).or_insert((index, snapshot));
        if snapshot.time > known.1.time {
            *known = (index, snapshot);
        }
    }
    if foreign > 0 {
        report.left(
            "",
            format!("snapshots that are not Relica's, without a tag `backup:` or of Backstay: {foreign}"),
        );
    }
    let mut jobs = Vec::new();
    for (backup, (index, snapshot)) in newest {
        let at = format!("/{index}");
        let name = snapshot.after("backup_name=").unwrap_or(backup);
        let destinations = tagged(destinations, snapshot);
        let mut earlier = BTreeSet::new();
        let job = json!({ "name": name, "destinations": destinations });
        if let Some(machine) = &snapshot.hostname {
            report.note(
                &at,
                format!("`{name}` was backed up on {machine}: apply its jobs there"),
            );
        }
        for path in snapshots
            .iter()
            .filter(|other| other.after("backup:") == Some(backup))
            .flat_map(Snapshot::paths)
        {
            if !snapshot.paths().contains(path) && earlier.insert(path) {
                report.left(
                    &at,
                    format!("the path `{path}`, which the newest snapshot of `{name}` doesn't have"),
                );
            }
        }
        report.note(
            &at,
            "restic doesn't write down everything that was excluded: compare with what Relica leaves out",
        );
        report.left(
            &at,
            "when it runs and how long it is kept: its repository doesn't say, so give it `schedule` and `retention`",
        );
        let at = format!("{at}/paths");
        jobs.extend(jobs_of_paths(
            name,
            snapshot.paths(),
            snapshot.excludes.as_deref().unwrap_or_default(),
            &job,
            &at,
            report,
        ));
    }
    Ok(jobs)
}

impl Snapshot {
    fn paths(&self) -> &[String] {
        self.paths.as_deref().unwrap_or_default()
    }

    /// What follows in the tag that begins like this.
    fn after(&self, start: &str) -> Option<&str> {
        let tags = self.tags.iter().flatten();
        let mut found = tags.filter_map(|tag| tag.strip_prefix(start));
        found.find(|rest| !rest.is_empty())
    }
}

/// The destinations, with what Relica's tools look for in the snapshots of a restic repository.
fn tagged(destinations: &Value, snapshot: &Snapshot) -> Value {
    let mut destinations = destinations.clone();
    for destination in destinations.as_array_mut().into_iter().flatten() {
        if destination["plugin"] != "restic" {
            continue;
        }
        let config = destination["config"].as_object_mut();
        let add = |config: &mut Map<String, Value>, key: &str, start: &str| {
            if let (Some(text), false) = (snapshot.after(start), config.contains_key(key)) {
                config.insert(key.to_owned(), json!(text));
            }
        };
        if let Some(config) = config {
            add(config, "origin", "origin=");
            add(config, "accountId", "account_id=");
        }
    }
    destinations
}
