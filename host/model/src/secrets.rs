//! Texts that must never be repeated, what stands in their place, and the names that they go by.

use std::fmt;
use std::sync::Arc;

use crate::error::{Code, Error, Result};

/// Longest name of a secret, in bytes.
pub const MAX_NAME_BYTES: usize = 64;

/// Longest text of a secret, in bytes: more than the longest key that a provider gives out.
pub const MAX_TEXT_BYTES: usize = 64 << 10;

/// Whether a secret can have this name: 1 to 64 letters, digits, `.`, `_` or `-`, not beginning with `.` or `-`.
///
/// # Errors
/// [`Code::Configuration`], without the name: somebody may have given the secret itself.
pub fn check_name(name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let is_good = !name.is_empty()
        && name.len() <= MAX_NAME_BYTES
        && name.chars().all(plain)
        && !name.starts_with(['.', '-']);
    if is_good {
        return Ok(());
    }
    Err(Error::new(
        Code::Configuration,
        "a secret's name has 1 to 64 letters, digits, `.`, `_` or `-`, and begins with none of `.` and `-`",
    )
    .hint("give the name of a secret that `backstay secret set` keeps, never the secret itself"))
}

/// What stands in the place of a secret.
const MARK: &str = "***";

/// What is shorter than this, in bytes, is no secret, and would make any text unreadable.
const LEAST_BYTES: usize = 4;

/// The secrets that a program was given. It hides them as they are: a program that was told to encode what it knows
/// before it prints it can't be stopped by this.
#[derive(Clone, Default)]
pub struct Secrets(Arc<[String]>);

impl Secrets {
    /// Each line of each text: programs complain by the line.
    pub fn new<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        let lines = texts.into_iter().flat_map(str::lines).map(str::trim);
        let mut lines: Vec<String> = lines
            .filter(|line| line.len() >= LEAST_BYTES)
            .map(str::to_owned)
            .collect();
        // The longest first: one may be a part of another.
        lines.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        lines.dedup();
        Secrets(lines.into())
    }

    /// These and those.
    pub fn and(&self, others: &Secrets) -> Self {
        Secrets::new(self.0.iter().chain(others.0.iter()).map(String::as_str))
    }

    /// A text without them.
    pub fn redact(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| {
            text.replace(secret.as_str(), MARK)
        })
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({})", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_hidden_wherever_it_stands() {
        let secrets = Secrets::new(["hunter2\nsecond line\n", "hunter22", "abc"]);
        assert_eq!(
            secrets.redact("hunter22, (hunter2): abc\nsecond line"),
            "***, (***): abc\n***"
        );
        assert_eq!(format!("{secrets:?}"), "Secrets(3)");
        let more = secrets.and(&Secrets::new(["hunter2", "another"]));
        assert_eq!(more.redact("another hunter22"), "*** ***");
        assert_eq!(format!("{more:?}"), "Secrets(4)");
    }
}
