//! age keys: public ones in jobs, private ones from files that only a restore needs.

use std::path::Path;
use std::sync::Arc;

use age::x25519;
use backstay_model::{Code, Error, Result};

/// Most public keys of a backup: what is encrypted to more has a header that no restore would read.
const MAX_RECIPIENTS: usize = 500;

/// Reads public keys.
///
/// # Errors
/// [`Code::Encryption`], naming the one that isn't a key, or if there are too many.
pub fn parse_recipients(recipients: &[String]) -> Result<Vec<x25519::Recipient>> {
    if recipients.len() > MAX_RECIPIENTS {
        let message = format!(
            "{} public keys are more than the {MAX_RECIPIENTS} that fit",
            recipients.len()
        );
        return Err(Error::new(Code::Encryption, message).hint(
            "let those who may restore share a key, and name that in `filters.encryption.recipients`",
        ));
    }
    recipients
        .iter()
        .map(|text| {
            text.parse::<x25519::Recipient>().map_err(|why| {
                let secret = text.to_ascii_uppercase().starts_with("AGE-SECRET-KEY");
                let shown = if secret { "a private key" } else { text.as_str() };
                Error::new(
                    Code::Encryption,
                    format!("`{shown}` is not an age public key ({why})"),
                )
                .hint("a public key starts with age1; `age-keygen -y key.txt` prints it")
            })
        })
        .collect()
}

/// Private keys that may open a backup. Cheap to clone; never printed.
#[derive(Clone, Default)]
pub struct Identities(Arc<Vec<x25519::Identity>>);

impl std::fmt::Debug for Identities {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identities({})", self.0.len())
    }
}

impl Identities {
    /// Reads key files as `age-keygen` writes them.
    ///
    /// # Errors
    /// A file can't be read, or holds no private key; its name is in the message, its content is not.
    pub fn from_files<P: AsRef<Path>>(files: &[P]) -> Result<Self> {
        let mut identities = Vec::new();
        for file in files {
            let file = file.as_ref();
            let text = std::fs::read_to_string(file)
                .map_err(|e| Error::io_as(Code::Encryption, "read the key file", file, e))?;
            let before = identities.len();
            for (number, line) in text
                .lines()
                .map(str::trim)
                .enumerate()
                .filter(|(_, l)| !l.is_empty() && !l.starts_with('#'))
            {
                identities.push(line.parse::<x25519::Identity>().map_err(|why| {
                    Error::new(
                        Code::Encryption,
                        format!(
                            "line {} of {} is not an age private key ({why})",
                            number + 1,
                            file.display()
                        ),
                    )
                    .hint("a private key starts with AGE-SECRET-KEY-1; make one with `age-keygen`")
                })?);
            }
            if identities.len() == before {
                return Err(Error::new(
                    Code::Encryption,
                    format!("there is no private key in {}", file.display()),
                ));
            }
        }
        Ok(Identities(Arc::new(identities)))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &dyn age::Identity> {
        self.0.iter().map(|i| i as &dyn age::Identity)
    }
}
