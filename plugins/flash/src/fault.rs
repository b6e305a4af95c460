//! What git's complaints mean for the person who reads them.

use backstay_sdk::{Code, Failure, Output};

/// Complaints of a repository that isn't whole.
const DAMAGED: [&str; 14] = [
    "not a git repository",
    "bad object",
    "is empty",
    "is corrupt",
    "unable to read",
    "invalid object",
    "index file corrupt",
    "index file smaller than expected",
    "bad index file",
    "bad signature",
    "bad tree object",
    "unable to find",
    "bad config",
    "unexpected diff status",
];

/// A failure with the cause that git names first.
pub fn explain(output: &Output, git_dir: &str) -> Failure {
    let cause = cause(output);
    let says = |text: &str| output.stderr.contains(text);
    let failure = Failure::backup_failed(format!("git failed: {cause}"));
    if says("No space left on device") {
        failure
            .with_code(Code::DiskSpace)
            .hint(format!("make room on the filesystem of {git_dir}"))
    } else if says("Read-only file system") {
        failure.with_code(Code::Permission).hint(format!(
            "the filesystem of {git_dir} can't be written to; a flash drive turns read-only when it fails: see `dmesg`"
        ))
    } else if says("Input/output error") {
        failure
            .with_code(Code::Environment)
            .hint("the drive may be failing: see `dmesg`, save what can be read and replace it")
    } else if says(".lock': File exists") {
        failure
            .hint("another git is at work there; if there is none, one has crashed: remove the file")
            .retry()
    } else if says("Permission denied") || says("insufficient permission") {
        failure
            .with_code(Code::Permission)
            .hint("run Backstay as the user that owns it, usually root")
    } else if DAMAGED.iter().any(|damage| says(damage)) {
        failure.hint(format!(
            "the repository is damaged: `git --git-dir={git_dir} fsck` says more. Repair it, or move {git_dir} away: \
             the next run begins a new one, and the history is still in earlier backups"
        ))
    } else if says("unknown option") || says("usage: git") {
        failure
            .with_code(Code::Environment)
            .hint("this git may be too old: 2.36 or newer is needed")
    } else {
        failure.hint("remove what it complains of")
    }
}

/// The first line that says what is wrong.
pub fn cause(output: &Output) -> String {
    if output.status > 128 {
        return format!("it was killed by signal {}", output.status - 128);
    }
    let lines = || output.stderr.lines().map(str::trim).filter(|l| !l.is_empty());
    let wrong = |line: &&str| line.starts_with("fatal: ") || line.starts_with("error: ");
    let line = lines().find(wrong).or_else(|| lines().next());
    match line {
        Some(line) => line
            .trim_start_matches("fatal: ")
            .trim_start_matches("error: ")
            .to_owned(),
        None => format!("it ended with status {} and said nothing", output.status),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(status: i32, stderr: &str) -> Output {
        Output {
            command: "git x".to_owned(),
            is_fed: false,
            status,
            stdout: String::new(),
            stderr: stderr.to_owned(),
        }
    }

    #[test]
    fn the_first_complaint_is_the_cause() {
        let lock = "warning: x\nfatal: Unable to create '/g/index.lock': File exists.\n\nAnother git process\na\nb\n";
        let failure = explain(&output(128, lock), "/g");
        assert_eq!(
            failure.message,
            "git failed: Unable to create '/g/index.lock': File exists."
        );
        assert!(failure.retry && failure.hint.is_some_and(|h| h.contains("remove the file")));
    }

    #[test]
    fn each_class_is_known() {
        for (stderr, code) in [
            (
                "error: unable to write file: No space left on device",
                Code::DiskSpace,
            ),
            (
                "fatal: Unable to create 'x': Read-only file system",
                Code::Permission,
            ),
            ("error: read error: Input/output error", Code::Environment),
            (
                "error: insufficient permission for adding an object",
                Code::Permission,
            ),
            ("fatal: bad object HEAD", Code::BackupFailed),
            ("error: unknown option `x'", Code::Environment),
        ] {
            let failure = explain(&output(128, stderr), "/g");
            assert_eq!(failure.code, code, "{stderr}");
            assert!(failure.hint.is_some());
        }
        assert_eq!(cause(&output(137, "")), "it was killed by signal 9");
        assert_eq!(cause(&output(3, "")), "it ended with status 3 and said nothing");
    }
}
