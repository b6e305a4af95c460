//! How values look in columns, and back.

use std::error::Error as StdError;
use std::str::FromStr;

use backstay_model::{Error, Result};
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use uuid::Uuid;

/// Why a column can't be read. [`crate::Store::unreadable`] names the row and the file.
pub(crate) type Unreadable = Box<dyn StdError + Send + Sync>;

/// UTC with all nine digits, so that text sorts by time.
pub(crate) fn time(at: Timestamp) -> String {
    format!("{at:.9}")
}

/// A document as JSON.
pub(crate) fn json<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|e| Error::internal("cannot write a value as JSON for the database").because(e))
}

/// The JSON name of a variant without fields.
pub(crate) fn word<T: Serialize>(value: T) -> Result<String> {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => Ok(word),
        Ok(other) => Err(Error::internal(format!(
            "cannot write {other} as a word for the database"
        ))),
        Err(e) => Err(Error::internal("cannot write a word for the database").because(e)),
    }
}

pub(crate) fn read_id(text: &str) -> Result<Uuid, Unreadable> {
    Ok(Uuid::from_str(text)?)
}

pub(crate) fn read_time(text: &str) -> Result<Timestamp, Unreadable> {
    Ok(Timestamp::from_str(text)?)
}

pub(crate) fn read_json<T: DeserializeOwned>(text: &str) -> Result<T, Unreadable> {
    Ok(serde_json::from_str(text)?)
}

pub(crate) fn read_word<T: DeserializeOwned>(text: String) -> Result<T, Unreadable> {
    Ok(serde_json::from_value(Value::String(text))?)
}

/// Applies a reader to a column that may be null.
pub(crate) fn maybe<C, T>(
    column: Option<C>,
    read: impl FnOnce(C) -> Result<T, Unreadable>,
) -> Result<Option<T>, Unreadable> {
    column.map(read).transpose()
}
