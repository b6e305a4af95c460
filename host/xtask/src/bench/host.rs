//! Drives the release binary: a data directory, jobs from `path` to `local`, and their runs.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::bench::Bench;
use crate::bench::data;
use crate::bench::measure::{Cost, pipe};
use crate::shell;

/// A host with a directory of its own.
pub(super) struct Host {
    program: PathBuf,
    directory: PathBuf,
}

impl Host {
    /// A host whose data and backups are in `directory`.
    pub(super) fn new(bench: &Bench, directory: &Path) -> Result<Self> {
        let host = Host {
            program: bench.backstay.clone(),
            directory: directory.to_owned(),
        };
        std::fs::create_dir_all(host.backups())?;
        Ok(host)
    }

    /// Defines a job that backs `source` up; `zstd` at its default level, on all processors.
    pub(super) fn apply(&self, name: &str, source: &Path, zstd: bool) -> Result<()> {
        let source = json!({ "plugin": "path", "config": { "path": source } });
        let filters = if zstd {
            json!({ "compression": { "algorithm": "zstd", "level": 3, "threads": 0 } })
        } else {
            json!({})
        };
        self.apply_source(name, &source, &filters)
    }

    /// Defines a job with this source and these filters.
    pub(super) fn apply_source(&self, name: &str, source: &Value, filters: &Value) -> Result<()> {
        self.apply_at(name, source, filters, &[""])
    }

    /// Defines a job with several destinations, which are directories of these names.
    pub(super) fn apply_at(
        &self,
        name: &str,
        source: &Value,
        filters: &Value,
        directories: &[&str],
    ) -> Result<()> {
        let destinations = directories.iter().map(
            |directory| json!({ "plugin": "local", "config": { "path": self.backups().join(directory) } }),
        );
        let destinations: Vec<Value> = destinations.collect();
        self.define(
            name,
            &json!({ "source": source, "destinations": destinations, "filters": filters }),
        )
    }

    /// Defines a job as it is in a job file, but for its name.
    pub(super) fn define(&self, name: &str, job: &Value) -> Result<()> {
        let mut job = job.clone();
        job["name"] = name.into();
        let file = self.job_file(name);
        std::fs::write(&file, job.to_string()).with_context(|| format!("can't write {}", file.display()))?;
        shell_out(self.command(["apply", "-f"]).arg(&file))
    }

    /// Makes an S3 server known.
    pub(super) fn add_s3(
        &self,
        name: &str,
        endpoint: &str,
        bucket: &str,
        user: &str,
        secret: &str,
    ) -> Result<()> {
        let file = self.directory.join("secret");
        std::fs::write(&file, secret).with_context(|| format!("can't write {}", file.display()))?;
        let mut add = self.command(["remote", "add", name, "--type", "s3", "--endpoint", endpoint]);
        add.args(["--bucket", bucket, "--account", user, "--secret-from-file"]);
        shell_out(add.arg(&file))
    }

    /// Installs a plugin of the tests.
    pub(super) fn install(&self, name: &str) -> Result<()> {
        let file = backstay_testkit::guests::path(name);
        shell_out(self.command(["plugin", "install", "--yes"]).arg(file))
    }

    /// Keeps a secret.
    pub(super) fn secret(&self, name: &str, text: &str) -> Result<()> {
        let file = self.directory.join("secret");
        std::fs::write(&file, text).with_context(|| format!("can't write {}", file.display()))?;
        shell_out(self.command(["secret", "set", name, "--from-file"]).arg(&file))
    }

    /// Has the next run of a tree read all of its files, as the first one does.
    pub(super) fn forget_hashes(&self) -> Result<()> {
        match std::fs::remove_dir_all(self.directory.join("data/hashes")) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e).context("can't remove the hashes"),
            _ => Ok(()),
        }
    }

    /// The file that [`Host::apply`] wrote.
    pub(super) fn job_file(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.json"))
    }

    /// Makes these directories for backups.
    pub(super) fn make(&self, directories: &[&str]) -> Result<()> {
        for directory in directories {
            std::fs::create_dir_all(self.backups().join(directory))?;
        }
        Ok(())
    }

    /// Runs a job.
    pub(super) fn run(&self, name: &str) -> Result<Cost> {
        self.cost(["run", name, "--json"])
    }

    /// Runs any command to its end.
    pub(super) fn cost<const N: usize>(&self, args: [&str; N]) -> Result<Cost> {
        pipe(vec![self.command(args)], None)
    }

    /// Bytes that all backups and their manifests take.
    pub(super) fn stored_bytes(&self) -> Result<u64> {
        data::size(&self.backups())
    }

    /// Deletes all backups, behind the host's back: a full disk would end the comparison.
    pub(super) fn clear(&self) -> Result<()> {
        std::fs::remove_dir_all(self.backups())?;
        Ok(std::fs::create_dir_all(self.backups())?)
    }

    /// Deletes the compiled plugins.
    pub(super) fn clear_cache(&self) -> Result<()> {
        let cache = self.directory.join("data/cache");
        std::fs::remove_dir_all(&cache).with_context(|| format!("can't remove {}", cache.display()))
    }

    fn backups(&self) -> PathBuf {
        self.directory.join("backups")
    }

    pub(super) fn command<const N: usize>(&self, args: [&str; N]) -> Command {
        let mut command = shell::program(&self.program);
        command
            .arg("--data-dir")
            .arg(self.directory.join("data"))
            .args(args);
        // Lines of a run that went well only cost its reader.
        command.stderr(Stdio::null());
        command
    }
}

fn shell_out(command: &mut Command) -> Result<()> {
    let output = shell::output(command.stderr(Stdio::piped()))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        bail!("`{}` failed: {}", shell::shown(command), why.trim_end());
    }
    Ok(())
}
