//! `plugin.json` asks for every command that this plugin runs, and for no other.

use backstay_sdk::Command;
use serde_json::Value;

use crate::config::Config;
use crate::{mariadb, postgres, sqlite};

const RUN: &str = "0199a5b2-7c00-7000-8000-000000000001";

fn config(json: Value) -> Config {
    serde_json::from_value(json).expect("a configuration")
}

/// The words of a command, as the host gets them.
fn words(command: &Command) -> (String, Vec<String>) {
    let mut words = shell_words(&command.to_string());
    (words.remove(0), words)
}

/// Takes apart what `shell::join` put together.
fn shell_words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut is_quoted = false;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        let last = words.last_mut().expect("a word");
        match c {
            '\'' => is_quoted = !is_quoted,
            '\\' if !is_quoted => last.extend(chars.next()),
            ' ' if !is_quoted => words.push(String::new()),
            c => last.push(c),
        }
    }
    words
}

/// Values of the job that the commands below are of.
const VALUES: [(&str, &[&str]); 10] = [
    ("{config.host}", &["/run/db", "db.example"]),
    ("{config.port}", &["1234"]),
    ("{config.username}", &["backup"]),
    ("{config.sslRootCert}", &["/etc/ca.pem"]),
    ("{config.schemas}", &["s1", "s2"]),
    ("{config.excludeSchemas}", &["x"]),
    ("{config.excludeTables}", &["d.t", "d.u"]),
    ("{config.excludeTableData}", &["d.log"]),
    ("{config.path}", &["/srv/app.db"]),
    ("{target}", &["/mnt/new.db"]),
];

/// Whether one word matches one pattern as the host matches it.
fn one(pattern: &str, word: &str) -> bool {
    fn plain(pattern: &str, word: &str) -> bool {
        match pattern.split_once('*') {
            Some((start, rest)) => word.strip_prefix(start).is_some_and(|word| {
                (0..=word.len())
                    .filter(|at| word.is_char_boundary(*at))
                    .any(|at| plain(rest, &word[at..]))
            }),
            None => pattern == word,
        }
    }
    if pattern.starts_with('*') && word.starts_with('-') {
        return false;
    }
    match VALUES.iter().find(|(name, _)| pattern.contains(name)) {
        Some((name, values)) => values
            .iter()
            .any(|value| plain(&pattern.replace(name, value), word)),
        None => plain(pattern, word),
    }
}

fn matches(patterns: &[Value], words: &[String]) -> bool {
    let Some((first, rest)) = patterns.split_first() else {
        return words.is_empty();
    };
    match first {
        Value::String(pattern) => words
            .split_first()
            .is_some_and(|(word, words)| one(pattern, word) && matches(rest, words)),
        Value::Array(group) => {
            let fits = words.len() >= group.len()
                && group
                    .iter()
                    .zip(words)
                    .all(|(p, word)| one(p.as_str().expect("a pattern"), word));
            // A group may come again: the values of a list.
            matches(rest, words) || (fits && matches(patterns, &words[group.len()..]))
        }
        _ => false,
    }
}

