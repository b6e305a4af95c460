//! What people and scripts see. Results go to standard output, everything else to standard error.

mod lines;
pub mod preview;
mod reports;
pub mod summary;
mod table;

use std::io::Write as _;

use backstay_model::run::RunError;
use backstay_model::{Error, Result};
use serde::Serialize;
use serde_json::json;

pub use lines::{Lines, event_line};
pub use reports::Reports;
pub use table::table;

/// How to print.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    /// JSON for programs.
    pub json: bool,
}

impl Output {
    /// Prints a result: `value` for programs, `text` for people.
    ///
    /// # Errors
    /// Standard output can't be written to.
    pub fn print<T: Serialize>(self, value: &T, text: impl FnOnce() -> String) -> Result<()> {
        let mut text = if self.json {
            serde_json::to_string_pretty(value)
                .map_err(|e| Error::internal("cannot write JSON").because(e))?
        } else {
            text()
        };
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        self.write(&text)
    }

    /// Writes a part of a result.
    ///
    /// # Errors
    /// Standard output can't be written to.
    fn write(self, text: &str) -> Result<()> {
        let mut out = std::io::stdout().lock();
        let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        match written {
            // `backstay runs | head` is no failure.
            Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            other => other.map_err(|e| {
                Error::new(backstay_model::Code::Storage, "cannot write to standard output").because(e)
            }),
        }
    }

    /// Prints a text that is the same for people and programs.
    ///
    /// # Errors
    /// Standard output can't be written to.
    pub fn text(self, text: &str) -> Result<()> {
        Output { json: false }.print(&(), || text.to_owned())
    }

    /// Says something beside the result.
    pub fn note(self, text: &str) {
        // Nobody is left to tell if standard error is gone.
        let _ = writeln!(std::io::stderr().lock(), "backstay: {text}");
    }

    /// Says why a command failed.
    pub fn error(self, error: &Error) {
        if self.json {
            // The exit code tells it as well.
            let _ = self.print(&json!({ "error": RunError::from(error) }), String::new);
        }
        self.note(&error.report());
        if let Some(hint) = error.hint_text() {
            self.note(&format!("hint: {hint}"));
        }
    }
}
