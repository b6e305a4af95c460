//! Roles and tablespaces, which belong to the server and to none of its databases.

use backstay_sdk::{Artifact, Code, Content, Failure, Restored, Result, Target, log, progress};
use serde::{Deserialize, Serialize};

use super::{Server, command, server};
use crate::complaint;
use crate::config::Config;

/// The artifact.
const NAME: &str = "globals.sql";

/// What a machine without Backstay runs. The role that every server has can't be made again, which it says.
pub const RECOVERY_COMMAND: &str = "psql --no-psqlrc --quiet --dbname=\"$TARGET\" --file=-";

/// SQLSTATE of something that is there already.
const DUPLICATE: &str = " 42710: ";

/// The most that the host keeps of what a program complains, in bytes.
const MOST_COMPLAINT_BYTES: usize = 16 << 10;

/// What the manifest keeps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Facts {
    /// Roles in it, but for the one that every server has.
    pub roles: Vec<String>,
    /// Tablespaces in it.
    pub tablespaces: Vec<String>,
    /// Whether the hashes of passwords are in it.
    pub with_passwords: bool,
}

/// Offers the globals; without passwords where only a superuser may read them, which is a warning.
///
/// # Errors
/// `pg_dumpall` is missing.
pub fn artifact(config: &Config, server: &Server) -> Result<Artifact> {
    let with_passwords = server.superuser;
    if !with_passwords {
        log::warning(
            "no-role-passwords",
            "the roles are backed up without their passwords, which only a superuser can read",
            None,
        );
    }
    let stream = command::dump_globals(config, with_passwords).pipe()?;
    let facts = Facts {
        roles: server.roles.clone(),
        tablespaces: server.tablespaces.clone(),
        with_passwords,
    };
    Artifact::stream(NAME, "application/sql", stream).with_metadata(&crate::Facts::PostgresGlobals(facts))
}

/// Restores them. Roles that are there are changed only if a person allows it.
///
/// # Errors
/// Some are there already, a database is named, or the server refuses one.
pub fn restore(config: &Config, facts: &Facts, content: Content, target: &Target) -> Result<Restored> {
    if target.place.is_some() {
        return Err(
            Failure::configuration("roles and tablespaces belong to the server, not to a database")
                .hint("restore all with `--in-place`, or name one database with `--artifact`"),
        );
    }
    let there = server(config)?;
    let found = both(&facts.roles, &there.roles);
    if !found.is_empty() && !target.overwrite {
        return Err(Failure::configuration(format!("these roles exist already: {}", found.join(", ")))
            .hint("`--overwrite` gives them the attributes and passwords of the backup; `--artifact` restores one database alone"));
    }
    let restored = Restored {
        place: "the server".to_owned(),
        entries: 0,
        bytes: 0,
    };
    if target.dry_run {
        log::info(format!(
            "would create {} roles and {} tablespaces, and change {} roles",
            facts.roles.len() - found.len(),
            facts.tablespaces.len() - both(&facts.tablespaces, &there.tablespaces).len(),
            found.len()
        ));
        return Ok(restored);
    }
    progress::stage("restoring roles");
    let output = command::script(config).run_with(content.into_stream()?)?;
    if !output.is_success() {
        return Err(complaint::failure("psql", &output).with_code(Code::Storage));
    }
    match first_error(&output.stderr) {
        Some(error) => Err(complaint::explain(
            Failure::storage(format!("psql: {error}")),
            error,
        )),
        None => Ok(restored),
    }
}

/// Those of `wanted` that are in `there`.
fn both<'a>(wanted: &'a [String], there: &[String]) -> Vec<&'a str> {
    let found = wanted.iter().filter(|name| there.contains(name));
    found.map(String::as_str).collect()
}

/// The first thing that went wrong. That something is there already is none: a script makes each role before it
/// sets it up, also the one that every server has.
fn first_error(stderr: &str) -> Option<&str> {
    if stderr.len() >= MOST_COMPLAINT_BYTES {
        return stderr.lines().nth(1);
    }
    stderr.lines().find(|line| {
        line.starts_with("psql:") && line.contains(":  ") && !line.contains(DUPLICATE) && !is_notice(line)
    })
}

fn is_notice(line: &str) -> bool {
    ["NOTICE:  ", "WARNING:  ", " 00000: ", " 01"]
        .iter()
        .any(|sign| line.contains(sign))
}

#[cfg(test)]
mod tests {
    use super::first_error;

    #[test]
    fn what_is_there_already_is_no_error() {
        let usual = "psql:<stdin>:14: ERROR:  42710: role \"postgres\" already exists\nLOCATION:  CreateRole, user.c:337\n";
        assert_eq!(first_error(usual), None);
        assert_eq!(first_error("psql:<stdin>:1: NOTICE:  00000: x\n"), None);
        let bad =
            format!("{usual}psql:<stdin>:20: ERROR:  58P01: directory \"/x\" does not exist\nLOCATION:  y\n");
        assert_eq!(
            first_error(&bad),
            Some("psql:<stdin>:20: ERROR:  58P01: directory \"/x\" does not exist")
        );
        let localised = "psql:<stdin>:3: FEHLER:  42501: keine Berechtigung\n";
        assert!(first_error(localised).is_some());
        assert!(first_error(&"psql:<stdin>:14: ERROR:  42710: role\n".repeat(500)).is_some());
    }
}
