//! What rsync says: its statistics, and why it failed.

use backstay_sdk::{Code, Failure, Output, Result};
use serde::Serialize;

use crate::complaint::of_words;

/// What a copy took, as rsync counted it.
#[derive(Debug, Default, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Statistics {
    /// Regular files of the list that rsync found, each name of a file as one.
    #[serde(skip)]
    pub files_found: Option<u64>,
    /// Regular files whose content was copied, because the snapshot before had none or another.
    pub files_transferred: u64,
    /// Bytes of their content that were copied.
    pub bytes_transferred: u64,
    /// Files, directories and others that the snapshot before did not have under their names.
    pub entries_created: u64,
    /// Bytes of content in all.
    pub total_bytes: u64,
    /// How many times more content there is than was moved.
    pub speedup_ratio: f64,
    /// Milliseconds.
    pub duration_ms: u64,
    /// Entries that are gone from the source and were carried over.
    pub entries_carried: u64,
    /// Where the snapshot is.
    pub local_path: String,
    /// The snapshot that unchanged files are shared with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub linked_to: Option<String>,
}

impl Statistics {
    /// Reads the output of `--info=stats2`. What rsync doesn't say is 0.
    pub fn parse(output: &str) -> Self {
        let number = |sign: &str| {
            let line = output
                .lines()
                .rev()
                .find_map(|line| line.trim().strip_prefix(sign));
            let digits = line.map(|rest| rest.trim_start().split([' ', ',']).next().unwrap_or_default());
            digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
        };
        let found = output
            .rsplit_once("Number of files:")
            .map(|(_, rest)| rest.lines().next());
        let kinds = found.flatten().and_then(|line| line.split_once('('));
        let files_found = kinds.map(|(_, kinds)| kinds.split_once("reg: ").map_or("0", |(_, n)| n));
        let files_found = files_found.and_then(|n| n.split([',', ')']).next()?.parse().ok());
        let speedup = output.rsplit_once("speedup is ").map(|(_, rest)| rest);
        let speedup = speedup.and_then(|rest| rest.split_whitespace().next());
        Statistics {
            files_found,
            files_transferred: number("Number of regular files transferred:"),
            bytes_transferred: number("Literal data:"),
            entries_created: number("Number of created files:"),
            total_bytes: number("Total file size:"),
            speedup_ratio: speedup.and_then(|text| text.parse().ok()).unwrap_or(0.0),
            ..Statistics::default()
        }
    }
}

/// Exit statuses after which the host looks at what is there: some of it may not have been transferred or kept.
const PARTIAL: [i32; 2] = [23, VANISHED];

/// Files of the list were gone, which the host finds out by itself.
const VANISHED: i32 = 24;

/// What rsync complained of although it went through all of its list.
#[derive(Debug, PartialEq, Eq)]
pub struct Complaint {
    /// Its exit status.
    status: i32,
    /// The first thing that it said.
    pub said: String,
}

impl Complaint {
    /// Fails if something of the list may be missing or not as it was, where nobody looks at what is there.
    pub fn refuse_losses(&self) -> Result<()> {
        if self.status == VANISHED {
            return Ok(());
        }
        let message = format!("rsync ended with status {}: {}", self.status, self.said);
        let failure = Failure::storage(message)
            .hint("not all of it was stored as it is, so nothing counts: remove what rsync complains of");
        // The host leaves out what it could not read the last time.
        let is_of_source = self.said.contains("read errors mapping");
        Err(if is_of_source { failure.retry() } else { failure })
    }
}

