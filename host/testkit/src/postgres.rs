//! A real PostgreSQL server with a data directory of its own, on a Unix socket and a free TCP port of this machine.
//!
//! The superuser `postgres` needs no password on the socket; every other role does, and over TCP everybody.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::fail::OrFail;
use crate::server::{self, Process};
use crate::tools;

/// A server; stopped and removed when dropped.
#[derive(Debug)]
pub struct Postgres {
    process: Process,
    directory: TempDir,
    port: u16,
}

impl Postgres {
    /// Makes a cluster and starts its server.
    ///
    /// # Panics
    /// PostgreSQL is missing or doesn't start.
    #[track_caller]
    pub fn start() -> Self {
        tools::require(&["psql", "pg_dump", "pg_restore", "pg_dumpall"]);
        let directory = server::directory("backstay-pg-");
        init(directory.path());
        let port = server::free_port();
        let mut process = spawn(directory.path(), port);
        wait(&mut process, directory.path(), port);
        Postgres {
            process,
            directory,
            port,
        }
    }

    /// The directory of its socket.
    pub fn socket_dir(&self) -> &Path {
        self.directory.path()
    }

    /// Its port, on the socket and on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Runs SQL as the superuser and returns what it says: a line for each row, columns apart by `|`.
    ///
    /// # Panics
    /// It fails.
    #[track_caller]
    pub fn sql(&self, database: &str, sql: &str) -> String {
        match self.try_sql(database, sql) {
            Ok(said) => said,
            Err(complaint) => panic!("{sql}: {complaint}"),
        }
    }

    /// As [`Postgres::sql`], or what it complains.
    ///
    /// # Errors
    /// It fails.
    pub fn try_sql(&self, database: &str, sql: &str) -> Result<String, String> {
        query(self.directory.path(), self.port, database, sql)
    }

    /// A client as the superuser, on the socket.
    pub fn client(&self, program: &str) -> Command {
        let mut client = Command::new(program);
        client
            .env("PGHOST", self.directory.path())
            .env("PGPORT", self.port.to_string())
            .env("PGUSER", "postgres");
        client
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
        std::fs::remove_dir_all(self.directory.path().join("data")).or_fail("remove a cluster");
        init(self.directory.path());
        self.restart();
    }

    /// Has it take only encrypted connections over TCP from now on, and returns the certificate that vouches for it.
    ///
    /// # Panics
    /// It doesn't start.
    #[track_caller]
    pub fn encrypt(&mut self) -> PathBuf {
        let certificate = server::certify(self.directory.path());
        let access = self.directory.path().join("data/pg_hba.conf");
        let text = std::fs::read_to_string(&access).or_fail("read pg_hba.conf");
        std::fs::write(&access, text.replace("host all", "hostssl all")).or_fail("write pg_hba.conf");
        self.restart();
        certificate
    }

    /// Starts it again after [`Postgres::kill`].
    ///
    /// # Panics
    /// It doesn't start.
    #[track_caller]
    pub fn restart(&mut self) {
        self.process.kill();
        let pid = self.directory.path().join("data/postmaster.pid");
        if pid.exists() {
            std::fs::remove_file(pid).or_fail("remove postmaster.pid");
        }
        self.process = spawn(self.directory.path(), self.port);
        wait(&mut self.process, self.directory.path(), self.port);
    }
}

/// Makes an empty cluster.
#[track_caller]
fn init(directory: &Path) {
    let data = directory.join("data");
    let options = [
        "--no-sync",
        "--username=postgres",
        "--encoding=UTF8",
        "--locale=C",
        "--auth=trust",
        "-D",
    ];
    server::run(server::command(program("initdb")).args(options).arg(&data));
    let access =
        "local all postgres trust\nlocal all all scram-sha-256\nhost all all 127.0.0.1/32 scram-sha-256\n";
    std::fs::write(data.join("pg_hba.conf"), access).or_fail("write pg_hba.conf");
}

fn spawn(directory: &Path, port: u16) -> Process {
    let mut command = server::command(program("postgres"));
    command
        .arg("-D")
        .arg(directory.join("data"))
        .arg("-k")
        .arg(directory);
    command.args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1"]);
    // Nothing here has to survive a power loss, and memory is dear.
    command.args([
        "-c",
        "fsync=off",
        "-c",
        "shared_buffers=16MB",
        "-c",
        "lc_messages=C",
    ]);
    if directory.join(server::CERTIFICATE).exists() {
        for (name, value) in [
            ("ssl_cert_file", server::CERTIFICATE),
            ("ssl_key_file", server::KEY),
        ] {
            let file = directory.join(value);
            command.args(["-c", "ssl=on", "-c", &format!("{name}={}", file.display())]);
        }
    }
    Process::start(&mut command, &directory.join("server.log"))
}

fn wait(process: &mut Process, directory: &Path, port: u16) {
    let log = directory.join("server.log");
    process.wait_until(&log, || query(directory, port, "postgres", "SELECT 1").is_ok());
}

fn query(directory: &Path, port: u16, database: &str, sql: &str) -> Result<String, String> {
    let output = Command::new(program("psql"))
        .args([
            "-XqAt",
            "-v",
            "ON_ERROR_STOP=1",
            "-U",
            "postgres",
            "-p",
            &port.to_string(),
            "-h",
        ])
        .arg(directory)
        .args(["-f", "-"])
        .env("PGDATABASE", database)
        .env("PGCLIENTENCODING", "UTF8")
        .stdin(script(sql))
        .output()
        .or_fail("run psql");
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// A text as standard input, of any length.
fn script(text: &str) -> std::fs::File {
    use std::io::{Seek as _, Write as _};
    let mut file = tempfile::tempfile().or_fail("make a file");
    file.write_all(text.as_bytes())
        .and_then(|()| file.rewind())
        .or_fail("write a script");
    file
}

/// Debian keeps the server's programs apart, by version; the newest are taken.
fn program(name: &str) -> PathBuf {
    let mut places: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|entries| entries.flatten().map(|entry| entry.path().join("bin")).collect())
        .unwrap_or_default();
    let version = |place: &PathBuf| {
        let name = place.parent()?.file_name()?.to_str()?;
        name.parse::<u32>().ok()
    };
    places.sort_by_key(|place| std::cmp::Reverse(version(place)));
    server::program(name, &places)
}
