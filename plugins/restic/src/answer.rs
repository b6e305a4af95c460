//! What restic answers, as JSON or as lines.

use backstay_sdk::{Failure, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::command;

/// The oldest version that has all that is used here.
pub const OLDEST: (u32, u32) = (0, 14);

/// What the tag with the key of a tree begins with.
pub const OF_TREE: &str = "tree:";

/// What the tag with the bytes of a tree's content begins with.
pub const OF_BYTES: &str = "bytes:";

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
    /// The key of the object in it, as a tag has it if it is a tree; nothing if it is a snapshot of another kind.
    pub fn key(&self) -> Option<&str> {
        match (self.tree(), self.paths.as_slice()) {
            (Some(key), _) => Some(key),
            (None, [path]) => path.strip_prefix('/'),
            _ => None,
        }
    }

    /// The key of the tree in it, as its tag has it.
    pub fn tree(&self) -> Option<&str> {
        // Before trees were stored, jobs could have such tags of their own.
        let is_of_object = |key: &&str| self.has(&command::of_object(key));
        self.tag_after(OF_TREE).filter(is_of_object)
    }

    /// Bytes of content of the tree in it.
    pub fn bytes(&self) -> Option<u64> {
        self.tag_after(OF_BYTES)?.parse().ok()
    }

    fn tag_after(&self, start: &str) -> Option<&str> {
        let mut tags = self.tags.iter().flatten();
        tags.find_map(|tag| tag.strip_prefix(start))
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

/// What a backup did. It is read as restic says it, and kept with the run in the manner of Backstay.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, rename_all(serialize = "camelCase"))]
pub struct Summary {
    /// Files that weren't there before.
    pub files_new: u64,
    /// Files that were there and have changed.
    pub files_changed: u64,
    /// Files that were there as they are.
    pub files_unmodified: u64,
    /// Directories that weren't there before.
    pub dirs_new: u64,
    /// Directories in which something has changed.
    pub dirs_changed: u64,
    /// Directories that were there as they are.
    pub dirs_unmodified: u64,
    /// Bytes that the repository has grown by, before compression.
    pub data_added: u64,
    /// Bytes of all files, those included that were not read again.
    pub total_bytes_processed: u64,
    /// Seconds.
    pub total_duration: f64,
    /// The new snapshot; some versions print only the first 8 digits of its id.
    pub snapshot_id: String,
}

impl Summary {
    /// Regular files in the snapshot.
    pub fn files(&self) -> u64 {
        self.files_new + self.files_changed + self.files_unmodified
    }
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

/// What restic could not read, and why, among what it complains of in JSON, one object a line; nothing if it complains in
/// a way that doesn't say of what.
pub fn untaken(lines: &str) -> Option<Vec<(String, String)>> {
    let mut untaken = Vec::new();
    for line in lines.lines().filter(|line| line.starts_with('{')) {
        let line: Value = serde_json::from_str(line).ok()?;
        if line["message_type"] != "error" {
            continue;
        }
        match (line["during"].as_str()?, line["item"].as_str()) {
            ("archival", item) => untaken.push((item?.to_owned(), cause(&line["error"]))),
            _ => continue,
        }
    }
    Some(untaken)
}

/// Why something could not be read. Some versions print only the fields of Go's error.
fn cause(error: &Value) -> String {
    let message = error["message"].as_str().or(error.as_str());
    match (message.filter(|text| !text.is_empty()), error["Err"].as_i64()) {
        (Some(message), _) => message.to_owned(),
        (None, Some(number)) => {
            let operation = error["Op"].as_str().unwrap_or("it failed");
            format!("restic says: {operation}, error {number}")
        }
        (None, None) => "restic does not say why".to_owned(),
    }
}

/// What restic complains of besides files that it could not read.
pub fn without_files(lines: &str) -> String {
    let is_of_file = |line: &&str| {
        let line = serde_json::from_str::<Value>(line).unwrap_or_default();
        line["message_type"] == "error" && line["item"].is_string()
    };
    let others = lines.lines().filter(|line| !is_of_file(line));
    others.map(|line| format!("{line}\n")).collect()
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

/// Whether `restic version` printed that of a release which can't store a stream under a path
/// (<https://github.com/restic/restic/releases/tag/v0.18.1>).
pub fn is_broken(text: &str) -> bool {
    text.starts_with("restic 0.18.0 ")
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
    fn what_could_not_be_read_is_named_once() {
        let lines = r#"{"message_type":"error","error":{},"during":"archival","item":"d"}
{"message_type":"error","error":{"Op":"open","Path":"no","Err":13},"during":"archival","item":"/src/no"}
{"message_type":"error","error":{},"during":"scan","item":"/src/d"}
{"message_type":"error","error":{"message":"open /src/x: input/output error"},"during":"archival","item":"/src/x"}
Warning: at least one source file could not be read
"#;
        let expected = [
            ("d", "restic does not say why"),
            ("/src/no", "restic says: open, error 13"),
            ("/src/x", "open /src/x: input/output error"),
        ];
        let expected = expected.map(|(path, why)| (path.to_owned(), why.to_owned()));
        assert_eq!(untaken(lines), Some(expected.to_vec()));
        assert_eq!(
            without_files(lines),
            "Warning: at least one source file could not be read\n"
        );
    }

    #[test]
    fn a_complaint_of_a_file_is_never_passed_over() {
        for error in ["7", "null", r#"{"Op":"read","Err":{}}"#, r#"{"message":7}"#] {
            let line =
                format!(r#"{{"message_type":"error","error":{error},"during":"archival","item":"/x"}}"#);
            assert_eq!(untaken(&line).map(|all| all.len()), Some(1), "{line}");
        }
        for line in [
            r#"{"message_type":"error","error":{},"during":"archival"}"#,
            r#"{"message_type":"error","error":{},"item":"/x"}"#,
            r#"{"message_type":"error","error":{},"during":"arch"#,
        ] {
            assert_eq!(untaken(line), None, "{line}");
        }
    }

    #[test]
    fn a_tree_has_its_key_and_size_in_tags() {
        let listed = snapshots(
            r#"[{"id":"a","paths":["/srv"],"tags":["backstay","object:data","tree:j/1/data","bytes:7"]},
                {"id":"b","paths":["/j/1/data.tar"],"tags":["backstay","object:data.tar","tree:x"]}]"#,
        );
        let listed = listed.expect("a list");
        assert_eq!((listed[0].key(), listed[0].bytes()), (Some("j/1/data"), Some(7)));
        // A stream with a tag of somebody's own stays a stream.
        assert_eq!((listed[1].key(), listed[1].tree()), (Some("j/1/data.tar"), None));
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
        assert!(is_broken("restic 0.18.0 compiled with go1.24.4 on linux/amd64"));
        assert!(!is_broken("restic 0.18.1 compiled with go1.24.4 on linux/amd64"));
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(text in ".{0,40}") {
            let _ = (snapshots(&text).is_ok(), summary(&text), untaken(&text), size(&text, "/x"), lock(&text).is_ok(), version(&text));
        }
    }
}
