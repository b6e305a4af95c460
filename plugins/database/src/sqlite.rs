//! SQLite: a copy by the online backup, in one read transaction, checked before it is stored.
//!
//! `sqlite3` can't write a database to a pipe: its `.dump` ends with 0 although it met a damaged page, and cuts texts
//! at a NUL. So the copy lies beside the database until the run ends.

pub mod command;

use backstay_sdk::content::stat;
use backstay_sdk::{
    Artifact, Code, Content, Diagnostic, Failure, FileKind, Output, Restored, Result, RunInfo, Target, When,
    journal, log, progress,
};
use serde::{Deserialize, Serialize};

use crate::config::{Config, fault_of_path};
use crate::{complaint, naming};

/// What a machine without Backstay runs. It never writes over a file.
pub const RECOVERY_COMMAND: &str = "( set -o noclobber; cat > \"$TARGET\" )";

/// Media type of a database file.
const MEDIA_TYPE: &str = "application/vnd.sqlite3";

/// What stands between the name of a database and the run, in the name of a copy.
const COPY: &str = ".backstay-";

/// What the manifest keeps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Facts {
    /// The database file.
    pub path: String,
    /// Number of its owner.
    pub uid: u32,
    /// Number of its group.
    pub gid: u32,
    /// Its permissions, in octal.
    pub mode: String,
    /// First line of `sqlite3 --version`.
    pub tool: String,
}

/// A copy to remove, in the journal.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Entry {
    /// Its path.
    copy: String,
}

/// Looks at the file.
pub fn look(config: &Config) -> Vec<Diagnostic> {
    let looked = config.sqlite_path().and_then(|path| {
        refuse_other_files(path)?;
        journal_mode(path)
    });
    match looked {
        Ok(mode) if mode == "wal" => Vec::new(),
        Ok(_) => vec![
            Diagnostic::info(
                "/path",
                "not-wal",
                "the database can't be written to while it is copied",
            )
            .hint("`PRAGMA journal_mode=WAL` in the database lets writers go on"),
        ],
        Err(failure) => vec![Diagnostic::from_failure("/path", "unreadable", failure)],
    }
}

/// Copies the database and offers the copy.
///
/// # Errors
/// It can't be read, is damaged, or there is no room for the copy.
pub fn open(config: &Config, run: &RunInfo) -> Result<Vec<Artifact>> {
    let path = config.sqlite_path()?;
    refuse_other_files(path)?;
    let tool = command::version().run_ok()?;
    let facts = facts(path, tool.stdout.lines().next().unwrap_or_default())?;
    let copy = format!("{path}{COPY}{}", run.run_id);
    journal::record(&crate::Entry::Sqlite(Entry { copy: copy.clone() }), When::Always)?;
    progress::stage("copying the database");
    done(&command::make_private(&copy).run()?, path)?;
    done(&command::back_up(path, &copy).run()?, path)?;
    if let Some(damage) = damage(&copy)? {
        return Err(
            Failure::backup_failed(format!("the database {path} is damaged: {damage}"))
                .hint("repair it with `sqlite3 FILE .recover`, or restore the last good backup"),
        );
    }
    let stream = command::read(&copy).pipe()?;
    let artifact = Artifact::stream(artifact_name(path), MEDIA_TYPE, stream);
    Ok(vec![artifact.with_metadata(&crate::Facts::Sqlite(facts))?])
}

/// Restores to the file that the target names, or to where the database was. Of a drill there is only the copy, which goes when the
/// run ends.
///
/// # Errors
/// Something is there, the data is damaged, or the file can't be written.
pub fn restore(facts: &Facts, run: &RunInfo, content: Content, target: &Target) -> Result<Restored> {
    let place = target.place.as_deref().unwrap_or(&facts.path);
    if let Some(fault) = fault_of_path(place) {
        return Err(
            Failure::configuration(format!("`{}` {fault}", place.escape_debug()))
                .hint("name the file to restore to by its whole path"),
        );
    }
    let there = stat(place)?;
    match &there {
        Some(info) if info.kind != FileKind::File => {
            return Err(Failure::configuration(format!("{place} is no file"))
                .hint("name a file that isn't there yet"));
        }
        Some(_) if !target.overwrite => {
            return Err(Failure::configuration(format!("{place} exists already"))
                .hint("name another file with `--to`, or allow it to be overwritten with `--overwrite`"));
        }
        _ => {}
    }
    let restored = Restored {
        place: place.to_owned(),
        entries: 1,
        bytes: 0,
    };
    if target.dry_run {
        let what = if there.is_some() { "replace" } else { "create" };
        log::info(format!("would {what} {place} with the copy of {}", facts.path));
        return Ok(restored);
    }
    let copy = format!("{place}{COPY}{}", run.run_id);
    journal::record(&crate::Entry::Sqlite(Entry { copy: copy.clone() }), When::Always)?;
    progress::stage("restoring");
    written(&command::write(&copy).run_with(content.into_stream()?)?)?;
    if let Some(damage) = damage(&copy)? {
        return Err(Failure::new(
            Code::Verification,
            format!("what was stored is damaged: {damage}"),
        ));
    }
    if target.drill {
        return Ok(Restored {
            place: copy,
            ..restored
        });
    }
    let owned = command::change_owner(facts.uid, facts.gid, &copy).run()?;
    if !owned.is_success() {
        let message = format!(
            "{place} doesn't belong to {}:{} as before: {}",
            facts.uid,
            facts.gid,
            owned.complaint()
        );
        log::warning("owner", message, Some(place));
    }
    written(&command::change_mode(&facts.mode, &copy).run()?)?;
    written(&command::sync(&copy).run()?)?;
    if there.is_some() {
        // Not by renaming: what lies beside the old file, such as its `-wal`, would be taken for the new one's.
        written(&command::replace(place, &copy).run()?)?;
    } else {
        written(&command::link(&copy, place).run()?)?;
    }
    Ok(restored)
}

