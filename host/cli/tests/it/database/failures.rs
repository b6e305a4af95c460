//! Whatever ends badly says why, leaves nothing, and touches no earlier backup.

use std::fs;

use backstay_testkit::mariadb::MariaDb;
use backstay_testkit::postgres::Postgres;
use serde_json::json;

use super::desk::{Desk, assert_failed, mariadb_source, postgres_source, with};
use crate::abort::paths;

const BULK: &str =
    "CREATE TABLE bulk AS SELECT n, repeat(md5(n::text), 60) AS text FROM generate_series(1, 20000) n";

#[test]
fn postgresql_that_is_down_or_lets_nobody_in() {
    let mut server = Postgres::start();
    server.sql(
        "postgres",
        "CREATE ROLE backup LOGIN PASSWORD 'hunter2'; CREATE DATABASE app; CREATE DATABASE gone",
    );
    let desk = Desk::new();
    desk.secret("pg", "hunter2");
    let tcp = json!({ "engine": "postgres", "host": "127.0.0.1", "port": server.port(), "username": "backup", "passwordSecret": "pg",
                      "include": ["app", "gone"], "globals": false });
    desk.apply(&tcp);
    desk.back_up();
    desk.secret("pg", "wrong");
    desk.fails(7, "password authentication failed for user \"backup\"");
    desk.secret("pg", "hunter2");
    desk.backstay.run(&["secret", "rm", "pg", "--force"]).ok();
    desk.fails(3, "there is no secret `pg`");
    desk.secret("pg", "hunter2");
    server.sql("postgres", "REVOKE CONNECT ON DATABASE gone FROM PUBLIC");
    desk.fails(
        7,
        "`gone` can't be backed up: the account has no right to connect",
    );
    server.sql("postgres", "DROP DATABASE gone");
    desk.fails(2, "there is no database `gone`");
    server.sql("postgres", "CREATE DATABASE gone");
    server.sql(
        "app",
        "CREATE TABLE private (x int); REVOKE ALL ON private FROM PUBLIC",
    );
    desk.fails(4, "permission denied for table private");
    let run = desk.run(4);
    assert_failed(&run, "the artifact app.dump: `pg_dump");
    server.sql("app", "DROP TABLE private");
    desk.apply(&with(&tcp, json!({ "globals": true })));
    let run = desk.run(1);
    assert_eq!(run["warnings"][0]["code"], "no-role-passwords", "{run:#}");
    server.kill();
    desk.fails(6, "Connection refused");
    server.restart();
    desk.run(1);
}

#[test]
fn postgresql_that_is_killed_in_the_middle_of_a_dump() {
    let mut server = Postgres::start();
    server.sql("postgres", "CREATE DATABASE app");
    server.sql("app", BULK);
    let desk = Desk::with_gate();
    desk.apply(&with(
        &postgres_source(&server),
        json!({ "include": ["app"], "globals": false }),
    ));
    let running = desk.start_until_gate();
    server.kill();
    desk.open_gate();
    let run = running.wait().code(4).json();
    assert_failed(&run, "server closed the connection unexpectedly");
    assert_eq!(desk.backstay.json(&["backups"]), json!([]));
    assert!(paths(&desk.place()).is_empty());
}

#[test]
fn postgresql_that_is_killed_in_the_middle_of_a_restore() {
    let mut server = Postgres::start();
    server.sql("postgres", "CREATE DATABASE app");
    server.sql("app", BULK);
    let desk = Desk::new();
    desk.apply(&with(
        &postgres_source(&server),
        json!({ "include": ["app"], "globals": false }),
    ));
    let backup = desk.back_up();
    // A dump that is cut: the server stays, the data ends.
    let object = backup["manifest"]["artifacts"][0]["location"].as_str().unwrap();
    let whole = fs::read(object).unwrap();
    fs::write(object, &whole[..whole.len() / 2]).unwrap();
    desk.restore(&["--to", "cut"]).code(8);
    fs::write(object, &whole).unwrap();
    let databases =
        "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database WHERE NOT datistemplate";
    assert_eq!(server.sql("postgres", databases), "app postgres");

    let running = desk
        .backstay
        .spawn(&["restore", "latest:data", "--to", "back", "--json"]);
    backstay_testkit::process::wait_until("a new database", std::time::Duration::from_secs(30), || {
        server.sql("postgres", databases).contains("backstay-restore-")
    });
    server.kill();
    let output = running.wait();
    assert_ne!(output.code, 0, "{}", output.stdout);
    server.restart();
    desk.backstay.run(&["runs"]).ok();
    assert_eq!(server.sql("postgres", databases), "app postgres");
    desk.restore(&["--to", "back"]).ok();
    assert_eq!(server.sql("back", "SELECT count(1) FROM bulk"), "20000");
}

#[test]
fn mariadb_that_is_down_or_lets_nobody_in() {
    let mut server = MariaDb::start();
    server.sql(
        "CREATE USER 'backup'@'127.0.0.1' IDENTIFIED BY 'right'; GRANT ALL ON *.* TO 'backup'@'127.0.0.1'; CREATE DATABASE app; CREATE TABLE app.t (x INT)",
    );
    let desk = Desk::new();
    // A password that is a word of what the programs print, which is data and must stay as it is.
    desk.secret("my", "right");
    let tcp = json!({ "engine": "mariadb", "host": "127.0.0.1", "port": server.port(), "username": "backup", "passwordSecret": "my", "include": ["app"] });
    desk.apply(&tcp);
    desk.back_up();
    desk.secret("my", "wrong");
    desk.fails(7, "Access denied for user 'backup'@");
    desk.secret("my", "right");
    server.sql("CREATE VIEW app.broken AS SELECT x FROM app.t; DROP TABLE app.t");
    desk.fails(4, "View 'app.broken' references invalid table");
    server.sql("DROP DATABASE app");
    desk.fails(2, "there is no database `app`");

    // Killed in the middle of a dump, and of a restore.
    server.sql("CREATE DATABASE app; USE app; CREATE TABLE bulk AS SELECT seq, REPEAT(MD5(seq), 60) AS text FROM seq_1_to_20000");
    desk.back_up();
    let databases = || server_databases(&server);
    let running = desk.backstay.spawn(&[
        "restore",
        "latest:data",
        "--to",
        "back",
        "--artifact",
        "app.sql",
        "--json",
    ]);
    backstay_testkit::process::wait_until("a new database", std::time::Duration::from_secs(30), || {
        databases().contains("back")
    });
    server.kill();
    let output = running.wait();
    assert_ne!(output.code, 0, "{}", output.stdout);
    server.restart();
    desk.backstay.run(&["runs"]).ok();
    assert!(
        !server_databases(&server).contains("back"),
        "{}",
        server_databases(&server)
    );

    let gate = Desk::with_gate();
    gate.apply(&with(
        &mariadb_source(&server),
        json!({ "include": ["app"], "globals": false }),
    ));
    let running = gate.start_until_gate();
    server.kill();
    gate.open_gate();
    let run = running.wait().code(4).json();
    assert_failed(&run, "Lost connection");
    assert_eq!(gate.backstay.json(&["backups"]), json!([]));
    desk.fails(6, "Can't connect");
}

fn server_databases(server: &MariaDb) -> String {
    server.sql("SELECT GROUP_CONCAT(schema_name) FROM information_schema.schemata")
}
