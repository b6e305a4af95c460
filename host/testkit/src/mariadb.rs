//! A real MariaDB server with a data directory of its own, on a Unix socket and a free TCP port of this machine.
//!
//! The account `root` needs no password.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::fail::OrFail;
use crate::server::{self, Process};
use crate::tools;

/// A server; stopped and removed when dropped.
#[derive(Debug)]
pub struct MariaDb {
    process: Process,
    directory: TempDir,
    port: u16,
}

impl MariaDb {
    /// Makes a data directory and starts a server on it.
    ///
    /// # Panics
    /// MariaDB is missing or doesn't start.
    #[track_caller]
    pub fn start() -> Self {
        tools::require(&["mariadbd", "mariadb", "mariadb-dump", "mariadb-install-db"]);
        let directory = server::directory("backstay-maria-");
        init(directory.path());
        let port = server::free_port();
        let mut process = spawn(directory.path(), port);
        wait(&mut process, directory.path());
        MariaDb {
            process,
            directory,
            port,
        }
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        socket(self.directory.path())
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Runs SQL as `root` and returns what it says: a line for each row, columns apart by tabs.
    ///
    /// # Panics
    /// It fails.
    #[track_caller]
    pub fn sql(&self, sql: &str) -> String {
        match query(&self.socket(), sql) {
            Ok(said) => said,
            Err(complaint) => panic!("{sql}: {complaint}"),
        }
    }

    /// Kills the server in the middle of whatever it does.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Replaces it by a new, empty server at the same address, as after a disaster.
    ///
    /// # Panics
    /// It doesn't start.
    #[track_caller]
    pub fn replace(&mut self) {
        self.process.kill();
        std::fs::remove_dir_all(self.directory.path().join("data")).or_fail("remove a data directory");
        init(self.directory.path());
        self.restart();
    }

    /// Has it offer encrypted connections from now on, and returns the certificate that vouches for it.
    ///
    /// # Panics
    /// It doesn't start.
    #[track_caller]
    pub fn encrypt(&mut self) -> PathBuf {
        let certificate = server::certify(self.directory.path());
        self.restart();
        certificate
    }

    /// Starts it again after [`MariaDb::kill`].
    ///
    /// # Panics
    /// It doesn't start.
    #[track_caller]
    pub fn restart(&mut self) {
        self.process.kill();
        self.process = spawn(self.directory.path(), self.port);
        wait(&mut self.process, self.directory.path());
    }
}

/// Makes an empty data directory.
#[track_caller]
fn init(directory: &Path) {
    let mut init = server::command("mariadb-install-db");
    init.args([
        "--no-defaults",
        "--auth-root-authentication-method=normal",
        "--skip-test-db",
        "--innodb-log-file-size=8M",
        "--innodb-flush-method=nosync",
    ]);
    init.arg(format!("--datadir={}", directory.join("data").display()));
    init.arg(format!("--tmpdir={}", directory.display()));
    server::run(&mut init);
}

fn socket(directory: &Path) -> PathBuf {
    directory.join("s")
}

fn spawn(directory: &Path, port: u16) -> Process {
    let mut command = server::command(server::program("mariadbd", &[PathBuf::from("/usr/sbin")]));
    command.args([
        "--no-defaults",
        "--bind-address=127.0.0.1",
        "--event-scheduler=OFF",
    ]);
    // Nothing here has to survive a power loss, and memory is dear.
    command.args([
        "--innodb-buffer-pool-size=32M",
        "--innodb-log-file-size=8M",
        "--innodb-flush-method=nosync",
    ]);
    command.args([
        format!("--datadir={}", directory.join("data").display()),
        format!("--socket={}", socket(directory).display()),
        format!("--pid-file={}", directory.join("pid").display()),
        format!("--tmpdir={}", directory.display()),
        format!("--port={port}"),
    ]);
    if directory.join(server::CERTIFICATE).exists() {
        for (option, file) in [("--ssl-cert", server::CERTIFICATE), ("--ssl-key", server::KEY)] {
            command.arg(format!("{option}={}", directory.join(file).display()));
        }
    }
    Process::start(&mut command, &directory.join("server.log"))
}

fn wait(process: &mut Process, directory: &Path) {
    let log = directory.join("server.log");
    process.wait_until(&log, || query(&socket(directory), "SELECT 1").is_ok());
}

fn query(socket: &Path, sql: &str) -> Result<String, String> {
    let output = Command::new("mariadb")
        .args([
            "--no-defaults",
            "--user=root",
            "--batch",
            "--skip-column-names",
            "--default-character-set=utf8mb4",
        ])
        .arg(format!("--socket={}", socket.display()))
        .arg(format!("--execute={sql}"))
        .output()
        .or_fail("run mariadb");
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}
