//! The source `script`: what a script of the user writes into a directory, as one tar stream or as a tree.
//!
//! The host runs the script confined, into the call's scratch directory, and cleans what it left there. This plugin
//! only says which script, with what, and offers the directory. What the script prints is never data.

mod config;

use std::collections::BTreeMap;

use backstay_sdk::content::stat;
use backstay_sdk::script::{self, Limits, Script};
use backstay_sdk::{
    Artifact, Code, Diagnostic, Failure, FileKind, Previous, Restored, Result, RunInfo, Scratch, Source,
    Target, TreeOptions, log,
};
use serde::{Deserialize, Serialize};

use crate::config::Config;

/// The plugin.
#[derive(Debug)]
pub struct ScriptSource;

backstay_sdk::source!(ScriptSource, "plugin.json");

/// The one artifact.
const ARTIFACT: &str = "output";

/// What the manifest of a backup keeps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Facts {
    /// The script.
    script_path: String,
    /// BLAKE3 of the script as it was run.
    script_digest: String,
    /// How it ended; a backup is made only of what a script wrote that ended well.
    script_exit_code: i32,
    /// Files, directories and links that it wrote.
    entries: u64,
    /// Bytes of file content that it wrote.
    bytes_processed: u64,
    /// What it said by lines `backstay:metadata KEY=VALUE`.
    metadata: BTreeMap<String, String>,
}

impl Source for ScriptSource {
    type Config = Config;

    fn validate(config: &Config) -> Vec<Diagnostic> {
        let mut found = config.check();
        if found.is_empty() {
            found.extend(
                look(config)
                    .err()
                    .map(|failure| Diagnostic::from_failure("/scriptPath", "missing-script", failure)),
            );
            if !config.is_wasm() {
                let cannot = script::check().err();
                found.extend(cannot.map(|failure| Diagnostic::from_failure("", "cannot-confine", failure)));
            }
        }
        found
    }

    fn open(config: &Config, _: &RunInfo, _: &[Previous]) -> Result<Vec<Artifact>> {
        Diagnostic::refuse(config.check())?;
        look(config)?;
        let output = Scratch::make()?;
        let limits = Limits {
            seconds: config.timeout,
            memory_bytes: config.max_memory_bytes,
            processes: config.max_processes,
            output_bytes: config.max_output_bytes,
        };
        let script = Script {
            args: config.script_args.clone(),
            working_directory: config.working_directory.clone(),
            read: config.read.clone(),
            network: config.network,
            env: config.environment.clone().into_iter().collect(),
            env_secrets: config.secret_environment.clone().into_iter().collect(),
            ..Script::new(&config.script_path, limits)
        };
        let ended = script.run(&output)?;
        if ended.entries == 0 {
            return Err(
                Failure::backup_failed(format!("the script {} left no files", config.script_path))
                    .hint("it must write what is to be backed up into the directory $BACKSTAY_OUTPUT_DIR"),
            );
        }
        let facts = Facts {
            script_path: config.script_path.clone(),
            script_digest: ended.digest,
            script_exit_code: 0,
            entries: ended.entries,
            bytes_processed: ended.bytes,
            metadata: ended.metadata.into_iter().collect(),
        };
        let tree = output.tree(&TreeOptions::default())?;
        let artifact = if config.stream {
            Artifact::tar(ARTIFACT, &tree)
        } else {
            Artifact::tree(ARTIFACT, tree)
        };
        Ok(vec![artifact.with_metadata(&facts)?])
    }

    fn restore(_: &Config, _: &RunInfo, artifact: Artifact, target: &Target) -> Result<Restored> {
        let Some(place) = target.place.clone() else {
            return Err(
                Failure::configuration("what a script wrote has no original place")
                    .hint("name a directory: --to DIR"),
            );
        };
        let report = artifact.content.unpack(&place, &target.unpack_options())?;
        if target.dry_run {
            log::info(format!(
                "would write {} entries with {} bytes to {place}",
                report.entries, report.bytes
            ));
        }
        Ok(Restored {
            place,
            entries: report.entries,
            bytes: report.bytes,
        })
    }

    fn recovery_command(_: &Config, _: &str, _: &str) -> Result<String> {
        Ok(RECOVERY_COMMAND.to_owned())
    }
}

/// Tar's own way to do what `restore` does.
const RECOVERY_COMMAND: &str = "mkdir -p \"$TARGET\" && \
    tar --xattrs --xattrs-include='*' --numeric-owner --same-owner -xpf - -C \"$TARGET\"";

/// Whether the script is there.
fn look(config: &Config) -> Result<()> {
    let path = &config.script_path;
    match stat(path)?.map(|info| info.kind) {
        Some(FileKind::File) => Ok(()),
        Some(_) => Err(Failure::configuration(format!("{path} is not a file"))
            .hint("name the script itself in `scriptPath`")),
        None => Err(
            Failure::new(Code::Environment, format!("there is no file {path}")).hint("correct `scriptPath`"),
        ),
    }
}
