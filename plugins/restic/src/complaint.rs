//! What restic complained of, as a failure of the right class with the next step.

use backstay_sdk::{Code, Failure, Output};

/// What a complaint is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The password is wrong.
    Password,
    /// Another restic is at work, or was.
    Locked,
    /// Somebody else answers.
    Stranger,
    /// The place doesn't answer.
    Network,
    /// The place lets nobody in.
    Permission,
    /// The place is full.
    Full,
    /// There is no repository.
    Missing,
    /// What is stored is not what was stored.
    Damaged,
    /// There is no such snapshot.
    Gone,
    /// This restic is too old.
    Old,
}

/// Signs in a complaint, and what they mean.
struct Sign {
    kind: Kind,
    code: Code,
    retry: bool,
    hint: &'static str,
    signs: &'static [&'static str],
}

/// The first that fits counts: what is more special stands before what is more general. What is here is what restic
/// itself, Go, ssh and the usual stores say.
static SIGNS: [Sign; 11] = [
    Sign {
        kind: Kind::Password,
        code: Code::Encryption,
        retry: false,
        hint: "`passwordSecret` must name the secret with the password of this repository",
        signs: &[
            "wrong password or no key found",
            "an empty password is not a password",
        ],
    },
    Sign {
        kind: Kind::Locked,
        code: Code::Storage,
        retry: true,
        hint: "wait until it has ended; if it is known to be dead, `restic unlock` removes what it left",
        signs: &["repository is already locked", "`unlock` command can be used"],
    },
    Sign {
        kind: Kind::Stranger,
        code: Code::Network,
        retry: false,
        hint: "the server is not the one that was expected: check its address and certificate, or its host key",
        signs: &["x509:", "tls: failed to verify", "Host key verification failed"],
    },
    Sign {
        kind: Kind::Network,
        code: Code::Network,
        retry: true,
        hint: "is the server running, is its address right in `repository`, and is there a network?",
        signs: &[
            "dial tcp",
            "connection refused",
            "Connection refused",
            "connection reset",
            "Connection closed",
            "Could not resolve hostname",
            "no such host",
            "o route to host",
            "etwork is unreachable",
            "i/o timeout",
            "timed out",
            "TLS handshake",
            "context deadline exceeded",
            "unable to start the sftp session",
            "500 Internal",
            "503 Service",
            "502 Bad Gateway",
            "SlowDown",
        ],
    },
    Sign {
        kind: Kind::Permission,
        code: Code::Permission,
        retry: false,
        hint: "check the account and what it may do; its keys come by `environmentSecrets`, and a directory must belong to the user that the host runs as",
        signs: &[
            "permission denied",
            "Permission denied",
            "read-only file system",
            "Access Denied",
            "AccessDenied",
            "403 Forbidden",
            "401 Unauthorized",
            "unauthorized",
            "SignatureDoesNotMatch",
            "signature we calculated does not match",
            "InvalidAccessKeyId",
            "Access Key Id you provided does not exist",
        ],
    },
    Sign {
        kind: Kind::Full,
        code: Code::DiskSpace,
        retry: false,
        hint: "make room there, or shorten the retention",
        signs: &[
            "no space left on device",
            "disk quota exceeded",
            "507 Insufficient",
            "QuotaExceeded",
        ],
    },
    Sign {
        kind: Kind::Missing,
        code: Code::Storage,
        retry: false,
        hint: "mount the disk that holds it, or correct `repository`; `init: true` makes a new one at the first backup",
        signs: &[
            "Is there a repository at the following location",
            "unable to open config file",
            "repository does not exist",
        ],
    },
    Sign {
        kind: Kind::Gone,
        code: Code::Verification,
        retry: false,
        hint: "was it removed by `restic forget`? restore from another backup or destination",
        signs: &["no matching ID found", "no snapshot found"],
    },
    Sign {
        kind: Kind::Damaged,
        code: Code::Verification,
        retry: false,
        hint: "`restic check --read-data` lists the damage; restore from another backup or destination",
        signs: &[
            "ciphertext verification failed",
            "not found in repository",
            "invalid data returned",
            "hash does not match",
            "ReadFull(<data/",
            "could not load snapshot",
            "not found in snapshot",
            "error loading index",
            UNLOADED,
        ],
    },
    Sign {
        kind: Kind::Old,
        code: Code::Environment,
        retry: false,
        hint: "restic 0.18.0 can't store streams under a path: install 0.18.1 or newer",
        signs: &["unable to save snapshot: open /"],
    },
    Sign {
        kind: Kind::Old,
        code: Code::Environment,
        retry: false,
        hint: "install restic 0.14 or newer",
        signs: &["unknown flag"],
    },
];

