//! What a database tool complained of, as a failure of the right class with the next step.

use backstay_sdk::{Code, Failure, Output};

/// A sign in a complaint, the class that it means, whether it may pass, and what to do.
struct Sign {
    signs: &'static [&'static str],
    code: Code,
    retry: bool,
    hint: &'static str,
}

/// The first that fits counts. Servers that speak another language than English fall through to the tool's own words.
static SIGNS: [Sign; 8] = [
    Sign {
        signs: &[
            "password authentication failed",
            "no password supplied",
            "Access denied for user",
            "authentication failed for user",
            "no pg_hba.conf entry",
        ],
        code: Code::Permission,
        retry: false,
        hint: "check `username` and the secret that `passwordSecret` names, and what the server lets this account do",
    },
    Sign {
        signs: &[
            "permission denied",
            "command denied to user",
            "insufficient privileges",
            "must be superuser",
        ],
        code: Code::Permission,
        retry: false,
        hint: "give the account the right that is missing, or leave this out of the job",
    },
    Sign {
        signs: &["being accessed by other users"],
        code: Code::Storage,
        retry: false,
        hint: "stop what uses the database, and restore again; nothing was changed",
    },
    Sign {
        signs: &[
            "server does not support SSL",
            "SSL error",
            "certificate",
            "SSL is required",
            "SSL connection error",
        ],
        code: Code::Network,
        retry: false,
        hint: "check `sslMode` and `sslRootCert`, and whether the server offers encryption",
    },
    Sign {
        signs: &[
            "could not translate host name",
            "Unknown server host",
            "Unknown MySQL server host",
        ],
        code: Code::Network,
        retry: true,
        hint: "check `host`",
    },
    Sign {
        signs: &[
            "Connection refused",
            "No such file or directory",
            "Is the server running",
            "Can't connect to",
            "timeout expired",
            "the database system is starting up",
            "the database system is shutting down",
            "too many clients",
            "Too many connections",
            "server closed the connection",
            "Lost connection",
        ],
        code: Code::Network,
        retry: true,
        hint: "is the server running, and are `host` and `port` right?",
    },
    Sign {
        signs: &[
            "No space left",
            "could not extend file",
            "is full",
            "database or disk is full",
        ],
        code: Code::DiskSpace,
        retry: false,
        hint: "make room",
    },
    Sign {
        signs: &["server version mismatch"],
        code: Code::Environment,
        retry: false,
        hint: "install the client tools of the server's version, or newer ones",
    },
];

/// The failure of a tool that ended badly. What it said comes first; the command line is long and known.
pub fn failure(program: &str, output: &Output) -> Failure {
    let said = shorten(&output.complaint());
    let said = if said.is_empty() {
        format!("it ended with status {} and said nothing", output.status)
    } else {
        said
    };
    explain(
        Failure::new(Code::Environment, format!("{program}: {said}")),
        &output.stderr,
    )
}

/// Gives a failure its class and the next step, if what was said is known.
pub fn explain(failure: Failure, said: &str) -> Failure {
    let known = SIGNS
        .iter()
        .find(|known| known.signs.iter().any(|sign| said.contains(sign)));
    let Some(known) = known else {
        return failure.hint("remove what it complains of, or run it by hand to see more");
    };
    let failure = failure.with_code(known.code).hint(known.hint);
    if known.retry { failure.retry() } else { failure }
}

/// The name of the program is said already.
fn shorten(complaint: &str) -> String {
    let prefixes = ["psql: error: ", "pg_restore: error: ", "mariadb: ", "mysql: "];
    let plain = prefixes.iter().find_map(|prefix| complaint.strip_prefix(prefix));
    plain.unwrap_or(complaint).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(stderr: &str) -> (Code, bool, String) {
        let output = Output {
            command: "psql --long".to_owned(),
            is_fed: false,
            status: 2,
            stdout: String::new(),
            stderr: stderr.to_owned(),
        };
        let failure = failure("psql", &output);
        assert!(failure.hint.is_some());
        (failure.code, failure.retry, failure.message)
    }

    #[test]
    fn what_may_pass_is_tried_again_and_a_wrong_password_is_not() {
        let (code, retry, message) = said(
            "psql: error: connection to server on socket \"/x/.s.PGSQL.5432\" failed: No such file or directory\n\tIs the server running locally and accepting connections on that socket?\n",
        );
        assert_eq!((code, retry), (Code::Network, true));
        assert!(
            message.starts_with("psql: connection to server on socket"),
            "{message}"
        );
        let (code, retry, _) = said("FATAL:  password authentication failed for user \"backup\"");
        assert_eq!((code, retry), (Code::Permission, false));
        let (code, retry, _) = said("ERROR 1045 (28000): Access denied for user 'backup'@'localhost'");
        assert_eq!((code, retry), (Code::Permission, false));
        let (code, _, _) = said("ERROR 2002 (HY000): Can't connect to local server through socket '/x' (2)");
        assert_eq!(code, Code::Network);
    }

    #[test]
    fn words_that_nobody_knows_are_passed_on() {
        let (code, retry, message) = said("FATAL:  la base est partie");
        assert_eq!((code, retry), (Code::Environment, false));
        assert_eq!(message, "psql: FATAL:  la base est partie");
        assert_eq!(said("").2, "psql: it ended with status 2 and said nothing");
    }
}
