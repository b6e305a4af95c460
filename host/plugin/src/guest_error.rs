//! Failures across the boundary: the host's into the guest's form, and back.

use backstay_model::secrets::Secrets;
use backstay_model::{Code, Diagnostic, Error, Severity};

use crate::bindings::wit::types::{self as wit, Failure, FailureCode};

/// Longest text of a guest that is kept in an error, in characters.
const MESSAGE_CHARS: usize = 2_000;

/// The host's failure, for a guest that may pass it on.
pub(crate) fn failure(error: &Error) -> Failure {
    let code = match error.code() {
        Code::Warning | Code::Skipped | Code::Internal => FailureCode::Internal,
        Code::Configuration => FailureCode::Configuration,
        Code::Environment => FailureCode::Environment,
        Code::BackupFailed => FailureCode::BackupFailed,
        Code::Storage => FailureCode::Storage,
        Code::Network => FailureCode::Network,
        Code::Permission => FailureCode::Permission,
        Code::Verification => FailureCode::Verification,
        Code::Collection => FailureCode::Collection,
        Code::Archive => FailureCode::Archive,
        Code::Compression => FailureCode::Compression,
        Code::DiskSpace => FailureCode::DiskSpace,
        Code::Security => FailureCode::Security,
        Code::Encryption => FailureCode::Encryption,
        Code::Cancelled => FailureCode::Cancelled,
    };
    Failure {
        code,
        retry: error.is_retryable(),
        message: error.report(),
        hint: error.hint_text().map(str::to_owned),
    }
}

/// A guest's failure, for people.
pub(crate) fn error(failure: Failure, secrets: &Secrets) -> Error {
    let code = match failure.code {
        FailureCode::Configuration => Code::Configuration,
        FailureCode::Environment => Code::Environment,
        FailureCode::BackupFailed => Code::BackupFailed,
        FailureCode::Storage => Code::Storage,
        FailureCode::Network => Code::Network,
        FailureCode::Permission => Code::Permission,
        FailureCode::Verification => Code::Verification,
        FailureCode::Collection => Code::Collection,
        FailureCode::Archive => Code::Archive,
        FailureCode::Compression => Code::Compression,
        FailureCode::DiskSpace => Code::DiskSpace,
        FailureCode::Internal => Code::Internal,
        FailureCode::Security => Code::Security,
        FailureCode::Encryption => Code::Encryption,
        FailureCode::Cancelled => Code::Cancelled,
    };
    let mut error = Error::new(code, printable(&secrets.redact(&failure.message)));
    if let Some(hint) = failure.hint {
        error = error.hint(printable(&secrets.redact(&hint)));
    }
    if failure.retry { error.retryable() } else { error }
}

/// A guest's diagnostics, below the place of its configuration in the job; the worst first, and at most so many.
pub(crate) fn diagnostics(
    mut found: Vec<wit::Diagnostic>,
    at: &str,
    most: usize,
    secrets: &Secrets,
) -> Vec<Diagnostic> {
    found.sort_by_key(|d| d.severity as u8);
    let more = found.len().saturating_sub(most);
    found.truncate(most);
    let mut all: Vec<Diagnostic> = found.into_iter().map(|d| diagnostic(d, at, secrets)).collect();
    if more > 0 {
        all.push(Diagnostic::warning(
            at,
            "more",
            format!("the plugin said {more} more things, which aren't shown"),
        ));
    }
    all
}

fn diagnostic(diagnostic: wit::Diagnostic, at: &str, secrets: &Secrets) -> Diagnostic {
    let words = |text: &str| printable(&secrets.redact(text));
    Diagnostic {
        pointer: format!("{at}{}", printable(&diagnostic.pointer)),
        severity: match diagnostic.severity {
            wit::Severity::Error => Severity::Error,
            wit::Severity::Warning => Severity::Warning,
            wit::Severity::Info => Severity::Info,
        },
        code: printable(&diagnostic.code),
        message: words(&diagnostic.message),
        hint: diagnostic.hint.as_deref().map(words),
    }
}

/// Text of a guest that can be shown on a terminal: no control characters but line ends, and not endless.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::new();
    for c in text.chars().take(MESSAGE_CHARS) {
        if c.is_control() && c != '\n' && c != '\t' {
            shown.extend(c.escape_default())
        } else {
            shown.push(c)
        }
    }
    if text.chars().nth(MESSAGE_CHARS).is_some() {
        shown.push('…');
    }
    shown
}
