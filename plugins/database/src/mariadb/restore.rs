//! Gives a dump back to MariaDB or MySQL.
//!
//! Their databases can't be renamed, so a dump goes straight into a new one. A table in it with the run's name says
//! that it isn't complete; it goes when all is there. Undo drops a database only while it has that table, or is new and
//! holds nothing.

use backstay_sdk::{Code, Content, Failure, Restored, Result, RunInfo, Target, When, journal, log, progress};
use serde::{Deserialize, Serialize};

use super::{Facts, answered, command, databases, rows};
use crate::complaint;
use crate::config::Config;

/// What the names of tables begin with that mark a database as incomplete.
const MARK: &str = "backstay_restore_";

/// The longest name that the server takes, in characters.
const MOST_NAME_CHARS: usize = 64;

/// Databases that belong to the server.
const SYSTEM: [&str; 4] = ["information_schema", "performance_schema", "mysql", "sys"];

/// A database that isn't complete, in the journal.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Entry {
    /// Its name.
    database: String,
    /// The table in it that says so.
    mark: String,
    /// Whether there was one of that name before.
    existed: bool,
}

/// A database that holds something.
#[derive(Debug, Deserialize)]
struct InUse {
    name: String,
}

/// A table that marks a database.
#[derive(Debug, Deserialize)]
struct Marked {
    name: String,
    table: String,
}

/// Restores a database under its own name or the one that the target names.
///
/// # Errors
/// There is a database of that name, or the server can't take it.
pub fn restore(
    config: &Config,
    run: &RunInfo,
    facts: &Facts,
    content: Content,
    target: &Target,
) -> Result<Restored> {
    let name = choose_name(facts, target)?;
    let exists = databases(config)?.iter().any(|row| row.name == name);
    if exists && !target.overwrite {
        return Err(
            Failure::configuration(format!("the database `{name}` exists already"))
                .hint("name another one with `--to`, or allow it to be overwritten with `--overwrite`"),
        );
    }
    let restored = Restored {
        place: format!("the database {name}"),
        entries: 0,
        bytes: 0,
    };
    if target.dry_run {
        let what = if exists { "replace" } else { "create" };
        log::info(format!(
            "would {what} the database `{name}` with the dump of `{}`",
            facts.database
        ));
        return Ok(restored);
    }
    let mark = format!("{MARK}{}", run.run_id.replace('-', "_"));
    let entry = Entry {
        database: name.clone(),
        mark: mark.clone(),
        existed: exists,
    };
    journal::record(&crate::Entry::Mariadb(entry), When::OnAbort)?;
    progress::stage("restoring");
    if exists {
        answered(&command::execute(
            config,
            &format!("DROP DATABASE {}", identifier(&name)),
        ))?;
    }
    let marked = format!("{}.{}", identifier(&name), identifier(&mark));
    let create = format!("{}; CREATE TABLE {marked} (incomplete INT)", create(&name, facts));
    answered(&command::execute(config, &create)).map_err(as_storage)?;
    let output = command::script(config, Some(&name)).run_with(content.into_stream()?)?;
    if !output.is_success() {
        return Err(as_storage(complaint::failure(
            command::client_name(config.engine),
            &output,
        )));
    }
    answered(&command::execute(config, &format!("DROP TABLE {marked}")))?;
    Ok(restored)
}

/// Restores the accounts that aren't there. Those that are stay as they are.
///
/// # Errors
/// A database is named, or the server refuses one.
pub fn restore_globals(config: &Config, content: Content, target: &Target) -> Result<Restored> {
    if target.place.is_some() {
        return Err(
            Failure::configuration("accounts belong to the server, not to a database")
                .hint("restore all with `--in-place`, or name one database with `--artifact`"),
        );
    }
    let restored = Restored {
        place: "the server".to_owned(),
        entries: 0,
        bytes: 0,
    };
    if target.dry_run {
        log::info("would create the accounts that are not there, and leave the others as they are");
        return Ok(restored);
    }
    progress::stage("restoring accounts");
    let output = command::script(config, None).run_with(content.into_stream()?)?;
    if !output.is_success() {
        return Err(as_storage(complaint::failure(
            command::client_name(config.engine),
            &output,
        )));
    }
    Ok(restored)
}

