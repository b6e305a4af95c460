//! The way back: check what was stored, decrypt, decompress, check what comes out.

use std::io::Read;
use std::sync::Arc;

use backstay_model::error::from_io;
use backstay_model::filters::Algorithm;
use backstay_model::manifest::{Digest, StoredArtifact};
use backstay_model::{Code, Error, Result};

use crate::blocks::{BLOCK_BYTES, Blocks};
use crate::codec::decompress::decompress;
use crate::codec::header;
use crate::codec::key::Identities;
use crate::context::Context;
use crate::digest::{Hasher, HashingReader};
use crate::read::{Reading, read};
use crate::recipe::{Produced, Recipe};

/// What a stored object should be, from its manifest.
#[derive(Debug, Clone)]
pub struct Expected {
    /// Its name, for messages.
    pub object: String,
    /// As it is stored.
    pub stored: Digest,
    /// As it was before filters.
    pub raw: Digest,
    /// The format it was compressed with.
    pub compression: Option<Algorithm>,
    /// Whether it was encrypted.
    pub encrypted: bool,
}

impl From<&StoredArtifact> for Expected {
    fn from(artifact: &StoredArtifact) -> Self {
        Expected {
            object: artifact.object.clone(),
            stored: artifact.stored.clone(),
            raw: artifact.raw.clone(),
            compression: artifact.compression.as_ref().map(|c| c.algorithm),
            encrypted: artifact.encryption.is_some(),
        }
    }
}

/// The bytes as they were before filters. It ends well only if all hashes agree.
#[derive(Debug)]
pub struct DecodedRecipe {
    stored: Arc<dyn Recipe>,
    expected: Expected,
    identities: Identities,
}

impl DecodedRecipe {
    /// Decodes what `stored` gives.
    ///
    /// # Errors
    /// [`Code::Encryption`] if it is encrypted and there is no key.
    pub fn new(stored: Arc<dyn Recipe>, expected: Expected, identities: Identities) -> Result<Self> {
        if expected.encrypted && identities.is_empty() {
            return Err(Error::new(
                Code::Encryption,
                format!("{} is encrypted and no key was given", expected.object),
            )
            .hint("name the file with the private key: --identity KEYFILE"));
        }
        Ok(DecodedRecipe {
            stored,
            expected,
            identities,
        })
    }

    fn decode(
        &self,
        input: &mut HashingReader<Reading>,
        context: &Context,
        out: &mut Blocks,
    ) -> Result<Digest> {
        let object = &self.expected.object;
        let mut chain: Box<dyn Read + '_> = Box::new(input);
        if self.expected.encrypted {
            let wrong = |e: age::DecryptError| {
                match e {
                age::DecryptError::NoMatchingKeys => {
                    Error::new(Code::Encryption, format!("none of the given keys opens {object}"))
                        .hint("its manifest lists the public keys it was encrypted to; give the private key of one of them")
                }
                other => Error::new(Code::Encryption, format!("{object} can't be decrypted")).because(other),
            }
            };
            let decryptor = header::decryptor(chain).map_err(wrong)?;
            chain = Box::new(decryptor.decrypt(self.identities.iter()).map_err(wrong)?);
        }
        let code = if self.expected.compression.is_some() {
            Code::Compression
        } else {
            Code::Encryption
        };
        let failed = |e| from_io(e, code, &format!("{object} can't be decoded"));
        let algorithm = self.expected.compression.unwrap_or(Algorithm::None);
        let mut chain = decompress(algorithm, chain).map_err(failed)?;
        let mut hasher = Hasher::default();
        loop {
            context.cancel.check()?;
            let n = out
                .fill(|buffer| {
                    let n = chain.read(buffer)?;
                    hasher.update(&buffer[..n]);
                    Ok(n)
                })
                .map_err(|e| e.or(failed))?;
            if hasher.bytes() > self.expected.raw.bytes {
                return Err(Error::new(
                    Code::Verification,
                    format!(
                        "{object} decodes to more than the {} bytes that were backed up",
                        self.expected.raw.bytes
                    ),
                ));
            }
            if n == 0 {
                return Ok(hasher.finish());
            }
        }
    }
}

impl Recipe for DecodedRecipe {
    fn describe(&self) -> String {
        format!("the content of {}", self.expected.object)
    }

    fn produce(&self, context: &Context, out: &mut Blocks) -> Result<Produced> {
        let mut input = HashingReader::new(read(Arc::clone(&self.stored), &context.uncounted())?);
        let decoded = self.decode(&mut input, context, out);
        if matches!(&decoded, Err(e) if e.code() == Code::Cancelled) {
            return decoded.map(|_| Produced::default());
        }
        // Whether the stored bytes are the right ones is the better reason, so it is found out first.
        check_rest(input, &self.expected.stored, &self.expected.object, context)?;
        let raw = decoded?;
        if raw != self.expected.raw {
            return Err(Error::new(
                Code::Verification,
                format!(
                    "{} decodes to other bytes than were backed up ({} instead of {})",
                    self.expected.object, raw.bytes, self.expected.raw.bytes
                ),
            ));
        }
        Ok(Produced::default())
    }
}

/// Reads a stored object to its end and compares it with its manifest.
///
/// # Errors
/// [`Code::Verification`], naming the object and what differs, or what kept it from being read.
pub fn check_stored(stored: Arc<dyn Recipe>, expected: &Expected, context: &Context) -> Result<()> {
    let input = HashingReader::new(read(stored, context)?);
    check_rest(input, &expected.stored, &expected.object, context)
}

fn check_rest(
    mut input: HashingReader<Reading>,
    expected: &Digest,
    object: &str,
    context: &Context,
) -> Result<()> {
    let mut buffer = vec![0; BLOCK_BYTES / 4];
    loop {
        context.cancel.check()?;
        let n = input
            .read(&mut buffer)
            .map_err(|e| from_io(e, Code::Storage, "cannot read what is stored"))?;
        context.meter.tick();
        if n == 0 {
            break;
        }
    }
    let (reading, hasher) = input.into_parts();
    reading.finish()?;
    compare(&hasher.finish(), expected, object)
}

fn compare(found: &Digest, expected: &Digest, object: &str) -> Result<()> {
    let what = if found.bytes != expected.bytes {
        format!("it has {} bytes instead of {}", found.bytes, expected.bytes)
    } else if found.blake3 != expected.blake3 {
        format!("its BLAKE3 is {} instead of {}", found.blake3, expected.blake3)
    } else if found.sha256 != expected.sha256 {
        format!("its SHA-256 is {} instead of {}", found.sha256, expected.sha256)
    } else {
        return Ok(());
    };
    Err(
        Error::new(Code::Verification, format!("{object} is damaged: {what}"))
            .hint("restore from another backup or destination; keep this one until you have found out why"),
    )
}
