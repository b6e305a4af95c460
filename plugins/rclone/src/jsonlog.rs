//! What rclone says in its JSON log, one object a line: how far it is, what went wrong, and what it found.

use serde::{Deserialize, Serialize};

/// What stands before the number of bytes in a line that says how far rclone is.
pub const BYTES_DONE: &str = "\"stats\":{\"bytes\":";

/// What a copy did, as it is kept with the run.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Copied {
    /// Files at the remote, links among them.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that the remote copied from the backup before.
    pub files_copied_there: u64,
    /// Files that rclone sent.
    pub transfers: u64,
    /// Bytes that it sent, those of files included that it had to send again.
    pub transferred_bytes: u64,
    /// How often something of a file failed.
    pub errors: u64,
    /// Seconds.
    pub duration: f64,
    /// Regular files that were compared with the source afterwards and are as they should be.
    pub files_checked: u64,
}

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    /// Files that are alike.
    pub matching: u64,
    /// Paths of files that aren't, or are missing, and what is wrong with them, as far as the log goes back.
    pub different: Vec<(String, String)>,
    /// What else went wrong, so that not all could be compared.
    pub failures: Vec<String>,
    /// Whether there are no hashes that both sides know, so that sizes were compared.
    pub is_without_hashes: bool,
}

/// A line.
#[derive(Debug, Deserialize)]
struct Line {
    level: String,
    msg: String,
    object: Option<String>,
    stats: Option<Stats>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stats {
    bytes: u64,
    transfers: u64,
    errors: u64,
    #[serde(default)]
    elapsed_time: f64,
}

/// Its lines, without one that has lost its start.
fn lines(log: &str) -> impl DoubleEndedIterator<Item = Line> {
    log.lines().filter_map(|line| serde_json::from_str(line).ok())
}

fn is_error(line: &Line) -> bool {
    matches!(line.level.as_str(), "error" | "critical" | "fatal")
}

/// What went wrong.
pub fn errors(log: &str) -> Vec<String> {
    lines(log).filter(is_error).map(|line| line.msg).collect()
}

/// All that was said but how far it was, a line each.
pub fn messages(log: &str) -> String {
    let said = lines(log).filter(|line| line.stats.is_none());
    said.map(|line| format!("{}\n", line.msg.trim())).collect()
}

/// Whether a message is of a file that changed or went while rclone read it.
pub fn is_of_source(message: &str) -> bool {
    const SIGNS: [&str; 5] = [
        "source file is being updated",
        "failed to open source object",
        "error reading source directory",
        "corrupted on transfer",
        "vanished",
    ];
    SIGNS.iter().any(|sign| message.contains(sign))
}

/// What was copied, by the last word on it.
pub fn copied(log: &str) -> Copied {
    let last = lines(log).rev().find_map(|line| line.stats);
    last.map_or_else(Copied::default, |stats| Copied {
        transfers: stats.transfers,
        transferred_bytes: stats.bytes,
        errors: stats.errors,
        duration: stats.elapsed_time,
        ..Copied::default()
    })
}

/// Whether a message of a check is of a file that isn't what it should be.
fn is_difference(message: &str) -> bool {
    message.ends_with(" differ") || message.ends_with(" differs") || message.starts_with("file not in ")
}

/// What a check found; nothing if it didn't come to its end.
pub fn checked(log: &str) -> Option<Checked> {
    let number_before = |text: &str, words: &str| text.strip_suffix(words)?.trim().parse::<u64>().ok();
    let mut checked = Checked::default();
    let mut differences = None;
    for line in lines(log).filter(|line| line.stats.is_none()) {
        let text = line.msg.trim();
        differences = differences.or_else(|| number_before(text, " differences found"));
        if let Some(matching) = number_before(text, " matching files") {
            checked.matching = matching;
        }
        if text.starts_with("No common hash found") {
            checked.is_without_hashes = true;
            continue;
        }
        // The end of what is said before.
        if text.starts_with("Failed to check") {
            continue;
        }
        match (is_error(&line), line.object) {
            (true, Some(object)) if is_difference(text) => checked.different.push((object, text.to_owned())),
            // What went away meanwhile is found by the number of those that are alike.
            (true, _) if !is_of_source(text) && !text.contains("no such file or directory") => {
                checked.failures.push(text.to_owned());
            }
            _ => {}
        }
    }
    differences.map(|_| checked)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const COPY: &str = r#"  cut off","object":"x"}
{"time":"t","level":"error","msg":"Failed to copy: failed to open source object: lstat x: no such file or directory","object":"x","objectType":"*local.Object","source":"operations.go:1"}
{"time":"t","level":"notice","msg":"   31 B / 62 B, 50%\n","stats":{"bytes":31,"checks":0,"elapsedTime":0.5,"errors":1,"eta":null,"transfers":1},"source":"stats.go:1"}
{"level":"error","msg":"Attempt 1/3 failed with 1 errors and: failed to open source object: lstat x: no such file or directory"}
{"time":"t","level":"notice","msg":"62 B / 62 B, 100%\n","stats":{"bytes":62,"checks":0,"elapsedTime":1.5,"errors":1,"eta":null,"transfers":19},"source":"stats.go:1"}
"#;

    #[test]
    fn a_copy_says_what_it_did_and_what_of_the_source_went_wrong() {
        let did = copied(COPY);
        assert_eq!((did.transfers, did.transferred_bytes, did.errors), (19, 62, 1));
        assert_eq!(errors(COPY).len(), 2);
        assert!(errors(COPY).iter().all(|message| is_of_source(message)));
        assert!(!is_of_source("Failed to copy: 507 Insufficient Storage"));
        assert_eq!(messages(COPY).lines().count(), 2);
        assert!(COPY.contains(BYTES_DONE));
    }

    #[test]
    fn a_check_says_what_is_alike_if_it_came_to_its_end() {
        let log = r#"{"level":"error","msg":"file not in S3 bucket b","object":"sub/x","objectType":"*local.Object"}
{"level":"error","msg":"md5 differ","object":"y"}
{"level":"notice","msg":"2 differences found","object":"S3 bucket b","objectType":"*s3.Fs"}
{"level":"notice","msg":"17 matching files","object":"S3 bucket b"}
"#;
        let found = checked(log).expect("an end");
        assert_eq!(found.matching, 17);
        let different = [("sub/x", "file not in S3 bucket b"), ("y", "md5 differ")];
        assert_eq!(
            found.different,
            different.map(|(path, what)| (path.to_owned(), what.to_owned()))
        );
        let refused = r#"{"level":"error","msg":"error reading destination directory: connection refused","object":"S3 bucket b"}
{"level":"notice","msg":"0 differences found"}
"#;
        assert_eq!(checked(refused).map(|found| found.failures.len()), Some(1));
        let by_size = r#"{"level":"error","msg":"No common hash found - not using a hash for checks"}
{"level":"notice","msg":"0 differences found"}
"#;
        let found = checked(by_size).expect("an end");
        assert!(found.is_without_hashes && found.failures.is_empty());
        let nothing = r#"{"level":"notice","msg":"1 differences found"}"#;
        assert_eq!(checked(nothing).map(|found| found.matching), Some(0));
        assert_eq!(checked(r#"{"level":"error","msg":"connection refused"}"#), None);
    }

    proptest! {
        #[test]
        fn no_log_makes_it_panic(text in ".{0,60}") {
            let _ = (errors(&text), messages(&text), copied(&text), checked(&text));
        }
    }
}
