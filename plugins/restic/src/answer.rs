//! What restic answers, as JSON or as lines.

use backstay_sdk::{Failure, Result};
use jiff::Timestamp;
use serde::Deserialize;

/// The oldest version that has all that is used here.
pub const OLDEST: (u32, u32) = (0, 14);

/// A snapshot, as `restic snapshots --json` says it.
#[derive(Debug, Clone, Deserialize)]
pub struct Snapshot {
    /// Its whole id.
    pub id: String,
    /// What was backed up.
    #[serde(default)]
    paths: Vec<String>,
    /// Its tags.
    #[serde(default)]
    tags: Option<Vec<String>>,
}

impl Snapshot {
    /// The key of the object in it; nothing if it is a snapshot of another kind.
    pub fn key(&self) -> Option<&str> {
        match self.paths.as_slice() {
            [path] => path.strip_prefix('/'),
            _ => None,
        }
    }

    /// Whether it has a tag.
    pub fn has(&self, tag: &str) -> bool {
        self.tags
            .as_ref()
            .is_some_and(|tags| tags.iter().any(|own| own == tag))
    }
}

/// The snapshots in a list. restic says `null` where there are none.
///
/// # Errors
/// It is not what restic prints.
pub fn snapshots(json: &str) -> Result<Vec<Snapshot>> {
    Ok(read::<Option<Vec<Snapshot>>>(json)?.unwrap_or_default())
}

/// What a backup did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Summary {
    /// Files that weren't there before.
    pub files_new: u64,
    /// Files that were there and have changed.
    pub files_changed: u64,
    /// Files that were there as they are.
    pub files_unmodified: u64,
    /// Bytes that the repository has grown by, before compression.
    pub data_added: u64,
    /// Bytes that were read.
    pub total_bytes_processed: u64,
    /// The new snapshot; some versions print only the first 8 digits of its id.
    pub snapshot_id: String,
}

/// The last summary among what `restic backup --json` prints, one object a line.
pub fn summary(lines: &str) -> Option<Summary> {
    #[derive(Deserialize)]
    struct Line {
        message_type: String,
        #[serde(flatten)]
        summary: Summary,
    }
    let read = |line: &str| serde_json::from_str::<Line>(line).ok();
    let mut found = lines.lines().rev().filter_map(read);
    found
        .find(|line| line.message_type == "summary")
        .map(|line| line.summary)
}

/// The size of a file among what `restic ls --json` prints, one object a line; nothing if it isn't there.
pub fn size(lines: &str, path: &str) -> Option<u64> {
    #[derive(Deserialize)]
    struct Node {
        path: String,
        #[serde(rename = "type")]
        kind: String,
        /// Some versions leave out nothing but zero.
        #[serde(default)]
        size: u64,
    }
    let nodes = lines
        .lines()
        .filter_map(|line| serde_json::from_str::<Node>(line).ok());
    let mut files = nodes.filter(|node| node.kind == "file" && node.path == path);
    files.next().map(|node| node.size)
}

/// A lock, as `restic cat lock` prints it.
#[derive(Debug, Clone, Deserialize)]
pub struct Lock {
    /// When it was made, or renewed: its process does that every five minutes.
    pub time: Timestamp,
    /// The machine of its process.
    pub hostname: String,
    /// Its process.
    pub pid: u32,
}

/// A lock.
///
/// # Errors
/// It is not what restic prints.
pub fn lock(json: &str) -> Result<Lock> {
    read(json)
}

/// The version of a repository's format.
///
/// # Errors
/// It is not what restic prints.
pub fn repository_version(json: &str) -> Result<u32> {
    #[derive(Deserialize)]
    struct Repository {
        version: u32,
    }
    Ok(read::<Repository>(json)?.version)
}

/// Major and minor version from what `restic version` prints.
pub fn version(text: &str) -> Option<(u32, u32)> {
    let word = text
        .lines()
        .next()?
        .strip_prefix("restic ")?
        .split_whitespace()
        .next()?;
    let mut numbers = word.split(['.', '-']);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn read<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T> {
    serde_json::from_str(json).map_err(|e| {
        Failure::environment(format!("restic printed something unexpected: {e}"))
            .hint("`restic version` must be 0.14 or newer")
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_summary_is_found_among_other_lines() {
        let lines = r#"{"message_type":"status","percent_done":1}
{"message_type":"summary","files_new":1,"files_changed":0,"files_unmodified":0,"dirs_new":2,"data_added":3000836,"total_bytes_processed":3000000,"snapshot_id":"8bb11cf0"}
"#;
        let summary = summary(lines).expect("a summary");
        assert_eq!((summary.files_new, summary.data_added), (1, 3_000_836));
        assert_eq!(summary.snapshot_id, "8bb11cf0");
        assert_eq!(super::summary("{}\nnothing"), None);
    }

    #[test]
    fn the_size_is_that_of_the_file_and_of_no_other() {
        let lines = r#"{"time":"2026-11-21T10:00:00Z","paths":["/j/1/data"],"struct_type":"snapshot"}
{"name":"j","type":"dir","path":"/j","struct_type":"node"}
{"name":"data","type":"file","path":"/j/1/data","size":42,"struct_type":"node"}
"#;
        assert_eq!(size(lines, "/j/1/data"), Some(42));
        assert_eq!(size(lines, "/j"), None);
    }

    #[test]
    fn snapshots_of_this_plugin_have_one_path_and_a_tag() {
        let listed = snapshots(
            r#"[{"id":"a","paths":["/j/1/data"],"tags":["backstay"]},{"id":"b","paths":["/x","/y"]}]"#,
        )
        .expect("a list");
        assert_eq!(
            (listed[0].key(), listed[0].has("backstay")),
            (Some("j/1/data"), true)
        );
        assert_eq!((listed[1].key(), listed[1].has("backstay")), (None, false));
        assert!(snapshots("null").expect("a list").is_empty());
    }

    #[test]
    fn times_of_locks_are_instants() {
        let lock = |time: &str| {
            lock(&format!(
                r#"{{"time":"{time}","exclusive":false,"hostname":"vm","username":"root","pid":7}}"#
            ))
        };
        let utc = lock("2026-11-21T13:31:33.412812689Z").expect("a lock");
        let local = lock("2026-11-21T14:31:33.412812689+01:00").expect("a lock");
        assert_eq!(utc.time, local.time);
    }

    #[test]
    fn versions_of_releases_and_of_development() {
        assert_eq!(
            version("restic 0.14.0 compiled with go1.19.8 on linux/amd64"),
            Some((0, 14))
        );
        assert_eq!(version("restic 0.18.1-dev (compiled manually) …"), Some((0, 18)));
        assert_eq!(version("something else"), None);
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(text in ".{0,40}") {
            let _ = (snapshots(&text).is_ok(), summary(&text), size(&text, "/x"), lock(&text).is_ok(), version(&text));
        }
    }
}
