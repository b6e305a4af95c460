//! Opening the database: its connections, its identity, its version.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use backstay_model::clock::Clock;
use backstay_model::error::show;
use backstay_model::{Code, Error, Result};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, SqliteConnection, SqlitePool};
use uuid::Uuid;

use crate::failure::{BUSY, LOCKED, explain, result_code};
use crate::files::prepare_files;
use crate::{Inner, Store};

/// Name of the database file in the data directory.
pub const FILE_NAME: &str = "backstay.db";

/// How long a write waits for other processes.
pub(crate) const BUSY_SECONDS: u64 = 10;

/// Enough for a web page's parallel requests; each is a thread.
const READERS: u32 = 4;

/// How long a task waits for its turn among the tasks of this process.
const TURN_SECONDS: u64 = 60;

/// "BSTK", set by the first migration.
const APPLICATION_ID: i64 = 0x4253_544b;

static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/sqlite");

impl Store {
    /// Opens the database of a data directory; makes both if they are missing, for this user only
    /// (0700 and 0600), and brings an older database up to date.
    ///
    /// # Errors
    /// Each names the file. [`Code::Permission`]: this user may not write it. [`Code::Environment`]: it
    /// is of a newer version, not of Backstay, or where no database can work. [`Code::Storage`]: it is damaged,
    /// or was locked for ten seconds. [`Code::DiskSpace`]: no room.
    pub async fn open(data_dir: &Path, clock: Arc<dyn Clock>) -> Result<Store> {
        Self::open_with_key(data_dir, clock, None).await
    }

    /// As [`Store::open`], with the key of the secrets in this file, a credential of the service manager, instead of
    /// beside the database.
    ///
    /// # Errors
    /// As for [`Store::open`].
    pub async fn open_with_key(
        data_dir: &Path,
        clock: Arc<dyn Clock>,
        credential: Option<PathBuf>,
    ) -> Result<Store> {
        let dir =
            std::path::absolute(data_dir).map_err(|e| Error::io("find the data directory", data_dir, e))?;
        let file = dir.join(FILE_NAME);
        if file.to_str().is_none() {
            return Err(Error::new(
                Code::Configuration,
                format!("the data directory {} is not named in UTF-8", show(&dir)),
            )
            .hint("choose another one with --data-dir"));
        }
        let key = crate::vault::key_of(&dir, credential);
        let file = tokio::task::spawn_blocking(move || prepare_files(&dir, &file).map(|()| file))
            .await
            .map_err(|e| Error::internal("the data directory was not prepared").because(e))??;

        let options = SqliteConnectOptions::new()
            .filename(&file)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(BUSY_SECONDS))
            .pragma("trusted_schema", "OFF")
            .disable_statement_logging();
        let writer = pool(1, options.clone());
        let readers = pool(READERS, options.pragma("query_only", "ON"));
        let instance_id = prepare_database(&writer, &file).await?;
        Ok(Store {
            inner: Arc::new(Inner {
                file,
                writer,
                readers,
                reads_only: AtomicBool::new(false),
                instance_id,
                clock,
                key,
            }),
        })
    }
}

/// Connections are made when first needed and kept: to a file, nothing goes stale.
///
/// But when SQLite rolls a transaction back by itself, for example on a full disk, sqlx goes on counting it
/// as open and refuses all later ones. Such a connection is replaced. The ping before that lets it finish
/// what was dropped.
fn pool(connections: u32, options: SqliteConnectOptions) -> SqlitePool {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(Duration::from_secs(TURN_SECONDS))
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(true)
        .before_acquire(|connection, _| Box::pin(std::future::ready(Ok(!connection.is_in_transaction()))))
        .connect_lazy_with(options)
}

