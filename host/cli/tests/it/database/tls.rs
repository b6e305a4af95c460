//! Connections over a network: encrypted, and to the right server, if the job says so.

use backstay_testkit::mariadb::MariaDb;
use backstay_testkit::postgres::Postgres;
use serde_json::{Value, json};

use super::desk::{Desk, PASSWORD, artifacts, with};

/// Modes that must work with the certificate of the server, and what the job is told with that of another.
#[track_caller]
fn assert_encrypts(source: &Value, (certificate, other): (&str, &str), modes: &[&str], complaint: &str) {
    let dump = if source["engine"] == "postgres" {
        "app.dump"
    } else {
        "app.sql"
    };
    let desk = Desk::new();
    desk.secret("db", PASSWORD);
    let plain = desk.refused(&with(source, json!({ "sslMode": "disable" })));
    assert!(
        plain.contains("127.0.0.1") || plain.contains("ccess denied"),
        "{plain}"
    );
    desk.apply(&with(source, json!({ "sslMode": "require" })));
    assert!(artifacts(&desk.back_up()).contains(&dump));
    for mode in modes {
        let of = |root| with(source, json!({ "sslMode": mode, "sslRootCert": root }));
        let refused = desk.refused(&of(other));
        assert!(refused.contains(complaint), "{mode}: {refused}");
        desk.apply(&of(certificate));
        assert!(artifacts(&desk.back_up()).contains(&dump), "{mode}");
    }
}

#[test]
fn postgres_is_asked_over_encrypted_connections_and_only_if_it_is_the_right_one() {
    let (mut server, mut other) = (Postgres::start(), Postgres::start());
    let (certificate, other) = (server.encrypt(), other.encrypt());
    server.sql(
        "postgres",
        &format!("CREATE ROLE backup LOGIN SUPERUSER PASSWORD '{PASSWORD}'; CREATE DATABASE app"),
    );
    let source = json!({
        "engine": "postgres", "host": "127.0.0.1", "port": server.port(), "username": "backup", "passwordSecret": "db",
        "include": ["app"], "globals": false,
    });
    let path = certificate.to_str().unwrap();
    let other = other.to_str().unwrap();
    assert_encrypts(
        &source,
        (path, other),
        &["verify-ca", "verify-full"],
        "certificate verify failed",
    );
    // It is the right certificate, of another name.
    let desk = Desk::new();
    desk.secret("db", PASSWORD);
    let named = json!({ "host": "localhost", "sslMode": "verify-full", "sslRootCert": path });
    let refused = desk.refused(&with(&source, named));
    assert!(refused.contains("does not match host name"), "{refused}");
}

#[test]
fn mariadb_is_asked_over_encrypted_connections_and_only_if_it_is_the_right_one() {
    let (mut server, mut other) = (MariaDb::start(), MariaDb::start());
    let (certificate, other) = (server.encrypt(), other.encrypt());
    server.sql(&format!(
        "CREATE USER backup@'%' IDENTIFIED BY '{PASSWORD}' REQUIRE SSL; GRANT ALL ON *.* TO backup@'%'; CREATE DATABASE app"
    ));
    let source = json!({
        "engine": "mariadb", "host": "127.0.0.1", "port": server.port(), "username": "backup", "passwordSecret": "db",
        "include": ["app"],
    });
    let path = certificate.to_str().unwrap();
    assert_encrypts(
        &source,
        (path, other.to_str().unwrap()),
        &["verify-full"],
        "self-signed certificate",
    );
}
