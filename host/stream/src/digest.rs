//! BLAKE3 and SHA-256 over the same bytes, read once.

use std::io::{self, Read};
use std::thread::JoinHandle;

use backstay_model::manifest::Digest;
use backstay_model::{Code, Error, Result};
use sha2::Digest as _;

use crate::blocks::BlockReceiver;

/// Hashes bytes with both functions and counts them.
#[derive(Clone, Default)]
pub struct Hasher {
    blake3: blake3::Hasher,
    sha256: sha2::Sha256,
    bytes: u64,
}

impl std::fmt::Debug for Hasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Hasher({} bytes)", self.bytes)
    }
}

/// Both functions read a piece while it is in the processor's cache.
const PIECE_BYTES: usize = 64 << 10;

impl Hasher {
    /// Takes more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(PIECE_BYTES) {
            self.blake3.update(piece);
            self.sha256.update(piece);
        }
        self.bytes += bytes.len() as u64;
    }

    /// Bytes taken so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Size and both hashes.
    pub fn finish(self) -> Digest {
        digest(self.bytes, &self.blake3, self.sha256)
    }
}

fn digest(bytes: u64, blake3: &blake3::Hasher, sha256: sha2::Sha256) -> Digest {
    Digest {
        bytes,
        blake3: blake3.finalize().to_hex().to_string(),
        sha256: sha256
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect(),
    }
}

/// Hashes blocks with each function on a thread of its own: one thread for both is slower than a fast disk.
pub(crate) struct HashingThreads {
    blake3: JoinHandle<(u64, blake3::Hasher)>,
    sha256: JoinHandle<sha2::Sha256>,
}

impl HashingThreads {
    /// Takes two ends of the same stream.
    ///
    /// # Errors
    /// A thread can't be started.
    pub(crate) fn start([first, second]: [BlockReceiver; 2]) -> Result<Self> {
        Ok(HashingThreads {
            blake3: spawn("blake3", move || {
                let mut hasher = blake3::Hasher::new();
                for block in first {
                    hasher.update(&block);
                }
                (hasher.count(), hasher)
            })?,
            sha256: spawn("sha256", move || {
                let mut hasher = sha2::Sha256::new();
                for block in second {
                    hasher.update(&**block);
                }
                hasher
            })?,
        })
    }

    /// Waits for the end of the stream.
    ///
    /// # Errors
    /// A thread panicked.
    pub(crate) fn finish(self) -> Result<Digest> {
        match (self.blake3.join(), self.sha256.join()) {
            (Ok((bytes, blake3)), Ok(sha256)) => Ok(digest(bytes, &blake3, sha256)),
            _ => Err(Error::internal("a thread that hashes panicked")),
        }
    }
}

fn spawn<T: Send + 'static>(name: &str, work: impl FnOnce() -> T + Send + 'static) -> Result<JoinHandle<T>> {
    let thread = std::thread::Builder::new().name(name.to_owned());
    thread.spawn(work).map_err(|e| {
        Error::new(Code::Environment, "cannot start a thread")
            .because(e)
            .retryable()
    })
}

/// Hashes what is read through it.
#[derive(Debug)]
pub struct HashingReader<R> {
    inner: R,
    hasher: Hasher,
}

impl<R: Read> HashingReader<R> {
    /// Reads from `inner`.
    pub fn new(inner: R) -> Self {
        HashingReader {
            inner,
            hasher: Hasher::default(),
        }
    }

    /// What it read from, and what it saw.
    pub fn into_parts(self) -> (R, Hasher) {
        (self.inner, self.hasher)
    }
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..n]);
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_hashes_are_the_standard_ones() {
        let mut hasher = Hasher::default();
        hasher.update(b"ab");
        hasher.update(b"c");
        let digest = hasher.finish();
        assert_eq!(digest.bytes, 3);
        assert_eq!(
            digest.sha256,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(
            digest.blake3,
            "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"
        );
    }
}
