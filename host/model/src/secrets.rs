//! Texts that must never be repeated, and what stands in their place.

use std::fmt;
use std::sync::Arc;

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
