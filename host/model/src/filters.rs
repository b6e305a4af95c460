//! The native stages between a source and a destination.

use std::ops::RangeInclusive;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What happens to the bytes on their way, in this order.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Filters {
    /// Makes a stream smaller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
    /// Makes a stream unreadable without a key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encryption: Option<Encryption>,
}

impl Filters {
    /// Whether the bytes that are stored differ from the bytes that were read.
    pub fn change_bytes(&self) -> bool {
        self.encryption.is_some()
            || self
                .compression
                .as_ref()
                .is_some_and(|c| c.algorithm != Algorithm::None)
    }
}

/// How a stream is compressed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Compression {
    /// The format.
    pub algorithm: Algorithm,
    /// The format's own level; its usual default if absent (zstd 3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<i32>,
    /// Worker threads; 0 is one for each processor.
    #[serde(default)]
    #[schemars(range(max = 256))]
    pub threads: u32,
}

/// A compression format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// The bytes as they are.
    None,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
    /// The format of `xz`.
    Xz,
    /// The format of `bzip2`.
    Bzip2,
    /// The frame format of LZ4.
    Lz4,
}

impl Algorithm {
    /// All formats.
    pub const ALL: [Algorithm; 6] = [
        Algorithm::None,
        Algorithm::Gzip,
        Algorithm::Zstd,
        Algorithm::Xz,
        Algorithm::Bzip2,
        Algorithm::Lz4,
    ];

    /// The word used in jobs.
    pub const fn name(self) -> &'static str {
        match self {
            Algorithm::None => "none",
            Algorithm::Gzip => "gzip",
            Algorithm::Zstd => "zstd",
            Algorithm::Xz => "xz",
            Algorithm::Bzip2 => "bzip2",
            Algorithm::Lz4 => "lz4",
        }
    }

    /// The levels that the format's own tool has.
    pub const fn levels(self) -> Option<RangeInclusive<i32>> {
        match self {
            Algorithm::None => None,
            Algorithm::Gzip | Algorithm::Bzip2 => Some(1..=9),
            Algorithm::Zstd => Some(1..=22),
            Algorithm::Xz => Some(0..=9),
            Algorithm::Lz4 => Some(1..=12),
        }
    }

    /// Whether this version of the host can write it.
    pub const fn is_available(self) -> bool {
        matches!(self, Algorithm::None | Algorithm::Zstd)
    }
}

/// How a stream is encrypted: with age, to public keys, so that this machine needs no private one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Encryption {
    /// Public keys (`age1…`). The private key of any one of them opens the backup.
    #[schemars(length(min = 1, max = 64))]
    pub recipients: Vec<String>,
}
