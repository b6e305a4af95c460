//! Where a restore goes, and what must not be written while it is in use.

use backstay_sdk::{Failure, Result, Target};

use crate::plan::is_at_or_below;
use crate::report::Facts;

/// The cluster file system, as a path in a backup.
const CLUSTER: &str = "etc/pve";

/// The database behind it.
const DATABASE: &str = "var/lib/pve-cluster";

/// What a restore writes, and where.
#[derive(Debug, PartialEq, Eq)]
pub struct Place {
    /// The directory to unpack into.
    pub directory: String,
    /// What of the backup to take; nothing is everything.
    pub paths: Vec<String>,
    /// What of it is left out, for a person.
    pub left_out: Option<String>,
}

/// Everything, or what was asked for, goes into the place that was named. Without one, files go back to where
/// they were; what commands said has no such place.
///
/// # Errors
/// Something has no original place, or must not be written there now.
pub fn choose(facts: &Facts, target: &Target, is_mounted: bool) -> Result<Place> {
    if let Some(place) = &target.place {
        return Ok(Place {
            directory: place.clone(),
            paths: target.paths.clone(),
            left_out: None,
        });
    }
    let is_own_root = facts.root.trim_end_matches('/').is_empty();
    let mut left_out = None;
    let paths: Vec<String> = if target.paths.is_empty() {
        let (cluster, rest): (Vec<_>, Vec<_>) = facts
            .places
            .iter()
            .cloned()
            .partition(|place| is_own_root && place == CLUSTER);
        if !cluster.is_empty() {
            left_out = Some(format!(
                "/{CLUSTER} is left out: it comes back with /{DATABASE} when pve-cluster starts"
            ));
        }
        rest
    } else {
        let plain = |path: &String| path.trim_start_matches("./").trim_end_matches('/').to_owned();
        target.paths.iter().map(plain).collect()
    };
    for path in &paths {
        if !facts.places.iter().any(|place| is_at_or_below(path, place)) {
            let all = facts.places.join(", ");
            return Err(Failure::configuration(format!(
                "{path} is in no place that can be restored to where it was"
            ))
            .hint(format!(
                "those are {all}; restore anything else with --to DIRECTORY"
            )));
        }
        if is_own_root && is_at_or_below(path, CLUSTER) {
            return Err(Failure::configuration(format!(
                "/{path} is in the cluster file system, which can't be restored file by file"
            ))
            .hint(format!(
                "stop pve-cluster and restore {DATABASE}, or restore {path} with --to DIRECTORY and copy it"
            )));
        }
        if is_mounted && is_at_or_below(path, DATABASE) {
            return Err(Failure::configuration(format!(
                "/{DATABASE} is in use: {CLUSTER} is mounted from it"
            ))
            .hint("run `systemctl stop pve-cluster` first, and start it again afterwards"));
        }
    }
    if paths.is_empty() {
        return Err(
            Failure::configuration("the backup holds nothing that can be restored to where it was")
                .hint("restore it with --to DIRECTORY"),
        );
    }
    Ok(Place {
        directory: facts.root.clone(),
        paths,
        left_out,
    })
}

/// Tar's own way to do it.
pub const RECOVERY_COMMAND: &str = "mkdir -p \"$TARGET\" && \
    tar --xattrs --xattrs-include='*' --numeric-owner --same-owner -xpf - -C \"$TARGET\"";

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(root: &str) -> Facts {
        let places = ["etc/pve", "var/lib/pve-cluster", "etc/hosts", "etc/cron.d"];
        Facts {
            root: root.to_owned(),
            places: places.map(str::to_owned).to_vec(),
            ..Facts::default()
        }
    }

    fn target(place: Option<&str>, paths: &[&str]) -> Target {
        Target {
            place: place.map(str::to_owned),
            paths: paths.iter().map(|&p| p.to_owned()).collect(),
            overwrite: false,
            dry_run: false,
            continues: false,
            drill: false,
        }
    }

    #[test]
    fn a_directory_takes_anything() {
        let place = choose(&facts("/"), &target(Some("/tmp/r"), &["commands/pve"]), true).expect("a place");
        assert_eq!(
            (place.directory.as_str(), place.paths),
            ("/tmp/r", vec!["commands/pve".to_owned()])
        );
        assert!(
            choose(&facts("/"), &target(Some("/tmp/r"), &[]), true)
                .expect("a place")
                .paths
                .is_empty()
        );
    }

    #[test]
    fn in_place_everything_but_the_cluster_file_system_goes_back() {
        let place = choose(&facts("/"), &target(None, &[]), false).expect("a place");
        assert_eq!(place.paths, ["var/lib/pve-cluster", "etc/hosts", "etc/cron.d"]);
        assert!(
            place
                .left_out
                .is_some_and(|words| words.contains("/etc/pve is left out"))
        );
        let elsewhere = choose(&facts("/mnt/disk"), &target(None, &[]), false).expect("a place");
        assert_eq!(
            (elsewhere.directory.as_str(), elsewhere.paths.len()),
            ("/mnt/disk", 4)
        );
    }

    #[track_caller]
    fn refused(path: &str, is_mounted: bool, words: &str) {
        let failure = choose(&facts("/"), &target(None, &[path]), is_mounted).expect_err("refused");
        assert_eq!(failure.message, words);
        assert!(failure.hint.is_some());
    }

    #[test]
    fn in_place_some_things_are_refused() {
        refused(
            "commands/pve",
            false,
            "commands/pve is in no place that can be restored to where it was",
        );
        refused(
            "etc",
            false,
            "etc is in no place that can be restored to where it was",
        );
        refused(
            "etc/hosts.allow",
            false,
            "etc/hosts.allow is in no place that can be restored to where it was",
        );
        refused(
            "./etc/pve/user.cfg",
            false,
            "/etc/pve/user.cfg is in the cluster file system, which can't be restored file by file",
        );
        refused(
            "var/lib/pve-cluster/",
            true,
            "/var/lib/pve-cluster is in use: etc/pve is mounted from it",
        );
        assert!(choose(&facts("/"), &target(None, &["var/lib/pve-cluster"]), false).is_ok());
        assert!(choose(&facts("/"), &target(None, &["etc/cron.d/job"]), true).is_ok());
    }
}
