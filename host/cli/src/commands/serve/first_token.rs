//! The first token: nobody could use the HTTP interface by the network without one.

use std::fs::OpenOptions;
use std::io::{IsTerminal as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;

use backstay_api::first_token::{FILE, NAME, forget};
use backstay_engine::Engine;
use backstay_model::access::Role;
use backstay_model::{Error, Result};
use jiff::{SignedDuration, Timestamp};

use crate::commands::user;

/// How long it is good: long enough to make others with.
const GOOD_FOR: SignedDuration = SignedDuration::from_hours(24);

/// Makes the first token if there has never been one, and shows it once: on a terminal, else in a file that only this
/// user may read, because logs are read by others. The file of one that is good no longer is deleted.
///
/// # Errors
/// The database or the file can't be written.
pub async fn offer(engine: &Engine) -> Result<()> {
    let until = engine
        .clock
        .now()
        .saturating_add(GOOD_FOR)
        .unwrap_or(Timestamp::MAX);
    let Some((_, text)) = engine
        .store
        .add_first_token(NAME, Role::Admin, until, &user())
        .await?
    else {
        return forget_expired(engine).await;
    };
    let mut terminal = std::io::stderr();
    if terminal.is_terminal() && writeln!(terminal, "the first token, good for 24 hours: {text}").is_ok() {
        return Ok(());
    }
    let path = engine.data_dir.join(FILE);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options
        .open(&path)
        .and_then(|mut file| writeln!(file, "{text}"))
        .map_err(|e| Error::io("write the first token to", &path, e))?;
    tracing::warn!(
        "the first token, good for 24 hours, is in {}: make others with it or with `backstay token add`",
        path.display()
    );
    Ok(())
}

async fn forget_expired(engine: &Engine) -> Result<()> {
    let path = engine.data_dir.join(FILE);
    let Ok(text) = std::fs::read_to_string(&path) else {
        return Ok(());
    };
    let text = text.trim();
    if engine.store.token_of(text).await?.is_none() {
        forget(&engine.data_dir, |there| there == text)?;
    }
    Ok(())
}
