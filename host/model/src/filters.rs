//! The native stages between a source and a destination.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rate::Rate;

mod compression;

pub use compression::{Algorithm, Compression, Mode, Settings, check as check_compression};

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
    /// Stores no faster than this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throttle: Option<Throttle>,
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

/// How fast a run may store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Throttle {
    /// Of what goes to the destinations, after compression; all destinations of a run together.
    pub bytes_per_second: Rate,
}

/// How a stream is encrypted: with age, to public keys, so that this machine needs no private one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Encryption {
    /// Public keys (`age1…`). The private key of any one of them opens the backup.
    #[schemars(length(min = 1, max = 64))]
    pub recipients: Vec<String>,
}
