//! PostgreSQL: a dump in the custom format of each database, and the roles and tablespaces of the server.

pub mod command;
pub mod globals;
pub mod restore;
mod statement;

use backstay_sdk::{Artifact, Code, Command, Diagnostic, Failure, Output, Result, log, progress};
use serde::{Deserialize, Serialize};

use crate::choose::{Listed, choose};
use crate::config::Config;
use crate::{complaint, naming};

/// Media type of a dump in the custom format.
const MEDIA_TYPE: &str = "application/vnd.postgresql.dump";

/// The most that the host gives of what a program prints, in bytes.
const MOST_OUTPUT_BYTES: usize = 1 << 20;

/// What the manifest keeps of a database.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Facts {
    /// Its name.
    pub database: String,
    /// The server's version as a number, such as 150003.
    pub server_version: u32,
    /// First line of `pg_dump --version`.
    pub tool: String,
    /// Whether only some schemas are in it; then it makes the one that every new database has, too.
    #[serde(default)]
    pub some_schemas: bool,
    /// What it was made and set up with.
    pub properties: Properties,
}

/// What a dump doesn't hold of its database.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Properties {
    /// Role that owns it.
    pub owner: String,
    /// Such as `UTF8`.
    pub encoding: String,
    /// `LC_COLLATE`.
    #[serde(alias = "datcollate")]
    pub collate: String,
    /// `LC_CTYPE`.
    #[serde(alias = "datctype")]
    pub ctype: String,
    /// `c` for the C library, `i` for ICU, `b` for PostgreSQL itself; nothing before version 15.
    #[serde(default, alias = "datlocprovider")]
    pub locale_provider: Option<String>,
    /// Locale of ICU or of PostgreSQL itself.
    #[serde(default, alias = "datlocale", alias = "daticulocale")]
    pub locale: Option<String>,
    /// Connections at once; -1 for any number.
    #[serde(alias = "datconnlimit")]
    pub connection_limit: i64,
    /// `COMMENT ON DATABASE`.
    pub comment: Option<String>,
    /// Role, if it is for one only, and settings as `name=value`.
    pub settings: Vec<(Option<String>, Vec<String>)>,
    /// Role (nothing for all), privilege, and whether it can be passed on; nothing at all for the usual ones.
    pub grants: Option<Vec<(Option<String>, String, bool)>>,
}

/// What the server says of itself.
#[derive(Debug, Clone, Deserialize)]
pub struct Server {
    version: u32,
    superuser: bool,
    roles: Vec<String>,
    tablespaces: Vec<String>,
}

/// A database as the server lists it.
#[derive(Debug, Clone, Deserialize)]
struct Row {
    datname: String,
    datallowconn: bool,
    may_connect: bool,
    #[serde(flatten)]
    properties: Properties,
}

impl Listed for Row {
    fn name(&self) -> &str {
        &self.datname
    }

    fn obstacle(&self) -> Option<&'static str> {
        if !self.datallowconn {
            Some("it allows no connections")
        } else if !self.may_connect {
            Some("the account has no right to connect to it")
        } else {
            None
        }
    }
}

/// Connects, and looks for what the job names.
pub fn look(config: &Config) -> Vec<Diagnostic> {
    let looked = server(config).and_then(|server| {
        let tool = tool_version()?;
        refuse_old_tool(&tool, server.version)?;
        choose(to_choose_from(config)?, &config.include, &config.exclude)
    });
    match looked {
        Ok(chosen) => {
            let warnings = chosen.warnings.into_iter();
            warnings
                .map(|(code, message)| Diagnostic::warning("/include", code, message))
                .collect()
        }
        Err(failure) => vec![diagnose(failure)],
    }
}

/// Offers the globals and each database.
///
/// # Errors
/// The server can't be reached or asked, or what the job names isn't there.
pub fn open(config: &Config) -> Result<Vec<Artifact>> {
    progress::stage("listing databases");
    let server = server(config)?;
    let tool = tool_version()?;
    refuse_old_tool(&tool, server.version)?;
    let chosen = choose(to_choose_from(config)?, &config.include, &config.exclude)?.with_warnings();
    let mut artifacts = Vec::new();
    if config.globals != Some(false) {
        artifacts.push(globals::artifact(config, &server)?);
    }
    for row in chosen {
        let stream = command::dump(config, &row.datname).pipe()?;
        let facts = Facts {
            server_version: server.version,
            tool: tool.clone(),
            properties: row.properties,
            some_schemas: !config.schemas.is_empty(),
            database: row.datname,
        };
        let name = naming::artifact(&facts.database, "dump");
        let facts = crate::Facts::PostgresDatabase(facts);
        artifacts.push(Artifact::stream(name, MEDIA_TYPE, stream).with_metadata(&facts)?);
    }
    log::info(format!(
        "backing up {} databases of PostgreSQL {}",
        artifacts.len() - usize::from(config.globals != Some(false)),
        shown_version(server.version)
    ));
    Ok(artifacts)
}