/// Fails unless rsync went through all of its list. Returns what it complained of, if it could not do all that it should.
///
/// # Errors
/// It gave up.
pub fn judge(output: &Output) -> Result<Option<Complaint>> {
    if output.is_success() {
        return Ok(None);
    }
    let lines = whole_lines(&output.stderr);
    let full = lines.iter().find(|line| says_full(line));
    let cause = match full {
        Some(line) => (*line).to_owned(),
        None => cause(&lines),
    };
    if PARTIAL.contains(&output.status) && full.is_none() {
        return Ok(Some(Complaint {
            status: output.status,
            said: cause,
        }));
    }
    let message = format!("rsync ended with status {}: {cause}", output.status);
    if full.is_some() {
        return Err(Failure::new(Code::DiskSpace, message)
            .hint("make room at the destination or shorten the retention; earlier snapshots are untouched"));
    }
    if cause.contains("Read-only file system") {
        return Err(
            Failure::storage(message).hint("mount it so that it can be written to, and check its health")
        );
    }
    let of_ssh = CONNECTION
        .contains(&output.status)
        .then(|| of_words(&output.stderr, message.clone()))
        .flatten();
    Err(of_ssh.unwrap_or_else(|| {
        Failure::storage(message).hint("remove what it complains of, or run it by hand to see more")
    }))
}

/// The paths below `base` that rsync was told to copy and didn't find; nothing if it complained of something else as well,
/// or of more than is kept of what it said.
pub fn missing(output: &Output, base: &str) -> Option<Vec<String>> {
    if output.status != PARTIAL[0] {
        return None;
    }
    let lines = output.stderr.lines().map(str::trim);
    let mut paths = Vec::new();
    for line in lines.filter(|line| !line.is_empty() && !line.starts_with("rsync error:")) {
        let (who, path) = line.split_once("link_stat \"")?;
        let path = path.strip_suffix("\" failed: No such file or directory (2)")?;
        let path = unescaped(path);
        let path = path.strip_prefix(base)?.strip_prefix('/')?;
        if !who.starts_with("rsync: ") {
            return None;
        }
        paths.push(path.to_owned());
    }
    (!paths.is_empty()).then_some(paths)
}