/// What a complaint is about, if that is known.
pub fn kind(stderr: &str) -> Option<Kind> {
    sign_in(stderr).map(|known| known.kind)
}

/// What newer versions say of a snapshot whose whole id they were given, before what the place said when it was asked for it.
const UNLOADED: &str = "failed to load snapshot";

/// What places say then if it isn't there.
const NOT_THERE: [&str; 6] = [
    "no such file or directory",
    "does not exist",
    "not found",
    "NoSuchKey",
    "NotFound",
    "(404)",
];

fn is_gone(line: &str) -> bool {
    line.contains(UNLOADED) && NOT_THERE.iter().any(|words| line.contains(words))
}

/// Whether there is a snapshot that could not be looked at for another reason than that it is gone. Newer versions pass over it
/// and end well.
pub fn has_unloaded(stderr: &str) -> bool {
    stderr
        .lines()
        .any(|line| line.contains(UNLOADED) && !is_gone(line))
}

fn sign_in(stderr: &str) -> Option<&'static Sign> {
    if stderr.lines().any(is_gone) {
        return SIGNS.iter().find(|known| known.kind == Kind::Gone);
    }
    SIGNS
        .iter()
        .find(|known| known.signs.iter().any(|sign| stderr.contains(sign)))
}

/// The failure of a command that ended badly, such as "cannot list /srv/restic: wrong password or no key found".
pub fn failure(doing: &str, place: &str, output: &Output) -> Failure {
    let said = said(&output.stderr);
    let said = if said.is_empty() {
        format!("restic ended with status {} and said nothing", output.status)
    } else {
        said
    };
    explain(
        Failure::storage(format!("cannot {doing} {place}: {said}")),
        &output.stderr,
    )
}

/// The failure of a stream on its way into restic. One of the stream's own source stays as it is.
pub fn of_stream(failure: Failure) -> Failure {
    if !is_of_restic(&failure) {
        return failure;
    }
    let said = failure.message.clone();
    explain(failure, &said)
}

/// Whether restic ended a stream, not the stream's source.
pub fn is_of_restic(failure: &Failure) -> bool {
    failure.code == Code::Storage && failure.message.starts_with("`restic ")
}

/// What restic's complaints mean while it writes what is stored at `location`.
pub fn meanings(location: &str) -> Vec<(String, Failure)> {
    let message = format!("cannot read {location}");
    let known = SIGNS.iter().flat_map(|known| {
        let failure = Failure::new(known.code, &message).hint(known.hint);
        let failure = if known.retry { failure.retry() } else { failure };
        known
            .signs
            .iter()
            .map(move |sign| ((*sign).to_owned(), failure.clone()))
    });
    let unknown = Failure::storage(&message).hint(UNKNOWN);
    known.chain([(String::new(), unknown)]).collect()
}

const UNKNOWN: &str = "remove what it complains of, or run restic by hand with `-vv` to see more";

/// Gives a failure its class and the next step, if what was said is known.
fn explain(failure: Failure, said: &str) -> Failure {
    let Some(known) = sign_in(said) else {
        return failure.hint(UNKNOWN);
    };
    let failure = failure.with_code(known.code).hint(known.hint);
    if known.retry { failure.retry() } else { failure }
}

/// The line that says the cause, without what stands before it.
pub fn said(stderr: &str) -> String {
    // Newer versions complain in JSON where they answer in JSON.
    let lines: Vec<String> = stderr.lines().flat_map(plain).collect();
    let is_fatal =
        |line: &&String| line.starts_with("Fatal: ") || line.contains("repository is already locked");
    let is_cause = |line: &&String| {
        let noise = [
            "retrying after",
            "running prune without a cache",
            "the `unlock` command",
            "Is there a repository",
        ];
        !noise.iter().any(|words| line.contains(words))
    };
    let line = lines.iter().find(is_fatal);
    let line = line
        .or_else(|| lines.iter().rfind(is_cause))
        .map_or("", String::as_str);
    let line = line.trim_start_matches("Fatal: ");
    line.strip_prefix("unable to create lock in backend: ")
        .unwrap_or(line)
        .to_owned()
}

