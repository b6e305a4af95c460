//! What rclone complained of, as a failure of the right class with the next step.

use backstay_sdk::{Code, Failure, Output};

/// Signs in a complaint, the class that they mean, whether it may pass, and what to do.
struct Sign {
    signs: &'static [&'static str],
    code: Code,
    retry: bool,
    hint: &'static str,
}

/// The first that fits counts: what is more special stands before what is more general. Places speak in their own words,
/// so what is here is what rclone itself, Go, and the usual protocols say.
static SIGNS: [Sign; 10] = [
    Sign {
        signs: &["didn't find section in config file"],
        code: Code::Configuration,
        retry: false,
        hint: "`rclone listremotes` lists the remotes that there are; check `remote` and `configFile`",
    },
    Sign {
        signs: &["ecrypt configuration"],
        code: Code::Encryption,
        retry: false,
        hint: "the rclone configuration is encrypted: `configPasswordSecret` must name a secret with its password",
    },
    Sign {
        signs: &["x509:", "tls: failed to verify", "knownhosts: "],
        code: Code::Network,
        retry: false,
        hint: "the server is not the one that was expected: check its address and certificate, or its host key",
    },
    Sign {
        signs: &[
            "dial tcp",
            "connection refused",
            "connection reset",
            "no such host",
            "no route to host",
            "network is unreachable",
            "i/o timeout",
            "TLS handshake timeout",
            "context deadline exceeded",
            "Client.Timeout exceeded",
            "unexpected EOF",
            "use of closed network connection",
            "connection lost",
        ],
        code: Code::Network,
        retry: true,
        hint: "is the server running, is its address right in the rclone configuration, and is there a network?",
    },
    Sign {
        signs: &[
            "429 Too Many",
            "StatusCode: 429",
            "rateLimitExceeded",
            "RateLimitExceeded",
            "SlowDown",
            "too_many_requests",
            "500 Internal",
            "StatusCode: 500",
            "502 Bad Gateway",
            "503 Service",
            "StatusCode: 503",
            "504 Gateway",
        ],
        code: Code::Network,
        retry: true,
        hint: "the place is busy or out of order: try again later",
    },
    Sign {
        signs: &[
            "no space left on device",
            "disk quota exceeded",
            "quotaExceeded",
            "QuotaExceeded",
            "507 Insufficient",
            "insufficient_space",
            "storage_cap_exceeded",
        ],
        code: Code::DiskSpace,
        retry: false,
        hint: "make room there, or shorten the retention",
    },
    Sign {
        signs: &[
            "401 Unauthorized",
            "403 Forbidden",
            "StatusCode: 401",
            "StatusCode: 403",
            "AccessDenied",
            "SignatureDoesNotMatch",
            "InvalidAccessKeyId",
            "invalid_grant",
            "token expired",
            "couldn't fetch token",
            "unable to authenticate",
            "permission denied",
            "read-only file system",
        ],
        code: Code::Permission,
        retry: false,
        hint: "check what the account of the remote may do, and log in again with `rclone config reconnect` if its token is too old",
    },
    Sign {
        signs: &["Part number must be", "MaxUploadParts", "max parts"],
        code: Code::Storage,
        retry: false,
        hint: "the stream has too many pieces: raise `s3ChunkMebibytes`",
    },
    Sign {
        signs: &["corrupted on transfer"],
        code: Code::Verification,
        retry: true,
        hint: "what arrived there is not what was sent, and was deleted; if it happens again, look for a bad network or disk",
    },
    Sign {
        signs: &[
            "directory not found",
            "object not found",
            "NoSuchBucket",
            "no such file or directory",
        ],
        code: Code::Storage,
        retry: false,
        hint: "check `remote`; was something moved or deleted there by hand, or is a disk not mounted?",
    },
];

/// rclone's exit status for what may pass.
const TEMPORARY: i32 = 5;

/// The failure of a command that ended badly, such as "cannot list b2:bucket: connection refused".
pub fn failure(doing: &str, place: &str, output: &Output) -> Failure {
    let said = said(&output.stderr);
    let said = if said.is_empty() {
        format!("rclone ended with status {} and said nothing", output.status)
    } else {
        said
    };
    let failure = explain(
        Failure::storage(format!("cannot {doing} {place}: {said}")),
        &output.stderr,
    );
    if output.status == TEMPORARY {
        failure.retry()
    } else {
        failure
    }
}

/// The failure of a stream on its way into rclone. One of the stream's own source stays as it is.
pub fn of_stream(failure: Failure) -> Failure {
    if failure.code != Code::Storage || !failure.message.starts_with("`rclone ") {
        return failure;
    }
    let said = failure.message.clone();
    explain(failure, &said)
}

