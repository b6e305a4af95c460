//! MariaDB: what comes back into an empty server is what was there. MySQL's tools are those of MariaDB here.

use std::process::{Command, Stdio};
use std::time::Duration;

use backstay_testkit::mariadb::MariaDb;
use backstay_testkit::process::wait_until;
use serde_json::json;

use super::desk::{Desk, artifacts, mariadb_source, warnings, with};

/// A name with all that could be taken for something else.
const ODD: &str = "od`d 'x' \"y\" \\ é %";

fn fill(server: &MariaDb) {
    server.sql(
        "CREATE DATABASE app CHARACTER SET latin1 COLLATE latin1_german1_ci; USE app;
         CREATE TABLE things (id BIGINT AUTO_INCREMENT PRIMARY KEY, t TEXT CHARACTER SET utf8mb4, b BLOB, d DECIMAL(40, 9), f DOUBLE, j JSON, at TIMESTAMP(6) NULL, e ENUM('a', 'b'), g DOUBLE AS (f * 2) STORED) AUTO_INCREMENT = 100;
         INSERT INTO things (t, b, d, f, j, at, e) VALUES ('tab\\there\\nline \\\\ end \\0 nul 🐟', X'00FF1A27', 12345678901234567890.123456789, 1e-300, '{\"a\": [1, null]}', '1971-02-03 04:05:06.789', 'b'), ('', '', -0.1, 0, '1', NULL, NULL), (NULL, NULL, NULL, NULL, NULL, NULL, NULL);
         INSERT INTO things (t) SELECT REPEAT(CHAR(64 + seq % 50), seq) FROM seq_1_to_500;
         CREATE TABLE log (line TEXT); CREATE VIEW lengths AS SELECT id, LENGTH(t) FROM things;
         CREATE FUNCTION twice(x INT) RETURNS INT DETERMINISTIC RETURN x * 2;
         CREATE PROCEDURE note(l TEXT) INSERT INTO log VALUES (l);
         CREATE TRIGGER watch AFTER DELETE ON things FOR EACH ROW INSERT INTO log VALUES ('gone');
         CREATE EVENT nightly ON SCHEDULE EVERY 1 DAY STARTS '2030-01-01 03:00:00' DO CALL note('night');
         CREATE SEQUENCE numbers START WITH 5; CREATE DATABASE empty_one;
         CREATE USER 'reader'@'%' IDENTIFIED BY 'hash me'; GRANT SELECT ON app.* TO 'reader'@'%'",
    );
    let odd = ODD.replace('`', "``");
    server.sql(&format!(
        "CREATE DATABASE `{odd}`; CREATE TABLE `{odd}`.`t` (x TEXT); INSERT INTO `{odd}`.`t` VALUES ('found')"
    ));
}

/// All that is in a server, row by row, by queries that share nothing with the dump.
fn contents(server: &MariaDb) -> String {
    let queries = [
        "SELECT * FROM app.things ORDER BY id",
        "SELECT * FROM app.lengths ORDER BY id",
        "SELECT id, HEX(t), HEX(b) FROM app.things WHERE id < 110 ORDER BY id",
        "SHOW CREATE TABLE app.things",
        "SELECT schema_name, default_character_set_name, default_collation_name FROM information_schema.schemata ORDER BY 1",
        "SELECT routine_name, routine_definition, sql_mode FROM information_schema.routines WHERE routine_schema = 'app' ORDER BY 1",
        "SELECT trigger_name, action_statement FROM information_schema.triggers WHERE trigger_schema = 'app'",
        "SELECT event_name, event_definition, starts, interval_value, status FROM information_schema.events WHERE event_schema = 'app'",
        "SELECT table_name, table_type FROM information_schema.tables WHERE table_schema = 'app' ORDER BY 1",
        "SHOW GRANTS FOR 'reader'@'%'",
    ];
    let mut all: Vec<String> = queries.iter().map(|query| server.sql(query)).collect();
    all.push(server.sql(&format!("SELECT * FROM `{}`.t", ODD.replace('`', "``"))));
    all.join("\n")
}

