//! Gives a dump back to PostgreSQL.
//!
//! A dump goes into a new database under a name of this run, which takes its real name only when it is complete. What
//! it replaces goes away in the same moment, so at no time is there half of a database, or none.

use backstay_sdk::{Code, Content, Failure, Restored, Result, RunInfo, Target, When, journal, log, progress};
use serde::{Deserialize, Serialize};

use super::{Facts, answered, command, databases, statement};
use crate::complaint;
use crate::config::Config;

/// What the names of databases in the making begin with.
const IN_MAKING: &str = "backstay-restore-";

/// What the names of databases that were replaced begin with.
const REPLACED: &str = "backstay-replaced-";

/// PostgreSQL cuts longer names, in bytes.
const MOST_NAME_BYTES: usize = 63;

/// A database to drop, in the journal.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Entry {
    /// Its name, which only this plugin gives.
    database: String,
}

/// Restores a database under its own name or the one that the target names. A drill drops it when it would get that name.
///
/// # Errors
/// A database of that name holds something, roles are missing, or the server can't take it.
pub fn restore(
    config: &Config,
    run: &RunInfo,
    facts: &Facts,
    content: Content,
    target: &Target,
) -> Result<Restored> {
    let name = choose_name(facts, target)?;
    let exists = databases(config)?.iter().any(|row| row.datname == name);
    if exists && !target.overwrite && (target.drill || holds_something(config, &name)?) {
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
    let (new, old) = (
        format!("{IN_MAKING}{}", run.run_id),
        format!("{REPLACED}{}", run.run_id),
    );
    if target.dry_run {
        let what = if exists { "replace" } else { "create" };
        log::info(format!(
            "would {what} the database `{name}` with the dump of `{}`",
            facts.database
        ));
        return Ok(restored);
    }
    // Nobody can be connected to a database that is to be renamed.
    let maintenance = if name == command::MAINTENANCE {
        "template1"
    } else {
        command::MAINTENANCE
    };
    for database in [&new, &old] {
        let entry = Entry {
            database: database.clone(),
        };
        journal::record(&crate::Entry::Postgres(entry), When::Always)?;
    }
    progress::stage("restoring");
    drop_database(config, &new)?;
    let create = [statement::create(&new, &facts.properties)];
    answered(&command::change(config, maintenance, &create)).map_err(as_storage)?;
    let output =
        command::restore(config, &new, facts.some_schemas, target.drill).run_with(content.into_stream()?)?;
    if !output.is_success() {
        return Err(explain_roles(
            as_storage(complaint::failure("pg_restore", &output)),
            &output.stderr,
        ));
    }
    let set_up = statement::set_up(&new, &facts.properties);
    let failed = |failure: Failure| {
        let said = failure.message.clone();
        explain_roles(as_storage(failure), &said)
    };
    answered(&command::change(config, maintenance, &set_up)).map_err(failed)?;
    if target.drill {
        drop_database(config, &new)?;
        return Ok(Restored {
            place: format!("the database {new}"),
            ..restored
        });
    }
    let mut swap = Vec::new();
    if exists {
        swap.push(statement::rename(&name, &old));
    }
    swap.push(statement::rename(&new, &name));
    answered(&command::change(config, maintenance, &swap)).map_err(as_storage)?;
    // The undo would do it as well; but the next database of this run uses the same name.
    if exists {
        drop_database(config, &old)?;
    }
    Ok(restored)
}

/// Drops a database of this plugin that is left.
///
/// # Errors
/// The entry names another database, or the server can't be asked.
pub fn undo(config: &Config, entry: &Entry) -> Result<()> {
    let name = &entry.database;
    if !is_ours(name) {
        return Err(Failure::internal(format!(
            "the journal names the database {name}, which this plugin didn't make"
        )));
    }
    drop_database(config, name)
}

/// Whether this plugin has made a database, for as long as it is at it.
pub fn is_ours(name: &str) -> bool {
    let run = name
        .strip_prefix(IN_MAKING)
        .or_else(|| name.strip_prefix(REPLACED));
    run.is_some_and(|run| run.len() == 36 && run.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-'))
}

fn drop_database(config: &Config, name: &str) -> Result<()> {
    let drop = [statement::drop(name)];
    answered(&command::change(config, command::MAINTENANCE, &drop)).map(|_| ())
}

fn choose_name(facts: &Facts, target: &Target) -> Result<String> {
    let name = target.place.as_deref().unwrap_or(&facts.database);
    let fault = if name.is_empty() || name.contains(char::is_control) && target.place.is_some() {
        "is no name of a database"
    } else if name.contains('/') && target.place.is_some() {
        "looks like a path, and PostgreSQL is restored to a database"
    } else if name.len() > MOST_NAME_BYTES {
        "is longer than 63 bytes, and PostgreSQL would cut it"
    } else if ["template0", "template1"].contains(&name) {
        "is what new databases are made of"
    } else {
        return Ok(name.to_owned());
    };
    Err(
        Failure::configuration(format!("`{}` {fault}", name.escape_debug()))
            .hint("name a database, such as `--to app_restored`"),
    )
}

fn holds_something(config: &Config, name: &str) -> Result<bool> {
    let output = answered(&command::ask(config, name, command::OBJECTS))?;
    Ok(output.stdout.trim() != "0")
}

fn as_storage(failure: Failure) -> Failure {
    if failure.code == Code::Environment {
        failure.with_code(Code::Storage)
    } else {
        failure
    }
}

fn explain_roles(failure: Failure, said: &str) -> Failure {
    if said.contains("role") && said.contains("does not exist") {
        failure.hint(
            "restore the roles first, with `--in-place --artifact globals.sql`, or create this one by hand",
        )
    } else {
        failure
    }
}

/// Each list of statements that a restore runs at once.
#[cfg(test)]
pub fn statements_for_test(new: &str, old: &str) -> Vec<Vec<String>> {
    let properties = serde_json::from_value(serde_json::json!({
        "owner": "o", "encoding": "UTF8", "collate": "C", "ctype": "C", "connectionLimit": 3, "comment": "c",
        "settings": [["r", ["a=b"]]], "grants": [[null, "CONNECT", false]] }))
    .expect("properties");
    vec![
        vec![statement::drop(new)],
        vec![statement::create(new, &properties)],
        statement::set_up(new, &properties),
        vec![statement::rename("app", old), statement::rename(new, "app")],
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        serde_json::from_value(serde_json::json!({
            "database": "app", "serverVersion": 150_003, "tool": "", "properties": {
                "owner": "o", "encoding": "UTF8", "collate": "C", "ctype": "C", "connectionLimit": -1,
                "comment": null, "settings": [], "grants": null } }))
        .expect("facts")
    }

    fn name(place: Option<&str>) -> Result<String> {
        let target = Target {
            place: place.map(str::to_owned),
            paths: Vec::new(),
            overwrite: false,
            dry_run: false,
            continues: false,
            drill: false,
        };
        choose_name(&facts(), &target)
    }

    #[test]
    fn a_restore_goes_to_the_name_that_is_given_or_to_its_own() {
        assert_eq!(name(None).expect("its own"), "app");
        assert_eq!(name(Some("host=evil")).expect("any name"), "host=evil");
        for wrong in ["", "/tmp/x", "template1", "a\nb", &"x".repeat(64)] {
            assert_eq!(name(Some(wrong)).expect_err(wrong).code, Code::Configuration);
        }
    }

    #[test]
    fn nothing_is_dropped_that_this_plugin_did_not_make() {
        let config: Config = serde_json::from_str(r#"{"engine":"postgres"}"#).expect("config");
        let failure = undo(
            &config,
            &Entry {
                database: "app".to_owned(),
            },
        )
        .expect_err("not ours");
        assert_eq!(failure.code, Code::Internal);
    }
}
