//! What a failure of the database means to a person.

use std::path::Path;
use std::sync::atomic::Ordering;

use backstay_model::error::show;
use backstay_model::{Code, Error};

use crate::Store;
use crate::columns::Unreadable;
use crate::open::BUSY_SECONDS;

// Primary result codes, https://www.sqlite.org/rescode.html; an extended code has one in its low byte.
const PERM: i32 = 3;
pub(crate) const BUSY: i32 = 5;
pub(crate) const LOCKED: i32 = 6;
const READONLY: i32 = 8;
const IOERR: i32 = 10;
const CORRUPT: i32 = 11;
const FULL: i32 = 13;
const CANTOPEN: i32 = 14;
const CONSTRAINT: i32 = 19;
const AUTH: i32 = 23;
const NOTADB: i32 = 26;
/// The shared index of the write-ahead log could not grow: in practice, for want of room.
const IOERR_SHMSIZE: i32 = IOERR | 19 << 8;

/// SQLite's extended result code, if the failure came from SQLite.
pub(crate) fn result_code(cause: &sqlx::Error) -> Option<i32> {
    cause.as_database_error()?.code()?.parse().ok()
}

/// Whether it failed because the connection can only read.
fn is_read_only(cause: &sqlx::Error) -> bool {
    result_code(cause).is_some_and(|code| code & 0xff == READONLY)
}

/// One sentence with the file, the class and the next step. `doing` completes "cannot …".
pub(crate) fn explain(file: &Path, doing: &str, cause: sqlx::Error) -> Error {
    let database = show(file);
    let code = result_code(&cause);
    if code == Some(IOERR_SHMSIZE) {
        return full(&database, doing).because(cause);
    }
    let error = match code.map(|code| code & 0xff) {
        Some(FULL) => full(&database, doing),
        Some(BUSY | LOCKED) => busy(&database, doing),
        Some(CORRUPT | NOTADB) => damaged(&database, doing),
        Some(READONLY | PERM | AUTH) => Error::new(
            Code::Permission,
            format!("cannot {doing}: the database {database} can't be written"),
        )
        .hint("check that its file system is not mounted read-only, and that this user may write the file and its directory"),
        Some(CANTOPEN) => Error::new(
            Code::Environment,
            format!("cannot {doing}: the database {database}, or its log beside it, can't be opened"),
        )
        .hint("check that its directory exists and that this user may read and write in it"),
        Some(IOERR) => Error::new(
            Code::Storage,
            format!("cannot {doing}: reading or writing the database {database} failed"),
        )
        .hint("check the disk and the system's log"),
        Some(CONSTRAINT) => {
            Error::internal(format!("cannot {doing}: the database {database} refused it as inconsistent"))
        }
        _ => match &cause {
            sqlx::Error::PoolTimedOut => busy(&database, doing),
            sqlx::Error::PoolClosed => {
                Error::internal(format!("cannot {doing}: the database {database} was closed before"))
            }
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => damaged(&database, doing),
            _ => Error::new(Code::Storage, format!("cannot {doing} in the database {database}")),
        },
    };
    error.because(cause)
}

fn full(database: &str, doing: &str) -> Error {
    Error::new(
        Code::DiskSpace,
        format!("cannot {doing}: there is no room left for the database {database}"),
    )
    .hint("free some space on its file system, then try again; nothing that was saved before is lost")
}

fn busy(database: &str, doing: &str) -> Error {
    Error::new(
        Code::Storage,
        format!(
            "cannot {doing}: the database {database} was in use by another process for more than {BUSY_SECONDS} seconds"
        ),
    )
    .hint("look for another Backstay or a database tool that keeps it locked, then try again")
    .retryable()
}

fn damaged(database: &str, doing: &str) -> Error {
    Error::new(
        Code::Storage,
        format!("cannot {doing}: the database {database} is damaged, or no database at all"),
    )
    .hint(
        "stop Backstay, move the file and its -wal and -shm aside (don't delete them), apply the jobs again, \
         then run `backstay catalog rebuild` to find the backups again from their manifests",
    )
}

impl Store {
    /// For `map_err`: explains what failed. `doing` completes "cannot …".
    pub(crate) fn failed(&self, doing: &str) -> impl FnOnce(sqlx::Error) -> Error {
        move |cause| {
            if is_read_only(&cause) {
                self.inner.reads_only.store(true, Ordering::Relaxed);
            }
            explain(self.file(), doing, cause)
        }
    }

    /// For `map_err`: a row is there and its content makes no sense.
    pub(crate) fn unreadable(&self, what: &str) -> impl Fn(Unreadable) -> Error {
        move |cause| {
            Error::new(
                Code::Storage,
                format!(
                    "the database {} holds {what} that can't be read",
                    show(self.file())
                ),
            )
            .hint("it was damaged, or written by another version of Backstay")
            .because(cause)
        }
    }
}
