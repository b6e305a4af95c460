//! What a manifest of somebody else must look like before anything in it is used.
//!
//! Its checksum proves that it is whole, not who wrote it. What it says becomes names of jobs, lines on a terminal,
//! arguments of plugins and words of shell scripts.

use crate::manifest::{Digest, MANIFEST_NAME, Manifest, StoredArtifact};

/// Longest receipt, in bytes: what a destination may give.
const RECEIPT_BYTES: usize = 4 << 10;

/// Most pieces: what a source may offer.
const ARTIFACTS: usize = 1_000;

/// Longest name of a machine or version, in bytes.
const WORD_BYTES: usize = 256;

/// Most destinations of a job.
const DESTINATIONS: usize = 1_000;

/// Most bytes or entries of an artifact, so that those of all can be added up: 9 PB.
const MOST: u64 = 1 << 53;

/// Longest place, in bytes.
const PLACE_BYTES: usize = 16 << 10;

impl Manifest {
    /// The name that it is stored under.
    pub fn object(&self) -> String {
        format!("{}/{}/{MANIFEST_NAME}", self.job.name, self.id)
    }

    /// What a host never writes, if there is any of it. Completes the sentence "it is no manifest of a backup: ".
    pub fn refuse_shape(&self) -> Result<(), String> {
        for (what, id) in [
            ("its id", self.id),
            ("the id of its run", self.run_id),
            ("the id of its job", self.job.id),
        ] {
            if id.get_version_num() != 7 {
                return Err(format!("{what} is no UUIDv7"));
            }
        }
        if self.instance_id.is_nil() {
            return Err("it names no installation".to_owned());
        }
        if !is_job_name(&self.job.name) {
            return Err("the name of its job is no name of a job".to_owned());
        }
        let words = [
            ("device", &self.device),
            ("host version", &self.host_version),
            ("source plugin", &self.source.plugin),
            ("destination plugin", &self.destination.plugin),
        ];
        for (what, word) in words {
            if word.is_empty() || word.len() > WORD_BYTES || word.chars().any(char::is_control) {
                return Err(format!("its {what} is no plain word"));
            }
        }
        if self.destination_index >= DESTINATIONS {
            return Err(format!(
                "it is for destination {} of its job",
                self.destination_index
            ));
        }
        if self.artifacts.is_empty() || self.artifacts.len() > ARTIFACTS {
            return Err(format!("it has {} artifacts", self.artifacts.len()));
        }
        for (index, artifact) in self.artifacts.iter().enumerate() {
            self.refuse_artifact(artifact)
                .map_err(|why| format!("artifact {}: {why}", index + 1))?;
            if self.artifacts[..index].iter().any(|a| a.name == artifact.name) {
                return Err(format!("artifact {}: its name comes twice", index + 1));
            }
        }
        if self.depends_on == Some(self.id) {
            return Err("it depends on itself".to_owned());
        }
        if self.depends_on.is_some() && self.artifacts.iter().all(|a| a.base.is_none()) {
            return Err("it depends on a backup that none of its artifacts builds on".to_owned());
        }
        Ok(())
    }

    fn refuse_artifact(&self, artifact: &StoredArtifact) -> Result<(), String> {
        let name = &artifact.name;
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if name.is_empty() || name.len() > 128 || name.starts_with(['.', '-']) || !name.chars().all(plain) {
            return Err("its name has other characters than letters, digits, `.`, `_` and `-`".to_owned());
        }
        let start = format!("{}/{}/{name}", self.job.name, self.id);
        let belongs = |object: &str| {
            let rest = object.strip_prefix(&start);
            rest.is_some_and(|rest| rest.len() <= WORD_BYTES && rest.chars().all(plain))
        };
        let index = artifact.index.as_ref();
        if !belongs(&artifact.object) || index.is_some_and(|i| !belongs(&i.object)) {
            return Err("what it is stored as belongs to another backup".to_owned());
        }
        let receipts = [Some(&artifact.receipt), index.map(|i| &i.receipt)];
        if receipts.into_iter().flatten().any(|r| r.len() > RECEIPT_BYTES) {
            return Err(format!("its receipt has more than {RECEIPT_BYTES} bytes"));
        }
        let escapes = |text: &str| text.chars().any(|c| c.is_control() && c != '\n' && c != '\t');
        if artifact.location.len() > PLACE_BYTES
            || escapes(&artifact.location)
            || escapes(&artifact.media_type)
        {
            return Err("its place or media type can't be shown".to_owned());
        }
        let digests = [
            Some(&artifact.raw),
            Some(&artifact.stored),
            index.map(|i| &i.stored),
        ];
        if !digests.into_iter().flatten().all(is_digest) {
            return Err("its hashes are no hashes".to_owned());
        }
        let counts = [
            artifact.raw.bytes,
            artifact.stored.bytes,
            artifact.content_bytes,
            artifact.carried_bytes,
            artifact.entries,
            index.map_or(0, |i| i.stored.bytes),
        ];
        if counts.into_iter().any(|n| n > MOST) {
            return Err("it is larger than anything".to_owned());
        }
        if artifact.base.is_some() && artifact.base != self.depends_on {
            return Err("it builds on a backup that the manifest doesn't depend on".to_owned());
        }
        Ok(())
    }
}

/// The rule of [`crate::job::JobSpec::name`].
fn is_job_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    name.len() <= 64 && name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(plain)
}

fn is_digest(digest: &Digest) -> bool {
    let is_hash = |text: &str| {
        text.len() == 64
            && text
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    is_hash(&digest.blake3) && is_hash(&digest.sha256)
}
