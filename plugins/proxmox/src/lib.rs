//! The source `proxmox`: the configuration of a Proxmox VE node, of a Proxmox Backup Server, and of the system below.
//!
//! It collects files and the output of commands in a scratch directory, and offers that as one tar stream or tree: files
//! under their own paths, output under `commands/`, and a summary in `collection.json`. What is collected is one list
//! (`items.rs`), which `plugin.json` asks for word by word. What is missing is a warning, never a silent gap.

mod collect;
mod config;
mod items;
mod plan;
mod report;
mod restore;

use backstay_sdk::content::stat;
use backstay_sdk::{
    Artifact, Diagnostic, Previous, Restored, Result, RunInfo, Scratch, Source, Target, TreeOptions,
    UnpackOptions, log, progress,
};

use crate::config::{Collect, Config};
use crate::items::Collector;
use crate::report::Facts;

/// The plugin.
#[derive(Debug)]
pub struct Proxmox;

backstay_sdk::source!(Proxmox, "plugin.json");

/// The one artifact.
const ARTIFACT: &str = "configuration";

impl Source for Proxmox {
    type Config = Config;

    fn validate(config: &Config) -> Vec<Diagnostic> {
        let mut diagnostics = config.check();
        if diagnostics.is_empty() {
            diagnostics.extend(look(config));
            diagnostics.extend(about_keys(config));
        }
        diagnostics
    }

    fn open(config: &Config, run: &RunInfo, previous: &[Previous]) -> Result<Vec<Artifact>> {
        Diagnostic::refuse(config.check())?;
        let scratch = Scratch::make()?;
        let mut facts = collect::collect(config, run, &scratch)?;
        if let Some(before) = facts_before(previous, &facts.root) {
            warn_of_lost_collectors(config, &before, &mut facts);
        }
        scratch.write(collect::REPORT, &format!("{:#}\n", serde_json::to_value(&facts)?))?;
        progress::stage("collected");
        let done = facts.statistics;
        log::info(format!(
            "collected {} files and the output of {} commands, {} bytes, with {} warnings",
            done.files_processed, done.commands_run, done.bytes_collected, done.warnings
        ));
        let tree = scratch.tree(&TreeOptions::default())?;
        let artifact = if config.stream {
            Artifact::tar(ARTIFACT, &tree)
        } else {
            Artifact::tree(ARTIFACT, tree)
        };
        Ok(vec![artifact.with_metadata(&facts)?])
    }

    fn restore(config: &Config, _: &RunInfo, artifact: Artifact, target: &Target) -> Result<Restored> {
        let facts: Facts = artifact.metadata_as()?;
        let is_in_place = target.place.is_none();
        let is_mounted = is_in_place && stat(&config.at("/etc/pve"))?.is_some_and(|info| info.mount_point);
        let place = restore::choose(&facts, target, is_mounted)?;
        if let Some(words) = place.left_out {
            log::warning("not-restored", words, Some("/etc/pve"));
        }
        let options = UnpackOptions {
            paths: place.paths,
            ..target.unpack_options()
        };
        let report = artifact.content.unpack(&place.directory, &options)?;
        Ok(Restored {
            place: place.directory,
            entries: report.entries,
            bytes: report.bytes,
        })
    }

    fn recovery_command(_: &Config, _: &str, _: &str) -> Result<String> {
        Ok(restore::RECOVERY_COMMAND.to_owned())
    }
}

/// What the newest backup of the same root says.
fn facts_before(previous: &[Previous], root: &str) -> Option<Facts> {
    let newest = previous.iter().find(|previous| previous.artifact == ARTIFACT)?;
    newest
        .metadata_as::<Facts>()
        .ok()
        .filter(|facts| facts.root == root)
}

/// A product that was found last time and isn't now would be a silent gap.
fn warn_of_lost_collectors(config: &Config, before: &Facts, facts: &mut Facts) {
    for collector in Collector::ALL {
        let name = collector.name();
        let was_there = before.collectors.iter().any(|c| c == name);
        let is_there = facts.collectors.iter().any(|c| c == name);
        if was_there && !is_there && collector.wanted(config) == Collect::Auto {
            let sign = collector.sign().map(|sign| config.at(sign)).unwrap_or_default();
            let message =
                format!("the last backup has the configuration of `{name}`, and now {sign} is gone");
            log::warning("collector-gone", message, Some(&sign));
            facts.count(
                name,
                report::Statistics {
                    warnings: 1,
                    ..report::Statistics::default()
                },
            );
        }
    }
}

/// Whether the machine has what is to be collected.
fn look(config: &Config) -> Vec<Diagnostic> {
    let mut diagnostics = Vec::new();
    let mut is_any_found = false;
    for collector in [Collector::Pve, Collector::Pbs] {
        let Some(sign) = collector.sign() else { continue };
        let path = config.at(sign);
        match collect::exists(config, sign) {
            Ok(true) => is_any_found = true,
            Ok(false) if collector.wanted(config) == Collect::Always => {
                let message = format!(
                    "`{}` is to be collected always, and there is no {path}",
                    collector.name()
                );
                let pointer = format!("/{}/collect", collector.name());
                diagnostics.push(
                    Diagnostic::warning(pointer, "missing-product", message)
                        .hint("set it to `auto`, or expect warnings in each run"),
                );
            }
            Ok(false) => {}
            Err(failure) => diagnostics.push(Diagnostic::from_failure("/root", "unreadable-root", failure)),
        }
    }
    let wants_product = config.pve.collect == Collect::Auto || config.pbs.collect == Collect::Auto;
    if !is_any_found && diagnostics.is_empty() && wants_product {
        let message = format!(
            "this is no Proxmox machine: neither {} nor {} exists",
            config.at("/etc/pve"),
            config.at("/etc/proxmox-backup")
        );
        let only_system = config.system.collect != Collect::Never;
        diagnostics.push(if only_system {
            Diagnostic::warning("", "not-proxmox", message).hint("only `system` will be collected")
        } else {
            Diagnostic::error("", "not-proxmox", message).hint("correct `root`, or collect `system` as well")
        });
    }
    diagnostics
}

/// What becomes of secrets.
fn about_keys(config: &Config) -> Option<Diagnostic> {
    if config.private_keys {
        let message = "private keys, tokens and password hashes are part of the backup";
        return Some(
            Diagnostic::info("/privateKeys", "private-keys", message)
                .hint("encrypt it by `filters.encryption`, or set `privateKeys: false`"),
        );
    }
    let is_left_out = config.pve.cluster_database && config.pve.collect != Collect::Never;
    is_left_out.then(|| {
        let message = "/var/lib/pve-cluster is left out, because its database holds private keys";
        Diagnostic::info("/privateKeys", "database-left-out", message)
    })
}
