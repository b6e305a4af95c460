//! The way out: compress, then encrypt, into anything that can be written to.

use std::io::{self, Write};

use age::stream::StreamWriter;
use backstay_model::filters::{Algorithm, Filters};
use backstay_model::manifest::{UsedCompression, UsedEncryption};
use backstay_model::{Code, Error, Result};
use zstd::zstd_safe::CParameter;

use crate::codec::key::parse_recipients;

/// zstd's own default level.
const ZSTD_DEFAULT_LEVEL: i32 = 3;

/// What a thread of zstd compresses at a time: half of its own choice at the default level, which halves the memory
/// and was measured to cost neither time nor size. Levels with a larger window raise it by themselves.
const ZSTD_JOB_BYTES: u32 = 4 << 20;

/// The tables in which a thread looks for repetitions at the default level: together 384 KiB, which stays in a
/// processor's second cache, where zstd's own choice of 768 KiB doesn't. Measured: a sixth less time, and at most a
/// sixtieth more bytes. That is what the hashes cost.
const ZSTD_TABLES: [CParameter; 2] = [CParameter::HashLog(16), CParameter::ChainLog(15)];

/// Compresses and encrypts what is written into it, as the filters say.
pub struct Encoder<W: Write> {
    chain: Compress<Encrypt<W>>,
    compression: Option<UsedCompression>,
    encryption: Option<UsedEncryption>,
}

impl<W: Write> std::fmt::Debug for Encoder<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Encoder({:?}, {:?})", self.compression, self.encryption)
    }
}

enum Compress<W: Write> {
    Plain(W),
    Zstd(zstd::stream::write::Encoder<'static, W>),
}

enum Encrypt<W: Write> {
    Plain(W),
    Age(StreamWriter<W>),
}

impl<W: Write> Encoder<W> {
    /// The stages that `filters` ask for, in front of `out`.
    ///
    /// # Errors
    /// [`Code::Encryption`] if a recipient isn't a key, [`Code::Compression`] if a format can't be set up.
    pub fn new(filters: &Filters, out: W) -> Result<Self> {
        let (encrypt, encryption) = match &filters.encryption {
            None => (Encrypt::Plain(out), None),
            Some(spec) => {
                let recipients = parse_recipients(&spec.recipients)?;
                let encryptor =
                    age::Encryptor::with_recipients(recipients.iter().map(|r| r as &dyn age::Recipient))
                        .map_err(|e| {
                            Error::new(Code::Encryption, "cannot encrypt to these recipients").because(e)
                        })?;
                let writer = encryptor.wrap_output(out).map_err(|e| {
                    backstay_model::error::from_io(e, Code::Encryption, "cannot start encryption")
                })?;
                let used = UsedEncryption {
                    format: "age".to_owned(),
                    recipients: spec.recipients.clone(),
                };
                (Encrypt::Age(writer), Some(used))
            }
        };
        let (chain, compression) = match &filters.compression {
            None => (Compress::Plain(encrypt), None),
            Some(spec) => match spec.algorithm {
                Algorithm::None => (Compress::Plain(encrypt), None),
                Algorithm::Zstd => {
                    let level = spec.level.unwrap_or(ZSTD_DEFAULT_LEVEL);
                    let threads = match spec.threads {
                        0 => std::thread::available_parallelism()
                            .map_or(1, |n| u32::try_from(n.get()).unwrap_or(1)),
                        n => n,
                    };
                    let failed = |e| Error::new(Code::Compression, "cannot set up zstd").because(e);
                    let mut encoder = zstd::stream::write::Encoder::new(encrypt, level).map_err(failed)?;
                    encoder.multithread(threads).map_err(failed)?;
                    encoder.include_checksum(true).map_err(failed)?;
                    let tables = if level == ZSTD_DEFAULT_LEVEL {
                        &ZSTD_TABLES[..]
                    } else {
                        &[]
                    };
                    for parameter in [CParameter::JobSize(ZSTD_JOB_BYTES)].iter().chain(tables) {
                        encoder.set_parameter(*parameter).map_err(failed)?;
                    }
                    let used = UsedCompression {
                        algorithm: Algorithm::Zstd,
                        level,
                        threads,
                    };
                    (Compress::Zstd(encoder), Some(used))
                }
                other => {
                    return Err(Error::new(
                        Code::Configuration,
                        format!("this version can't compress with {}", other.name()),
                    )
                    .hint("use zstd or none"));
                }
            },
        };
        Ok(Encoder {
            chain,
            compression,
            encryption,
        })
    }

    /// What is really used, for the manifest.
    pub fn used(&self) -> (Option<UsedCompression>, Option<UsedEncryption>) {
        (self.compression.clone(), self.encryption.clone())
    }

    /// Writes a block.
    ///
    /// # Errors
    /// A stage failed, or the far end did: then it is the far end's own error.
    pub fn write(&mut self, block: &[u8]) -> Result<()> {
        let result = match &mut self.chain {
            Compress::Plain(w) => w.write_all(block),
            Compress::Zstd(w) => w.write_all(block),
        };
        result.map_err(|e| backstay_model::error::from_io(e, Code::Compression, "cannot compress or encrypt"))
    }

    /// Ends each stage in turn and gives back the far end.
    ///
    /// # Errors
    /// As for [`Encoder::write`].
    pub fn finish(self) -> Result<W> {
        let failed = |e| {
            backstay_model::error::from_io(e, Code::Compression, "cannot finish compression or encryption")
        };
        let encrypt = match self.chain {
            Compress::Plain(w) => w,
            Compress::Zstd(w) => w.finish().map_err(failed)?,
        };
        match encrypt {
            Encrypt::Plain(w) => Ok(w),
            Encrypt::Age(w) => w.finish().map_err(failed),
        }
    }
}

impl<W: Write> Write for Encrypt<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Encrypt::Plain(w) => w.write(bytes),
            Encrypt::Age(w) => w.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Encrypt::Plain(w) => w.flush(),
            Encrypt::Age(w) => w.flush(),
        }
    }
}