/// Drops a database that this plugin made and did not complete.
///
/// # Errors
/// The server can't be asked.
pub fn undo(config: &Config, entry: &Entry) -> Result<()> {
    if !entry.mark.starts_with(MARK) {
        return Err(Failure::internal(
            "the journal names a mark that this plugin doesn't make",
        ));
    }
    if is_unfinished(config, entry)? {
        answered(&command::execute(
            config,
            &format!("DROP DATABASE {}", identifier(&entry.database)),
        ))?;
    }
    Ok(())
}

/// Whether the database has the mark, or was made and got no further than that: then it holds nothing at all.
fn is_unfinished(config: &Config, entry: &Entry) -> Result<bool> {
    let marked: Vec<Marked> = rows(config, command::UNFINISHED)?;
    if marked
        .iter()
        .any(|m| m.name == entry.database && m.table == entry.mark)
    {
        return Ok(true);
    }
    let is_there = databases(config)?.iter().any(|row| row.name == entry.database);
    if entry.existed || !is_there {
        return Ok(false);
    }
    let in_use: Vec<InUse> = rows(config, command::IN_USE)?;
    Ok(!in_use.iter().any(|used| used.name == entry.database))
}

/// Makes an empty database with the same character set.
pub fn create(name: &str, facts: &Facts) -> String {
    let word = |text: &str| -> String {
        text.chars()
            .filter(|c| c.is_ascii_alphanumeric() || *c == '_')
            .collect()
    };
    format!(
        "CREATE DATABASE {} CHARACTER SET '{}' COLLATE '{}'",
        identifier(name),
        word(&facts.character_set),
        word(&facts.collation)
    )
}

/// A name in SQL, whatever is in it.
fn identifier(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

fn choose_name(facts: &Facts, target: &Target) -> Result<String> {
    let name = target.place.as_deref().unwrap_or(&facts.database);
    let fault = if name.is_empty() || name.contains(char::is_control) && target.place.is_some() {
        "is no name of a database"
    } else if name.starts_with('-') {
        "begins with `-`, which the tools take for an option"
    } else if name.contains('/') && target.place.is_some() {
        "looks like a path, and the dump is restored to a database"
    } else if name.chars().count() > MOST_NAME_CHARS {
        "is longer than 64 characters"
    } else if SYSTEM.contains(&name.to_ascii_lowercase().as_str()) {
        "belongs to the server"
    } else {
        return Ok(name.to_owned());
    };
    Err(
        Failure::configuration(format!("`{}` {fault}", name.escape_debug()))
            .hint("name a database, such as `--to app_restored`"),
    )
}

fn as_storage(failure: Failure) -> Failure {
    if failure.code == Code::Environment {
        failure.with_code(Code::Storage)
    } else {
        failure
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            database: "app".to_owned(),
            character_set: "utf8mb4".to_owned(),
            collation: "utf8mb4_unicode_ci; DROP".to_owned(),
            server_version: String::new(),
            tool: String::new(),
        }
    }

    #[test]
    fn names_are_quoted_and_words_are_words() {
        assert_eq!(
            create("a`b", &facts()),
            "CREATE DATABASE `a``b` CHARACTER SET 'utf8mb4' COLLATE 'utf8mb4_unicode_ciDROP'"
        );
    }

    #[test]
    fn databases_of_the_server_and_paths_are_refused() {
        for wrong in ["", "/tmp/x", "mysql", "MySQL", "-x", "a\nb", &"x".repeat(65)] {
            let target = Target {
                place: Some(wrong.to_owned()),
                paths: Vec::new(),
                overwrite: true,
                dry_run: false,
                continues: false,
                drill: false,
            };
            assert_eq!(
                choose_name(&facts(), &target).expect_err(wrong).code,
                Code::Configuration
            );
        }
    }
}
