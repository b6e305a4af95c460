//! A password reaches the tools that need it, and nothing that anybody could read.

use std::fs;
use std::path::Path;

use backstay_testkit::mariadb::MariaDb;
use backstay_testkit::postgres::Postgres;
use serde_json::{Value, json};

use super::desk::{Desk, processes};

use crate::abort::paths;

/// Asserts that no file below the directory holds the password.
#[track_caller]
fn assert_clean(root: &Path, password: &str) {
    let needle = password.as_bytes();
    for path in paths(root) {
        if path.is_file() {
            let bytes = fs::read(&path).unwrap();
            assert!(
                !bytes.windows(needle.len()).any(|part| part == needle),
                "{}",
                path.display()
            );
        }
    }
}

/// Runs the job well and badly, and looks wherever the password could have gone. Each test has one of its own: others show theirs on
/// command lines meanwhile.
fn no_trace(source: &Value, tool: &str, user: &str, password: &str) {
    let desk = Desk::with_gate();
    desk.secret("password", &format!("{password}\n"));
    desk.apply(source);
    let running = desk.start_until_gate();
    let commands = processes(user);
    assert!(commands.iter().any(|line| line.contains(tool)), "{commands:?}");
    assert_eq!(processes(password), Vec::<String>::new());
    desk.open_gate();
    let mut said = vec![running.wait()];
    desk.secret("password", &format!("{password}-wrong"));
    said.push(desk.backstay.run(&["run", "data"]).code(7));
    desk.secret("password", password);
    said.push(desk.backstay.run(&["secret", "rm", "password", "--force"]).ok());
    said.push(desk.backstay.run(&["run", "data"]));
    for args in [
        &["logs", "data"][..],
        &["runs"],
        &["backups"],
        &["job", "show", "data"],
        &["doctor"],
    ] {
        said.push(desk.backstay.run_json(args));
    }
    for output in said {
        assert!(
            !output.stdout.contains(password) && !output.stderr.contains(password),
            "{output:?}"
        );
    }
    assert_clean(desk.backstay.scratch_dir(), password);
}

#[test]
fn of_postgresql() {
    const PASSWORD: &str = "Pl4nted-in-postgres";
    let server = Postgres::start();
    server.sql(
        "postgres",
        &format!("CREATE ROLE planted LOGIN SUPERUSER PASSWORD '{PASSWORD}'; CREATE DATABASE app"),
    );
    server.sql(
        "app",
        "CREATE TABLE bulk AS SELECT n, repeat(md5(n::text), 60) AS text FROM generate_series(1, 10000) n",
    );
    let source = json!({ "engine": "postgres", "host": "127.0.0.1", "port": server.port(), "username": "planted",
                         "passwordSecret": "password", "include": ["app"], "globals": false });
    no_trace(&source, "pg_dump", "--username=planted", PASSWORD);
}

#[test]
fn of_mariadb() {
    const PASSWORD: &str = "Pl4nted-in-maria";
    let server = MariaDb::start();
    server.sql(&format!(
        "CREATE USER 'planted'@'127.0.0.1' IDENTIFIED BY '{PASSWORD}'; GRANT ALL ON *.* TO 'planted'@'127.0.0.1';
         CREATE DATABASE app; USE app; CREATE TABLE bulk AS SELECT seq, REPEAT(MD5(seq), 60) AS text FROM seq_1_to_10000"
    ));
    let source = json!({ "engine": "mariadb", "host": "127.0.0.1", "port": server.port(), "username": "planted",
                         "passwordSecret": "password", "include": ["app"], "globals": false });
    no_trace(&source, "mariadb-dump", "--user=planted", PASSWORD);
}