/// Removes a copy.
///
/// # Errors
/// The entry names another file, or it can't be removed.
pub fn undo(entry: &Entry) -> Result<()> {
    if !entry.copy.contains(COPY) {
        return Err(Failure::internal(format!(
            "the journal names {}, which is no copy",
            entry.copy
        )));
    }
    command::remove(&entry.copy).run_ok().map(|_| ())
}

fn refuse_other_files(path: &str) -> Result<()> {
    let what = match stat(path)?.map(|info| info.kind) {
        Some(FileKind::File) => return Ok(()),
        None => "does not exist",
        Some(FileKind::Symlink) => "is a symbolic link",
        Some(_) => "is no file",
    };
    Err(Failure::backup_failed(format!("{path} {what}")).hint("name the database file itself in `path`"))
}

/// The journal mode, such as `wal` or `delete`.
fn journal_mode(path: &str) -> Result<String> {
    let output = command::journal_mode(path).run()?;
    done(&output, path)?;
    Ok(output.stdout.trim().to_owned())
}

fn facts(path: &str, tool: &str) -> Result<Facts> {
    let output = command::owner(path).run_ok()?;
    let facts = parse_owner(&output.stdout).map(|(uid, gid, mode)| Facts {
        path: path.to_owned(),
        uid,
        gid,
        mode,
        tool: tool.to_owned(),
    });
    facts.ok_or_else(|| {
        Failure::backup_failed(format!("`{}` printed `{}`", output.command, output.stdout.trim()))
    })
}

fn parse_owner(line: &str) -> Option<(u32, u32, String)> {
    let mut words = line.split_whitespace();
    let (uid, gid) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let mode = words
        .next()
        .filter(|m| m.len() <= 4 && m.bytes().all(|b| (b'0'..=b'7').contains(&b)))?;
    Some((uid, gid, mode.to_owned()))
}

/// Says what is damaged in a copy.
///
/// # Errors
/// It can't be looked at, which says nothing about it.
fn damage(copy: &str) -> Result<Option<String>> {
    /// What `sqlite3` says of a file that can't be read as a database. All else is said of the disk or the account.
    const OF_THE_FILE: [&str; 3] = ["malformed", "not a database", "unsupported file format"];
    let output = command::check(copy).run()?;
    match output.stdout.trim() {
        "ok" if output.is_success() => Ok(None),
        "" if OF_THE_FILE.iter().any(|said| output.stderr.contains(said)) => Ok(Some(output.complaint())),
        "" => Err(Failure::storage(format!(
            "cannot look at {copy}: {}",
            output.complaint()
        ))),
        damage => Ok(Some(damage.replace('\n', "; "))),
    }
}

/// The name of the file is the name of the artifact.
fn artifact_name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or_default();
    match file.rsplit_once('.') {
        Some((stem, ending))
            if !stem.is_empty()
                && !ending.is_empty()
                && ending.bytes().all(|b| b.is_ascii_alphanumeric()) =>
        {
            naming::artifact(stem, ending)
        }
        _ => naming::artifact(file, "db"),
    }
}

/// Fails if reading a database failed.
fn done(output: &Output, path: &str) -> Result<()> {
    if output.is_success() {
        return Ok(());
    }
    let complaint = output.complaint();
    let failure = Failure::backup_failed(format!("{path}: {complaint}"));
    Err(if complaint.contains("is locked") {
        failure
            .retry()
            .hint("somebody has been writing to it for half a minute; try again, or set it to WAL mode")
    } else if complaint.contains("not a database") {
        failure.hint("is it an SQLite file, and not an encrypted one?")
    } else {
        complaint::explain(failure, &complaint)
    })
}

/// Fails if writing a database failed.
fn written(output: &Output) -> Result<()> {
    if output.is_success() {
        return Ok(());
    }
    let failure = output.failure().with_code(Code::Storage);
    Err(complaint::explain(failure, &output.complaint()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_artifact_is_called_as_the_file() {
        assert_eq!(artifact_name("/srv/app.db"), "app.db");
        assert_eq!(artifact_name("/srv/app"), "app.db");
        assert_eq!(artifact_name("/srv/my data.v2.sqlite3"), "my.20data.2ev2.sqlite3");
        assert_eq!(artifact_name("/srv/.hidden"), "_..2ehidden.db");
    }

    #[test]
    fn owners_are_numbers_and_modes_octal() {
        assert_eq!(parse_owner("12 34 640\n"), Some((12, 34, "640".to_owned())));
        for wrong in ["", "a b c", "1 2", "1 2 u+s", "1 2 99", "1 2 12345"] {
            assert_eq!(parse_owner(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn only_copies_are_removed() {
        let entry = Entry {
            copy: "/etc/passwd".to_owned(),
        };
        assert_eq!(undo(&entry).expect_err("no copy").code, Code::Internal);
    }
}
