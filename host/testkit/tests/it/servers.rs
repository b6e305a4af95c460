//! Servers start, come back after a kill, can be replaced by empty ones, and leave nothing behind.

use std::path::Path;

use backstay_testkit::mariadb::MariaDb;
use backstay_testkit::postgres::Postgres;
use backstay_testkit::rclone::{Protocol, Server, program};
use backstay_testkit::ssh::SshServer;

/// Asserts that nothing is left of a server, also when its test fails.
#[track_caller]
fn assert_gone(directory: &Path) {
    assert!(!directory.exists());
    let needle = directory.to_str().unwrap();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        assert!(
            !String::from_utf8_lossy(&line).contains(needle),
            "{:?} still runs",
            entry.path()
        );
    }
}

#[test]
fn postgresql() {
    let mut server = Postgres::start();
    server.sql("postgres", "CREATE DATABASE app");
    server.sql("app", "CREATE TABLE t AS SELECT 'é|x' AS a, 2 AS b");
    server.kill();
    assert!(server.try_sql("app", "SELECT 1").is_err());
    server.restart();
    assert_eq!(server.sql("app", "SELECT * FROM t"), "é|x|2");
    server.replace();
    assert!(
        server
            .try_sql("app", "SELECT 1")
            .unwrap_err()
            .contains("does not exist")
    );
    let directory = server.socket_dir().to_owned();
    let failed = std::thread::spawn(move || {
        let _server = server;
        std::panic::resume_unwind(Box::new("a test that fails"));
    });
    assert!(failed.join().is_err());
    assert_gone(&directory);
}

#[test]
fn mariadb() {
    let mut server = MariaDb::start();
    server.sql("CREATE DATABASE app; CREATE TABLE app.t AS SELECT 'é\\tx' AS a, 2 AS b");
    server.kill();
    server.restart();
    assert_eq!(server.sql("SELECT b FROM app.t"), "2");
    server.replace();
    assert_eq!(
        server.sql("SELECT COUNT(1) FROM information_schema.schemata WHERE schema_name = 'app'"),
        "0"
    );
    let directory = server.socket().parent().unwrap().to_owned();
    drop(server);
    assert_gone(&directory);
}

#[test]
fn rclone() {
    let directory = tempfile::tempdir().unwrap();
    for (protocol, place) in [(Protocol::S3, "x:bucket"), (Protocol::WebDav, "x:bucket")] {
        let root = directory.path().join(format!("{protocol:?}"));
        let mut server = Server::start(protocol, &root, "pass word");
        std::fs::create_dir(root.join("bucket")).unwrap();
        std::fs::write(root.join("bucket/file"), "content").unwrap();
        let config = directory.path().join("rclone.conf");
        std::fs::write(&config, server.remote("x")).unwrap();
        let cat = || {
            let output = std::process::Command::new(program())
                .arg("--config")
                .arg(&config)
                .args(["--retries=1", "--low-level-retries=1", "cat"])
                .arg(format!("{place}/file"))
                .output()
                .unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        assert_eq!(cat(), "content", "{protocol:?}");
        server.stop();
        assert_eq!(cat(), "", "{protocol:?}");
        server.restart();
        assert_eq!(cat(), "content", "{protocol:?}");
        drop(server);
        std::fs::remove_dir_all(&root).unwrap();
        assert_gone(&root);
    }
}

#[test]
fn ssh() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("ssh");
    let mut server = SshServer::start(&root);
    let login = |server: &SshServer, key: &Path| {
        let output = std::process::Command::new("ssh")
            .args([
                "-F",
                "none",
                "-oBatchMode=yes",
                "-oStrictHostKeyChecking=yes",
                "-oIdentitiesOnly=yes",
            ])
            .arg(format!("-oUserKnownHostsFile={}", server.known_hosts().display()))
            .arg("-i")
            .arg(key)
            .arg(format!("-p{}", server.port()))
            .args(["root@127.0.0.1", "echo in"])
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(login(&server, &server.key()), "in\n");
    assert_eq!(login(&server, &server.other_key()), "");
    server.forget(true);
    assert_eq!(login(&server, &server.key()), "");
    server.remember();
    server.stop();
    assert_eq!(login(&server, &server.key()), "");
    server.restart();
    assert_eq!(login(&server, &server.key()), "in\n");
    drop(server);
    std::fs::remove_dir_all(&root).unwrap();
    assert_gone(&root);
}
