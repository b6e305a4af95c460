//! The way out: compress, then encrypt, into anything that can be written to.

use std::io::{self, Write};

use age::stream::StreamWriter;
use backstay_model::filters::Filters;
use backstay_model::manifest::{UsedCompression, UsedEncryption};
use backstay_model::{Code, Error, Result};

use crate::codec::compress::Compress;
use crate::codec::key::parse_recipients;
use crate::context::Context;

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

enum Encrypt<W: Write> {
    Plain(W),
    Age(StreamWriter<W>),
}

impl<W: Write> Encoder<W> {
    /// The stages that `filters` ask for, in front of `out`.
    ///
    /// # Errors
    /// [`Code::Encryption`] if a recipient isn't a key, [`Code::Compression`] if a format can't be set up.
    pub fn new(filters: &Filters, out: W, context: &Context) -> Result<Self> {
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
            Some(spec) => Compress::start(spec, encrypt, context)?,
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
        self.chain
            .write_all(block)
            .map_err(|e| backstay_model::error::from_io(e, Code::Compression, "cannot compress or encrypt"))
    }

    /// Ends each stage in turn and gives back the far end.
    ///
    /// # Errors
    /// As for [`Encoder::write`].
    pub fn finish(self) -> Result<W> {
        let failed = |e| {
            backstay_model::error::from_io(e, Code::Compression, "cannot finish compression or encryption")
        };
        match self.chain.finish().map_err(failed)? {
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
