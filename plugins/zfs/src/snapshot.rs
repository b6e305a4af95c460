//! Snapshots of this plugin: their names, how one is made, and how earlier ones are found.

use std::fmt;

use backstay_sdk::{Failure, Result, RunInfo};

use crate::command;
use crate::config::Config;

/// The user property of a snapshot that names the job it was made for.
pub const JOB_PROPERTY: &str = "org.backstay:job";

/// The name of a snapshot that this plugin makes: `DATASET@PREFIX-RUN`, with the run's UUID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    dataset: String,
    snapshot: String,
}

impl Name {
    /// The snapshot of a run.
    pub fn of_run(config: &Config, run: &RunInfo) -> Self {
        Name {
            dataset: config.pool_name.clone(),
            snapshot: format!("{}-{}", config.snapshot_name, run.run_id),
        }
    }

    /// Reads a whole name; nothing if this plugin would not have given it.
    pub fn parse(text: &str) -> Option<Self> {
        let (dataset, snapshot) = text.split_once('@')?;
        let start = snapshot.len().checked_sub(UUID_BYTES)?;
        let (prefix, run) = (snapshot.get(..start)?, snapshot.get(start..)?);
        let prefix = prefix.strip_suffix('-')?;
        let word = |text: &str| {
            !text.is_empty()
                && text
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "_-".contains(c))
        };
        let ours = !dataset.is_empty() && !dataset.starts_with('-') && word(prefix) && is_uuid(run);
        ours.then(|| Name {
            dataset: dataset.to_owned(),
            snapshot: snapshot.to_owned(),
        })
    }

    /// The dataset.
    pub fn dataset(&self) -> &str {
        &self.dataset
    }

    /// Whether it is the same snapshot, of the same dataset or of one below it.
    fn is_part_of(&self, top: &Name) -> bool {
        let below = self.dataset.strip_prefix(&top.dataset);
        self.snapshot == top.snapshot && below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.dataset, self.snapshot)
    }
}

const UUID_BYTES: usize = 36;

pub fn is_uuid(text: &str) -> bool {
    text.len() == UUID_BYTES
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// Whether `zfs` complains that what was named isn't there.
pub fn is_gone(complaint: &str) -> bool {
    complaint.contains("does not exist") || complaint.contains("could not find any snapshots")
}

/// Makes the snapshot. If a first attempt of the same run made it already, that one is taken.
///
/// # Errors
/// It can't be made.
pub fn create(config: &Config, run: &RunInfo, name: &Name) -> Result<()> {
    let output = command::snapshot(config.recursive, &run.job_id, name).run()?;
    let complaint = output.complaint();
    if output.is_success() || complaint.contains("dataset already exists") {
        return Ok(());
    }
    Err(if is_gone(&complaint) {
        output
            .failure()
            .hint("does the dataset still exist, and is its pool imported?")
    } else if complaint.contains("out of space") || complaint.contains("no space") {
        output.failure().with_code(backstay_sdk::Code::DiskSpace)
    } else if complaint.contains("dataset is busy") {
        output.failure().retry()
    } else {
        output.failure()
    })
}

/// Holds the snapshot, so that nobody destroys it while it is needed.
///
/// # Errors
/// It can't be held.
pub fn hold(config: &Config, tag: &str, name: &Name) -> Result<()> {
    let output = command::hold(config.recursive, tag, name).run()?;
    if output.is_success() || output.complaint().contains("tag already exists") {
        Ok(())
    } else {
        Err(output.failure())
    }
}

/// The guid of a snapshot; nothing if there is no such snapshot.
///
/// # Errors
/// `zfs` fails in another way.
pub fn guid(name: &Name) -> Result<Option<String>> {
    let output = command::guid(&name.to_string()).run()?;
    if output.is_success() {
        let guid = output.stdout.trim();
        if guid.is_empty() || !guid.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Failure::backup_failed(format!(
                "`{}` printed `{guid}` instead of a guid",
                output.command
            )));
        }
        return Ok(Some(guid.to_owned()));
    }
    if is_gone(&output.complaint()) {
        Ok(None)
    } else {
        Err(output.failure())
    }
}