/// What a machine without Backstay runs. `$TARGET` is the database to connect to first, or a connection
/// string; with only some schemas, an empty database.
pub fn recovery_command(facts: &Facts) -> String {
    // Every server has it already, and it can't be made.
    if facts.some_schemas {
        return "pg_restore --exit-on-error --clean --if-exists --dbname=\"$TARGET\"".to_owned();
    }
    let create = if facts.database == command::MAINTENANCE {
        ""
    } else {
        " --create"
    };
    format!("pg_restore --exit-on-error{create} --dbname=\"$TARGET\"")
}

fn server(config: &Config) -> Result<Server> {
    let output = answered(&command::ask(config, command::MAINTENANCE, command::SERVER))?;
    Ok(serde_json::from_str(&output.stdout)?)
}

/// The databases without those that a restore or a drill is at.
fn to_choose_from(config: &Config) -> Result<Vec<Row>> {
    let mut all = databases(config)?;
    all.retain(|row| {
        let is_ours = restore::is_ours(&row.datname);
        if is_ours {
            log::info(format!(
                "{} is left out: a restore or a drill is at it",
                row.datname
            ));
        }
        !is_ours
    });
    Ok(all)
}

fn databases(config: &Config) -> Result<Vec<Row>> {
    let output = answered(&command::ask(config, command::MAINTENANCE, command::DATABASES))?;
    let lines = output.stdout.lines();
    Ok(lines.map(serde_json::from_str).collect::<Result<_, _>>()?)
}

/// Runs a command that must end well and whose whole output counts.
pub(crate) fn answered(command: &Command) -> Result<Output> {
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

fn tool_version() -> Result<String> {
    let output = command::version().run_ok()?;
    Ok(output.stdout.lines().next().unwrap_or_default().to_owned())
}

/// `pg_dump` refuses a server that is newer than itself; this says so before anything has begun.
fn refuse_old_tool(tool: &str, server: u32) -> Result<()> {
    // `pg_dump (PostgreSQL) 15.3 (Debian 15.3-0)`; one that writes it in another way judges for itself.
    let major = tool
        .split(' ')
        .nth(2)
        .and_then(|v| v.split(['.', 'b', 'd', 'r']).next()?.parse::<u32>().ok());
    let of_server = server / 10_000;
    if major.is_some_and(|major| major < of_server) {
        return Err(Failure::environment(format!(
            "the server is PostgreSQL {}, and `{tool}` is too old to read it",
            shown_version(server)
        ))
        .hint(format!("install the client tools of version {of_server} or newer, such as `postgresql-client-{of_server}`")));
    }
    Ok(())
}

/// 150003 as `15.3`.
fn shown_version(version: u32) -> String {
    format!("{}.{}", version / 10_000, version % 10_000)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_newer_than_the_tool_is_refused() {
        for (tool, server, fits) in [
            ("pg_dump (PostgreSQL) 15.3 (Debian 15.3-0+deb12u1)", 150_003, true),
            ("pg_dump (PostgreSQL) 17beta1", 160_001, true),
            ("pg_dump (PostgreSQL) 15.3", 140_001, true),
            ("pg_dump of somebody", 170_001, true),
            ("pg_dump (PostgreSQL) 15.3", 170_001, false),
            ("pg_dump (PostgreSQL) 16devel", 170_001, false),
        ] {
            assert_eq!(refuse_old_tool(tool, server).is_ok(), fits, "{tool} {server}");
        }
        let failure = refuse_old_tool("pg_dump (PostgreSQL) 15.3", 170_001).expect_err("too old");
        assert_eq!(
            failure.message,
            "the server is PostgreSQL 17.1, and `pg_dump (PostgreSQL) 15.3` is too old to read it"
        );
        assert_eq!(failure.code, Code::Environment);
    }

    #[test]
    fn rows_of_old_and_new_servers_are_understood() {
        let old = r#"{"datname":"a\nb","datallowconn":true,"may_connect":true,"owner":"o","encoding":"UTF8","datcollate":"C","datctype":"C","datconnlimit":-1,"comment":null,"settings":[[null,["work_mem=1MB"]]],"grants":null,"oid":"5"}"#;
        let row: Row = serde_json::from_str(old).expect("a row");
        assert_eq!((row.name(), row.obstacle()), ("a\nb", None));
        let new = old.replace("\"oid\"", "\"datlocprovider\":\"i\",\"datlocale\":\"de\",\"oid\"");
        let row: Row = serde_json::from_str(&new).expect("a row");
        assert_eq!(row.properties.locale.as_deref(), Some("de"));
    }
}
