//! A store that speaks S3 and locks objects (moto), in memory.

use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::fail::OrFail;
use crate::server::{Process, free_port};
use crate::tools;

/// Where it is set up, whatever else of that name this machine may have.
const SERVER: &str = "/usr/local/lib/moto_server/bin/moto_server";

/// Its Python, which has boto3 as well.
const PYTHON: &str = "/usr/local/lib/moto_server/bin/python";

/// The server; killed when dropped.
#[derive(Debug)]
pub struct LockingStore {
    port: u16,
    directory: TempDir,
    #[expect(dead_code, reason = "dropping it ends the server")]
    process: Process,
}

impl LockingStore {
    /// Starts an empty one.
    ///
    /// # Panics
    /// moto is missing, or it doesn't start.
    #[track_caller]
    pub fn start() -> Self {
        tools::require(&[SERVER, "setpriv"]);
        let directory = tempfile::Builder::new()
            .prefix("backstay-moto-")
            .tempdir()
            .or_fail("make a directory for a store");
        let port = free_port();
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig=KILL", "--", SERVER, "-H", "127.0.0.1", "-p"]);
        command.arg(port.to_string());
        let log = directory.path().join("log");
        let mut process = Process::start(&mut command, &log);
        process.wait_until(&log, || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        std::fs::write(directory.path().join("ask.py"), include_str!("moto.py")).or_fail("write a script");
        LockingStore {
            port,
            directory,
            process,
        }
    }

    /// Where it listens.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Makes a bucket, with object lock or without.
    ///
    /// # Panics
    /// It can't be made.
    #[track_caller]
    pub fn make_bucket(&self, name: &str, has_lock: bool) {
        self.ask(&["bucket", name, if has_lock { "yes" } else { "no" }]);
    }

    /// Tries to delete every version of every object of a bucket, and says of each its `key`, `size`, `isLatest`, the
    /// `mode` of its lock, `until` when, and whether it was `deleted`.
    ///
    /// # Panics
    /// The store can't be asked.
    #[track_caller]
    pub fn try_to_delete_all(&self, bucket: &str) -> Vec<Value> {
        let said = self.ask(&["versions", bucket]);
        serde_json::from_str(&said).or_fail(format!("read {said:?} as JSON"))
    }

    #[track_caller]
    fn ask(&self, args: &[&str]) -> String {
        let mut command = Command::new(PYTHON);
        command
            .arg(self.directory.path().join("ask.py"))
            .arg(self.endpoint());
        let output = command.args(args).output().or_fail("run Python");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{complaint}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}