fn plain(line: &str) -> Vec<String> {
    let json = serde_json::from_str::<serde_json::Value>(line).ok();
    let message = json.as_ref().and_then(|json| json.get("message")?.as_str());
    let lines = message.unwrap_or(line).lines().map(str::trim);
    lines.filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(status: i32, stderr: &str) -> Output {
        Output {
            command: "restic snapshots".to_owned(),
            is_fed: false,
            status,
            stdout: String::new(),
            stderr: stderr.to_owned(),
        }
    }

    #[track_caller]
    fn check(stderr: &str, message: &str, code: Code, retry: bool) {
        let failure = failure("list", "/r", &output(1, stderr));
        assert_eq!(failure.message, format!("cannot list /r: {message}"));
        assert_eq!((failure.code, failure.retry), (code, retry), "{message}");
        assert!(failure.hint.is_some());
    }

    #[test]
    fn what_newer_versions_say_of_a_snapshot_is_told_apart() {
        let gone =
            "Ignoring \"aa\": failed to load snapshot aa: open /r/snapshots/aa: no such file or directory\n";
        assert!(kind(gone) == Some(Kind::Gone) && !has_unloaded(gone));
        let away = "Ignoring \"aa\": failed to load snapshot aa: Get \"http://h/aa\": dial tcp 127.0.0.1:1: connect: connection refused\n";
        assert!(kind(away) == Some(Kind::Network) && has_unloaded(away));
        let damaged = "Fatal: failed to load snapshot aa: ciphertext verification failed\n";
        assert!(kind(damaged) == Some(Kind::Damaged) && has_unloaded(damaged));
        let broken = "Fatal: unable to save snapshot: open /j: no such file or directory\n";
        assert_eq!(kind(broken), Some(Kind::Old));
    }

    #[test]
    fn the_cause_is_said_and_has_its_class() {
        check(
            "Fatal: wrong password or no key found\n",
            "wrong password or no key found",
            Code::Encryption,
            false,
        );
        check(
            "unable to create lock in backend: repository is already locked exclusively by PID 7 on vm by root (UID 0, GID 0)\nlock was created at 2026-11-21 13:31:33 (6.4s ago)\nstorage ID caf99632\nthe `unlock` command can be used to remove stale locks\n",
            "repository is already locked exclusively by PID 7 on vm by root (UID 0, GID 0)",
            Code::Storage,
            true,
        );
        check(
            "Fatal: unable to open config file: client.Head: Head \"http://127.0.0.1:1/config\": dial tcp 127.0.0.1:1: connect: connection refused\nIs there a repository at the following location?\nrest:http://127.0.0.1:1/\n",
            "unable to open config file: client.Head: Head \"http://127.0.0.1:1/config\": dial tcp 127.0.0.1:1: connect: connection refused",
            Code::Network,
            true,
        );
        check(
            "Fatal: unable to open config file: stat /r/config: no such file or directory\nIs there a repository at the following location?\n/r\n",
            "unable to open config file: stat /r/config: no such file or directory",
            Code::Storage,
            false,
        );
        check(
            "{\"message_type\":\"exit_error\",\"code\":12,\"message\":\"Fatal: wrong password or no key found\"}\n",
            "wrong password or no key found",
            Code::Encryption,
            false,
        );
        check(
            "Load(<data/83>, 0, 0) returned error, retrying after 1s: EOF\ncannot dump file: ReadFull(<data/83>): EOF\n",
            "cannot dump file: ReadFull(<data/83>): EOF",
            Code::Verification,
            false,
        );
    }

    #[test]
    fn words_that_nobody_knows_are_passed_on() {
        check(
            "le disque est parti\n",
            "le disque est parti",
            Code::Storage,
            false,
        );
        check(
            "",
            "restic ended with status 1 and said nothing",
            Code::Storage,
            false,
        );
    }

    #[test]
    fn a_source_that_failed_stays_the_cause() {
        let of_source = Failure::storage("cannot read /srv/x: permission denied");
        assert_eq!(of_stream(of_source).code, Code::Storage);
        let of_restic =
            Failure::storage("`restic backup` exited with status 1 after 10 bytes: no space left on device");
        assert_eq!(of_stream(of_restic).code, Code::DiskSpace);
    }

    #[test]
    fn the_last_meaning_is_for_whatever_it_says() {
        let meanings = meanings("/r/x");
        assert_eq!(meanings.last().map(|(sign, _)| sign.as_str()), Some(""));
        assert_eq!(meanings.iter().filter(|(sign, _)| sign.is_empty()).count(), 1);
    }
}
