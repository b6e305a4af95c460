//! Gives a stream, or one link of a chain of streams, back to ZFS.

use backstay_sdk::{Code, Content, Failure, Restored, Result, RunInfo, Target, When, journal, log, progress};

use crate::drill::Scratch;
use crate::snapshot::is_gone;
use crate::{Facts, command};

/// Receives a stream into the dataset that the target names; for a drill, into a new one below it.
///
/// # Errors
/// The target names no dataset, or one that is in the way, or `zfs receive` fails.
pub fn restore(facts: &Facts, run: &RunInfo, content: Content, target: &Target) -> Result<Restored> {
    let place = choose(facts, target)?;
    if target.drill && facts.recursive {
        // They bring their mount points with them, and would be mounted where the originals are if the machine were to
        // start again meanwhile.
        return Ok(Restored::untried());
    }
    let scratch = target.drill.then(|| Scratch::below(&place, &run.run_id));
    let dataset = scratch.as_ref().map_or(place, Scratch::to_string);
    let exists = exists(&dataset)?;
    let replace = decide(facts, target, &dataset, exists)?;
    let command = command::receive(replace, &dataset);
    let restored = Restored {
        place: dataset.clone(),
        entries: 0,
        bytes: 0,
    };
    if target.dry_run {
        log::info(format!(
            "would run `{command}` with the stream of {}",
            facts.snapshot
        ));
        return Ok(restored);
    }
    if let Some(scratch) = scratch.filter(|_| !target.continues) {
        journal::record(&scratch.entry(), When::Always)?;
    }
    progress::stage("receiving");
    log::info(format!(
        "running `{command}` with the stream of {}",
        facts.snapshot
    ));
    let received = content.into_stream().and_then(|stream| command.run_with(stream));
    let failure = match received {
        Ok(output) if output.is_success() => {
            if facts.recursive && !target.continues {
                log::info(format!(
                    "the datasets came with their properties; look at `zfs get -r mountpoint {dataset}` before you mount them"
                ));
            }
            return Ok(restored);
        }
        Ok(output) => explain(output.failure(), &output.complaint(), &dataset),
        Err(failure) => failure,
    };
    Err(if target.continues && !target.drill {
        say_what_is_there(failure, &dataset)
    } else {
        failure
    })
}

/// What a machine without Backstay runs.
pub fn recovery_command(facts: &Facts) -> &'static str {
    if facts.recursive && facts.base_guid.is_some() {
        "zfs receive -u -F \"$TARGET\""
    } else {
        "zfs receive -u \"$TARGET\""
    }
}

/// The links of a chain before the one that failed are good, but not what was asked for.
fn say_what_is_there(failure: Failure, dataset: &str) -> Failure {
    let left = format!(
        "{dataset} is now as it was at the backup before this one; use it, or remove it with `zfs destroy -r {dataset}`"
    );
    let hint = match &failure.hint {
        Some(hint) => format!("{hint}; {left}"),
        None => left,
    };
    failure.hint(hint)
}

/// The dataset that the target names.
fn choose(facts: &Facts, target: &Target) -> Result<String> {
    if !target.paths.is_empty() {
        return Err(
            Failure::configuration("a ZFS backup is restored as a whole, not by single paths")
                .hint("restore it to a new dataset and copy the files from there"),
        );
    }
    let Some(place) = &target.place else {
        return Err(Failure::configuration(format!(
            "a ZFS backup is not restored over its own dataset {}",
            facts.dataset
        ))
        .hint("name a new dataset, such as `--to POOL/NAME`, and rename it afterwards"));
    };
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_-.:/".contains(c);
    let is_dataset = place.starts_with(|c: char| c.is_ascii_alphanumeric())
        && place.chars().all(allowed)
        && !place.ends_with('/')
        && !place.contains("//");
    if !is_dataset {
        return Err(
            Failure::configuration(format!("`{place}` is not the name of a dataset"))
                .hint("a ZFS backup is restored to a dataset, such as `tank/restored`, not to a directory"),
        );
    }
    Ok(place.clone())
}

/// Whether what is at the dataset is replaced (`-F`). A later link of a recursive chain needs that, or else
/// datasets that were destroyed between two backups would come back.
///
/// An increment is never received into nothing: ZFS would look through the pool for another dataset
/// that has its base, and change that one.
fn decide(facts: &Facts, target: &Target, dataset: &str, exists: bool) -> Result<bool> {
    let is_increment = facts.base_guid.is_some();
    if is_increment && !target.continues {
        let message = format!(
            "{} is an increment, and the backup before it was not restored first",
            facts.snapshot
        );
        return Err(Failure::new(Code::Verification, message));
    }
    if target.continues {
        // In a dry run the links before it were not received.
        if !exists && !target.dry_run {
            let message = format!("{dataset}, made by the backup before this one, is not there");
            return Err(Failure::storage(message));
        }
        return Ok(facts.recursive);
    }
    if exists && !target.overwrite {
        return Err(
            Failure::configuration(format!("the dataset {dataset} exists already"))
                .hint("name one that doesn't, or allow it to be overwritten"),
        );
    }
    Ok(exists)
}

