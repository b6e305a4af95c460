//! The runs of several checks, each printed when it has ended: none is lost if a later one takes long or is cancelled,
//! and they take no memory.

use backstay_api::view::RunView;
use backstay_engine::backup::Report;
use backstay_model::{Code, Error, Result};

use super::Output;
use super::summary::report_text;

/// A list of runs that grows. As JSON it is one array.
#[derive(Debug)]
pub struct Reports {
    output: Output,
    nothing: &'static str,
    count: usize,
    worst: Option<u8>,
    is_open: bool,
}

impl Reports {
    /// An empty list. `nothing` is said if it stays that.
    pub fn new(nothing: &'static str, output: Output) -> Self {
        Reports {
            output,
            nothing,
            count: 0,
            worst: None,
            is_open: false,
        }
    }

    /// Prints a run.
    ///
    /// # Errors
    /// Standard output can't be written to.
    pub fn add(&mut self, report: &Report) -> Result<()> {
        let text = if self.output.json {
            let value = serde_json::to_string_pretty(&RunView::from(report))
                .map_err(|e| Error::internal("cannot write JSON").because(e))?;
            let before = if self.is_open { "," } else { "[" };
            format!("{before}\n  {}", value.replace('\n', "\n  "))
        } else {
            let between = if self.count == 0 { "" } else { "\n" };
            format!("{between}{}", report_text(report))
        };
        self.is_open = self.output.json;
        self.count += 1;
        let rank = |code: u8| {
            (
                code == Code::Verification.exit_code(),
                code != Code::Warning.exit_code(),
            )
        };
        let code = report.exit_code();
        // Of equals the first one counts.
        if code != 0 && self.worst.is_none_or(|worst| rank(code) > rank(worst)) {
            self.worst = Some(code);
        }
        self.output.write(&text)
    }

    /// Ends the list. The exit code is that of a damaged backup if there is one, else that of the first run that didn't
    /// end well.
    ///
    /// # Errors
    /// Standard output can't be written to.
    pub fn end(mut self) -> Result<u8> {
        self.close()?;
        if self.count == 0 {
            self.output.print(&[(); 0], || self.nothing.to_owned())?;
        }
        Ok(self.worst.unwrap_or(0))
    }

    fn close(&mut self) -> Result<()> {
        if !std::mem::take(&mut self.is_open) {
            return Ok(());
        }
        self.output.write("\n]\n")
    }
}

impl Drop for Reports {
    fn drop(&mut self) {
        // What is on its way is worse than this.
        let _ = self.close();
    }
}
