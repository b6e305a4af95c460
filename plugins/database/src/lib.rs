//! The source `database`: each database of a server, or one SQLite file, by the tools that come with it.
//!
//! A server's databases go straight from `pg_dump` or `mariadb-dump` to the destination, each as one stream from
//! one snapshot. SQLite has no tool that writes a whole database to a pipe, so its online backup writes a copy
//! beside the file first, which goes when the run ends. A restore never writes into a database that is there.
//!
//! One module for each kind of server; `plugin.json` asks for exactly the commands in their `command.rs`.

mod choose;
mod complaint;
mod config;
#[cfg(test)]
mod manifest_test;
mod mariadb;
mod naming;
mod postgres;
mod sqlite;

use backstay_sdk::{
    Artifact, Diagnostic, Failure, Previous, Restored, Result, RunInfo, Source, Target, content, journal,
    secrets,
};
use serde::{Deserialize, Serialize};

use crate::config::{Config, Engine};

/// The plugin.
#[derive(Debug)]
pub struct Database;

backstay_sdk::source!(Database, "plugin.json");

/// What the manifest of a backup keeps of an artifact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum Facts {
    PostgresDatabase(postgres::Facts),
    PostgresGlobals(postgres::globals::Facts),
    MariadbDatabase(mariadb::Facts),
    MariadbGlobals(mariadb::GlobalFacts),
    Sqlite(sqlite::Facts),
}

/// What is to be undone.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum Entry {
    Postgres(postgres::restore::Entry),
    Mariadb(mariadb::restore::Entry),
    Sqlite(sqlite::Entry),
}

impl Source for Database {
    type Config = Config;

    fn validate(config: &Config) -> Vec<Diagnostic> {
        let mut diagnostics = config.check();
        if diagnostics.is_empty() {
            diagnostics.extend(check_secret(config));
        }
        if diagnostics.is_empty() {
            diagnostics.extend(match config.engine {
                Engine::Postgres => postgres::look(config),
                Engine::Mariadb | Engine::Mysql => mariadb::look(config),
                Engine::Sqlite => sqlite::look(config),
            });
        }
        diagnostics
    }

    fn open(config: &Config, run: &RunInfo, _: &[Previous]) -> Result<Vec<Artifact>> {
        Diagnostic::refuse(config.check())?;
        match config.engine {
            Engine::Postgres => postgres::open(config),
            Engine::Mariadb | Engine::Mysql => mariadb::open(config),
            Engine::Sqlite => sqlite::open(config, run),
        }
    }

    fn restore(config: &Config, run: &RunInfo, artifact: Artifact, target: &Target) -> Result<Restored> {
        Diagnostic::refuse(config.check())?;
        if !target.paths.is_empty() {
            return Err(
                Failure::configuration("a database is restored as a whole, not by single paths")
                    .hint("restore it to a new database, and copy what you need from there"),
            );
        }
        let facts: Facts = artifact.metadata_as()?;
        let content = artifact.content;
        match facts {
            // What belongs to a whole server can't be restored beside that which is there. And a dump of MariaDB's may name the
            // database that it is of, wherever it goes, and its events would run.
            Facts::PostgresGlobals(_) | Facts::MariadbDatabase(_) | Facts::MariadbGlobals(_)
                if target.drill =>
            {
                Ok(Restored::untried())
            }
            Facts::PostgresDatabase(facts) => {
                postgres::restore::restore(config, run, &facts, content, target)
            }
            Facts::PostgresGlobals(facts) => postgres::globals::restore(config, &facts, content, target),
            Facts::MariadbDatabase(facts) => mariadb::restore::restore(config, run, &facts, content, target),
            Facts::MariadbGlobals(_) => mariadb::restore::restore_globals(config, content, target),
            Facts::Sqlite(facts) => sqlite::restore(&facts, run, content, target),
        }
    }

    fn recovery_command(config: &Config, _: &str, metadata: &str) -> Result<String> {
        Ok(match content::metadata_as(metadata)? {
            Facts::PostgresDatabase(facts) => postgres::recovery_command(&facts),
            Facts::PostgresGlobals(_) => postgres::globals::RECOVERY_COMMAND.to_owned(),
            Facts::MariadbDatabase(facts) => mariadb::recovery_command(config, Some(&facts)),
            Facts::MariadbGlobals(_) => mariadb::recovery_command(config, None),
            Facts::Sqlite(_) => sqlite::RECOVERY_COMMAND.to_owned(),
        })
    }

    fn undo(config: &Config, entry: &str) -> Result<()> {
        match journal::read(entry)? {
            Entry::Postgres(entry) => postgres::restore::undo(config, &entry),
            Entry::Mariadb(entry) => mariadb::restore::undo(config, &entry),
            Entry::Sqlite(entry) => sqlite::undo(&entry),
        }
    }
}

fn check_secret(config: &Config) -> Option<Diagnostic> {
    let name = config.password_secret.as_ref()?;
    secrets::missing("/passwordSecret", name)
}
