//! `log`: lines for the run's log, at a limited rate.

use backstay_model::event::Level;

use crate::bindings::wit::log::{self, Level as GuestLevel};
use crate::call::Flood;
use crate::guest_error::printable;
use crate::host::Host;
use crate::limits::LOG_LINE_BYTES;

impl Host {
    /// Counts a line. Whether it is kept.
    fn may_log(&mut self) -> wasmtime::Result<bool> {
        self.used.log_lines += 1;
        let (kept, flood) = (self.scope.limits.log_lines, self.scope.limits.log_flood_lines);
        if self.used.log_lines > flood {
            return Err(Flood::error("it wrote log lines without end"));
        }
        if self.used.log_lines == kept + 1 {
            self.scope.listener.log(
                Level::Warn,
                format!("more than {kept} log lines in one call: the rest is dropped"),
            );
        }
        Ok(self.used.log_lines <= kept)
    }

    /// A line as it is shown: not endless, and without secrets.
    fn line(&self, message: &str) -> String {
        let message = self.secrets.redact(message);
        printable(&message[..message.floor_char_boundary(LOG_LINE_BYTES)])
    }
}

impl log::Host for Host {
    async fn write(&mut self, level: GuestLevel, message: String) -> wasmtime::Result<()> {
        if self.may_log()? {
            let level = match level {
                GuestLevel::Debug => Level::Debug,
                GuestLevel::Info => Level::Info,
                GuestLevel::Warn => Level::Warn,
                GuestLevel::Error => Level::Error,
            };
            self.scope.listener.log(level, self.line(&message));
        }
        Ok(())
    }

    async fn warning(&mut self, code: String, message: String, path: Option<String>) -> wasmtime::Result<()> {
        if self.may_log()? {
            let message = self.line(&message);
            self.scope.listener.log(Level::Warn, message.clone());
            self.scope.context.notes.warn(
                &self.words(&code),
                message,
                path.as_deref().map(|path| self.words(path)),
            );
        }
        Ok(())
    }
}
