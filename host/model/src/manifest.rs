//! What a backup says about itself: enough to check it, restore it and rebuild the catalogue.

mod shape;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::error::{Code, Error, Result};
use crate::filters::Filters;
use crate::job::Metadata;
use crate::run::Warning;

/// The version of the manifest's format that this host writes.
pub const MANIFEST_VERSION: u32 = 1;

/// The name of the manifest within a backup, at every destination.
pub const MANIFEST_NAME: &str = "manifest.json";

/// What a backup says about itself. Stored beside the data and in the catalogue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Manifest {
    /// Format of this document.
    pub manifest_version: u32,
    /// The backup, UUIDv7.
    pub id: Uuid,
    /// The installation that wrote it: only this one may ever delete it.
    pub instance_id: Uuid,
    /// The machine that wrote it.
    pub device: String,
    /// The job that it belongs to.
    pub job: JobRef,
    /// The run that made it.
    pub run_id: Uuid,
    /// Which of the job's destinations it is at, counted from 0, the critical one.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub destination_index: usize,
    /// When the source was opened.
    pub created_at: Timestamp,
    /// When the last byte of data was stored.
    pub finished_at: Timestamp,
    /// Version of the host.
    pub host_version: String,
    /// What read it.
    pub source: PluginUse,
    /// What stored it.
    pub destination: PluginUse,
    /// What was asked for between them.
    pub filters: Filters,
    /// The pieces, at least one.
    pub artifacts: Vec<StoredArtifact>,
    /// The backup that must be restored before this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub depends_on: Option<Uuid>,
    /// What somebody should know about its content.
    pub warnings: Vec<Warning>,
    /// Warnings beyond the ones listed.
    #[serde(default)]
    pub more_warnings: u64,
    /// How long each stage took.
    pub stages: Vec<Stage>,
    /// BLAKE3 over this document with this field empty. A catalogue that was rebuilt keeps it as it is stored, and
    /// the destination's configuration as that was found with, because a disk may be mounted elsewhere now.
    pub checksum: String,
}

fn is_zero(index: &usize) -> bool {
    *index == 0
}

fn is_nothing(bytes: &u64) -> bool {
    *bytes == 0
}

/// The one thing that all versions of a manifest have.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Versioned {
    manifest_version: Option<u64>,
}

/// A job, by both of its names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobRef {
    /// Its id.
    pub id: Uuid,
    /// Its name when the backup was made.
    pub name: String,
}

/// A plugin as it was used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PluginUse {
    /// Its id.
    pub plugin: String,
    /// Its version.
    pub version: String,
    /// BLAKE3 of the component.
    pub digest: String,
    /// Its configuration, with handles instead of secrets.
    pub config: Map<String, Value>,
}

/// One piece of a backup.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredArtifact {
    /// The source's name for it.
    pub name: String,
    /// Its form before filters.
    pub form: Form,
    /// The source's own media type.
    pub media_type: String,
    /// Where it is: the destination's own words, handed back to it.
    pub receipt: String,
    /// The name it was stored under.
    pub object: String,
    /// The place, for people.
    pub location: String,
    /// As the source gave it.
    pub raw: Digest,
    /// As it is stored. The same as `raw` without filters.
    pub stored: Digest,
    /// Bytes of file content; for a plain stream the same as `raw.bytes`.
    pub content_bytes: u64,
    /// Of these, bytes that were gone from the source and were taken over from the backup before.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub carried_bytes: u64,
    /// Files, directories, links and devices in it; 0 for a plain stream.
    pub entries: u64,
    /// Compression as really used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<UsedCompression>,
    /// Encryption as really used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<UsedEncryption>,
    /// For a tree stored as files: where its index is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<StoredIndex>,
    /// What the source says about it: a snapshot's guid, a commit, an image.
    pub metadata: Metadata,
    /// What the destination says about how it stored it, such as how much of it was new.
    #[serde(default, skip_serializing_if = "Metadata::is_empty")]
    pub statistics: Metadata,
    /// The backup that this piece is an increment to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Uuid>,
}

/// The index of a tree that is stored as files: one line for each entry, with the hash of its content.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredIndex {
    /// The name it was stored under.
    pub object: String,
    /// The destination's own words for it.
    pub receipt: String,
    /// As it is stored.
    pub stored: Digest,
}

/// The form of an artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// Bytes with a meaning only to the source.
    Stream,
    /// A file tree as one tar stream.
    Tar,
    /// A file tree, stored as files. `raw` is over its index.
    Tree,
}

/// Size and hashes of some bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Digest {
    /// How many.
    pub bytes: u64,
    /// BLAKE3, hexadecimal.
    pub blake3: String,
    /// SHA-256, hexadecimal.
    pub sha256: String,
}

