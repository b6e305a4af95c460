//! Drills restore a dump beside what is there, and nothing of it stays.

use std::fs;
use std::time::Duration;

use backstay_testkit::cli::Moment;
use backstay_testkit::mariadb::MariaDb;
use backstay_testkit::postgres::Postgres;
use backstay_testkit::process::wait_until;
use backstay_testkit::turns::Turns;
use serde_json::{Value, json};

use super::desk::{Desk, mariadb_source, postgres_source};
use super::sqlite;

const POSTGRES: &str =
    "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database WHERE NOT datistemplate";
const MARIADB: &str = "SELECT GROUP_CONCAT(schema_name ORDER BY schema_name SEPARATOR ' ') FROM information_schema.schemata WHERE schema_name NOT IN ('information_schema', 'mysql', 'performance_schema', 'sys')";

/// Asserts that the newest backup is tried out, and gives what was said meanwhile.
#[track_caller]
fn is_tried_out(desk: &Desk, place: &str) -> String {
    let runs = desk.backstay.json(&["drill", "data", "--to", place]);
    assert_eq!(runs[0]["status"], "succeeded", "{runs:#}");
    assert_eq!(runs[0]["backups"][0]["verifiedLevel"], "restore", "{runs:#}");
    desk.backstay
        .run(&["logs", runs[0]["id"].as_str().unwrap()])
        .ok()
        .stdout
}

/// Kills drills at each program that they run; the next start clears away.
fn is_cleared_away(desk: &Desk, place: &str, is_idle: impl Fn() -> bool, is_clean: impl Fn() -> bool) {
    let mut turns = Turns::of(3);
    while let Some(number) = turns.next() {
        let args = ["drill", "data", "--to", place];
        let killed = desk
            .backstay
            .killed_at(&args, Moment::of("waitid", number))
            .was_killed_or_ok();
        // A statement that the server has begun goes on without its client.
        wait_until("the server to be idle", Duration::from_secs(20), &is_idle);
        wait_until("the drill to be cleared away", Duration::from_secs(20), || {
            desk.backstay.run(&["runs"]).ok();
            is_clean()
        });
        turns.note(killed);
    }
}

#[test]
fn each_database_of_postgres_is_restored_and_dropped() {
    let server = Postgres::start();
    server.sql("postgres", "CREATE ROLE owner");
    server.sql("postgres", "CREATE DATABASE app OWNER owner");
    server.sql("app", "CREATE TABLE t AS SELECT generate_series(1, 1000) AS n");
    server.sql("postgres", "CREATE DATABASE other");
    let desk = Desk::new();
    desk.apply(&postgres_source(&server));
    desk.back_up();
    let said = is_tried_out(&desk, "drill");
    assert!(
        said.contains("app.dump was restored to the database backstay-restore-"),
        "{said}"
    );
    assert!(
        said.contains("globals.sql is only decoded to its end: a drill can"),
        "{said}"
    );
    desk.backstay.run(&["drill", "data", "--to", "other"]).code(2);
    let busy = "SELECT count(1) FROM pg_stat_activity WHERE application_name IN ('psql', 'pg_restore') AND pid <> pg_backend_pid()";
    let is_idle = || server.sql("postgres", busy) == "0";
    is_cleared_away(&desk, "drill", is_idle, || {
        server.sql("postgres", POSTGRES) == "app other postgres"
    });
    assert_eq!(server.sql("app", "SELECT count(1) FROM t"), "1000");
    // A backup at the same time leaves out what a drill is at.
    server.sql(
        "postgres",
        "CREATE DATABASE \"backstay-restore-0199a5b2-7c00-7000-8000-000000000001\"",
    );
    let names = desk.back_up()["manifest"]["artifacts"].to_string();
    assert!(
        names.contains("other.dump") && !names.contains("backstay-restore"),
        "{names}"
    );
    server.sql(
        "postgres",
        "DROP DATABASE \"backstay-restore-0199a5b2-7c00-7000-8000-000000000001\"",
    );
    is_tried_out(&desk, "drill");
    // What the server can't take is said, and is not the backup's fault.
    server.sql("postgres", "REASSIGN OWNED BY owner TO postgres");
    server.sql(
        "postgres",
        "ALTER DATABASE app OWNER TO postgres; DROP ROLE owner",
    );
    let run = desk
        .backstay
        .run_json(&["drill", "data", "--to", "drill"])
        .code(5)
        .json();
    assert!(
        run[0]["error"]["hint"]
            .as_str()
            .unwrap()
            .contains("restore the roles first"),
        "{run:#}"
    );
    assert_eq!(desk.backstay.json(&["backups"])[0]["verifiedOk"], true);
    assert_eq!(server.sql("postgres", POSTGRES), "app other postgres");
}