fn all_commands() -> Vec<Command> {
    let mut all = Vec::new();
    let plain = config(serde_json::json!({ "engine": "postgres" }));
    let full = config(serde_json::json!({
        "engine": "postgres", "host": "/run/db", "port": 1234, "username": "backup", "schemaOnly": true,
        "schemas": ["s1", "s2"], "excludeSchemas": ["x"], "excludeTables": ["d.t", "d.u"], "excludeTableData": ["d.log"],
    }));
    let (new, old) = (
        format!("backstay-restore-{RUN}"),
        format!("backstay-replaced-{RUN}"),
    );
    for config in [&plain, &full] {
        use postgres::command;
        all.extend([
            command::ask(config, "postgres", command::SERVER),
            command::ask(config, "postgres", command::DATABASES),
            command::ask(config, "a b", command::OBJECTS),
            command::script(config),
            command::version(),
            command::dump(config, "a b"),
            command::dump_globals(config, true),
            command::dump_globals(config, false),
            command::restore(config, &new, false, false),
            command::restore(config, &new, true, true),
        ]);
        for statements in postgres::restore::statements_for_test(&new, &old) {
            all.push(command::change(config, "postgres", &statements));
        }
    }
    for (engine, mode) in [
        ("mariadb", "disable"),
        ("mariadb", "require"),
        ("mariadb", "verify-full"),
        ("mysql", "require"),
    ] {
        use mariadb::command;
        let plain = config(serde_json::json!({ "engine": engine }));
        let full = config(serde_json::json!({
            "engine": engine, "host": "db.example", "port": 1234, "username": "backup", "sslMode": mode,
            "sslRootCert": "/etc/ca.pem", "schemaOnly": true, "excludeTables": ["d.t", "d.u"],
            "excludeTableData": if engine == "mariadb" { vec!["d.log"] } else { vec![] },
        }));
        let socket = config(serde_json::json!({ "engine": engine, "host": "/run/db" }));
        for config in [&plain, &full, &socket] {
            for question in [
                command::VERSION,
                command::DATABASES,
                command::WITHOUT_TRANSACTIONS,
                command::RIGHTS,
                command::UNFINISHED,
                command::IN_USE,
                "CREATE DATABASE `a` CHARACTER SET 'utf8mb4' COLLATE 'c'; CREATE TABLE `a`.`backstay_restore_1` (incomplete INT)",
                "DROP TABLE `a`.`backstay_restore_1`",
                "DROP DATABASE `a`",
            ] {
                all.push(command::execute(config, question));
            }
            all.extend([
                command::script(config, None),
                command::script(config, Some("a b")),
                command::version(config.engine),
                command::dump(config, "a b"),
            ]);
            if engine == "mariadb" {
                all.push(command::dump_accounts(config));
            }
        }
    }
    use sqlite::command;
    let path = "/srv/app.db";
    let copy = format!("{path}.backstay-{RUN}");
    all.extend([
        command::version(),
        command::journal_mode(path),
        command::owner(path),
        command::make_private(&copy),
        command::back_up(path, &copy),
        command::read(&copy),
    ]);
    for place in [path, "/mnt/new.db"] {
        let copy = format!("{place}.backstay-{RUN}");
        all.extend([
            command::check(&copy),
            command::remove(&copy),
            command::write(&copy),
            command::change_owner(1, 2, &copy),
            command::change_mode("640", &copy),
            command::sync(&copy),
            command::link(&copy, place),
            command::replace(place, &copy),
        ]);
    }
    all
}

fn requests() -> Vec<Value> {
    let manifest: Value = serde_json::from_str(include_str!("../plugin.json")).expect("JSON");
    manifest["capabilities"]["exec"]
        .as_array()
        .expect("a list")
        .clone()
}

fn asks_for(request: &Value, program: &str, words: &[String]) -> bool {
    request["program"] == program && matches(request["args"].as_array().expect("a list"), words)
}

#[test]
fn the_manifest_asks_for_every_command_and_for_no_other() {
    let requests = requests();
    let mut used = vec![false; requests.len()];
    for command in all_commands() {
        let (program, words) = words(&command);
        let found = requests
            .iter()
            .position(|request| asks_for(request, &program, &words));
        used[found.unwrap_or_else(|| panic!("plugin.json doesn't ask for `{command}`"))] = true;
    }
    let unused: Vec<&Value> = requests
        .iter()
        .zip(used)
        .filter(|(_, used)| !used)
        .map(|(request, _)| request)
        .collect();
    assert!(
        unused.is_empty(),
        "plugin.json asks for what isn't used: {unused:#?}"
    );
}

#[test]
fn the_manifest_asks_for_nothing_that_leads_elsewhere() {
    let requests = requests();
    for line in [
        "psql --no-password --host=evil.example --no-psqlrc --quiet --tuples-only --no-align --file=-",
        "pg_dump --no-password --format=custom --compress=0 --file=/etc/passwd",
        "pg_dump --no-password --format=custom --compress=0 --exclude-table=other",
        "pg_restore --no-password --exit-on-error --dbname=app",
        "psql --no-password --no-psqlrc --quiet --tuples-only --no-align '--command=DROP DATABASE IF EXISTS \"app\"'",
        "mariadb-dump --no-defaults --default-character-set=utf8mb4 --result-file=/etc/passwd -- app",
        "cat -- /etc/shadow",
        "rm --force -- /srv/app.db /srv/app.db-journal /srv/app.db-wal /srv/app.db-shm",
    ] {
        let mut words = shell_words(line);
        let program = words.remove(0);
        assert!(
            !requests.iter().any(|request| asks_for(request, &program, &words)),
            "{line}"
        );
    }
}
