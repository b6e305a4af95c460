//! The tree of the backup before: what is in it already, the remote copies by itself, and it isn't sent again.

use backstay_sdk::{ByteStream, Result, RunInfo, log, state};

use crate::config::Config;
use crate::{answer, command, complaint, key, place};

/// A stored tree that files can be copied from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Before {
    /// Its key.
    pub key: String,
    /// The oldest backup that some of its files may be copies of. Backups have ids in the order of time.
    pub oldest: String,
}

/// The tree that was stored before under the same name; nothing if there is none of use.
///
/// # Errors
/// The remote doesn't answer.
pub fn find(config: &Config, run: &RunInfo, key: &str) -> Result<Option<Before>> {
    if !config.copy_unchanged {
        return Ok(None);
    }
    let Some(before) = state::get(&note(config, key))?.as_deref().and_then(parse) else {
        return Ok(None);
    };
    // What was copied from there is damaged as well, whether somebody has looked at it or not.
    if let Some(id) = run.damaged.iter().find(|id| **id >= before.oldest) {
        log::info(format!(
            "everything is sent again, because the backup {id} was found damaged, from which unchanged files may have been copied"
        ));
        return Ok(None);
    }
    if !copies_by_itself(config)? || place::size(config, &index(&before.key))?.is_none() {
        return Ok(None);
    }
    Ok(Some(before))
}

/// Remembers a tree for the next run.
///
/// # Errors
/// The host's database fails.
pub fn remember(config: &Config, key: &str, before: Option<&Before>) -> Result<()> {
    let Some(own) = backup_of(key) else {
        return Ok(());
    };
    let oldest = before.map_or(own, |before| &before.oldest);
    state::set(&note(config, key), &format!("{key}\n{oldest}"))
}

/// Has the next run send everything.
///
/// # Errors
/// The host's database fails.
pub fn forget(config: &Config, key: &str) -> Result<()> {
    state::remove(&note(config, key))
}

impl Before {
    /// The index that the host keeps beside the tree.
    ///
    /// # Errors
    /// rclone can't be started.
    pub fn index(&self, config: &Config) -> Result<ByteStream> {
        command::cat(config, &index(&self.key)).pipe()
    }
}

fn copies_by_itself(config: &Config) -> Result<bool> {
    let output = command::features(config).run()?;
    if output.is_success() {
        return answer::copies_by_itself(&output.stdout);
    }
    Err(complaint::failure(
        "ask for the features of",
        &config.remote,
        &output,
    ))
}

fn index(key: &str) -> String {
    format!("{key}.index")
}

/// The name of the note that says which tree of this name was stored last.
fn note(config: &Config, key: &str) -> String {
    let (_, name) = key.rsplit_once('/').unwrap_or(("", key));
    format!("tree:{}:{name}", config.remote)
}

fn parse(note: &str) -> Option<Before> {
    let (key, oldest) = note.split_once('\n')?;
    Some(Before {
        key: key::parse(key).ok()?.to_owned(),
        oldest: oldest.to_owned(),
    })
}

/// The id of the backup that a key is of.
fn backup_of(key: &str) -> Option<&str> {
    key::directory(key)?.rsplit_once('/').map(|(_, id)| id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_as_it_was_written() {
        let before = Before {
            key: "j/2/data".to_owned(),
            oldest: "1".to_owned(),
        };
        assert_eq!(parse("j/2/data\n1"), Some(before));
        for text in ["", "j/2/data", "../data\n1"] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(backup_of("j/2/data"), Some("2"));
        assert_eq!(backup_of("data"), None);
    }
}