/// The snapshots of the dataset that earlier runs of the job left, each with its guid. That they say so
/// themselves finds also those whose backup is no longer known. A recursive one whose top somebody
/// destroyed has no guid.
///
/// # Errors
/// `zfs` fails.
pub fn of_job(config: &Config, run: &RunInfo, but: &Name) -> Result<Vec<(Name, Option<String>)>> {
    let output = command::list_snapshots(config.recursive, &config.pool_name).run()?;
    if !output.is_success() {
        return Err(if is_gone(&output.complaint()) {
            output
                .failure()
                .hint("does the dataset still exist, and is its pool imported?")
        } else {
            output.failure()
        });
    }
    let mut snapshots = Vec::new();
    for name in listed(&output.stdout, &config.pool_name, &run.job_id)
        .into_iter()
        .filter(|name| name != but)
    {
        let guid = guid(&name)?;
        snapshots.push((name, guid));
    }
    Ok(snapshots)
}

/// What is there of a recursive snapshot, in the dataset itself and in all below it.
///
/// # Errors
/// `zfs` fails.
pub fn parts(top: &Name) -> Result<Vec<Name>> {
    let output = command::list_snapshots(true, &top.dataset).run()?;
    if output.is_success() {
        let names = output.stdout.lines().filter_map(|line| line.split('\t').next());
        let names = names.filter_map(Name::parse);
        return Ok(names.filter(|name| name.is_part_of(top)).collect());
    }
    if is_gone(&output.complaint()) {
        Ok(Vec::new())
    } else {
        Err(output.failure())
    }
}

/// The names in the output of `zfs list` that are of the job, each as that of its top, the dataset itself.
fn listed(output: &str, dataset: &str, job_id: &str) -> Vec<Name> {
    let lines = output.lines().filter_map(|line| line.split_once('\t'));
    let mut tops: Vec<Name> = Vec::new();
    for name in lines
        .filter(|(_, job)| *job == job_id)
        .filter_map(|(name, _)| Name::parse(name))
    {
        let top = Name {
            dataset: dataset.to_owned(),
            snapshot: name.snapshot.clone(),
        };
        if name.is_part_of(&top) && !tops.contains(&top) {
            tops.push(top);
        }
    }
    tops
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RUN: &str = "0199a5b2-7c00-7000-8000-000000000001";

    #[test]
    fn other_names_are_not_ours() {
        assert!(Name::parse(&format!("tank@backstay-{RUN}")).is_some());
        for name in [
            "tank".to_owned(),
            "tank@daily".to_owned(),
            format!("tank@{RUN}"),
            format!("tank@-{RUN}"),
            format!("@backstay-{RUN}"),
            format!("-r@backstay-{RUN}"),
            format!("tank@backstay-{RUN}x"),
            format!("tank@a,b-{RUN}"),
            format!("tank@a%b-{RUN}"),
            format!("tank@a@b-{RUN}"),
            "tank@backstay-0199a5b2x7c00-7000-8000-000000000001".to_owned(),
            "tank@ééééééééééééééééééééééé".to_owned(),
        ] {
            assert_eq!(Name::parse(&name), None, "{name}");
        }
    }

    #[test]
    fn only_snapshots_that_name_the_job_are_found() {
        let other = RUN.replace('1', "2");
        let output = format!(
            "tank@daily\t-\ntank@backstay-{RUN}\tJOB\ntank@backstay-{other}\tOTHER\ntank/child@backstay-{RUN}\tJOB\ntank@manual\tJOB\ntanks@backstay-{other}\tJOB\n"
        );
        let names: Vec<String> = listed(&output, "tank", "JOB")
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(names, [format!("tank@backstay-{RUN}")]);
    }

    #[test]
    fn a_recursive_snapshot_is_found_even_if_its_top_is_gone() {
        let names = listed(
            &format!("tank/a@backstay-{RUN}\tJOB\ntank/b c@backstay-{RUN}\tJOB\n"),
            "tank",
            "JOB",
        );
        assert_eq!(
            names,
            [Name::parse(&format!("tank@backstay-{RUN}")).expect("a name")]
        );
    }

    #[test]
    fn both_kinds_of_zfs_say_that_something_is_gone() {
        assert!(is_gone("cannot open 'tank/data@x': dataset does not exist"));
        assert!(is_gone(
            "could not find any snapshots to destroy; check snapshot names."
        ));
        assert!(!is_gone("cannot destroy 'tank@x': dataset is busy"));
    }

    proptest! {
        #[test]
        fn a_name_that_is_ours_is_always_one_snapshot(text in "[-a-z@%,/0 ]{0,8}@?[-a-z%,@]{0,8}-0199a5b2-7c00-7000-8000-000000000001") {
            if let Some(name) = Name::parse(&text) {
                prop_assert_eq!(name.to_string(), text.clone());
                let (_, snapshot) = text.split_once('@').expect("an @");
                prop_assert!(!snapshot.contains(['@', '%', ',', ' ', '/']));
            }
        }
    }
}
