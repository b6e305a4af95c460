//! A restic repository in a directory, looked at by restic itself.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::fail::OrFail;
use crate::tools;

/// The password of every repository.
pub const PASSWORD: &str = "password-of-a-test-repository";

/// What `restic init` wrote, but for the parameters of its key: restic itself chooses some that take half a second to
/// check, with every command, and these take none.
const CONFIG: &[u8] = include_bytes!("restic/config");
const KEY: &str = include_str!("restic/key.json");
/// The SHA-256 of the key, by which restic calls it.
const KEY_NAME: &str = "0a04f5ad51b0a473ecd498bc4152ba4d84bd46edf10bb6e120a94aaa7ebbc4ca";

/// A repository.
#[derive(Debug, Clone)]
pub struct Repository(PathBuf);

impl Repository {
    /// Makes one.
    ///
    /// # Panics
    /// There is no restic, or the directory can't be written.
    #[track_caller]
    pub fn create(path: &Path) -> Self {
        tools::require(&["restic"]);
        for directory in ["data", "index", "keys", "locks", "snapshots"] {
            std::fs::create_dir_all(path.join(directory)).or_fail("make a repository");
        }
        std::fs::write(path.join("config"), CONFIG).or_fail("make a repository");
        std::fs::write(path.join("keys").join(KEY_NAME), KEY).or_fail("make a repository");
        Repository(path.to_owned())
    }

    /// The one that is in a directory.
    pub fn at(path: &Path) -> Self {
        Repository(path.to_owned())
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// restic on it, with its password.
    pub fn restic(&self, args: &[&str]) -> Command {
        let mut command = Command::new("restic");
        command
            .args(["--no-cache", "--quiet"])
            .args(args)
            .env("RESTIC_REPOSITORY", &self.0)
            .env("RESTIC_PASSWORD", PASSWORD)
            .stdin(std::process::Stdio::null());
        command
    }

    /// Runs restic on it, which must end well.
    ///
    /// # Panics
    /// It doesn't.
    #[track_caller]
    pub fn run(&self, args: &[&str]) -> Output {
        let output = self.restic(args).output().or_fail("run restic");
        assert!(
            output.status.success(),
            "restic {args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        output
    }

    /// Its snapshots.
    ///
    /// # Panics
    /// It can't be opened.
    #[track_caller]
    pub fn snapshots(&self) -> Vec<Value> {
        let output = self.run(&["snapshots", "--json", "--no-lock"]);
        serde_json::from_slice::<Option<Vec<Value>>>(&output.stdout)
            .or_fail("read what restic lists")
            .unwrap_or_default()
    }

    /// The paths of what is in its snapshots, without the leading `/`.
    ///
    /// # Panics
    /// It can't be opened.
    #[track_caller]
    pub fn paths(&self) -> BTreeSet<String> {
        let paths = |snapshot: &Value| snapshot["paths"].as_array().cloned().unwrap_or_default();
        let all = self.snapshots().iter().flat_map(paths).collect::<Vec<_>>();
        let plain = all.iter().filter_map(|path| path.as_str()?.strip_prefix('/'));
        plain.map(str::to_owned).collect()
    }

    /// The ids of the locks in it. A file that is being written is none yet.
    ///
    /// # Panics
    /// It can't be listed.
    #[track_caller]
    pub fn locks(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.0.join("locks")) else {
            return Vec::new();
        };
        let names = entries.map(|entry| entry.or_fail("list locks").file_name());
        let names = names.map(|name| name.to_string_lossy().into_owned());
        names.filter(|name| name.len() == KEY_NAME.len()).collect()
    }
}
