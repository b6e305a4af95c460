//! What a failure of SFTP or of `ssh` means to a person: its class, its root cause, the next step. Never a secret.

use backstay_model::remote::Remote;
use backstay_model::secrets::Secrets;
use backstay_model::{Code, Error};
use openssh_sftp_client::Error as SftpError;
use openssh_sftp_client::error::SftpErrorKind;

use super::session::Session;

/// Why something could not be done over a connection.
pub(super) enum Failure {
    /// The server or the connection failed.
    Sftp(SftpError),
    /// There is no such directory on the server.
    NoRoot(String),
    /// It is said already.
    Said(Error),
}

impl From<SftpError> for Failure {
    fn from(error: SftpError) -> Self {
        Failure::Sftp(error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        match error.downcast::<SftpError>() {
            Ok(error) => Failure::Sftp(error),
            Err(error) => Failure::Sftp(SftpError::IOError(error)),
        }
    }
}

/// Whether there is nothing at the path.
pub(super) fn is_missing(error: &SftpError) -> bool {
    matches!(error, SftpError::SftpError(SftpErrorKind::NoSuchFile, _))
}

/// A peer that doesn't answer.
pub(super) fn silent(doing: &str, shown: &str) -> Error {
    Error::new(Code::Network, format!("cannot {doing} {shown}: no answer"))
        .hint("is the server overloaded, or does something on the way swallow its answers?")
        .retryable()
}

/// One sentence with the class and the next step. `doing` completes "cannot …".
pub(super) async fn explain(
    remote: &Remote,
    secrets: &Secrets,
    session: &Session,
    doing: &str,
    failure: Failure,
) -> Error {
    let name = &remote.name;
    let (kind, said) = match failure {
        Failure::Said(error) => return error,
        Failure::NoRoot(root) => {
            let message = format!("cannot {doing}: there is no directory {root} on the server");
            return Error::new(Code::Storage, message)
                .hint("is its disk mounted there? if so, create the directory first");
        }
        Failure::Sftp(SftpError::SftpError(kind, said)) => (kind, said.to_string()),
        Failure::Sftp(error) => {
            return of_connection(remote, secrets, doing, &session.last_words().await, &error);
        }
    };
    let (code, hint) = match kind {
        SftpErrorKind::PermDenied => (
            Code::Permission,
            format!(
                "the user must be able to write there: `backstay remote test {name}` tries it step by step"
            ),
        ),
        SftpErrorKind::NoSuchFile => (Code::Storage, "was it removed by somebody else?".to_owned()),
        // OpenSSH says the same of a full disk, a quota and much more.
        _ => (
            Code::Storage,
            "the server says no more than that: is there room on its disk, and may the user write there?"
                .to_owned(),
        ),
    };
    let said = if said.is_empty() {
        format!("{kind:?}")
    } else {
        said
    };
    Error::new(code, secrets.redact(&format!("cannot {doing}: {said}"))).hint(hint)
}

/// What somebody must do about a connection.
struct Sign {
    signs: &'static [&'static str],
    code: Code,
    retry: bool,
    hint: &'static str,
}

/// The first that fits counts.
static SIGNS: [Sign; 5] = [
    Sign {
        signs: &[
            "Host key verification failed",
            "host key is known for",
            "IDENTIFICATION HAS CHANGED",
        ],
        code: Code::Network,
        retry: false,
        hint: "the host's key is not the known one: get it by `ssh-keyscan -p PORT HOST`, compare its fingerprint with the server's own, and put it into ~/.ssh/known_hosts or the file that the remote names by --known-hosts",
    },
    Sign {
        signs: &["bad permissions", "UNPROTECTED PRIVATE KEY"],
        code: Code::Permission,
        retry: false,
        hint: "the key file must be readable by its owner alone: chmod 600",
    },
    Sign {
        signs: &[
            "Permission denied",
            "Too many authentication failures",
            "error in libcrypto",
            "invalid format",
        ],
        code: Code::Permission,
        retry: false,
        hint: "is the account right, is the key an SSH private key without a passphrase, and is its public key in the server's authorized_keys?",
    },
    Sign {
        signs: &["subsystem request failed"],
        code: Code::Configuration,
        retry: false,
        hint: "the server offers no SFTP: enable its `Subsystem sftp`",
    },
    Sign {
        signs: &["no such identity", "Could not resolve hostname"],
        code: Code::Network,
        retry: true,
        hint: "check the endpoint and the key file of the remote",
    },
];

/// A connection that could not be made, or broke.
pub(super) fn of_connection(
    remote: &Remote,
    secrets: &Secrets,
    doing: &str,
    said: &str,
    error: &SftpError,
) -> Error {
    let lines: Vec<&str> = said
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let sign = SIGNS
        .iter()
        .find(|sign| sign.signs.iter().any(|text| said.contains(text)));
    // The last line is the reason, but for warnings that say more.
    let cause = match sign {
        Some(sign) => lines
            .iter()
            .find(|line| sign.signs.iter().any(|text| line.contains(text))),
        None => lines.last(),
    };
    let cause = cause.map_or_else(|| broken(error), |line| (*line).to_owned());
    let text = secrets.redact(&format!("cannot {doing}: {cause}"));
    match sign {
        Some(sign) => {
            let error = Error::new(sign.code, text).hint(sign.hint);
            if sign.retry { error.retryable() } else { error }
        }
        None => {
            let (host, _) = remote.ssh_host();
            let test = format!("`backstay remote test {}` tries it step by step", remote.name);
            Error::new(Code::Network, text)
                .hint(format!("can this machine reach {host}? {test}"))
                .retryable()
        }
    }
}

/// What happened to a connection whose `ssh` said nothing.
fn broken(error: &SftpError) -> String {
    match error {
        SftpError::UnsupportedSftpProtocol { .. }
        | SftpError::SftpServerHelloMsgTooLong { .. }
        | SftpError::FormatError(_)
        | SftpError::InvalidResponse(_) => {
            "what the server says is not SFTP: does something print text when its user signs in?".to_owned()
        }
        SftpError::IOError(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => error.to_string(),
        _ => "the connection broke".to_owned(),
    }
}
