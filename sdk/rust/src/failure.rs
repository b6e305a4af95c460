//! Failures and diagnostics: why a call failed, and what is wrong with a configuration.

use crate::{Code, Diagnostic, Failure, Severity};

/// A result whose failure reaches the person who reads the run.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    /// A failure that will happen again in the same way.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Failure {
            code,
            retry: false,
            message: message.into(),
            hint: None,
        }
    }

    /// The configuration is wrong.
    pub fn configuration(message: impl Into<String>) -> Self {
        Failure::new(Code::Configuration, message)
    }

    /// A program, a file or a service that is needed is missing.
    pub fn environment(message: impl Into<String>) -> Self {
        Failure::new(Code::Environment, message)
    }

    /// The source could not be read to its end.
    pub fn backup_failed(message: impl Into<String>) -> Self {
        Failure::new(Code::BackupFailed, message)
    }

    /// The destination could not take or give back the data.
    pub fn storage(message: impl Into<String>) -> Self {
        Failure::new(Code::Storage, message)
    }

    /// There is not enough room.
    pub fn disk_space(message: impl Into<String>) -> Self {
        Failure::new(Code::DiskSpace, message)
    }

    /// A defect of the plugin.
    pub fn internal(message: impl Into<String>) -> Self {
        Failure::new(Code::Internal, message)
    }

    /// Adds what a person can do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says that the same thing may succeed later: a connection that broke, a dataset that was busy.
    pub fn retry(mut self) -> Self {
        self.retry = true;
        self
    }

    /// Replaces the class.
    pub fn with_code(mut self, code: Code) -> Self {
        self.code = code;
        self
    }

    /// Puts what was being done before the message, which stays the cause.
    pub fn context(mut self, doing: impl AsRef<str>) -> Self {
        self.message = format!("{}: {}", doing.as_ref(), self.message);
        self
    }
}

/// JSON that a plugin wrote itself and can't read or write is a defect.
impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Failure::internal(format!("unexpected JSON: {error}"))
    }
}

impl Diagnostic {
    /// An error at a JSON pointer into the plugin's configuration, such as `/poolName`. `code` is a
    /// stable word for programs, such as `missing-dataset`.
    pub fn error(pointer: impl Into<String>, code: &str, message: impl Into<String>) -> Self {
        Diagnostic {
            pointer: pointer.into(),
            severity: Severity::Error,
            code: code.to_owned(),
            message: message.into(),
            hint: None,
        }
    }

    /// Something to look at that doesn't stop the job.
    pub fn warning(pointer: impl Into<String>, code: &str, message: impl Into<String>) -> Self {
        Diagnostic {
            severity: Severity::Warning,
            ..Diagnostic::error(pointer, code, message)
        }
    }

    /// Says what will happen.
    pub fn info(pointer: impl Into<String>, code: &str, message: impl Into<String>) -> Self {
        Diagnostic {
            severity: Severity::Info,
            ..Diagnostic::error(pointer, code, message)
        }
    }

    /// An error made from a failure of a host function.
    pub fn from_failure(pointer: impl Into<String>, code: &str, failure: Failure) -> Self {
        Diagnostic {
            hint: failure.hint,
            ..Diagnostic::error(pointer, code, failure.message)
        }
    }

    /// Fails with the first error among them, for a call that must not go on with a wrong configuration: one that was
    /// right when the job was accepted may come from another machine.
    ///
    /// # Errors
    /// There is one.
    pub fn refuse(found: Vec<Diagnostic>) -> Result<()> {
        let error = found.into_iter().find(|d| d.severity == Severity::Error);
        error.map_or(Ok(()), |Diagnostic { message, hint, .. }| {
            Err(Failure {
                hint,
                ..Failure::configuration(message)
            })
        })
    }

    /// Adds what to do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_errors_refuse() {
        let warning = Diagnostic::warning("/a", "odd", "`a` is odd");
        assert!(Diagnostic::refuse(vec![warning.clone()]).is_ok());
        let error = Diagnostic::error("/b", "bad", "`b` is bad").hint("correct it");
        let failure = Diagnostic::refuse(vec![warning, error]).expect_err("an error");
        assert_eq!(
            (failure.message.as_str(), failure.hint.as_deref()),
            ("`b` is bad", Some("correct it"))
        );
    }
}
