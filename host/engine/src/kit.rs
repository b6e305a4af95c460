//! The plain commands that restore a backup on a machine without Backstay.

use std::fmt::Write as _;
use std::sync::Arc;

use backstay_model::Result;
use backstay_model::manifest::{Form, StoredArtifact};
use backstay_model::plugin::PluginKind;
use backstay_store::Backup;
use backstay_stream::Context;

use crate::Engine;
use crate::recorder::Unheard;

impl Engine {
    /// A bash script that restores a backup, and before it those that it builds on, with `age`, `zstd`,
    /// `tar` and the like. Its arguments are the target and, for an encrypted backup, the key's file.
    ///
    /// # Errors
    /// A plugin can't say how, or a backup of the chain is missing.
    pub async fn recovery_kit(&self, backup: &Backup) -> Result<String> {
        let chain = self.chain(backup).await?;
        let manifest = &backup.manifest;
        let encrypted = chain
            .iter()
            .any(|b| b.manifest.artifacts.iter().any(|a| a.encryption.is_some()));
        let mut kit = String::new();
        let made = &manifest.created_at;
        line(&mut kit, format_args!("#!/usr/bin/env bash"));
        line(
            &mut kit,
            format_args!(
                "# Restores backup {} of job {} on {}, made {made},",
                manifest.id, manifest.job.name, manifest.device
            ),
        );
        line(
            &mut kit,
            format_args!("# without Backstay. Keep it where you will find it when this machine is gone."),
        );
        let usage = if encrypted { "TARGET KEYFILE" } else { "TARGET" };
        line(&mut kit, format_args!("# Usage: bash kit.sh {usage}"));
        line(&mut kit, format_args!("set -euo pipefail"));
        line(&mut kit, format_args!("TARGET=${{1:?name where to restore to}}"));
        if encrypted {
            line(
                &mut kit,
                format_args!("KEY=${{2:?name the file with the age private key}}"),
            );
        }
        let (mut checks, mut commands) = (String::new(), String::new());
        for backup in &chain {
            for artifact in &backup.manifest.artifacts {
                line(&mut commands, format_args!(""));
                line(
                    &mut commands,
                    format_args!(
                        "# {} of backup {}: {} bytes",
                        artifact.name, backup.manifest.id, artifact.stored.bytes
                    ),
                );
                self.commands(backup, artifact, &mut checks, &mut commands)
                    .await?;
            }
        }
        if !checks.is_empty() {
            line(&mut kit, format_args!(""));
            line(
                &mut kit,
                format_args!("# Damage is found before anything is written."),
            );
            kit.push_str(&checks);
        }
        kit.push_str(&commands);
        line(&mut kit, format_args!("echo \"restored to $TARGET\""));
        Ok(kit)
    }

    async fn commands(
        &self,
        backup: &Backup,
        artifact: &StoredArtifact,
        checks: &mut String,
        kit: &mut String,
    ) -> Result<()> {
        let scope = |config: &serde_json::Map<_, _>| {
            self.scope(config.clone(), None, Context::default(), Arc::new(Unheard))
        };
        let to = &backup.manifest.destination;
        let destination = self.plugins.get(&to.plugin, PluginKind::Destination).await?;
        let fetch = destination
            .destination_recovery(&scope(&to.config), &artifact.receipt)
            .await?;
        let from = &backup.manifest.source;
        let source = self.plugins.get(&from.plugin, PluginKind::Source).await?;
        let take = source
            .source_recovery(&scope(&from.config), &artifact.name, &artifact.metadata)
            .await?;
        if artifact.form == Form::Tree {
            line(kit, format_args!("mkdir -p \"$TARGET\""));
            line(kit, format_args!("{fetch}"));
            return Ok(());
        }
        line(
            checks,
            format_args!(
                "[ \"$({fetch} | sha256sum)\" = '{}  -' ] || {{ echo '{} of backup {} is damaged' >&2; exit 8; }}",
                artifact.stored.sha256, artifact.name, backup.manifest.id
            ),
        );
        let mut pipe = fetch;
        if artifact.encryption.is_some() {
            pipe.push_str(" | age --decrypt --identity \"$KEY\"");
        }
        if let Some(command) = artifact
            .compression
            .as_ref()
            .and_then(|c| c.algorithm.plain_command())
        {
            pipe.push_str(" | ");
            pipe.push_str(command);
        }
        line(kit, format_args!("{pipe} | {{ {take}; }}"));
        Ok(())
    }
}

fn line(kit: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string can't fail.
    let _ = writeln!(kit, "{text}");
}
