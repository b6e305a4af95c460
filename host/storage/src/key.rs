//! Names of objects: relative paths of plain names, which can't lead anywhere else.

use std::fmt;

use backstay_model::{Code, Error, Result};

/// Longest key, in bytes; S3 has the same limit.
pub const MAX_KEY_BYTES: usize = 1024;

/// Longest name between two slashes, in bytes: what is left of the 255 of most filesystems after a temporary name's affixes.
pub const MAX_NAME_BYTES: usize = 240;

/// How many names a key has at most that is one of an artifact, `JOB/BACKUP/NAME`: what is deeper is of a tree.
pub(crate) const DEEPEST: usize = 3;

/// A valid key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key(String);

impl Key {
    /// Checks a key that a plugin made.
    ///
    /// # Errors
    /// [`Code::Security`] for anything but plain names separated by single slashes.
    pub fn parse(text: &str) -> Result<Self> {
        let refuse = |why: &str| {
            let shown = backstay_model::error::show_bytes(text.as_bytes());
            Err(Error::new(
                Code::Security,
                format!("`{shown}` can't be the name of an object: {why}"),
            ))
        };
        if text.is_empty() || text.len() > MAX_KEY_BYTES {
            return refuse("it must have 1 to 1024 bytes");
        }
        for name in text.split('/') {
            if name.is_empty() {
                return refuse("it has an empty part");
            }
            if name.starts_with('.') {
                return refuse("a part begins with a dot");
            }
            if name.len() > MAX_NAME_BYTES {
                return refuse("a part is longer than 240 bytes");
            }
            if name.chars().any(char::is_control) {
                return refuse("it has a control character");
            }
        }
        Ok(Key(text.to_owned()))
    }

    /// A key that the host has made of a valid one, and that may have names in it which no plugin can give.
    pub(crate) fn checked(text: String) -> Self {
        Key(text)
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The directory part, and the last name.
    pub fn split(&self) -> (&str, &str) {
        self.0.rsplit_once('/').unwrap_or(("", &self.0))
    }

    /// The name that it has until it is complete.
    pub fn partial(&self) -> String {
        match self.split() {
            ("", name) => format!(".{name}.partial"),
            (directory, name) => format!("{directory}/.{name}.partial"),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_are_keys() {
        for good in ["a", "flash/0190/data.tar.zst.age", "a b/c", "ü"] {
            assert!(Key::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "/etc/passwd",
            "../x",
            "a/../b",
            "a//b",
            "a/",
            ".hidden",
            "a\0b",
            "a\nb",
            &"x".repeat(241),
        ] {
            assert_eq!(Key::parse(bad).unwrap_err().code(), Code::Security, "{bad}");
        }
    }
}