fn exists(dataset: &str) -> Result<bool> {
    let output = command::list_one(dataset).run()?;
    if output.is_success() {
        Ok(true)
    } else if is_gone(&output.complaint()) {
        Ok(false)
    } else {
        Err(output.failure().with_code(Code::Storage))
    }
}

fn explain(failure: Failure, complaint: &str, dataset: &str) -> Failure {
    let failure = failure.with_code(Code::Storage);
    if complaint.contains("must destroy them to overwrite it") {
        failure.hint(format!(
            "{dataset} has snapshots of its own; destroy it first, or name a new dataset"
        ))
    } else if complaint.contains("does not exist") {
        failure.hint(format!("create the parent of {dataset} first"))
    } else if complaint.contains("has been modified") {
        failure.hint(format!(
            "{dataset} was changed during the restore; start again with a new dataset"
        ))
    } else if complaint.contains("No space left") || complaint.contains("out of space") {
        failure.with_code(Code::DiskSpace)
    } else if ["invalid stream", "invalid backup stream", "checksum mismatch"]
        .iter()
        .any(|said| complaint.contains(said))
    {
        failure
            .with_code(Code::Verification)
            .hint("the stored stream is damaged; restore from another destination")
    } else {
        failure
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(base: Option<&str>) -> Facts {
        Facts {
            dataset: "tank".to_owned(),
            snapshot: "tank@s".to_owned(),
            guid: "2".to_owned(),
            base_guid: base.map(str::to_owned),
            raw: false,
            recursive: false,
            compressed: false,
            large_blocks: false,
            increments: 0,
        }
    }

    fn target(place: Option<&str>) -> Target {
        Target {
            place: place.map(str::to_owned),
            paths: Vec::new(),
            overwrite: false,
            dry_run: false,
            continues: false,
            drill: false,
        }
    }

    #[test]
    fn a_restore_needs_a_dataset() {
        let failure = choose(&facts(None), &target(None)).expect_err("no place");
        assert_eq!(
            failure.message,
            "a ZFS backup is not restored over its own dataset tank"
        );
        for place in ["/mnt/x", "-F", "tank@x", "tank/", "tank//x", "tank x", ""] {
            let failure = choose(&facts(None), &target(Some(place))).expect_err(place);
            assert_eq!(failure.message, format!("`{place}` is not the name of a dataset"));
        }
        assert_eq!(
            choose(&facts(None), &target(Some("tank/a.b:c"))).expect("a dataset"),
            "tank/a.b:c"
        );
    }

    #[test]
    fn single_paths_are_refused() {
        let wish = Target {
            paths: vec!["a".to_owned()],
            ..target(Some("tank/x"))
        };
        assert!(choose(&facts(None), &wish).is_err());
    }

    #[test]
    fn what_is_there_is_only_replaced_on_request() {
        let plain = target(Some("tank/x"));
        assert!(!decide(&facts(None), &plain, "tank/x", false).expect("new"));
        let failure = decide(&facts(None), &plain, "tank/x", true).expect_err("in the way");
        assert_eq!(failure.message, "the dataset tank/x exists already");
        let told = Target {
            overwrite: true,
            ..plain
        };
        assert!(decide(&facts(None), &told, "tank/x", true).expect("replaced"));
        assert!(!decide(&facts(None), &told, "tank/x", false).expect("nothing to replace"));
    }

    #[test]
    fn an_increment_is_only_received_after_its_base() {
        let first = target(Some("tank/x"));
        assert!(decide(&facts(Some("1")), &first, "tank/x", false).is_err());
        let later = Target {
            continues: true,
            ..first
        };
        assert!(
            decide(&facts(Some("1")), &later, "tank/x", false).is_err(),
            "into nothing"
        );
        assert!(!decide(&facts(Some("1")), &later, "tank/x", true).expect("a link of the chain"));
        let recursive = Facts {
            recursive: true,
            ..facts(Some("1"))
        };
        assert!(decide(&recursive, &later, "tank/x", true).expect("a link of a recursive chain"));
    }

    #[test]
    fn the_recovery_command_does_what_a_restore_does() {
        for (base, recursive) in [(None, false), (None, true), (Some("1"), false), (Some("1"), true)] {
            let facts = Facts {
                recursive,
                ..facts(base)
            };
            let place = Target {
                continues: base.is_some(),
                ..target(Some("tank/x"))
            };
            let replace = decide(&facts, &place, "tank/x", base.is_some()).expect("a link");
            let expected = command::receive(replace, "\"$TARGET\"").to_string();
            assert_eq!(recovery_command(&facts), expected.replace('\'', ""));
        }
    }
}
