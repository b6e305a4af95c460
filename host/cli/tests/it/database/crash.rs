//! The host is killed during a run; the next start clears away, and no database is ever half restored.

use std::fs;
use std::time::Duration;

use backstay_testkit::cli::Moment;
use backstay_testkit::postgres::Postgres;
use backstay_testkit::process::wait_until;
use backstay_testkit::turns::Turns;
use serde_json::json;

use super::desk::{Desk, postgres_source, processes, with};
use super::sqlite;
use crate::abort::paths;

#[test]
fn killed_while_a_database_is_dumped() {
    let server = Postgres::start();
    server.sql("postgres", "CREATE DATABASE app");
    server.sql(
        "app",
        "CREATE TABLE bulk AS SELECT n, repeat(md5(n::text), 60) AS text FROM generate_series(1, 20000) n",
    );
    let desk = Desk::with_gate();
    desk.apply(&with(
        &postgres_source(&server),
        json!({ "include": ["app"], "globals": false }),
    ));
    let mut running = desk.start_until_gate();
    let ours = format!("--host={}", server.socket_dir().display());
    assert!(
        processes(&ours)
            .iter()
            .any(|line| line.contains("--format=custom")),
        "{:?}",
        processes(&ours)
    );
    running.kill();
    wait_until("the end of the dump", Duration::from_secs(10), || {
        processes(&ours).is_empty()
    });
    let runs = desk.backstay.json(&["runs"]);
    assert_eq!(runs[0]["status"], "interrupted");
    assert!(paths(&desk.place()).is_empty());
    assert_eq!(desk.backstay.json(&["backups"]), json!([]));
}

#[test]
fn killed_at_any_step_of_a_restore_over_a_database_there_is_the_old_or_the_new_one() {
    let server = Postgres::start();
    server.sql("postgres", "CREATE DATABASE app");
    server.sql("app", "CREATE TABLE t AS SELECT 'backup' AS x");
    let desk = Desk::new();
    desk.apply(&with(
        &postgres_source(&server),
        json!({ "include": ["app"], "globals": false }),
    ));
    desk.back_up();
    let databases =
        "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database WHERE NOT datistemplate";
    let mut turns = Turns::of(2);
    while let Some(number) = turns.next() {
        server.sql("app", "UPDATE t SET x = 'live'");
        let args = ["restore", "latest:data", "--in-place", "--overwrite"];
        let is_killed = desk
            .backstay
            .killed_at(&args, Moment::of("waitid", number))
            .was_killed_or_ok();
        // A statement that the server has begun goes on without its client.
        let busy = "SELECT count(1) FROM pg_stat_activity WHERE application_name IN ('psql', 'pg_restore') AND pid <> pg_backend_pid()";
        wait_until("the server to be idle", Duration::from_secs(20), || {
            server.sql("postgres", busy) == "0"
        });
        let there = server.sql("app", "SELECT x FROM t");
        assert!(["live", "backup"].contains(&there.as_str()), "{number}: {there}");
        desk.backstay.run(&["runs"]).ok();
        assert_eq!(server.sql("postgres", databases), "app postgres", "{number}");
        if !turns.note(is_killed) {
            assert_eq!(there, "backup");
        }
    }
}

#[test]
fn killed_at_any_step_of_a_backup_or_restore_of_a_file() {
    let desk = Desk::new();
    let directory = desk.file("files");
    fs::create_dir(&directory).unwrap();
    let (file, target) = (directory.join("app.db"), directory.join("new.db"));
    sqlite::fill(&file);
    desk.apply(&sqlite::source(&file));
    desk.back_up();
    let clean = |moment: &str| {
        desk.backstay.run(&["runs"]).ok();
        for entry in fs::read_dir(&directory).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(!name.contains("backstay"), "{moment}: {name} is left");
        }
    };
    let restore = ["restore", "latest:data", "--to", target.to_str().unwrap()];
    for args in [&["run", "data"][..], &restore[..]] {
        let mut turns = Turns::of(2);
        while let Some(number) = turns.next() {
            let is_killed = desk
                .backstay
                .killed_at(args, Moment::of("waitid", number))
                .was_killed_or_ok();
            clean(&format!("{args:?} {number}"));
            if target.exists() {
                assert_eq!(
                    sqlite::sql(&target, "PRAGMA integrity_check; SELECT sum(amount) FROM account"),
                    "ok\n1000"
                );
                fs::remove_file(&target).unwrap();
            }
            turns.note(is_killed);
        }
    }
}