#[test]
fn what_could_touch_a_database_that_is_there_is_only_decoded() {
    let server = MariaDb::start();
    server.sql("CREATE DATABASE app; USE app; CREATE TABLE t AS SELECT seq FROM seq_1_to_1000");
    let desk = Desk::new();
    desk.apply(&mariadb_source(&server));
    desk.back_up();
    let runs = desk.backstay.json(&["drill", "data", "--to", "drill"]);
    assert_eq!(runs[0]["status"], "succeeded", "{runs:#}");
    assert_eq!(runs[0]["backups"][0]["verifiedLevel"], "archive", "{runs:#}");
    assert_eq!(server.sql(MARIADB), "app");
    // What is found damaged and mended is as good as before.
    let artifacts = &runs[0]["backups"][0]["manifest"]["artifacts"];
    let object = artifacts[0]["location"].as_str().unwrap();
    let whole = fs::read(object).unwrap();
    fs::write(object, &whole[1..]).unwrap();
    let id = runs[0]["backups"][0]["id"].as_str().unwrap();
    desk.backstay.run(&["drill", id, "--to", "drill"]).code(8);
    assert_eq!(desk.backstay.json(&["backups"])[0]["verifiedOk"], false);
    fs::write(object, whole).unwrap();
    desk.backstay.run(&["drill", id, "--to", "drill"]).ok();
    assert_eq!(desk.backstay.json(&["backups"])[0]["verifiedOk"], true);
}

#[test]
fn a_file_of_sqlite_is_written_looked_at_and_removed() {
    let desk = Desk::new();
    let directory = desk.file("files");
    fs::create_dir(&directory).unwrap();
    let file = desk.file("app.db");
    sqlite::fill(&file);
    desk.apply(&sqlite::source(&file));
    desk.back_up();
    let is_empty = || fs::read_dir(&directory).unwrap().next().is_none();
    let place = directory.join("drill.db").display().to_string();
    let said = is_tried_out(&desk, &place);
    assert!(
        said.contains(&format!("was restored to {place}.backstay-")),
        "{said}"
    );
    assert!(is_empty());
    is_cleared_away(&desk, &place, || true, is_empty);
    fs::write(&place, "taken").unwrap();
    desk.backstay.run(&["drill", "data", "--to", &place]).code(2);
    assert_eq!(fs::read(&place).unwrap(), b"taken");
}

#[test]
fn a_source_that_restores_nothing_for_drills_is_named() {
    let desk = Desk::new();
    fs::create_dir(desk.file("files")).unwrap();
    fs::write(desk.file("files/file"), "content").unwrap();
    let mut job = desk.job(&json!({}));
    job["source"] = json!({ "plugin": "path", "config": { "path": desk.file("files") } });
    desk.backstay.apply(&job.to_string()).ok();
    desk.backstay.run(&["run", "data"]).ok();
    desk.backstay.run(&["drill", "data", "--to", "pool"]).code(2);
    desk.backstay.run(&["drill", "data"]).ok();
    job["verify"] = json!({ "drillTo": "pool" });
    let said: Value = desk
        .backstay
        .run_json(&["apply", "-f", &written(&desk, &job)])
        .code(2)
        .json();
    assert!(
        said.to_string().contains("path restores nothing for drills"),
        "{said:#}"
    );
}

fn written(desk: &Desk, job: &Value) -> String {
    let file = desk.file("job.json");
    fs::write(&file, job.to_string()).unwrap();
    file.display().to_string()
}
