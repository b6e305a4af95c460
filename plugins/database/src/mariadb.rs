//! MariaDB and MySQL: a dump in SQL of each database, and the accounts of a MariaDB server.

pub mod command;
pub mod restore;
mod rights;

use backstay_sdk::{Artifact, Code, Command, Diagnostic, Failure, Output, Result, log, progress, shell};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::choose::{Chosen, Listed, choose, is_plain};
use crate::config::{Config, Engine};
use crate::{complaint, naming};

/// Media type of a dump.
const MEDIA_TYPE: &str = "application/sql";

/// The artifact with the accounts.
const GLOBALS: &str = "globals.sql";

/// The most that the host gives of what a program prints, in bytes.
const MOST_OUTPUT_BYTES: usize = 1 << 20;

/// What the manifest keeps of a database.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Facts {
    /// Its name.
    pub database: String,
    /// Character set of new tables.
    pub character_set: String,
    /// Collation of new tables.
    pub collation: String,
    /// What the server says of its version.
    pub server_version: String,
    /// First line of `mariadb-dump --version`.
    pub tool: String,
}

/// What the manifest keeps of the accounts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GlobalFacts {
    /// What the server says of its version.
    pub server_version: String,
}

/// A database as the server lists it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    name: String,
    character_set: String,
    collation: String,
}

impl Listed for Row {
    fn name(&self) -> &str {
        &self.name
    }

    fn obstacle(&self) -> Option<&'static str> {
        self.name
            .starts_with('-')
            .then_some("its name begins with `-`, which the tools take for an option")
    }
}

/// A database with tables that no transaction protects.
#[derive(Debug, Deserialize)]
struct Loose {
    name: String,
    tables: u64,
    example: String,
    engine: String,
}

/// Connects, and looks for what the job names.
pub fn look(config: &Config) -> Vec<Diagnostic> {
    match command::version(config.engine)
        .run_ok()
        .and_then(|_| select(config))
    {
        Ok(chosen) => {
            let warnings = chosen.warnings.into_iter();
            warnings
                .map(|(code, message)| Diagnostic::warning("/include", code, message))
                .collect()
        }
        Err(failure) => vec![diagnose(failure)],
    }
}

/// Offers the accounts and each database.
///
/// # Errors
/// The server can't be reached or asked, or what the job names isn't there.
pub fn open(config: &Config) -> Result<Vec<Artifact>> {
    progress::stage("listing databases");
    let tool = command::version(config.engine).run_ok()?;
    let tool = tool.stdout.lines().next().unwrap_or_default().to_owned();
    let server_version = answered(&command::execute(config, command::VERSION))?
        .stdout
        .trim()
        .to_owned();
    let chosen = select(config)?.with_warnings();
    let mut artifacts = Vec::new();
    if config.engine == Engine::Mariadb && config.globals != Some(false) {
        let stream = command::dump_accounts(config).pipe()?;
        let facts = crate::Facts::MariadbGlobals(GlobalFacts {
            server_version: server_version.clone(),
        });
        artifacts.push(Artifact::stream(GLOBALS, MEDIA_TYPE, stream).with_metadata(&facts)?);
    }
    log::info(format!(
        "backing up {} databases of {} {server_version}",
        chosen.len(),
        config.engine.name()
    ));
    for row in chosen {
        let stream = command::dump(config, &row.name).pipe()?;
        let name = naming::artifact(&row.name, "sql");
        let facts = crate::Facts::MariadbDatabase(Facts {
            database: row.name,
            character_set: row.character_set,
            collation: row.collation,
            server_version: server_version.clone(),
            tool: tool.clone(),
        });
        artifacts.push(Artifact::stream(name, MEDIA_TYPE, stream).with_metadata(&facts)?);
    }
    Ok(artifacts)
}

/// What a machine without Backstay runs. `$TARGET` is the host; account and password come from `~/.my.cnf`.
pub fn recovery_command(config: &Config, facts: Option<&Facts>) -> String {
    let client = format!(
        "{} --host=\"$TARGET\" --default-character-set=utf8mb4",
        command::client_name(config.engine)
    );
    match facts {
        None => format!("{client} --binary-mode"),
        Some(facts) => {
            let create = shell::quote(&restore::create(&facts.database, facts));
            let database = shell::quote(&format!("--database={}", facts.database));
            format!(
                "{client} --execute={create} && {client} --binary-mode --max-allowed-packet=1G {database}"
            )
        }
    }
}

/// The databases of the job, with all that somebody should know of them.
fn select(config: &Config) -> Result<Chosen<Row>> {
    let mut chosen = choose(databases(config)?, &config.include, &config.exclude)?;
    for loose in rows::<Loose>(config, command::WITHOUT_TRANSACTIONS)? {
        if chosen.databases.iter().any(|row| row.name == loose.name) {
            let Loose {
                name,
                tables,
                example,
                engine,
            } = loose;
            let message = format!(
                "{tables} tables of `{name}` can change while they are read, because {engine} has no transactions; one is `{example}`"
            );
            chosen.warnings.push(("not-transactional", message));
        }
    }
    let rights = rows(config, command::RIGHTS)?;
    for row in &chosen.databases {
        let missing = rights::missing(&rights, &row.name, config.schema_only);
        if !missing.is_empty() {
            let message = format!(
                "the account has no {} on `{}`: what it can't see is not in the backup",
                missing.join(", "),
                row.name
            );
            chosen.warnings.push(("missing-rights", message));
        }
    }
    if !rights::sees_routines(&rights) {
        let message =
            "the account has no SELECT on `mysql`: procedures and functions of others are not in the backup";
        chosen.warnings.push(("missing-rights", message.to_owned()));
    }
    if config.include.iter().any(|pattern| !is_plain(pattern)) && !rights::sees_all(&rights) {
        let message =
            "the account sees only the databases that it has rights on; others are not in the backup";
        chosen.warnings.push(("missing-rights", message.to_owned()));
    }
    Ok(chosen)
}

fn databases(config: &Config) -> Result<Vec<Row>> {
    rows(config, command::DATABASES)
}

fn rows<T: DeserializeOwned>(config: &Config, question: &str) -> Result<Vec<T>> {
    let output = answered(&command::execute(config, question))?;
    let lines = output.stdout.lines();
    Ok(lines.map(serde_json::from_str).collect::<Result<_, _>>()?)
}

/// Runs a command that must end well and whose whole output counts.
fn answered(command: &Command) -> Result<Output> {
    let output = command.run()?;
    if !output.is_success() {
        let program = output.command.split(' ').next().unwrap_or_default().to_owned();
        return Err(complaint::failure(&program, &output));
    }
    if output.stdout.len() >= MOST_OUTPUT_BYTES {
        return Err(
            Failure::backup_failed("the server has more databases than can be listed")
                .hint("back them up by several accounts that see fewer"),
        );
    }
    Ok(output)
}

fn diagnose(failure: Failure) -> Diagnostic {
    let (pointer, code) = match failure.code {
        Code::Configuration | Code::BackupFailed => ("/include", "missing-database"),
        Code::Permission => ("/username", "no-access"),
        Code::Network => ("/host", "unreachable"),
        _ => ("", "unusable"),
    };
    Diagnostic::from_failure(pointer, code, failure)
}
