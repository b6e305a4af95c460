//! Azure Blob Storage for tests, as Azurite serves it from a directory of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::fail::OrFail;
use crate::rclone;
use crate::server::{Process, free_port};
use crate::tools;

/// The account.
pub const ACCOUNT: &str = "backstaytest";

/// Its key, unlike anything else in the world.
pub const KEY: &str = "czNjcjN0LU9mLVRoZS1Db250YWluZXItMDE5MGY3";

/// The container.
pub const CONTAINER: &str = "backups";

/// Where it is set up.
const SERVER: &str = "/usr/local/lib/azurite/node_modules/.bin/azurite-blob";

/// A running server with an empty container; it ends, and its files go, when it is dropped.
#[derive(Debug)]
pub struct Azurite {
    directory: TempDir,
    port: u16,
    process: Process,
}

impl Azurite {
    /// Starts it on a free port.
    ///
    /// # Panics
    /// Azurite or rclone is missing, or it doesn't start.
    #[track_caller]
    pub fn start() -> Self {
        tools::require(&[SERVER, "setpriv"]);
        let directory = tempfile::Builder::new()
            .prefix("backstay-azurite-")
            .tempdir()
            .or_fail("make a directory for a store");
        let port = free_port();
        let process = start(directory.path(), port);
        let azurite = Azurite {
            directory,
            port,
            process,
        };
        azurite.succeeds(&["mkdir", &azurite.place("")]);
        azurite
    }

    /// Where it listens, with the account, as clients want it.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}/{ACCOUNT}", self.port)
    }

    /// The directory with all that it keeps, in its own manner.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Bytes of all blobs, and of blocks that are none yet.
    pub fn kept_bytes(&self) -> u64 {
        let Ok(extents) = std::fs::read_dir(self.directory.path().join("blobs/__blobstorage__")) else {
            return 0;
        };
        let sizes = extents.map(|extent| extent.and_then(|e| e.metadata()).map_or(0, |about| about.len()));
        sizes.sum()
    }

    /// Ends it; it keeps what is in it.
    pub fn stop(&mut self) {
        self.process.end();
    }

    /// Starts it again at the same address, with what was in it.
    ///
    /// # Panics
    /// It doesn't answer.
    #[track_caller]
    pub fn restart(&mut self) {
        self.stop();
        self.process = start(self.directory.path(), self.port);
    }

    /// Names of all blobs below a prefix, without it.
    ///
    /// # Panics
    /// The container can't be listed.
    #[track_caller]
    pub fn blobs(&self, prefix: &str) -> Vec<String> {
        let listed = self.rclone(&["lsf", "--recursive", "--files-only", &self.place(prefix)]);
        // What rclone says of a prefix without blobs.
        if String::from_utf8_lossy(&listed.stderr).contains("directory not found") {
            return Vec::new();
        }
        assert!(listed.status.success(), "{listed:?}");
        let names = String::from_utf8_lossy(&listed.stdout).into_owned();
        names.lines().map(str::to_owned).collect()
    }

    /// Deletes all blobs below a prefix.
    ///
    /// # Panics
    /// They can't be deleted.
    #[track_caller]
    pub fn delete(&self, prefix: &str) {
        self.succeeds(&["delete", &self.place(prefix)]);
    }

    fn place(&self, prefix: &str) -> String {
        format!("store:{CONTAINER}/{prefix}")
    }

    #[track_caller]
    fn succeeds(&self, args: &[&str]) {
        let output = self.rclone(args);
        assert!(output.status.success(), "{output:?}");
    }

    #[track_caller]
    fn rclone(&self, args: &[&str]) -> Output {
        Command::new(rclone::program())
            .args(args)
            .args(["--config", ""])
            .env("RCLONE_CONFIG_STORE_TYPE", "azureblob")
            .env("RCLONE_CONFIG_STORE_ACCOUNT", ACCOUNT)
            .env("RCLONE_CONFIG_STORE_KEY", KEY)
            .env("RCLONE_CONFIG_STORE_ENDPOINT", self.endpoint())
            .output()
            .or_fail("run rclone")
    }
}

#[track_caller]
fn start(directory: &Path, port: u16) -> Process {
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig=KILL", "--", SERVER, "--blobHost", "127.0.0.1"])
        .args(["--silent", "--disableTelemetry", "--skipApiVersionCheck"])
        .args(["--blobPort", &port.to_string()])
        .arg("--location")
        .arg(directory.join("blobs"))
        .env("AZURITE_ACCOUNTS", format!("{ACCOUNT}:{KEY}"));
    let log: PathBuf = directory.join("log");
    let mut process = Process::start(&mut command, &log);
    process.wait_until(&log, || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    process
}
