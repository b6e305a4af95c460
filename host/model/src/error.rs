//! One error for every room of the host: what failed, whether trying again may help, what to do next.
//!
//! HTTP status and text for terminals are made from it last, by those who talk to people.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A result whose failure can be shown to a person.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The class of a failure. Each class is one exit code, fixed so that scripts may rely on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// Finished, with something a person should look at.
    Warning,
    /// The command line, a job or a plugin's configuration is wrong.
    Configuration,
    /// A program, a file or a service that is needed is missing.
    Environment,
    /// The source could not be read to its end.
    BackupFailed,
    /// The destination could not take or give back the data.
    Storage,
    /// A connection failed.
    Network,
    /// The operating system refused access.
    Permission,
    /// What is stored is not what was backed up.
    Verification,
    /// A collector could not gather its items.
    Collection,
    /// An archive could not be written or read.
    Archive,
    /// Compressing or decompressing failed.
    Compression,
    /// There is not enough room.
    DiskSpace,
    /// A defect in Backstay or in a plugin.
    Internal,
    /// A plugin asked for something that it has no grant for, or broke a limit.
    Security,
    /// Encrypting or decrypting failed, for example for want of the right key.
    Encryption,
    /// Nothing was done, on purpose.
    Skipped,
    /// Somebody cancelled it.
    Cancelled,
}

impl Code {
    /// The process exit code, from the table in the README.
    pub const fn exit_code(self) -> u8 {
        match self {
            Code::Warning => 1,
            Code::Configuration => 2,
            Code::Environment => 3,
            Code::BackupFailed | Code::Cancelled => 4,
            Code::Storage => 5,
            Code::Network => 6,
            Code::Permission => 7,
            Code::Verification => 8,
            Code::Collection => 9,
            Code::Archive => 10,
            Code::Compression => 11,
            Code::DiskSpace => 12,
            Code::Internal => 13,
            Code::Security => 14,
            Code::Encryption => 15,
            Code::Skipped => 16,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::String(s)) => f.write_str(&s),
            _ => write!(f, "{self:?}"),
        }
    }
}

/// A failure with its class, one sentence, the next step, and the cause below it.
///
/// `Display` prints the sentence alone; [`Error::report`] adds the chain of causes.
#[derive(Debug)]
pub struct Error {
    code: Code,
    retry: bool,
    message: String,
    hint: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// A failure that will fail again in the same way.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Error {
            code,
            retry: false,
            message: message.into(),
            hint: None,
            source: None,
        }
    }

    /// A failed operation of the operating system on a path; the class follows from the cause.
    pub fn io(operation: &str, path: impl AsRef<std::path::Path>, cause: io::Error) -> Self {
        Error::new(
            code_of_io(&cause, Code::Storage),
            format!("cannot {operation} {}", show(path.as_ref())),
        )
        .because(cause)
    }

    /// Like [`Error::io`], with the class to use where the cause alone doesn't settle it.
    pub fn io_as(code: Code, operation: &str, path: impl AsRef<std::path::Path>, cause: io::Error) -> Self {
        Error::new(
            code_of_io(&cause, code),
            format!("cannot {operation} {}", show(path.as_ref())),
        )
        .because(cause)
    }

    /// A defect of Backstay itself.
    pub fn internal(message: impl Into<String>) -> Self {
        Error::new(Code::Internal, message)
    }

    /// Adds the cause.
    pub fn because(mut self, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(cause.into());
        self
    }

    /// Adds what a person can do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says that the same thing may succeed later (a network that was down, a file that was busy).
    pub fn retryable(mut self) -> Self {
        self.retry = true;
        self
    }

    /// Replaces the class.
    pub fn with_code(mut self, code: Code) -> Self {
        self.code = code;
        self
    }

    /// The class.
    pub fn code(&self) -> Code {
        self.code
    }

    /// Whether trying again may help.
    pub fn is_retryable(&self) -> bool {
        self.retry
    }

    /// The next step for a person, where there is one.
    pub fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The sentence and its causes, joined by colons, each said once.
    pub fn report(&self) -> String {
        let mut text = self.message.clone();
        let mut cause = StdError::source(self);
        while let Some(error) = cause {
            let part = error.to_string();
            if !text.ends_with(&part) {
                text.push_str(": ");
                text.push_str(&part);
            }
            cause = error.source();
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|e| e as _)
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        io::Error::other(error)
    }
}

/// Gives back the [`Error`] that travelled through an [`io::Error`], or wraps the foreign one.
pub fn from_io(error: io::Error, code: Code, message: &str) -> Error {
    match error.downcast::<Error>() {
        Ok(ours) => ours,
        Err(foreign) => Error::new(code_of_io(&foreign, code), message).because(foreign),
    }
}

/// A path as text that can be printed: what is not UTF-8 or not printable is escaped.
pub fn show(path: &std::path::Path) -> String {
    show_bytes(path.as_os_str().as_encoded_bytes())
}

/// Bytes of a file name as text that can be printed.
pub fn show_bytes(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() {
                text.extend(c.escape_default())
            } else {
                text.push(c)
            }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

fn code_of_io(error: &io::Error, otherwise: Code) -> Code {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Code::DiskSpace,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Code::Permission,
        _ => otherwise,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_names_each_cause_once() {
        let inner = Error::io("write", "/mnt/a", io::Error::from_raw_os_error(28));
        let outer = Error::new(Code::Storage, "the backup was not stored").because(inner);
        assert_eq!(
            outer.report(),
            "the backup was not stored: cannot write /mnt/a: No space left on device (os error 28)"
        );
    }

    #[test]
    fn a_full_disk_is_a_disk_space_error_wherever_it_happens() {
        let error = Error::io("write", "/mnt/a", io::Error::from_raw_os_error(28));
        assert_eq!(error.code().exit_code(), 12);
    }

    #[test]
    fn names_are_printable() {
        assert_eq!(show_bytes(b"a\nb\xff"), "a\\nb\\xff");
    }
}