/// Compression as really used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UsedCompression {
    /// The format's name.
    pub algorithm: crate::filters::Algorithm,
    /// The level; 1 where the format has only one.
    pub level: i32,
    /// The preset that the level comes from, if the job named one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<crate::filters::Mode>,
    /// For xz: whether its `extreme` was on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub extreme: bool,
    /// For zstd: whether repetitions were looked for within 128 MiB.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub long: bool,
    /// Worker threads.
    pub threads: u32,
}

/// Encryption as really used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UsedEncryption {
    /// `age`.
    pub format: String,
    /// The public keys.
    pub recipients: Vec<String>,
}

/// How long one stage took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stage {
    /// Its name.
    pub name: String,
    /// When it began.
    pub started_at: Timestamp,
    /// Milliseconds.
    pub duration_ms: u64,
}

impl StoredArtifact {
    /// Bytes of content that the source had.
    pub fn source_bytes(&self) -> u64 {
        self.content_bytes.saturating_sub(self.carried_bytes)
    }

    /// Bytes that it takes at the destination.
    pub fn stored_bytes(&self) -> u64 {
        match self.form {
            Form::Tree => self.content_bytes,
            Form::Stream | Form::Tar => self.stored.bytes,
        }
    }

    /// Where its index is, for a person, if it has one: beside it.
    pub fn index_location(&self) -> Option<String> {
        let object = &self.index.as_ref()?.object;
        let place = self.location.strip_suffix(&self.object).unwrap_or_default();
        Some(format!("{place}{object}"))
    }
}

impl Manifest {
    /// Bytes that all pieces take at the destination.
    pub fn stored_bytes(&self) -> u64 {
        self.artifacts.iter().map(StoredArtifact::stored_bytes).sum()
    }

    /// The document as it is stored: JSON for people, its checksum filled in.
    ///
    /// # Errors
    /// It can't be written as JSON, which would be a defect.
    pub fn seal(&mut self) -> Result<String> {
        self.checksum = self.compute_checksum()?;
        let mut text = serde_json::to_string_pretty(self)
            .map_err(|e| Error::internal("cannot write a manifest").because(e))?;
        text.push('\n');
        Ok(text)
    }

    /// Reads a stored document and proves that not a byte of its meaning has changed.
    ///
    /// # Errors
    /// [`Code::Verification`], naming `place`, if it is damaged or of a version that this host doesn't know.
    pub fn unseal(text: &str, place: &str) -> Result<Self> {
        let damaged = |why: String| {
            Error::new(
                Code::Verification,
                format!("the manifest {place} is damaged: {why}"),
            )
            .hint("restore it from another destination or another copy; do not edit manifests")
        };
        // Not as a whole document first: of a hostile one that would take many times its own size.
        let versioned: Versioned = serde_json::from_str(text).map_err(|e| damaged(e.to_string()))?;
        match versioned.manifest_version {
            Some(v) if v == u64::from(MANIFEST_VERSION) => {}
            Some(v) => {
                return Err(Error::new(
                    Code::Configuration,
                    format!(
                        "the manifest {place} has version {v}; this host reads version {MANIFEST_VERSION}"
                    ),
                )
                .hint("use a newer Backstay"));
            }
            None => return Err(damaged("it has no manifestVersion".to_owned())),
        }
        let manifest: Manifest = serde_json::from_str(text).map_err(|e| damaged(e.to_string()))?;
        if manifest.compute_checksum()? != manifest.checksum {
            return Err(damaged("its checksum does not match its content".to_owned()));
        }
        Ok(manifest)
    }

    /// Whether a document has nothing to do with Backstay: it is whole JSON and says no version of a manifest.
    pub fn is_foreign(text: &str) -> bool {
        serde_json::from_str::<Versioned>(text).is_ok_and(|found| found.manifest_version.is_none())
    }

    /// Bytes of content over all pieces that the source had.
    pub fn source_bytes(&self) -> u64 {
        self.artifacts.iter().map(StoredArtifact::source_bytes).sum()
    }

    /// Bytes of content over all pieces.
    pub fn content_bytes(&self) -> u64 {
        self.artifacts.iter().map(|a| a.content_bytes).sum()
    }

    fn compute_checksum(&self) -> Result<String> {
        let plain = Manifest {
            checksum: String::new(),
            ..self.clone()
        };
        let bytes =
            serde_json::to_vec(&plain).map_err(|e| Error::internal("cannot write a manifest").because(e))?;
        Ok(blake3::hash(&bytes).to_hex().to_string())
    }
}
