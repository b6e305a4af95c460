//! One manifest that was found: read, proved, and compared with what is stored beside it.

use backstay_model::job::VerifyLevel;
use backstay_model::manifest::{MANIFEST_NAME, Manifest};
use backstay_model::{Code, Error, Result};
use backstay_plugin::{Plugin, Scope};
use backstay_store::Backup;
use jiff::Timestamp;
use uuid::Uuid;

use crate::catalog::{Problem, ProblemKind, Turn};
use crate::chain::{Link, read_whole};
use crate::copy::as_stream;
use crate::verify::{blocking, check_size};

/// Largest manifest that is read, in bytes. A hundred times what one with a thousand warnings takes.
const MOST_BYTES: usize = 16 << 20;

/// From this size on manifests are read one at a time: a hostile one takes many times its size in memory.
const LARGE_BYTES: usize = 256 << 10;

/// Reads manifests at one place.
#[derive(Clone)]
pub(super) struct Reader {
    pub(super) plugin: Plugin,
    pub(super) scope: Scope,
    /// The time of the checks.
    pub(super) at: Timestamp,
}

/// A backup as its manifest tells it.
pub(super) struct Found {
    pub(super) backup: Backup,
    /// What is wrong with what is stored.
    pub(super) damage: Option<Error>,
}

impl Found {
    pub(super) fn id(&self) -> Uuid {
        self.backup.manifest.id
    }

    pub(super) fn checksum(&self) -> &String {
        &self.backup.manifest.checksum
    }
}

impl Reader {
    /// Reads the manifest behind a receipt; nothing if it isn't its turn.
    pub(super) async fn read(
        self,
        receipt: String,
        turn: Turn,
    ) -> std::result::Result<Option<Found>, Problem> {
        let named = |(kind, error): (ProblemKind, Error)| Problem::new(&receipt, kind, &error);
        let (text, described) = self
            .text(&receipt)
            .await
            .map_err(|error| named((ProblemKind::Unreadable, error)))?;
        if turn == Turn::First && text.len() >= LARGE_BYTES {
            return Ok(None);
        }
        let name = receipt.clone();
        let parsed = blocking(move || Ok(parse(&text, &name)));
        let manifest = match parsed.await {
            Ok(parsed) => parsed.map_err(named)?,
            Err(error) => return Err(named((ProblemKind::Unreadable, error))),
        };
        let stored_by = &manifest.destination.plugin;
        let reader = &self.plugin.manifest().id;
        if stored_by != reader {
            let error = Error::new(
                Code::Configuration,
                format!("it was stored by plugin {stored_by}, and its receipts say nothing to {reader}"),
            )
            .hint("copy the backups back to where they came from, or restore by their recovery kit");
            return Err(named((ProblemKind::Foreign, error)));
        }
        // Of plugins whose receipts aren't names nobody can tell.
        let is_name = receipt.ends_with(&format!("/{MANIFEST_NAME}"));
        if turn == Turn::First && is_name && receipt != manifest.object() {
            return Ok(None);
        }
        Ok(Some(Found {
            backup: self.backup(manifest, receipt, &described),
            damage: None,
        }))
    }

    async fn text(&self, receipt: &str) -> Result<(Vec<u8>, String)> {
        let content = self.plugin.fetch(&self.scope, receipt).await?;
        let recipe = as_stream(content, MANIFEST_NAME)?;
        let described = recipe.describe();
        let context = self.scope.context.clone();
        let bytes = blocking(move || read_whole(recipe, MOST_BYTES, &context)).await?;
        Ok((bytes, described))
    }

    /// The row of a backup. What it was stored with says where it was then; what counts is where it is now.
    fn backup(&self, mut manifest: Manifest, receipt: String, described: &str) -> Backup {
        let object = manifest.object();
        let root = |shown: &str, object: &str| {
            let shown = ["the file ", "the object "]
                .iter()
                .find_map(|kind| shown.strip_prefix(kind))
                .unwrap_or(shown);
            shown.strip_suffix(object).map(str::to_owned)
        };
        let was = manifest
            .artifacts
            .first()
            .and_then(|artifact| root(&artifact.location, &artifact.object));
        let is = if manifest.destination.config == self.scope.config {
            was.clone()
        } else {
            root(described, &object)
        };
        if let (Some(was), Some(is)) = (&was, &is)
            && was != is
        {
            for artifact in &mut manifest.artifacts {
                if let Some(rest) = artifact.location.strip_prefix(was.as_str()) {
                    artifact.location = format!("{is}{rest}");
                }
            }
        }
        manifest.destination.config.clone_from(&self.scope.config);
        Backup {
            run_id: manifest.run_id,
            created_at: manifest.created_at,
            destination_index: manifest.destination_index,
            critical: manifest.destination_index == 0,
            receipt,
            location: is.map_or_else(|| object.clone(), |is| format!("{is}{object}")),
            verified_at: None,
            verified_level: None,
            verified_ok: None,
            manifest,
        }
    }

    /// Looks whether all that a manifest lists is there and as long as it should be.
    pub(super) async fn check(self, found: Found) -> std::result::Result<Found, Problem> {
        let link = Link {
            backup: found.backup,
            plugin: self.plugin,
            scope: self.scope,
        };
        let mut damage = None;
        for artifact in &link.backup.manifest.artifacts {
            match check_size(&link, artifact).await {
                Ok(()) => {}
                Err(error) if error.code() == Code::Verification => damage = damage.or(Some(error)),
                Err(error) => {
                    return Err(Problem::new(
                        &link.backup.receipt,
                        ProblemKind::Unreadable,
                        &error,
                    ));
                }
            }
        }
        let backup = Backup {
            verified_at: Some(self.at),
            verified_level: Some(VerifyLevel::Size),
            verified_ok: Some(damage.is_none()),
            ..link.backup
        };
        Ok(Found { backup, damage })
    }
}

fn parse(bytes: &[u8], receipt: &str) -> std::result::Result<Manifest, (ProblemKind, Error)> {
    let refuse = |kind, why: &str| {
        let error = Error::new(
            Code::Verification,
            format!("it is no manifest of a backup: {why}"),
        );
        Err((kind, error))
    };
    let Ok(text) = std::str::from_utf8(bytes) else {
        return refuse(ProblemKind::Damaged, "it is not text");
    };
    if Manifest::is_foreign(text) {
        return refuse(ProblemKind::Foreign, "it has no manifestVersion");
    }
    let manifest = Manifest::unseal(text, receipt).map_err(|error| match error.code() {
        Code::Configuration => (ProblemKind::Newer, error),
        _ => (ProblemKind::Damaged, error),
    })?;
    match manifest.refuse_shape() {
        Ok(()) => Ok(manifest),
        Err(why) => refuse(ProblemKind::Damaged, &why),
    }
}