/// A path in which rsync has written what can't be printed as `\#` with three octal digits.
fn unescaped(path: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = path;
    while let Some((before, after)) = rest.split_once("\\#") {
        bytes.extend_from_slice(before.as_bytes());
        match after
            .get(..3)
            .and_then(|digits| u8::from_str_radix(digits, 8).ok())
        {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            None => {
                bytes.extend_from_slice(b"\\#");
                rest = after;
            }
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Exit statuses of a connection that could not be made or broke: rsync's own, and those that ssh passes on.
const CONNECTION: [i32; 6] = [10, 12, 30, 35, 127, 255];

/// rsync's exit status for a file that could not be read or written.
const FILE_TROUBLE: i32 = 11;

/// Whether rsync ended over a file without saying that the disk is full, which may be lost on its way from another machine.
pub fn may_be_full(output: &Output) -> bool {
    output.status == FILE_TROUBLE && !whole_lines(&output.stderr).iter().any(|line| says_full(line))
}

/// The most that the host keeps of what a program complained, in bytes: the last of it.
const KEPT_BYTES: usize = 16 << 10;

/// The lines of what it complained, without a first one that is not all there.
fn whole_lines(stderr: &str) -> Vec<&str> {
    let whole = match stderr.split_once('\n') {
        Some((_, rest)) if stderr.len() >= KEPT_BYTES && !rest.is_empty() => rest,
        _ => stderr,
    };
    whole
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect()
}

/// Whether a complaint is that there is no room. Some filesystems say the same of an attribute that is too large for them,
/// which is for the host to judge.
fn says_full(line: &str) -> bool {
    let (what, why) = line.rsplit_once(": ").unwrap_or(("", line));
    // A name of a file is never at the end: the number of the error is.
    let is_sign = |sign: &str| {
        why.strip_prefix(sign)
            .is_some_and(|rest| rest.starts_with(" (") && rest.ends_with(')'))
    };
    (is_sign("No space left on device") || is_sign("Disk quota exceeded")) && !what.contains("lsetxattr(")
}

/// The first thing that rsync complained of, which led to all others.
fn cause(lines: &[&str]) -> String {
    let is_cause = |line: &&&str| !line.starts_with("rsync error:") && !line.starts_with("rsync warning:");
    let first = lines.iter().find(is_cause).or(lines.last());
    first.map_or_else(|| "it said nothing".to_owned(), |line| (*line).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(status: i32, stderr: &str) -> Output {
        Output {
            command: "rsync".to_owned(),
            is_fed: true,
            status,
            stdout: String::new(),
            stderr: stderr.to_owned(),
        }
    }

    #[test]
    fn statistics_are_read() {
        let said = "\r      1048581  49%  200.00MB/s    0:00:00 (xfr#3, to-chk=0/21)\n\nNumber of files: 21 (reg: 7, dir: 10)\nNumber of created files: 11 (reg: 4, dir: 7)\nNumber of deleted files: 0\nNumber of regular files transferred: 3\nTotal file size: 2097177 bytes\nTotal transferred file size: 1048581 bytes\nLiteral data: 1048581 bytes\nMatched data: 0 bytes\n\nsent 1049452 bytes  received 112 bytes  2099128.00 bytes/sec\ntotal size is 2097177  speedup is 2.00\n";
        let expected = Statistics {
            files_transferred: 3,
            bytes_transferred: 1_048_581,
            files_found: Some(7),
            entries_created: 11,
            total_bytes: 2_097_177,
            speedup_ratio: 2.0,
            ..Statistics::default()
        };
        assert_eq!(Statistics::parse(said), expected);
        assert_eq!(Statistics::parse("something else"), Statistics::default());
    }

    #[test]
    fn what_is_missing_from_a_snapshot_is_named() {
        let stderr = "rsync: [sender] link_stat \"/my b/j/0/data/gone\" failed: No such file or directory (2)\nrsync: [sender] link_stat \"/my b/j/0/data/d/\\#303\\#274\\#012\" failed: No such file or directory (2)\nrsync error: some files/attrs were not transferred (see previous errors) (code 23) at main.c(1394) [sender=3.2.7]\n";
        let found = missing(&output(23, stderr), "/my b/j/0/data");
        assert_eq!(found, Some(vec!["gone".to_owned(), "d/ü\n".to_owned()]));
        let other = format!("{stderr}rsync: [receiver] mkstemp \"/x\" failed: Permission denied (13)\n");
        assert_eq!(missing(&output(23, &other), "/my b/j/0/data"), None);
        assert_eq!(missing(&output(23, stderr), "/other"), None);
        assert_eq!(missing(&output(24, stderr), "/my b/j/0/data"), None);
        assert_eq!(
            missing(&output(23, &format!("…\n{stderr}")), "/my b/j/0/data"),
            None
        );
    }

    #[test]
    fn the_files_of_a_list_are_counted() {
        let found = |line: &str| Statistics::parse(line).files_found;
        assert_eq!(found("Number of files: 4 (reg: 1, dir: 3)\n"), Some(1));
        assert_eq!(found("Number of files: 1 (reg: 1)\n"), Some(1));
        assert_eq!(found("Number of files: 3 (dir: 3)\n"), Some(0));
        assert_eq!(found("Number of files: 3\n"), None);
    }

    #[test]
    fn the_first_complaint_is_the_cause() {
        let stderr = "rsync: [receiver] write failed on \"/mnt/x\": No space left on device (28)\nrsync error: error in file IO (code 11) at receiver.c(380) [receiver=3.2.7]\n";
        let failure = judge(&output(11, stderr)).expect_err("it gave up");
        assert_eq!(failure.code, Code::DiskSpace);
        assert_eq!(
            failure.message,
            "rsync ended with status 11: rsync: [receiver] write failed on \"/mnt/x\": No space left on device (28)"
        );
    }

    #[test]
    fn no_room_is_a_failure_wherever_it_is_said_and_whatever_the_status() {
        let full = "rsync: [receiver] mkstemp \"/mnt/x/.f\" failed: Disk quota exceeded (122)";
        let vanished = "file has vanished: \"/srv/a: No space left on device\"\n".repeat(300);
        for stderr in [
            format!("file has vanished: \"/srv/x\"\n{full}\n"),
            format!("{vanished}{full}\nrsync error: some files were not transferred (code 23)\n"),
        ] {
            let failure = judge(&output(23, &stderr)).expect_err("no room");
            assert_eq!(failure.code, Code::DiskSpace);
            assert_eq!(failure.message, format!("rsync ended with status 23: {full}"));
        }
        let attribute = "rsync: [receiver] rsync_xal_set: lsetxattr(\"/mnt/x/f\",\"user.large\") failed: No space left on device (28)\n";
        assert!(judge(&output(23, attribute)).expect("the host judges").is_some());
    }

    #[test]
    fn a_line_that_was_cut_is_not_the_cause() {
        let lines = "file has vanished: \"/srv/x\"\n".repeat(700);
        let stderr = &lines[lines.len() - KEPT_BYTES..];
        let complaint = judge(&output(24, stderr)).expect("the host judges");
        assert_eq!(
            complaint.map(|c| c.said).as_deref(),
            Some("file has vanished: \"/srv/x\"")
        );
    }

    #[test]
    fn what_was_only_in_part_is_for_the_host_to_judge() {
        let stderr =
            "file has vanished: \"/srv/x\"\nrsync warning: some files vanished (code 24) at main.c(1338)\n";
        let complaint = judge(&output(24, stderr)).expect("the host judges");
        assert_eq!(
            complaint.map(|c| c.said).as_deref(),
            Some("file has vanished: \"/srv/x\"")
        );
        assert_eq!(judge(&output(0, "")).expect("well"), None);
        assert!(judge(&output(12, "")).is_err());
    }

    #[test]
    fn where_nobody_looks_only_what_vanished_may_be_missing() {
        let left_out = judge(&output(
            23,
            "rsync: [receiver] chown \"/b/x\" failed: Operation not permitted (1)\n",
        ));
        let complaint = left_out.expect("for others to judge").expect("a complaint");
        assert_eq!(complaint.refuse_losses().expect_err("a loss").code, Code::Storage);
        let vanished = judge(&output(24, "file has vanished: \"/srv/x\"\n"));
        let complaint = vanished.expect("for others to judge").expect("a complaint");
        assert!(complaint.refuse_losses().is_ok());
    }

    #[test]
    fn what_could_not_be_read_over_ssh_is_left_out_by_the_next_attempt() {
        let said = "rsync: [sender] read errors mapping \"/srv/x\": Input/output error (5)\nrsync error: some files/attrs were not transferred (see previous errors) (code 23) at main.c(1394) [sender=3.5.0]\n";
        let complaint = judge(&output(23, said))
            .expect("for others to judge")
            .expect("a complaint");
        assert!(complaint.refuse_losses().expect_err("a loss").retry);
        let others = "rsync: [receiver] chown \"/b/x\" failed: Operation not permitted (1)\n";
        let complaint = judge(&output(23, others))
            .expect("for others to judge")
            .expect("a complaint");
        assert!(!complaint.refuse_losses().expect_err("a loss").retry);
    }

    #[test]
    fn a_connection_that_broke_is_the_cause_and_may_be_there_next_time() {
        let stderr = "ssh: connect to host nas port 22: Connection refused\nrsync: connection unexpectedly closed (0 bytes received so far) [sender]\nrsync error: unexplained error (code 255) at io.c(285) [sender=3.5.0]\n";
        let failure = judge(&output(255, stderr)).expect_err("it gave up");
        assert_eq!((failure.code, failure.retry), (Code::Network, true));
        assert!(
            failure.message.ends_with("port 22: Connection refused"),
            "{}",
            failure.message
        );
    }
}
