//! Log files of one day each, named `<name>.YYYY-MM-DD` by the day in UTC, of which so many are kept.
//!
//! Other files may lie beside them and begin with the same name: only what has such a name exactly is ever deleted.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use backstay_model::clock::Clock;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use tracing_appender::rolling::{Builder, InitError, RollingFileAppender, RollingWriter, Rotation};
use tracing_subscriber::fmt::writer::MakeWriter;

/// Writes to the file of the day.
#[derive(Debug)]
pub struct DailyFiles {
    appender: RollingFileAppender,
    directory: PathBuf,
    name: String,
    keep: usize,
    clock: Arc<dyn Clock>,
    tidied: Mutex<Option<Date>>,
}

impl DailyFiles {
    /// Opens today's file, and keeps so many: today's, which is never deleted, and the newest before it.
    ///
    /// # Errors
    /// Today's file can't be written.
    pub fn open(
        directory: PathBuf,
        name: &str,
        keep: usize,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, InitError> {
        let appender = Builder::new()
            .rotation(Rotation::DAILY)
            .filename_prefix(name)
            .build(&directory)?;
        Ok(DailyFiles {
            appender,
            directory,
            name: name.to_owned(),
            keep,
            clock,
            tidied: Mutex::new(None),
        })
    }

    /// Deletes what is too old, once a day.
    fn tidy(&self, today: Date) {
        {
            let mut tidied = self.tidied.lock().unwrap_or_else(PoisonError::into_inner);
            if tidied.replace(today) == Some(today) {
                return;
            }
        }
        if let Err(error) = self.delete_old(today) {
            // The log itself is being written.
            let _ = writeln!(
                io::stderr(),
                "old log files in {} can't be deleted: {error}",
                self.directory.display()
            );
        }
    }

    fn delete_old(&self, today: Date) -> io::Result<()> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.directory)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                names.push(entry.file_name());
            }
        }
        for name in too_many(names, &self.name, self.keep, today) {
            match std::fs::remove_file(self.directory.join(name)) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
        }
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for DailyFiles {
    type Writer = RollingWriter<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        // Asked before the file is chosen: so that one is of this day or a later one, and stays.
        let today = self.clock.now().to_zoned(TimeZone::UTC).date();
        let writer = self.appender.make_writer();
        self.tidy(today);
        writer
    }
}

/// Which of the files that lie there are logs of days before today and too many, the oldest first.
fn too_many(names: Vec<OsString>, name: &str, keep: usize, today: Date) -> Vec<OsString> {
    let mut logs: Vec<(Date, OsString)> = names
        .into_iter()
        .filter_map(|file| Some((day_of(file.to_str()?, name)?, file)))
        .collect();
    logs.sort();
    let excess = logs.len().saturating_sub(keep);
    logs.into_iter()
        .filter(|(day, _)| *day < today)
        .take(excess)
        .map(|(_, file)| file)
        .collect()
}

/// The day of a log file, if it is one.
fn day_of(file: &str, name: &str) -> Option<Date> {
    let written = file.strip_prefix(name)?.strip_prefix('.')?;
    let day: Date = written.parse().ok()?;
    (day.to_string() == written).then_some(day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deleted(files: &[&str], keep: usize) -> Vec<OsString> {
        let today = "2026-05-04".parse().unwrap();
        too_many(
            files.iter().map(OsString::from).collect(),
            "backstay",
            keep,
            today,
        )
    }

    #[test]
    fn only_log_files_of_days_are_deleted_and_the_oldest_first() {
        let files = [
            "backstay.2026-05-04",
            "backstay.2026-04-30",
            "backstay.2025-12-31",
            "backstay.2026-05-03",
            "backstay",
            "backstay.db",
            "backstay.db-wal",
            "backstay.20260101",
            "backstay.2026-01-01.gz",
            "backstay.2026-13-01",
            "backstay2026-01-01",
            "my-backstay.2026-01-01",
        ];
        assert_eq!(deleted(&files, 2), ["backstay.2025-12-31", "backstay.2026-04-30"]);
        assert_eq!(deleted(&files, 4), [""; 0]);
    }

    #[test]
    fn the_file_of_today_stays_whatever_is_to_be_kept() {
        let files = [
            "backstay.2026-05-04",
            "backstay.2026-05-03",
            "backstay.2026-05-05",
        ];
        for keep in [0, 1] {
            assert_eq!(deleted(&files, keep), ["backstay.2026-05-03"]);
        }
    }
}
