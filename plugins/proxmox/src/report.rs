//! What was collected and what wasn't: for the manifest, and as `collection.json` in the backup itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What the manifest of a backup keeps.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Facts {
    /// What stood for `/`.
    pub root: String,
    /// The name of the node.
    pub node: String,
    /// The collectors that ran.
    pub collectors: Vec<String>,
    /// Whether the node is part of a cluster.
    pub clustered: bool,
    /// Whether private keys are in it.
    pub private_keys: bool,
    /// Over all collectors.
    pub statistics: Statistics,
    /// For each collector.
    pub by_collector: BTreeMap<String, Statistics>,
    /// Paths in the backup that can be restored to where they came from, each with all below it.
    pub places: Vec<String>,
    /// Items that are switched off.
    pub off: Vec<String>,
    /// What this machine doesn't have and need not have.
    pub absent: Vec<String>,
    /// All that is missing or incomplete. Each is a warning of the run as well.
    pub errors: Vec<CollectionError>,
    /// How long it took to collect all.
    pub duration_ms: u64,
}

/// How much was collected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Statistics {
    /// Files and links that were copied.
    pub files_processed: u64,
    /// Files that could not be copied as they are.
    pub files_failed: u64,
    /// Directories that were made for them.
    pub dirs_created: u64,
    /// Commands that were started.
    pub commands_run: u64,
    /// Commands that are missing, failed, were killed or were left out because of that.
    pub commands_failed: u64,
    /// Bytes of files and of what commands said.
    pub bytes_collected: u64,
    /// Warnings of this run.
    pub warnings: u64,
}

impl Statistics {
    fn add(&mut self, other: Statistics) {
        self.files_processed += other.files_processed;
        self.files_failed += other.files_failed;
        self.dirs_created += other.dirs_created;
        self.commands_run += other.commands_run;
        self.commands_failed += other.commands_failed;
        self.bytes_collected += other.bytes_collected;
        self.warnings += other.warnings;
    }
}

/// Something that is missing or incomplete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CollectionError {
    /// In which part of the run; here always `collection`.
    pub phase: String,
    /// What was being done.
    pub operation: Operation,
    /// The collector and perhaps the item.
    pub item: String,
    /// The file, or the command line.
    pub path: String,
    /// What happened.
    pub message: String,
}

/// What was being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// Looking for something.
    Find,
    /// Copying a file or a directory.
    Copy,
    /// Running a command.
    Command,
}

impl Facts {
    /// Adds to what a collector has done.
    pub fn count(&mut self, collector: &str, more: Statistics) {
        self.statistics.add(more);
        self.by_collector
            .entry(collector.to_owned())
            .or_default()
            .add(more);
    }
}