/// Proves that the file is ours and up to date, making it so if it is empty or older. Returns the instance id.
async fn prepare_database(writer: &SqlitePool, file: &Path) -> Result<Uuid> {
    const DOING: &str = "open it";
    let failed = |e| explain(file, DOING, e);
    let mut connection = writer.acquire().await.map_err(failed)?;
    let latest = MIGRATIONS.iter().map(|m| m.version).max().unwrap_or(0);
    if judge(&mut connection, file, latest).await? < latest {
        enter_wal(&mut connection, file).await?;
        migrate(&mut connection, file, latest).await?;
    }
    let id: String = sqlx::query_scalar("SELECT value FROM meta WHERE key = 'instance_id'")
        .fetch_one(&mut *connection)
        .await
        .map_err(failed)?;
    id.parse().map_err(|e: uuid::Error| {
        Error::new(
            Code::Storage,
            format!("the database {} has `{id}` for an instance id", show(file)),
        )
        .because(e)
    })
}

/// The version of the schema; 0 for an empty file.
async fn judge(connection: &mut SqliteConnection, file: &Path, latest: i64) -> Result<i64> {
    let (application_id, version, tables): (i64, i64, i64) = sqlx::query_as(
        "SELECT (SELECT application_id FROM pragma_application_id), (SELECT user_version FROM pragma_user_version), \
         (SELECT count(*) FROM sqlite_schema)",
    )
    .fetch_one(connection)
    .await
    .map_err(|e| explain(file, "open it", e))?;
    if application_id != APPLICATION_ID && (application_id, version, tables) != (0, 0, 0) {
        return Err(Error::new(
            Code::Environment,
            format!("{} is a SQLite database, but not one of Backstay", show(file)),
        )
        .hint("choose another directory with --data-dir, or move the file aside"));
    }
    if version > latest {
        return Err(Error::new(
            Code::Environment,
            format!(
                "the database {} has version {version}; this Backstay knows up to version {latest}",
                show(file)
            ),
        )
        .hint(
            "a newer Backstay has used it: update this one, or go back to a copy of the database from before",
        ));
    }
    Ok(version)
}

/// Switches a new database to a write-ahead log, which it then stays in. SQLite doesn't wait for the
/// lock that this takes, so another process that does the same is waited for here.
async fn enter_wal(connection: &mut SqliteConnection, file: &Path) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(BUSY_SECONDS);
    let mode: String = loop {
        match sqlx::query_scalar("PRAGMA journal_mode = WAL")
            .fetch_one(&mut *connection)
            .await
        {
            Ok(mode) => break mode,
            Err(e) => {
                let busy = matches!(result_code(&e).map(|code| code & 0xff), Some(BUSY | LOCKED));
                if !busy || Instant::now() >= deadline {
                    return Err(explain(file, "open it", e));
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    };
    if mode.eq_ignore_ascii_case("wal") {
        return Ok(());
    }
    Err(Error::new(
        Code::Environment,
        format!(
            "the database {} can't have a write-ahead log where it is",
            show(file)
        ),
    )
    .hint("put the data directory on a local file system, not on a network share"))
}

/// Brings the schema up to date in one transaction, so that it is done once and whole or not at all.
async fn migrate(connection: &mut SqliteConnection, file: &Path, latest: i64) -> Result<()> {
    const DOING: &str = "bring it up to date";
    let failed = |e| explain(file, DOING, e);
    let mut transaction = connection
        .begin_with("PRAGMA synchronous = FULL; BEGIN IMMEDIATE")
        .await
        .map_err(failed)?;
    // Another process may have done it while this one waited.
    if judge(&mut transaction, file, latest).await? == latest {
        return Ok(());
    }
    MIGRATIONS
        .run_direct(None, &mut *transaction, false)
        .await
        .map_err(|e| match e {
            MigrateError::Execute(cause) | MigrateError::ExecuteMigration(cause, _) => failed(cause),
            other => Error::new(
                Code::Storage,
                format!(
                    "cannot {DOING}: the database {} is in a state that no version leaves",
                    show(file)
                ),
            )
            .because(other),
        })?;
    sqlx::query("INSERT INTO meta (key, value) VALUES ('instance_id', ?1) ON CONFLICT DO NOTHING")
        .bind(Uuid::new_v4().to_string())
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
    sqlx::query(AssertSqlSafe(format!("PRAGMA user_version = {latest}")))
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
    transaction.commit().await.map_err(failed)
}
