//! Which earlier backup an increment is based on.

use backstay_sdk::Result;

use crate::config::Config;
use crate::snapshot::{self, Name};
use crate::{Facts, log};

/// An earlier backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its id.
    pub backup_id: String,
    /// What its manifest keeps.
    pub facts: Facts,
}

/// The newest candidate whose snapshot is still there; nothing if a whole stream must be sent.
///
/// # Errors
/// `zfs` fails.
pub fn find(config: &Config, candidates: &[Candidate]) -> Result<Option<Candidate>> {
    let base = select(config, candidates, snapshot::guid)?;
    if base.is_none() && !candidates.is_empty() {
        log::info("no snapshot of an earlier backup can be the base of an increment");
    }
    Ok(base.cloned())
}

/// Whether a chain has as many increments as the job wants at most: what is kept builds on all of it.
pub fn is_long_enough(config: &Config, newest: &Facts) -> bool {
    let is_long = config.max_increments > 0 && newest.increments >= config.max_increments;
    if is_long {
        log::info(format!(
            "the chain has {} increments, and a new one begins; if there is no room for a second whole stream, raise `maxIncrements`",
            newest.increments
        ));
    }
    is_long
}

/// The newest of `candidates` (which come newest first) that was sent in the same way from the same
/// dataset, and whose snapshot has the guid that was noted.
fn select<'a>(
    config: &Config,
    candidates: &'a [Candidate],
    mut guid: impl FnMut(&Name) -> Result<Option<String>>,
) -> Result<Option<&'a Candidate>> {
    for candidate in candidates
        .iter()
        .filter(|candidate| suits(config, &candidate.facts))
    {
        let Some(name) =
            Name::parse(&candidate.facts.snapshot).filter(|name| name.dataset() == config.pool_name)
        else {
            continue;
        };
        if guid(&name)?.as_ref() == Some(&candidate.facts.guid) {
            return Ok(Some(candidate));
        }
    }
    Ok(None)
}

/// Whether an increment of this configuration can be received after that backup. `compressed` may differ.
fn suits(config: &Config, facts: &Facts) -> bool {
    facts.dataset == config.pool_name
        && facts.raw == config.raw
        && facts.recursive == config.recursive
        && facts.large_blocks == config.large_blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(number: u32, change: impl FnOnce(&mut Facts)) -> Candidate {
        let mut facts = Facts {
            dataset: "tank".to_owned(),
            snapshot: format!("tank@backstay-0199a5b2-7c00-7000-8000-00000000000{number}"),
            guid: format!("100{number}"),
            base_guid: None,
            raw: false,
            recursive: false,
            compressed: false,
            large_blocks: false,
            increments: 0,
        };
        change(&mut facts);
        Candidate {
            backup_id: format!("backup-{number}"),
            facts,
        }
    }

    fn check(candidates: &[Candidate], there: &[(u32, &str)], expected: Option<&str>) {
        let config: Config = serde_json::from_str(r#"{"poolName":"tank"}"#).expect("config");
        let look = |name: &Name| {
            let found = there
                .iter()
                .find(|(number, _)| name.to_string().ends_with(&number.to_string()));
            Ok(found.map(|(_, guid)| (*guid).to_owned()))
        };
        let base = select(&config, candidates, look).expect("no failure");
        assert_eq!(base.map(|b| b.backup_id.as_str()), expected);
    }

    #[test]
    fn the_newest_that_is_there_is_the_base() {
        let all = [candidate(3, |_| {}), candidate(2, |_| {}), candidate(1, |_| {})];
        check(&all, &[(1, "1001"), (2, "1002"), (3, "1003")], Some("backup-3"));
        check(&all, &[(1, "1001"), (2, "1002")], Some("backup-2"));
        check(&all, &[], None);
        check(&[], &[(1, "1001")], None);
    }

    #[test]
    fn a_snapshot_of_the_same_name_with_another_guid_is_no_base() {
        check(
            &[candidate(2, |_| {}), candidate(1, |_| {})],
            &[(2, "9"), (1, "1001")],
            Some("backup-1"),
        );
    }

    #[test]
    fn a_backup_that_was_sent_in_another_way_is_no_base() {
        let there = [(1, "1001")];
        check(&[candidate(1, |f| f.raw = true)], &there, None);
        check(&[candidate(1, |f| f.recursive = true)], &there, None);
        check(&[candidate(1, |f| f.large_blocks = true)], &there, None);
        check(&[candidate(1, |f| f.compressed = true)], &there, Some("backup-1"));
    }

    #[test]
    fn a_backup_of_another_dataset_is_no_base() {
        check(
            &[candidate(1, |f| f.dataset = "old".to_owned())],
            &[(1, "1001")],
            None,
        );
        check(
            &[candidate(1, |f| f.snapshot = f.snapshot.replace("tank", "old"))],
            &[(1, "1001")],
            None,
        );
        check(
            &[candidate(1, |f| f.snapshot = "tank@daily".to_owned())],
            &[(1, "1001")],
            None,
        );
    }
}