#[test]
fn everything_comes_back_into_an_empty_server() {
    let mut server = MariaDb::start();
    fill(&server);
    let before = contents(&server);
    assert!(
        before.contains("found") && before.contains("nightly") && before.contains("IDENTIFIED BY PASSWORD")
    );
    let desk = Desk::new();
    desk.apply(&mariadb_source(&server));
    let backup = desk.back_up();
    assert_eq!(
        artifacts(&backup),
        [
            "globals.sql",
            "app.sql",
            "empty_one.sql",
            "od.60d.20.27x.27.20.22y.22.20.5c.20.c3.a9.20.25.sql"
        ]
    );

    server.replace();
    let dry = desk.restore(&["--in-place", "--dry-run"]).ok();
    assert!(
        dry.stderr.contains("would create the database `app`"),
        "{}",
        dry.stderr
    );
    desk.restore(&["--in-place"]).ok();
    assert_eq!(contents(&server), before);

    // The kit takes account and socket from the user's own option file.
    for name in ["app", "empty_one", &ODD.replace('`', "``")] {
        server.sql(&format!("DROP DATABASE `{name}`"));
    }
    server.sql("DROP USER 'reader'@'%'");
    let options = format!("[client]\nuser=root\nsocket={}\n", server.socket().display());
    std::fs::write(desk.file(".my.cnf"), options).unwrap();
    desk.kit("localhost", &[("HOME", desk.file("").display().to_string())]);
    assert_eq!(contents(&server), before);

    // What is there is replaced only on request.
    server.sql("DELETE FROM app.things WHERE id > 100");
    let refused = desk.restore(&["--in-place", "--artifact", "app.sql"]).code(2);
    assert!(
        refused.stdout.contains("the database `app` exists already"),
        "{}",
        refused.stdout
    );
    let refused = desk
        .restore(&["--to", "mysql", "--overwrite", "--artifact", "app.sql"])
        .code(2);
    assert!(
        refused.stdout.contains("`mysql` belongs to the server"),
        "{}",
        refused.stdout
    );
    desk.restore(&["--in-place", "--overwrite"]).ok();
    assert_eq!(contents(&server), before);
    desk.restore(&["--to", "copy", "--artifact", "app.sql"]).ok();
    assert_eq!(server.sql("SELECT COUNT(1) FROM copy.things"), "503");
    let marks = "SELECT COUNT(1) FROM information_schema.tables WHERE table_name LIKE 'backstay%'";
    assert_eq!(server.sql(marks), "0");
}

#[test]
fn a_dump_is_one_moment_of_a_database_that_is_written_to() {
    let server = MariaDb::start();
    server.sql(
        "CREATE DATABASE bank; USE bank;
         CREATE TABLE a_account (amount BIGINT); CREATE TABLE z_account (amount BIGINT);
         CREATE TABLE m_padding AS SELECT seq, REPEAT(MD5(seq), 60) AS text FROM seq_1_to_15000;
         INSERT INTO a_account VALUES (1000); INSERT INTO z_account VALUES (0); CREATE TABLE stop (x INT)",
    );
    let transfers = "BEGIN NOT ATOMIC WHILE (SELECT COUNT(1) FROM stop) = 0 DO START TRANSACTION; UPDATE a_account SET amount = amount - 1; UPDATE z_account SET amount = amount + 1; COMMIT; END WHILE; END";
    let desk = Desk::new();
    desk.apply(&with(
        &mariadb_source(&server),
        json!({ "include": ["bank"], "globals": false }),
    ));
    let mut client = Command::new("mariadb");
    client.args([
        "--no-defaults",
        "--user=root",
        "--delimiter=//",
        "--database=bank",
    ]);
    client
        .arg(format!("--socket={}", server.socket().display()))
        .arg(format!("--execute={transfers}"));
    let mut writer = client.stdin(Stdio::null()).spawn().unwrap();
    let moved = |database: &str| {
        server
            .sql(&format!("SELECT amount FROM {database}.z_account"))
            .parse::<u64>()
            .unwrap()
    };
    wait_until("a transfer", Duration::from_secs(20), || moved("bank") > 0);
    let before = moved("bank");
    desk.back_up();
    let after = moved("bank");
    server.sql("INSERT INTO bank.stop VALUES (1)");
    assert!(writer.wait().unwrap().success());
    desk.restore(&["--to", "bank_then"]).ok();
    let sum = "SELECT (SELECT amount FROM bank_then.a_account) + (SELECT amount FROM bank_then.z_account)";
    assert_eq!(server.sql(sum), "1000");
    let then = moved("bank_then");
    assert!(
        before <= then && then <= after && before < after,
        "{before} {then} {after}"
    );

    // What a transaction doesn't cover, and what the account can't see, is said.
    server.sql(
        "CREATE TABLE bank.old (x INT) ENGINE = MyISAM; CREATE USER 'few'@'localhost'; GRANT SELECT, SHOW VIEW, EVENT ON `bank`.* TO 'few'@'localhost'",
    );
    desk.apply(&with(
        &mariadb_source(&server),
        json!({ "username": "few", "include": ["bank*"], "globals": false }),
    ));
    let run = desk.run(1);
    assert_eq!(
        warnings(&run),
        [
            "not-transactional: 1 tables of `bank` can change while they are read, because MyISAM has no transactions; one is `old`",
            "missing-rights: the account has no TRIGGER on `bank`: what it can't see is not in the backup",
            "missing-rights: the account has no SELECT on `mysql`: procedures and functions of others are not in the backup",
            "missing-rights: the account sees only the databases that it has rights on; others are not in the backup",
        ]
    );
    assert_eq!(run["backups"][0]["manifest"]["warnings"], run["warnings"]);
    assert_eq!(artifacts(&run["backups"][0]), ["bank.sql"]);

    // The names that MySQL's tools have, over TCP, with tables left out.
    desk.apply(&with(
        &mariadb_source(&server),
        json!({ "engine": "mysql", "include": ["bank"], "excludeTables": ["bank.old", "bank.m_padding"] }),
    ));
    desk.run(1);
    desk.restore(&["--to", "small"]).ok();
    let tables = "SELECT GROUP_CONCAT(table_name ORDER BY 1) FROM information_schema.tables WHERE table_schema = 'small'";
    assert_eq!(server.sql(tables), "a_account,stop,z_account");
}