/// What rclone's complaints mean while it brings the files of the tree that is stored at `location`.
pub fn meanings_of_tree(location: &str) -> Vec<(String, Failure)> {
    let message = format!("cannot read {location}");
    let gone = Failure::new(Code::Verification, format!("{location} is damaged"))
        .hint("was it moved or deleted by hand? restore from another backup or destination");
    let full = Failure::new(Code::DiskSpace, &message)
        .hint("rclone brings up to 256 MiB of files at a time to DATA_DIR/scratch: make room there");
    let own = [
        ("no space left on device", full),
        ("directory not found", gone.clone()),
        ("object not found", gone),
    ];
    let known = SIGNS.iter().flat_map(|known| {
        let failure = Failure::new(known.code, &message).hint(known.hint);
        let failure = if known.retry { failure.retry() } else { failure };
        known.signs.iter().map(move |sign| (*sign, failure.clone()))
    });
    let unknown = Failure::storage(&message).hint(UNKNOWN);
    let all = own.into_iter().chain(known).chain([("", unknown)]);
    all.map(|(sign, failure)| (sign.to_owned(), failure)).collect()
}

const UNKNOWN: &str = "remove what it complains of, or run rclone by hand with `-vv` to see more";

/// Gives a failure its class and the next step, if what was said is known.
fn explain(failure: Failure, said: &str) -> Failure {
    let known = SIGNS
        .iter()
        .find(|known| known.signs.iter().any(|sign| said.contains(sign)));
    let Some(known) = known else {
        return failure.hint(UNKNOWN);
    };
    let failure = failure.with_code(known.code).hint(known.hint);
    if known.retry { failure.retry() } else { failure }
}

/// The last thing that rclone said, which is the cause, without what stands before it on the line.
pub fn said(stderr: &str) -> String {
    let last = stderr.lines().map(str::trim).rfind(|line| !line.is_empty());
    let mut text = last.unwrap_or_default();
    for level in ["CRITICAL", "ERROR", "NOTICE"] {
        if let Some(rest) = text.strip_prefix(level) {
            text = rest.trim_start_matches([' ', ':']);
        }
    }
    if let Some((_, cause)) = text.split_once("last error was: ") {
        return cause.to_owned();
    }
    // What follows names the place, which is said already.
    if let Some((_, cause)) = text
        .strip_prefix("Failed to create file system for \"")
        .and_then(|rest| rest.split_once("\": "))
    {
        return cause.to_owned();
    }
    // `Failed to lsjson: CAUSE`: the command's name says nothing to a person.
    match text
        .strip_prefix("Failed to ")
        .and_then(|rest| rest.split_once(": "))
    {
        Some((command, cause)) if !command.contains(' ') => cause.to_owned(),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(status: i32, stderr: &str) -> Output {
        Output {
            command: "rclone lsjson".to_owned(),
            is_fed: false,
            status,
            stdout: String::new(),
            stderr: stderr.to_owned(),
        }
    }

    #[track_caller]
    fn check(status: i32, stderr: &str, message: &str, code: Code, retry: bool) {
        let failure = failure("list", "x:y", &output(status, stderr));
        assert_eq!(failure.message, format!("cannot list x:y: {message}"));
        assert_eq!((failure.code, failure.retry), (code, retry), "{message}");
        assert!(failure.hint.is_some());
    }

    #[test]
    fn the_cause_is_said_and_has_its_class() {
        check(
            1,
            "NOTICE: Config file \"/root/.config/rclone/rclone.conf\" not found - using defaults\nCRITICAL: Failed to create file system for \"nope:a\": didn't find section in config file (\"nope\")\n",
            "didn't find section in config file (\"nope\")",
            Code::Configuration,
            false,
        );
        check(
            1,
            "ERROR : error listing: couldn't list files: Propfind \"http://127.0.0.1:1/p/\": dial tcp 127.0.0.1:1: connect: connection refused\nNOTICE: Failed to lsf with 2 errors: last error was: error in ListJSON: dial tcp 127.0.0.1:1: connect: connection refused\n",
            "error in ListJSON: dial tcp 127.0.0.1:1: connect: connection refused",
            Code::Network,
            true,
        );
        check(
            1,
            "NOTICE: Failed to lsjson: operation error S3: ListObjectsV2, https response error StatusCode: 403, RequestID: , HostID: , api error SignatureDoesNotMatch: …\n",
            "operation error S3: ListObjectsV2, https response error StatusCode: 403, RequestID: , HostID: , api error SignatureDoesNotMatch: …",
            Code::Permission,
            false,
        );
        check(
            1,
            "CRITICAL: Failed to load config file \"/x\": using RCLONE_CONFIG_PASS env password, unable to decrypt configuration",
            "Failed to load config file \"/x\": using RCLONE_CONFIG_PASS env password, unable to decrypt configuration",
            Code::Encryption,
            false,
        );
    }

    #[test]
    fn words_that_nobody_knows_are_passed_on_and_the_status_says_whether_it_may_pass() {
        check(
            1,
            "Failed to rcat: le disque est parti\n",
            "le disque est parti",
            Code::Storage,
            false,
        );
        check(5, "Failed to rcat: mañana", "mañana", Code::Storage, true);
        check(
            7,
            "",
            "rclone ended with status 7 and said nothing",
            Code::Storage,
            false,
        );
    }

    #[test]
    fn a_source_that_failed_stays_the_cause() {
        let of_source = Failure::storage("cannot read /srv/x: permission denied");
        assert_eq!(of_stream(of_source.clone()).code, Code::Storage);
        let of_rclone = Failure::storage(
            "`rclone rcat x:y` exited with status 1 after 10 bytes: NOTICE: Failed to rcat: no space left on device",
        );
        assert_eq!(of_stream(of_rclone).code, Code::DiskSpace);
    }
}
