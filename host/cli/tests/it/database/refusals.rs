//! What is refused before anything happens, in the words that people read.

use std::fs;

use backstay_testkit::postgres::Postgres;
use serde_json::json;

use super::desk::{Desk, postgres_source, with};

#[test]
fn wrong_fields_are_named_with_what_to_do() {
    let desk = Desk::new();
    let cases = [
        json!({}),
        json!({ "engine": "oracle" }),
        json!({ "engine": "postgres", "password": "x" }),
        json!({ "engine": "postgres", "port": 0 }),
        json!({ "engine": "postgres", "path": "/srv/app.db", "include": [], "exclude": [""], "passwordSecret": "../x" }),
        json!({ "engine": "mysql", "globals": true, "schemas": ["s"], "excludeTables": ["t"] }),
        json!({ "engine": "sqlite", "host": "h", "globals": true }),
        json!({ "engine": "sqlite", "path": "app.db" }),
        json!({ "engine": "sqlite", "path": "/nowhere/app.db" }),
        json!({ "engine": "postgres", "passwordSecret": "absent" }),
    ];
    let said: Vec<String> = cases
        .iter()
        .map(|case| format!("{case}\n{}\n", desk.refused(case)))
        .collect();
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn what_the_machine_has_not_got_is_said_before_the_first_run() {
    let mut server = Postgres::start();
    server.sql(
        "postgres",
        "CREATE ROLE backup LOGIN PASSWORD 'right'; CREATE DATABASE app",
    );
    let desk = Desk::new();
    desk.secret("pg", "wrong");
    let source = postgres_source(&server);
    let mut said = vec![
        desk.refused(&with(&source, json!({ "include": ["app", "ap"] }))),
        desk.refused(&with(&source, json!({ "include": ["x*"] }))),
        desk.refused(&with(&source, json!({ "host": "127.0.0.1", "username": "backup", "passwordSecret": "pg" }))),
        desk.refused(&with(&source, json!({ "host": "127.0.0.1", "sslMode": "require", "username": "backup", "passwordSecret": "pg" }))),
        desk.refused(&with(&source, json!({ "host": "no-such-host.invalid" }))),
    ];
    server.kill();
    said.push(desk.refused(&source));
    let text = desk.file("text.db");
    fs::write(
        &text,
        "this is not a database, and long enough to be looked at as one",
    )
    .unwrap();
    said.push(desk.refused(&json!({ "engine": "sqlite", "path": text })));
    let all = said.join("\n");
    let all = all.replace(&server.port().to_string(), "PORT");
    let all = all.replace(server.socket_dir().to_str().unwrap(), "DIR");
    insta::assert_snapshot!(all.replace(desk.backstay.scratch_dir().to_str().unwrap(), "SCRATCH"));
}
