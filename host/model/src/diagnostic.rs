//! What is wrong with a configuration, and where.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Code, Error};

/// How bad a diagnostic is. Only errors stop a job from being accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The job is refused.
    Error,
    /// The job is accepted; somebody should look at it.
    Warning,
    /// Says what will happen.
    Info,
}

/// One thing to say about one place of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Diagnostic {
    /// JSON pointer (RFC 6901) into the job.
    pub pointer: String,
    /// Whether it stops the job.
    pub severity: Severity,
    /// A stable word for programs, such as `unknown-key`.
    pub code: String,
    /// One sentence.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Diagnostic {
    /// An error at a pointer.
    pub fn error(pointer: impl Into<String>, code: &str, message: impl Into<String>) -> Self {
        Diagnostic {
            pointer: pointer.into(),
            severity: Severity::Error,
            code: code.to_owned(),
            message: message.into(),
            hint: None,
        }
    }

    /// A warning at a pointer.
    pub fn warning(pointer: impl Into<String>, code: &str, message: impl Into<String>) -> Self {
        Diagnostic {
            severity: Severity::Warning,
            ..Diagnostic::error(pointer, code, message)
        }
    }

    /// A note at a pointer.
    pub fn info(pointer: impl Into<String>, code: &str, message: impl Into<String>) -> Self {
        Diagnostic {
            severity: Severity::Info,
            ..Diagnostic::error(pointer, code, message)
        }
    }

    /// Adds what to do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Whether it stops the job.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.pointer.is_empty() {
            "(job)"
        } else {
            &self.pointer
        };
        let word = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Info => "note",
        };
        write!(f, "{word} at {place}: {}", self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, "\n    {hint}")?;
        }
        Ok(())
    }
}

/// Turns what is wrong into one error, if anything stops the job.
pub fn into_error(diagnostics: &[Diagnostic]) -> Option<Error> {
    let errors: Vec<String> = diagnostics
        .iter()
        .filter(|d| d.is_error())
        .map(ToString::to_string)
        .collect();
    (!errors.is_empty()).then(|| {
        let count = if errors.len() == 1 {
            "1 error".to_owned()
        } else {
            format!("{} errors", errors.len())
        };
        Error::new(
            Code::Configuration,
            format!("the job has {count}\n  {}", errors.join("\n  ")),
        )
    })
}
