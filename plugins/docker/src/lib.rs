//! The source `docker`: volumes and bind mounts of Docker and Podman containers, each as one tar stream.
//!
//! Containers are stopped, paused or quiesced while their data is read, what depends on others first, and
//! brought back by the host's undo, whatever happens in between. Mounts are read by the host where they are
//! on this machine: an engine's own `cp` and `export` leave out files that they can't read without a word,
//! and lose access lists, extended attributes, holes and times below a second.
//!
//! Nothing is ever removed, and no container is made: what is run is in `plugin.json`.

#[cfg(test)]
mod asked;
mod choose;
mod config;
mod definition;
mod engine;
mod inspect;
mod mounts;
mod order;
mod pattern;
mod quiet;
mod restore;
mod undo;
mod validate;

use backstay_sdk::content::stat;
use backstay_sdk::{
    Artifact, Diagnostic, Failure, Previous, Restored, Result, RunInfo, Source, Target, Tree, TreeOptions,
    journal, log, progress,
};

use crate::config::Config;
use crate::definition::Definitions;
use crate::engine::Cli;
use crate::inspect::Container;
use crate::mounts::{Facts, Mounts, artifact_names};

/// The plugin.
#[derive(Debug)]
pub struct Docker;

backstay_sdk::source!(Docker, "plugin.json");

impl Source for Docker {
    type Config = Config;

    fn validate(config: &Config) -> Vec<Diagnostic> {
        let mut diagnostics = config.check();
        if diagnostics.is_empty() {
            diagnostics.extend(validate::look(config));
        }
        diagnostics
    }

    fn open(config: &Config, _: &RunInfo, previous: &[Previous]) -> Result<Vec<Artifact>> {
        Diagnostic::refuse(config.check())?;
        progress::stage("looking at containers");
        let cli = Cli::find(config)?;
        let (containers, missing) = choose::find(&cli, config)?;
        if let Some(miss) = missing.into_iter().next() {
            return Err(miss.failure);
        }
        choose::refuse_to_lose(config, &containers)?;
        let mounts = Mounts::look(&cli, config, &containers)?;
        for omission in &mounts.omissions {
            log::warning(
                omission.code,
                format!("{}: {}", omission.message, omission.hint),
                None,
            );
        }
        if mounts.facts.is_empty() {
            return Err(validate::nothing());
        }
        refuse_if_unmounted(&mounts.facts, previous)?;
        warn_of_others(&cli, &mounts.facts, &containers)?;
        let groups = order::groups(containers);
        let mut definitions = Definitions::gather(&cli, config, &groups)?;
        let mut artifacts = artifacts(config, &mounts.facts)?;

        let since = quiet::now_millis();
        quiet::make_quiet(&cli, config, &groups)?;
        refuse_if_gone(&mounts.facts)?;
        definitions.note_quiet(since)?;
        artifacts.push(definitions.artifact()?);
        Ok(artifacts)
    }

    fn restore(config: &Config, _: &RunInfo, artifact: Artifact, target: &Target) -> Result<Restored> {
        restore::restore(config, artifact, target)
    }

    fn recovery_command(_: &Config, artifact_name: &str, _: &str) -> Result<String> {
        Ok(restore::recovery_command(artifact_name))
    }

    fn undo(config: &Config, entry: &str) -> Result<()> {
        undo::undo(config, &journal::read(entry)?)
    }
}

/// A recipe for each mount. Nothing is read before the host connects it.
fn artifacts(config: &Config, all: &[Facts]) -> Result<Vec<Artifact>> {
    let options = TreeOptions {
        exclude: config.exclude_files.clone(),
        ..TreeOptions::default()
    };
    let named = artifact_names(all).into_iter().zip(all);
    named
        .map(|(name, facts)| Artifact::tar(name, &Tree::open(&facts.path, &options)?).with_metadata(facts))
        .collect()
}

/// The empty directory under a disk that isn't mounted must not become a backup.
fn refuse_if_unmounted(all: &[Facts], previous: &[Previous]) -> Result<()> {
    let Some(newest) = previous.first().map(|p| p.backup_id.clone()) else {
        return Ok(());
    };
    let newest = previous.iter().filter(|p| p.backup_id == newest);
    let before: Vec<Facts> = newest.filter_map(|p| p.metadata_as().ok()).collect();
    let unmounted = all.iter().find_map(|now| {
        let then = before.iter().find(|then| then.path == now.path)?;
        (now.mounted_on.len() < then.mounted_on.len()).then_some((now, then))
    });
    match unmounted {
        None => Ok(()),
        Some((now, then)) => Err(Failure::backup_failed(format!(
            "{} was on the filesystem mounted at {}, which is not mounted now",
            now.path, then.mounted_on
        ))
        .hint("mount it; if the data has moved for good, back it up once by a new job")),
    }
}

/// Engines unmount some volumes when the last container that uses them stops.
fn refuse_if_gone(all: &[Facts]) -> Result<()> {
    for facts in all.iter().filter(|facts| facts.needs_mount) {
        if !stat(&facts.path)?.is_some_and(|info| info.mount_point) {
            return Err(Failure::backup_failed(format!(
                "the volume {} was unmounted when its containers were stopped",
                facts.volume.as_deref().unwrap_or(&facts.path)
            ))
            .hint("choose the action `pause` or `quiesce` for one of the containers that use it"));
        }
    }
    Ok(())
}

/// Warns of containers that the job doesn't mean and that go on writing to a volume of it.
fn warn_of_others(cli: &Cli, all: &[Facts], chosen: &[Container]) -> Result<()> {
    for volume in all.iter().filter_map(|facts| facts.volume.as_deref()) {
        for id in cli.ids(&cli.users(volume))? {
            if chosen.iter().any(|container| container.id == id) {
                continue;
            }
            // It may be gone again, or only have a mount whose path is the volume's name.
            let other = cli.container(&id)?;
            let Some(other) = other.filter(|c| c.mounts.iter().any(|m| m.name == volume)) else {
                continue;
            };
            let message = format!(
                "the volume {volume} is also used by the container {}, which is not in this job and keeps running",
                other.name
            );
            log::warning("volume-in-use", message, None);
        }
    }
    Ok(())
}
