//! Object stores for tests, served by `rclone serve` from a directory that the test can look into.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::fail::OrFail;
use crate::process;
pub use crate::rclone::Protocol;
use crate::rclone::{self, Server};

/// The account of every store.
pub const ACCOUNT: &str = rclone::USER;

/// The secret of every store, unlike anything else in the world.
pub const SECRET: &str = "s3cr3t-Of-The-Store-0190f7";

/// The bucket of an S3 store.
pub const BUCKET: &str = "backups";

/// A running store; it ends, and its files go, when it is dropped.
#[derive(Debug)]
pub struct ObjectServer {
    protocol: Protocol,
    directory: TempDir,
    server: Server,
}

impl ObjectServer {
    /// Starts an empty store on a free port.
    ///
    /// # Panics
    /// `rclone` is missing, or doesn't start.
    #[track_caller]
    pub fn start(protocol: Protocol) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("backstay-store-")
            .tempdir()
            .or_fail("make a directory for a store");
        let files = directory.path().join("files");
        std::fs::create_dir_all(files.join(BUCKET)).or_fail("make a bucket");
        let server = Server::start(protocol, &files, SECRET);
        ObjectServer {
            protocol,
            directory,
            server,
        }
    }

    /// Stops it, as a power loss would.
    pub fn stop(&mut self) {
        self.server.stop();
    }

    /// Starts it again at the same address, with what was in it.
    ///
    /// # Panics
    /// It doesn't answer.
    #[track_caller]
    pub fn restart(&mut self) {
        self.server.restart();
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.server.port()
    }

    /// What it speaks.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// What is in it, as files.
    pub fn files(&self) -> PathBuf {
        match self.protocol {
            Protocol::S3 => self.directory.path().join("files").join(BUCKET),
            Protocol::WebDav => self.directory.path().join("files"),
        }
    }

    /// Paths of all objects, sorted.
    pub fn objects(&self) -> Vec<String> {
        let root = self.files();
        let mut found = Vec::new();
        let mut open = vec![root.clone()];
        while let Some(directory) = open.pop() {
            for entry in std::fs::read_dir(&directory).or_fail("list a store").flatten() {
                let path = entry.path();
                if path.is_dir() {
                    open.push(path);
                } else {
                    found.push(below(&root, &path));
                }
            }
        }
        found.sort();
        found
    }

    /// Uploads in parts that were begun and neither completed nor given up, as S3 lists them.
    ///
    /// # Panics
    /// The store can't be asked.
    #[track_caller]
    pub fn unfinished_uploads(&self) -> String {
        let output = Command::new(rclone::program())
            .args([
                "backend",
                "list-multipart-uploads",
                &format!("store:{BUCKET}"),
                "--config",
                "",
            ])
            .env("RCLONE_CONFIG_STORE_TYPE", "s3")
            .env("RCLONE_CONFIG_STORE_PROVIDER", "Other")
            .env(
                "RCLONE_CONFIG_STORE_ENDPOINT",
                format!("http://127.0.0.1:{}", self.port()),
            )
            .env("RCLONE_CONFIG_STORE_ACCESS_KEY_ID", ACCOUNT)
            .env("RCLONE_CONFIG_STORE_SECRET_ACCESS_KEY", SECRET)
            .output()
            .or_fail("run rclone");
        let complaint = String::from_utf8_lossy(&output.stderr);
        // What this store says if there never was one.
        assert!(
            output.status.success() || complaint.contains("NoSuchUpload"),
            "{complaint}"
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Command lines of all processes of this machine in which a text occurs, but for those of the stores.
    pub fn seen_in_processes(&self, text: &str) -> Vec<String> {
        let mut found = Vec::new();
        for pid in process::with_descendants(std::process::id()) {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            if line.contains(text) && !line.contains("rclone") {
                found.push(line);
            }
        }
        found
    }
}

fn below(root: &Path, path: &Path) -> String {
    path.strip_prefix(root)
        .unwrap_or(path)
        .to_string_lossy()
        .into_owned()
}
